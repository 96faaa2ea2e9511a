//! The files of one assignment: made before it starts, collected after it ended, never outside its directory.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chandler_protocol::Digest;
use chandler_protocol::state::OutputFile;
use chandler_protocol::text::is_inner_path;
use chandler_protocol::workload::InputFile;

use super::{Collected, Layout};
use crate::shim::log;

/// Outputs of one task that are collected.
const OUTPUTS_MAX: usize = 256;
/// Bytes hashed at once.
const BLOCK: usize = 64 << 10;

/// Puts `inputs` from the depot into a working directory.
pub(super) fn place_inputs(layout: &Layout, work: &Path, inputs: &[InputFile]) -> io::Result<()> {
    for input in inputs {
        let to = work.join(&input.path);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        // A copy, not a link: the task may write to its input.
        fs::copy(layout.blob(input.digest), &to)?;
    }
    Ok(())
}

/// A regular file inside `root`, reached without any symbolic link, or why not.
fn inside(root: &Path, path: &str) -> Result<PathBuf, &'static str> {
    if !is_inner_path(path) {
        return Err("is not a path inside the working directory");
    }
    let mut full = root.to_owned();
    for part in path.split('/') {
        full.push(part);
        match fs::symlink_metadata(&full) {
            Ok(meta) if meta.file_type().is_symlink() => return Err("is reached through a symbolic link"),
            Ok(_) => {}
            Err(_) => return Err("was not written"),
        }
    }
    if full.is_file() { Ok(full) } else { Err("is not a regular file") }
}

/// Deletes a tree. Software may have left directories that not even their owner may write to: those are opened first.
pub(super) fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            open_directories(dir)?;
            fs::remove_dir_all(dir)
        }
        other => other,
    }
}

/// Lets the owner do everything with every directory of a tree. Links are not followed.
fn open_directories(root: &Path) -> io::Result<()> {
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        let meta = fs::symlink_metadata(&dir)?;
        if !meta.is_dir() {
            continue;
        }
        fs::set_permissions(&dir, fs::Permissions::from_mode(meta.permissions().mode() | 0o700))?;
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                todo.push(entry.path());
            }
        }
    }
    Ok(())
}

/// Hashes results and logs.
pub(super) fn collect(work: &Path, logs: &Path, outputs: &[String]) -> Collected {
    let mut collected = Collected::default();
    for path in outputs.iter().take(OUTPUTS_MAX) {
        match inside(work, path) {
            Ok(file) => match hash(File::open(file)) {
                Ok((digest, length)) => collected.files.push(OutputFile { path: path.clone(), digest, length }),
                Err(e) => collected.notes.push(format!("output {path} cannot be read: {e}")),
            },
            Err(why) => collected.notes.push(format!("output {path} {why}")),
        }
    }
    for stream in [log::STDOUT, log::STDERR] {
        // An output of the same name is the task's own business and wins.
        if collected.files.iter().any(|f| f.path == stream) {
            continue;
        }
        let (first, end) = log::extent(logs, stream);
        let mut hasher = blake3::Hasher::new();
        let mut at = first;
        while let Ok(part) = log::read(logs, stream, Some(at), BLOCK)
            && !part.bytes.is_empty()
        {
            hasher.update(&part.bytes);
            at += part.bytes.len() as u64;
        }
        if first > 0 {
            collected.notes.push(format!("the first {first} bytes of {stream} are not kept"));
        }
        let digest = Digest(*hasher.finalize().as_bytes());
        collected.files.push(OutputFile { path: stream.to_owned(), digest, length: end.min(at) - first });
    }
    collected
}

/// Part of an output or of a kept log.
pub(super) fn read(work: &Path, logs: &Path, path: &str, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
    match inside(work, path) {
        Ok(file) => {
            let mut file = File::open(file)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::new();
            file.take(limit as u64).read_to_end(&mut bytes)?;
            Ok(bytes)
        }
        Err(_) if path == log::STDOUT || path == log::STDERR => {
            let (first, _) = log::extent(logs, path);
            Ok(log::read(logs, path, Some(first + offset), limit)?.bytes)
        }
        Err(why) => Err(io::Error::other(format!("{path} {why}"))),
    }
}

fn hash(file: io::Result<File>) -> io::Result<(Digest, u64)> {
    let (mut file, mut hasher, mut length) = (file?, blake3::Hasher::new(), 0);
    let mut block = vec![0; BLOCK];
    loop {
        match file.read(&mut block)? {
            0 => return Ok((Digest(*hasher.finalize().as_bytes()), length)),
            n => {
                hasher.update(&block[..n]);
                length += n as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn directories_that_nobody_may_write_to_are_opened_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(tree.join("a/b/c/file"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("a/b/link")).unwrap();
        let close = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        close(&tree.join("a/b/c/file"), 0o400);
        close(&outside, 0o500);
        close(&tree.join("a/b/c"), 0o500);
        close(&tree.join("a/b"), 0o000);
        close(&tree.join("a"), 0o500);
        // Where the test may do everything anyway, the modes are what shows that it works.
        open_directories(&tree).unwrap();
        assert_eq!(["a", "a/b", "a/b/c"].map(|d| mode(&tree.join(d))), [0o700; 3]);
        assert_eq!((mode(&outside), mode(&tree.join("a/b/c/file"))), (0o500, 0o400));
        close(&tree.join("a/b"), 0o000);
        close(&tree.join("a"), 0o500);
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && outside.exists());
        assert_eq!(remove_tree(&tree).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn results_are_collected_and_escapes_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (work, logs) = (dir.path().join("work"), dir.path().join("log"));
        fs::create_dir_all(work.join("sub")).unwrap();
        fs::create_dir_all(&logs).unwrap();
        fs::write(dir.path().join("secret"), "x").unwrap();
        fs::write(work.join("sub/out"), "result").unwrap();
        std::os::unix::fs::symlink("../secret", work.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", work.join("etc")).unwrap();
        log::LogWriter::open(&logs, log::STDOUT).write(b"hello");
        let wanted = ["sub/out", "link", "etc/passwd", "../secret", "/etc/passwd", "sub", "none"].map(str::to_owned);
        let got = collect(&work, &logs, &wanted);
        let names: Vec<&str> = got.files.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(names, ["sub/out", "stdout", "stderr"]);
        assert_eq!(got.files[0].digest, Digest(*blake3::hash(b"result").as_bytes()));
        assert_eq!((got.files[1].length, got.files[2].length), (5, 0));
        assert_eq!(got.notes.len(), 6, "{:?}", got.notes);
        assert_eq!(read(&work, &logs, "sub/out", 2, 3).unwrap(), b"sul");
        assert_eq!(read(&work, &logs, "stdout", 1, 9).unwrap(), b"ello");
        assert!(read(&work, &logs, "link", 0, 9).is_err());
    }
}
