//! Kept logs: the newest one to two segments of a stream, each named by the offset of its first byte.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::driver::LogPart;

/// Names of the two streams.
pub(crate) const STDOUT: &str = "stdout";
/// See [`STDOUT`].
pub(crate) const STDERR: &str = "stderr";
/// Bytes in each segment.
pub(crate) const SEGMENT: u64 = 1 << 20;
/// Segments that are kept of each stream.
pub(crate) const SEGMENTS: usize = 2;

/// Appends to a stream's log. A disk that is full loses output, never stops the program.
#[derive(Debug)]
pub(crate) struct LogWriter {
    dir: PathBuf,
    stream: &'static str,
    start: u64,
    length: u64,
    file: Option<File>,
}

impl LogWriter {
    /// Goes on behind the newest byte that is kept.
    pub(crate) fn open(dir: &Path, stream: &'static str) -> Self {
        let (start, length) = segments(dir, stream).pop().unwrap_or((0, 0));
        Self { dir: dir.to_owned(), stream, start, length, file: None }
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.length >= SEGMENT {
                self.start += self.length;
                self.length = 0;
                self.file = None;
            }
            let room = usize::try_from(SEGMENT - self.length).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            // Offsets count what was written, kept or not: a gap reads as zeroes.
            if self.append(now).is_err() {
                self.file = None;
            }
            self.length += now.len() as u64;
            bytes = later;
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            let path = self.dir.join(name(self.stream, self.start));
            let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(path)?;
            file.seek(SeekFrom::Start(self.length))?;
            self.file = Some(file);
            self.forget();
        }
        self.file.as_mut().map_or(Ok(()), |f| f.write_all(bytes))
    }

    fn forget(&self) {
        let old = segments(&self.dir, self.stream);
        for (start, _) in old.iter().rev().skip(SEGMENTS) {
            let _ = fs::remove_file(self.dir.join(name(self.stream, *start)));
        }
    }
}

fn name(stream: &str, start: u64) -> String {
    format!("{stream}.{start:016x}")
}

/// Start and length of each kept segment, oldest first.
fn segments(dir: &Path, stream: &str) -> Vec<(u64, u64)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut found: Vec<(u64, u64)> = entries
        .flatten()
        .filter_map(|e| {
            let name = e.file_name();
            let start = name.to_str()?.strip_prefix(stream)?.strip_prefix('.')?;
            Some((u64::from_str_radix(start, 16).ok()?, e.metadata().ok()?.len()))
        })
        .collect();
    found.sort_unstable();
    found
}

/// Bytes that are kept of a stream: offset of the first, and behind the last.
pub(crate) fn extent(dir: &Path, stream: &str) -> (u64, u64) {
    let segments = segments(dir, stream);
    let first = segments.first().map_or(0, |s| s.0);
    (first, segments.last().map_or(0, |(start, length)| start + length))
}

/// At most `limit` bytes from `offset`, or the newest ones. An offset that is not kept any more moves to the
/// oldest byte that is.
pub(crate) fn read(dir: &Path, stream: &str, offset: Option<u64>, limit: usize) -> io::Result<LogPart> {
    let segments = segments(dir, stream);
    let (first, end) = extent(dir, stream);
    let from = offset.unwrap_or(end.saturating_sub(limit as u64)).clamp(first, end);
    let mut bytes = Vec::new();
    for (start, length) in segments {
        let at = from + bytes.len() as u64;
        if at < start || at >= start + length || bytes.len() >= limit {
            continue;
        }
        let mut file = File::open(dir.join(name(stream, start)))?;
        file.seek(SeekFrom::Start(at - start))?;
        file.take((limit - bytes.len()) as u64).read_to_end(&mut bytes)?;
    }
    Ok(LogPart { offset: from, bytes, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_bounded_and_offsets_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut total = 0_u64;
        for round in 0..4_u8 {
            // A new writer each time, as after a restart of the program.
            let mut log = LogWriter::open(dir.path(), STDOUT);
            for _ in 0..60 {
                log.write(&[b'a' + round; 16 << 10]);
                total += 16 << 10;
            }
        }
        let kept: u64 = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!(kept <= SEGMENT * SEGMENTS as u64, "{kept} bytes are kept");
        assert!(kept >= SEGMENT, "at least one whole segment is kept");
        let newest = read(dir.path(), STDOUT, None, 10).unwrap();
        assert_eq!((newest.end, newest.offset, newest.bytes.as_slice()), (total, total - 10, b"dddddddddd".as_slice()));
        let old = read(dir.path(), STDOUT, Some(0), 4).unwrap();
        assert_eq!(old.offset, total - kept, "what is gone moves to the oldest that is kept");
        let across = read(dir.path(), STDOUT, Some(total - kept), usize::MAX).unwrap();
        assert_eq!(across.bytes.len() as u64, kept);
        let beyond = read(dir.path(), STDOUT, Some(total + 9), 4).unwrap();
        assert_eq!((beyond.offset, beyond.bytes.len()), (total, 0));
        assert_eq!(read(dir.path(), STDERR, None, 4).unwrap(), LogPart::default());
    }
}
