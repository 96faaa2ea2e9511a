//! The trace: when each of some real desktop PCs was there, hour by hour (Bolosky et al., SIGMETRICS 2000).

use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use lzma_rust2::XzReader;

use super::draw::Draw;

/// Length of the trace in seconds: four weeks.
pub(super) const LENGTH: i64 = 28 * 86_400;
/// No line is that long: there would be more stretches than hours.
const STRETCHES_MAX: usize = 1_000;

/// One PC.
#[derive(Debug, Clone)]
pub(super) struct Pc {
    /// Its number in the trace.
    pub number: u32,
    /// When it was up: from and until, in seconds from the beginning. Rising, none empty.
    pub up: Vec<(i64, i64)>,
}

/// Draws so many PCs out of all that were up at least once, each as probable as any other.
pub(super) fn choose(count: usize, draw: &mut Draw) -> anyhow::Result<Vec<Pc>> {
    let mut all = read()?;
    all.retain(|pc| !pc.up.is_empty());
    ensure!(all.len() >= count, "the trace has {} PCs that were ever up, {count} are needed", all.len());
    // The first `count` steps of a shuffle.
    for place in 0..count {
        let left = u64::try_from(all.len() - place)?;
        all.swap(place, place + usize::try_from(draw.below(left))?);
    }
    all.truncate(count);
    all.sort_by_key(|pc| pc.number);
    Ok(all)
}

fn read() -> anyhow::Result<Vec<Pc>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this crate has a folder")?;
    let path = root.join("../shared/data/availability/desktop_pcs_weeks1-4.avt.xz");
    let file = std::fs::File::open(&path).with_context(|| format!("the trace is not there: {}", path.display()))?;
    let lines = BufReader::new(XzReader::new(BufReader::new(file), false)).lines();
    lines.enumerate().map(|(n, line)| pc(&line?).with_context(|| format!("line {} of the trace", n + 1))).collect()
}

/// A line: number, count of stretches, and as many pairs of seconds.
fn pc(line: &str) -> anyhow::Result<Pc> {
    let numbers: Vec<i64> = line.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [number, count, times @ ..] = numbers.as_slice() else { bail!("it has no number of stretches") };
    let count = usize::try_from(*count)?;
    ensure!(count <= STRETCHES_MAX && times.len() == count * 2, "{count} stretches are announced");
    let is_in_order = times.windows(2).all(|pair| pair[0] < pair[1]);
    ensure!(is_in_order && times.iter().all(|t| (0..=LENGTH).contains(t)), "its times are out of order");
    let up = times.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    Ok(Pc { number: u32::try_from(*number)?, up })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_pairs_of_rising_times() {
        let found = pc("6 2 0 3600 7200 2419200").unwrap();
        assert_eq!((found.number, found.up), (6, vec![(0, 3_600), (7_200, LENGTH)]));
        assert_eq!(pc("7 0").unwrap().up, []);
        for wrong in
            ["", "6", "6 1 0", "6 2 0 3600", "6 1 3600 0", "6 1 5 5", "6 1 -1 5", "6 1 0 2419201", "6 -1", "x 0"]
        {
            assert!(pc(wrong).is_err(), "{wrong:?}");
        }
    }
}
