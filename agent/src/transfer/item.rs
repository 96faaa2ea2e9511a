//! One thing in a state tree, as both ends keep it, and how it stands on the wire.

use std::sync::Arc;

use chandler_protocol::transfer::{Content, Entry, Kind, Xattr};

/// A path in a tree: names separated by `/`.
pub(super) type Path = Arc<[u8]>;

/// One thing in a state tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// Its number in the source.
    pub(super) id: u64,
    /// Its inode in the source.
    pub(super) inode: u64,
    /// What is said about it.
    pub(super) meta: Meta,
    /// What it is.
    pub(super) what: What,
}

/// What is said about a thing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Meta {
    /// Permissions.
    pub(super) mode: u16,
    /// User and group, where they are not those of the top directory.
    pub(super) owner: Option<(u32, u32)>,
    /// When it was last changed.
    pub(super) mtime: (i64, u32),
    /// Extended attributes of users.
    pub(super) xattrs: Vec<Xattr>,
}

/// What a thing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A directory.
    Directory,
    /// A file.
    File(Arc<Content>),
    /// A symbolic link and where it points.
    Symlink(Box<[u8]>),
    /// Another name of the file of this first name.
    HardLink(Path),
}

impl Item {
    /// As it is sent; of a file, only the size.
    pub(super) fn entry(&self, path: &[u8]) -> Entry {
        let kind = match &self.what {
            What::Directory => Kind::Directory,
            What::File(content) => Kind::File(Content { size: content.size, ..Content::default() }),
            What::Symlink(target) => Kind::Symlink { target: target.to_vec() },
            What::HardLink(to) => Kind::HardLink { to: to.to_vec() },
        };
        let Meta { mode, owner, mtime, xattrs } = self.meta.clone();
        Entry { id: self.id, path: path.to_vec(), mode, owner, mtime, inode: self.inode, xattrs, kind }
    }

    /// As it arrived.
    pub(super) fn from_entry(entry: Entry) -> (Path, Self) {
        let Entry { id, path, mode, owner, mtime, inode, xattrs, kind } = entry;
        let what = match kind {
            Kind::Directory => What::Directory,
            Kind::File(content) => What::File(Arc::new(content)),
            Kind::Symlink { target } => What::Symlink(target.into()),
            Kind::HardLink { to } => What::HardLink(to.into()),
        };
        (path.into(), Self { id, inode, meta: Meta { mode, owner, mtime, xattrs }, what })
    }

    /// Bytes that it takes in a list, beside the hashes of its blocks.
    pub(super) fn weight(&self, path: &[u8]) -> u64 {
        let xattrs: usize = self.meta.xattrs.iter().map(|x| x.name.len() + x.value.len()).sum();
        let what = match &self.what {
            What::Symlink(target) => target.len(),
            What::HardLink(to) => to.len(),
            What::Directory | What::File(_) => 0,
        };
        (path.len() + xattrs + what) as u64
    }

    /// What a file holds.
    pub(super) fn content(&self) -> Option<&Arc<Content>> {
        match &self.what {
            What::File(content) => Some(content),
            _ => None,
        }
    }
}
