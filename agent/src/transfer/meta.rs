//! What is said about an entry beside its content: where a link points, owners, attributes.

use chandler_protocol::transfer::{XATTR_BYTES_MAX, XATTRS_MAX, Xattr, link_fault};
use rustix::fs::FileType;

use super::error::TreeError;
use super::inside::Inside;
use super::walk::Stamp;

/// Where a symbolic link points; `None`: it is none any more.
///
/// # Errors
/// It points out of the tree, or cannot be read.
pub(super) fn target(inside: &Inside, path: &[u8]) -> Result<Option<Vec<u8>>, TreeError> {
    let read = inside.parent(path).and_then(|(dir, name)| Ok(rustix::fs::readlinkat(&dir, name, Vec::new())?));
    match read {
        Ok(target) => match link_fault(path, target.as_bytes()) {
            None => Ok(Some(target.into_bytes())),
            Some(fault) => Err(TreeError::refused(path, fault)),
        },
        // It is no link any more.
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::InvalidInput) => Ok(None),
        Err(e) => Err(TreeError::io(path, e)),
    }
}

/// The owner of an entry, where it is another than that of the state directory. Only root can give it back.
pub(super) fn owner(inside: &Inside, stamp: &Stamp) -> Option<(u32, u32)> {
    let top = rustix::fs::fstat(inside.root()).ok()?;
    let differs = (top.st_uid, top.st_gid) != (stamp.user, stamp.group);
    (differs && rustix::process::geteuid().is_root()).then_some((stamp.user, stamp.group))
}

/// Extended attributes of users, in order of name.
pub(super) fn xattrs(inside: &Inside, path: &[u8], kind: FileType) -> Result<Vec<Xattr>, TreeError> {
    let opened = match kind {
        FileType::Directory => inside.directory(path),
        _ => inside.reader(path).map(Into::into),
    };
    let found = match opened {
        Ok(fd) => read_xattrs(&fd),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(TreeError::io(path, e)),
    };
    let found = found.map_err(|e| TreeError::io(path, e))?;
    let bytes: usize = found.iter().map(|x| x.name.len() + x.value.len()).sum();
    if found.len() > XATTRS_MAX || bytes > XATTR_BYTES_MAX {
        return Err(TreeError::refused(path, "has more than 64 extended attributes, or more than 64 KiB of them"));
    }
    Ok(found)
}

/// Extended attributes of users of an open file, in order of name.
pub(super) fn read_xattrs(fd: &std::os::fd::OwnedFd) -> rustix::io::Result<Vec<Xattr>> {
    match rustix::fs::flistxattr_query(fd) {
        Ok(0) | Err(rustix::io::Errno::OPNOTSUPP) => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = vec![0; XATTR_BYTES_MAX];
    let length = rustix::fs::flistxattr(fd, &mut names[..])?;
    let mut found = Vec::new();
    for name in names[..length].split(|b| *b == 0).filter(|n| n.starts_with(b"user.")) {
        let mut value = vec![0; XATTR_BYTES_MAX];
        let length = rustix::fs::fgetxattr(fd, name, &mut value[..])?;
        value.truncate(length);
        found.push(Xattr { name: name.to_vec(), value });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}
