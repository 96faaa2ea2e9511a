//! Reading files and hashing their blocks, on two threads.
//!
//! A file that was hashed before is compared block by block with XXH3 (128 bits, seeded by chance) first: only a block
//! that differs costs BLAKE3. Reading memory is then the limit, and a last look at a large file takes a third of the time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chandler_protocol::Digest;
use chandler_protocol::transfer::{BLOCK, Content};
use rustix::fs::SeekFrom;
use twox_hash::XxHash3_128;

use super::error::TreeError;
use super::inside::Inside;
use super::item::Path;
use super::walk::Stamp;
use crate::sync::lock;

/// Threads that hash.
const THREADS: usize = 2;
/// Bytes of a file that one thread takes on at once.
const SEGMENT: u64 = 16 << 20;
/// Bytes read at once: what fits the processor's cache.
const READ: usize = 512 << 10;

/// A file to be measured.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) path: Path,
    /// Its size when it was last looked at.
    pub(super) size: u64,
    /// How it was, if it was measured before.
    pub(super) before: Option<Measured>,
}

/// A file that was measured.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) content: Arc<Content>,
    /// XXH3 of each block of the content, in the same order.
    pub(super) quick: Arc<[u128]>,
    /// How it was before it was read.
    pub(super) stamp: Stamp,
    /// It was the same after it was read.
    pub(super) is_stable: bool,
}

/// One stretch of one file.
struct Unit {
    job: usize,
    from: u64,
    to: u64,
}

/// What one stretch gave.
struct Read {
    blocks: Vec<(u32, Digest, u128)>,
    before: Stamp,
    after: Stamp,
}

/// Measures files, in their order. `None`: it is no more, or no file any more.
///
/// # Errors
/// One cannot be read, or `stop` was set.
pub(super) fn measure(
    inside: &Inside,
    jobs: &[Job],
    seed: u64,
    stop: &AtomicBool,
) -> Result<Vec<Option<Measured>>, TreeError> {
    let units: Vec<Unit> = jobs.iter().enumerate().flat_map(|(job, j)| stretches(job, j.size)).collect();
    let results: Mutex<Vec<Option<io::Result<Read>>>> = Mutex::new(units.iter().map(|_| None).collect());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut buffer = vec![0; READ];
        while let Some((index, unit)) = units.get(next.load(Ordering::Relaxed)).and_then(|_| {
            let index = next.fetch_add(1, Ordering::Relaxed);
            units.get(index).map(|u| (index, u))
        }) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let read = stretch(inside, &jobs[unit.job], unit, seed, &mut buffer);
            lock(&results)[index] = Some(read);
        }
    };
    if units.len() < 2 {
        work();
    } else {
        std::thread::scope(|scope| {
            for _ in 1..THREADS {
                scope.spawn(work);
            }
            work();
        });
    }
    let results = std::mem::take(&mut *lock(&results));
    collect(jobs, &units, results)
}

fn stretches(job: usize, size: u64) -> impl Iterator<Item = Unit> {
    let count = size.div_ceil(SEGMENT).max(1);
    (0..count).map(move |n| {
        // The last one goes on to the end, wherever that is when it is read.
        let to = if n + 1 == count { u64::MAX } else { (n + 1) * SEGMENT };
        Unit { job, from: n * SEGMENT, to }
    })
}

fn collect(
    jobs: &[Job],
    units: &[Unit],
    results: Vec<Option<io::Result<Read>>>,
) -> Result<Vec<Option<Measured>>, TreeError> {
    let mut out: Vec<Option<Measured>> = jobs.iter().map(|_| None).collect();
    let mut gone = vec![false; jobs.len()];
    let mut open: Option<(usize, Content, Vec<u128>, Stamp, bool)> = None;
    let mut close = |open: Option<(usize, Content, Vec<u128>, Stamp, bool)>| {
        if let Some((job, mut content, quick, stamp, is_stable)) = open {
            content.runs.shrink_to_fit();
            content.digests.shrink_to_fit();
            out[job] = Some(Measured { content: Arc::new(content), quick: quick.into(), stamp, is_stable });
        }
    };
    for (unit, result) in units.iter().zip(results) {
        let read = match result {
            None => return Err(TreeError::Superseded),
            Some(Err(e)) if is_gone(&e) => {
                gone[unit.job] = true;
                continue;
            }
            Some(Err(e)) => return Err(TreeError::io(&jobs[unit.job].path, e)),
            Some(Ok(read)) => read,
        };
        if open.as_ref().is_none_or(|o| o.0 != unit.job) {
            close(open.take());
            let content = Content { size: read.before.size, ..Content::default() };
            open = Some((unit.job, content, Vec::new(), read.before, true));
        }
        if let Some((_, content, quick, stamp, is_stable)) = &mut open {
            *is_stable &= read.before == *stamp && read.after == *stamp;
            let count = content.count();
            for (block, digest, q) in read.blocks.into_iter().filter(|(b, ..)| u64::from(*b) < count) {
                content.push(block, digest);
                quick.push(q);
            }
        }
    }
    close(open);
    Ok(out.into_iter().zip(gone).map(|(measured, gone)| measured.filter(|_| !gone)).collect())
}

/// The file went away, or something else took its place, between two looks.
fn is_gone(error: &io::Error) -> bool {
    let is_link = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    is_link || matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::Other)
}

fn stretch(inside: &Inside, job: &Job, unit: &Unit, seed: u64, buffer: &mut [u8]) -> io::Result<Read> {
    let file = inside.reader(&job.path)?;
    let before = Stamp::of(&rustix::fs::fstat(&file)?);
    let to = unit.to.min(before.size);
    let mut known = job.before.as_ref().map(|m| Known::new(m, unit.from));
    let mut blocks = Vec::new();
    let has_holes = before.blocks.saturating_mul(512) < before.size;
    let mut at = unit.from;
    while at < to {
        if has_holes {
            match rustix::fs::seek(&file, SeekFrom::Data(at)) {
                Ok(data) => at = at.max(data / BLOCK as u64 * BLOCK as u64),
                Err(rustix::io::Errno::NXIO) => break,
                Err(e) => return Err(e.into()),
            }
            if at >= to {
                break;
            }
        }
        let wanted = usize::try_from(to - at).unwrap_or(READ).min(READ);
        let got = fill(&file, &mut buffer[..wanted], at)?;
        for (n, block) in buffer[..got].chunks(BLOCK).enumerate() {
            if is_zero(block) {
                continue;
            }
            let index = u32::try_from(at / BLOCK as u64).unwrap_or(u32::MAX).saturating_add(n as u32);
            let quick = XxHash3_128::oneshot_with_seed(seed, block);
            let digest = known.as_mut().and_then(|k| k.digest(index, quick, block.len()));
            blocks.push((index, digest.unwrap_or_else(|| Digest(*blake3::hash(block).as_bytes())), quick));
        }
        at += got as u64;
        // Shorter than it was a moment ago.
        if got < wanted {
            break;
        }
    }
    Ok(Read { blocks, before, after: Stamp::of(&rustix::fs::fstat(&file)?) })
}

/// Reads until the buffer is full or the file ends.
pub(super) fn fill(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], at + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}

/// Whether all bytes are zero.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    // The first bytes decide nearly always; after them, words at a time.
    bytes.iter().take(16).all(|b| *b == 0) && bytes.chunks(4096).all(|c| c.iter().fold(0, |all, b| all | b) == 0)
}

/// The blocks of a file as it was, walked along with those it has now.
struct Known<'a> {
    content: &'a Content,
    quick: &'a [u128],
    /// Which run, and how many blocks are before it.
    run: usize,
    before: usize,
}

impl<'a> Known<'a> {
    fn new(measured: &'a Measured, from: u64) -> Self {
        let mut known = Self { content: &measured.content, quick: &measured.quick, run: 0, before: 0 };
        known.find(u32::try_from(from / BLOCK as u64).unwrap_or(u32::MAX));
        known
    }

    /// Where a block stands among the digests. Blocks are asked for in order.
    fn find(&mut self, block: u32) -> Option<usize> {
        while let Some(run) = self.content.runs.get(self.run) {
            if block < run.first.saturating_add(run.count) {
                return block.checked_sub(run.first).map(|n| self.before + n as usize);
            }
            self.before += run.count as usize;
            self.run += 1;
        }
        None
    }

    /// The digest of a block that is as it was.
    fn digest(&mut self, block: u32, quick: u128, length: usize) -> Option<Digest> {
        let at = self.find(block)?;
        let same = self.quick.get(at) == Some(&quick) && self.content.length(block) == length;
        same.then(|| self.content.digests.get(at).copied()).flatten()
    }
}
