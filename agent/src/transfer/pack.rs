//! Bytes that were asked for, read and packed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use chandler_protocol::transfer::{BATCH_MAX, Batch, PART, Piece, RANGE_MAX, RANGES_MAX, Range};
use twox_hash::XxHash3_64;

use super::hash::fill;
use super::inside::Inside;
use super::item::Path;

/// zstd's fastest ordinary level: slower ones cost more time than they save on any link that carries a move.
const LEVEL: i32 = 1;
/// Bytes from the beginning, the middle and the end that are packed to see whether packing helps.
const PROBE: usize = 4 << 10;
/// Packed bytes are sent when they are at most this share, in percent.
const WORTH: usize = 85;

/// XXH3 of each part of some bytes.
pub(super) fn parts(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks(PART).map(XxHash3_64::oneshot).collect()
}

/// What is wrong with what is asked for, if anything.
pub(super) fn fault(ranges: &[Range]) -> Option<&'static str> {
    let total: usize = ranges.iter().map(|r| r.length as usize).sum();
    let is_sound = |r: &Range| {
        let length = r.length as usize;
        let is_parts = r.parts.is_empty() || r.parts.len() == length.div_ceil(PART);
        (1..=RANGE_MAX).contains(&length) && is_parts && r.offset.checked_add(length as u64).is_some()
    };
    if ranges.is_empty() || ranges.len() > RANGES_MAX || total > BATCH_MAX {
        return Some("too many ranges, or none");
    }
    (!ranges.iter().all(is_sound)).then_some("a range that cannot be")
}

/// Reads ranges as they are now. The raw bytes go behind the head.
pub(super) fn read(
    inside: &Inside,
    numbers: impl Fn(u64) -> Option<Path>,
    ranges: &[Range],
) -> io::Result<(Batch, Vec<u8>)> {
    let mut raw = Vec::with_capacity(ranges.iter().map(|r| r.length as usize).sum());
    let mut pieces = Vec::with_capacity(ranges.len());
    let mut open: BTreeMap<u64, Option<File>> = BTreeMap::new();
    for range in ranges {
        let file = match open.entry(range.file) {
            std::collections::btree_map::Entry::Occupied(e) => e.into_mut(),
            std::collections::btree_map::Entry::Vacant(e) => {
                let opened = numbers(range.file).map(|path| inside.reader(&path)).transpose();
                e.insert(opened.or_else(|e| if may_be_gone(&e) { Ok(None) } else { Err(e) })?)
            }
        };
        pieces.push(match file {
            Some(file) => piece(file, range, &mut raw)?,
            None => Piece::Missing,
        });
    }
    let (raw, is_packed) = pack(raw)?;
    let length = u32::try_from(raw.len()).unwrap_or(u32::MAX);
    Ok((Batch { pieces, is_packed, length }, raw))
}

fn may_be_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::Other)
}

fn piece(file: &File, range: &Range, raw: &mut Vec<u8>) -> io::Result<Piece> {
    let start = raw.len();
    raw.resize(start + range.length as usize, 0);
    let got = fill(file, &mut raw[start..], range.offset)?;
    raw.truncate(start + got);
    let length = u32::try_from(got).unwrap_or(0);
    if range.parts.is_empty() {
        return Ok(Piece::Whole { length });
    }
    let now = parts(&raw[start..]);
    let mut changed = 0_u64;
    let mut kept = Vec::with_capacity(got);
    for (n, bytes) in raw[start..].chunks(PART).enumerate() {
        if range.parts.get(n) != now.get(n) {
            changed |= 1 << n;
            kept.extend_from_slice(bytes);
        }
    }
    raw.truncate(start);
    raw.extend_from_slice(&kept);
    Ok(Piece::Parts { length, changed })
}

fn pack(raw: Vec<u8>) -> io::Result<(Vec<u8>, bool)> {
    let mut probe = Vec::with_capacity(3 * PROBE);
    for at in [0, raw.len() / 2, raw.len().saturating_sub(PROBE)] {
        probe.extend(raw.iter().skip(at).take(PROBE));
    }
    let is_worth = |packed: usize, plain: usize| packed * 100 <= plain * WORTH;
    if raw.is_empty() || !is_worth(zstd::bulk::compress(&probe, LEVEL)?.len(), probe.len()) {
        return Ok((raw, false));
    }
    let packed = zstd::bulk::compress(&raw, LEVEL)?;
    Ok(if is_worth(packed.len(), raw.len()) { (packed, true) } else { (raw, false) })
}

/// The raw bytes of a batch as they were before they were packed.
///
/// # Errors
/// They are not what the head says.
pub(super) fn unpack(batch: &Batch, raw: Vec<u8>) -> io::Result<Vec<u8>> {
    let bytes = |p: &Piece| match p {
        Piece::Whole { length } => *length as usize,
        Piece::Parts { length, changed } => changed_bytes(*length as usize, *changed),
        Piece::Missing => 0,
    };
    let total: usize = batch.pieces.iter().map(bytes).sum();
    let plain = if total > BATCH_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    } else if batch.is_packed {
        zstd::bulk::decompress(&raw, total)?
    } else {
        raw
    };
    if plain.len() == total { Ok(plain) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Bytes of those parts of a range that differ.
fn changed_bytes(length: usize, changed: u64) -> usize {
    let count = length.div_ceil(PART);
    (0..count.min(64)).filter(|n| changed & (1 << n) != 0).map(|n| PART.min(length - n * PART)).sum()
}

/// A range put together from what was there and the parts that differ. Gives how many bytes of `parts` it took.
pub(super) fn patch(old: &[u8], length: usize, changed: u64, parts: &[u8]) -> (Vec<u8>, usize) {
    let mut new = old.to_vec();
    new.resize(length, 0);
    let mut used = 0;
    for n in (0..length.div_ceil(PART).min(64)).filter(|n| changed & (1 << n) != 0) {
        let size = PART.min(length - n * PART);
        if let Some(part) = parts.get(used..used + size) {
            new[n * PART..n * PART + size].copy_from_slice(part);
        }
        used += size;
    }
    (new, used)
}
