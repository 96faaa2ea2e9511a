//! How long things take; printed, not judged: other work goes on beside tests. For numbers worth keeping:
//! `cargo test --release -p chandler-agent --lib transfer::tests::speed -- --nocapture --test-threads 1`, with
//! `TRANSFER_MIB=1024` for the size that the promises are about.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::bench::{Bench, Writer, breathe, noise, order};

const MIB: usize = 1 << 20;

/// Size of the state in MiB.
fn size() -> usize {
    std::env::var("TRANSFER_MIB").ok().and_then(|v| v.parse().ok()).unwrap_or(32)
}

/// Time that this process had a processor.
fn cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}

fn fill(bench: &Bench, files: usize, each: usize) {
    for n in 0..files {
        fs::write(bench.from().join(format!("f{n}")), noise(n as u64, each)).unwrap();
    }
}

/// Moves a state of which 2 % are rewritten each second, `write` bytes at a time, and prints how that went.
async fn under_load(name: &str, files: usize, write: usize) {
    let bench = Bench::new();
    let each = size() * MIB / files;
    fill(&bench, files, each);
    let from = bench.from();
    let open: Vec<_> =
        (0..files).map(|n| OpenOptions::new().write(true).open(from.join(format!("f{n}"))).unwrap()).collect();
    let (total, began) = (files * each, Instant::now());
    let writer = Writer::new(move |n| {
        let due = Duration::from_secs_f64(n as f64 * write as f64 / (total as f64 * 0.02));
        while began.elapsed() < due {
            breathe(100);
        }
        let place = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11;
        let at = place % (total / write) as u64 * write as u64;
        open[at as usize / each].write_all_at(&noise(n, write), at % each as u64)
    });
    let (began, start) = (Instant::now(), cpu());
    let mut under = bench.receive(bench.receiver(), order(1));
    under.until(|p| p.rounds >= 1).await;
    let (first, first_cpu) = (began.elapsed(), cpu() - start);
    under.until(|p| p.in_step).await;
    let in_step = began.elapsed();
    let rounds = under.progress.borrow().rounds;
    under.until(|p| p.rounds > rounds + 3).await;
    writer.stop();
    let before = *under.progress.borrow();
    let sealing = Instant::now();
    let busy = cpu();
    bench.source.seal(1).await.unwrap();
    let sealed = sealing.elapsed();
    under.end().await.1.unwrap();
    let (hold, busy) = (sealing.elapsed(), cpu() - busy);
    bench.assert_equal();
    let rate = total as f64 / first.as_secs_f64() / MIB as f64;
    let ratio = before.sent.0 as f64 / total as f64;
    println!(
        "{name}: first round {first:.0?} ({rate:.0} MiB/s, {first_cpu:.1?} of processor), in step after {in_step:.0?}, {} rounds, dirty {}, took {}, \
         sent/state {ratio:.2}, sealed in {sealed:.1?}, verified in {hold:.1?} ({busy:.1?} of processor)",
        before.rounds, before.dirty, before.took
    );
}

#[tokio::test]
async fn many_files_rewritten_in_large_pieces() {
    under_load("256 files, 64 KiB writes", 256, 64 << 10).await;
}

#[tokio::test]
async fn many_files_rewritten_in_pages() {
    under_load("256 files, 4 KiB writes", 256, 4 << 10).await;
}

#[tokio::test]
async fn one_file_rewritten_in_pages() {
    under_load("one file, 4 KiB writes", 1, 4 << 10).await;
}

#[tokio::test]
async fn a_sealed_tree_with_five_dirty_files() {
    let bench = Bench::new();
    let each = size() * MIB / 256;
    fill(&bench, 256, each);
    let mut under = bench.receive(bench.receiver(), order(1));
    under.until(|p| p.in_step && p.dirty.0 == 0).await;
    let rounds = under.progress.borrow().rounds;
    under.until(|p| p.rounds > rounds + 1).await;
    for n in 0..5 {
        fs::write(bench.from().join(format!("f{n}")), noise(1000 + n, each)).unwrap();
    }
    let sealing = Instant::now();
    bench.source.seal(1).await.unwrap();
    let sealed = sealing.elapsed();
    under.end().await.1.unwrap();
    println!("256 files, 5 of them dirty: sealed in {sealed:.1?}, verified in {:.1?}", sealing.elapsed());
    bench.assert_equal();
}

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn many_small_files() {
    let bench = Bench::new();
    let count = std::env::var("TRANSFER_FILES").ok().and_then(|v| v.parse().ok()).unwrap_or(1_000_u64);
    for n in 0..count {
        let dir = bench.from().join(format!("directory-{}", n / 500));
        if n % 500 == 0 {
            fs::create_dir(&dir).unwrap();
        }
        fs::write(dir.join(format!("a-file-with-a-name-{n}")), n.to_le_bytes()).unwrap();
    }
    let (before, began) = (resident(), Instant::now());
    let mut under = bench.receive(bench.receiver(), order(1));
    under.until(|p| p.rounds >= 1).await;
    let first = began.elapsed();
    under.until(|p| p.rounds >= 4).await;
    let (sealing, last) = (Instant::now(), *under.progress.borrow());
    bench.source.seal(1).await.unwrap();
    let sealed = sealing.elapsed();
    let (receiver, received) = under.end().await;
    received.unwrap();
    println!(
        "{count} files: first round {first:.1?}, a round in which nothing changed {}, sealed in {sealed:.1?}, verified in \
         {:.1?}; {} bytes of memory for each, both ends together",
        last.took,
        sealing.elapsed(),
        resident().saturating_sub(before) * 1024 / count
    );
    drop(receiver);
}
