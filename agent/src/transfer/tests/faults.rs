//! Broken streams, full disks, ends at any moment.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::bench::{Bench, Writer, breathe, noise, order, picture, slowed};
use crate::transfer::{Limits, ReceiveError, Receiver, Source, TreeError};

const MIB: usize = 1 << 20;

/// A stream that does harm to what comes through it.
struct Harmed {
    inner: DuplexStream,
    /// Bytes until it happens, over all streams.
    until: Arc<AtomicI64>,
    what: Harm,
}

#[derive(Clone, Copy)]
enum Harm {
    /// Each block that comes through later is another one, as often.
    Flip(u64),
    /// The stream breaks.
    Break,
}

impl AsyncRead for Harmed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let got = buf.filled().len() - before;
        let left = self.until.fetch_sub(got as i64, Ordering::Relaxed);
        match self.what {
            Harm::Break if left < got as i64 => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            // Long reads are raw bytes: nothing but their hash shows the harm.
            Harm::Flip(_) if got > 8 << 10 && left < got as i64 => {
                let filled = buf.filled_mut();
                let middle = before + got / 2;
                filled[middle] ^= 1;
                let Harm::Flip(every) = self.what else { return polled };
                self.until.store(every as i64, Ordering::Relaxed);
            }
            _ => {}
        }
        polled
    }
}

impl AsyncWrite for Harmed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

fn harm(after: i64, what: Harm) -> impl Fn(DuplexStream) -> Harmed + Send + Sync + 'static {
    let until = Arc::new(AtomicI64::new(after));
    move |inner| Harmed { inner, until: Arc::clone(&until), what }
}

#[tokio::test]
async fn row_26_a_flipped_bit_is_fetched_again() {
    let bench = Bench::new();
    fs::write(bench.from().join("f"), noise(1, 4 * MIB)).unwrap();
    let root = bench.source.seal(1).await.unwrap();
    let under = bench.receive_by(bench.receiver(), order(1), harm(MIB as i64, Harm::Flip(u64::MAX >> 2)));
    assert_eq!(under.end().await.1.unwrap().root, root);
    bench.assert_equal();
}

#[tokio::test]
async fn row_26_a_stream_that_always_flips_bits_is_refused_and_the_source_can_go_on() {
    let bench = Bench::new();
    fs::write(bench.from().join("f"), noise(1, 4 * MIB)).unwrap();
    let before = picture(&bench.from());
    bench.source.seal(1).await.unwrap();
    let under = bench.receive_by(bench.receiver(), order(1), harm(0, Harm::Flip(0)));
    let (receiver, received) = under.end().await;
    assert_eq!(received, Err(ReceiveError::Damaged { path: "f".into() }));
    assert_eq!(picture(&bench.from()), before);
    // A better way, and it arrives: with what is here already.
    assert_eq!(bench.receive(receiver, order(1)).end().await.1.map(|r| r.attempt), Ok(1));
    bench.assert_equal();
}

#[tokio::test]
async fn row_26_a_broken_stream_is_no_refusal_and_the_rest_comes_later() {
    let bench = Bench::new();
    for n in 0..20 {
        fs::write(bench.from().join(format!("f{n}")), noise(n, MIB)).unwrap();
    }
    let under = bench.receive_by(bench.receiver(), order(1), harm(12 * MIB as i64, Harm::Break));
    let (receiver, received) = under.end().await;
    assert!(matches!(received, Err(ReceiveError::Unreachable(_))), "{received:?}");
    assert!(received.is_err_and(|e| e.is_passing()));
    let mut under = bench.receive(receiver, order(1));
    under.until(|p| p.rounds == 1).await;
    let sent = under.progress.borrow().sent.0;
    assert!(sent < 14 * MIB as u64, "what was here was not sent again: {sent}");
    let root = bench.source.seal(1).await.unwrap();
    assert_eq!(under.end().await.1.unwrap().root, root);
    bench.assert_equal();
}

#[tokio::test]
async fn row_26_a_file_that_was_cut_short_behind_our_back_is_noticed() {
    let bench = Bench::new();
    fs::write(bench.from().join("f"), noise(1, MIB)).unwrap();
    bench.source.seal(1).await.unwrap();
    // Somebody does what nobody may.
    fs::File::options().write(true).open(bench.from().join("f")).unwrap().set_len(700_000).unwrap();
    let under = bench.receive(bench.receiver(), order(1));
    assert_eq!(under.end().await.1, Err(ReceiveError::Damaged { path: "f".into() }));
}

#[tokio::test]
async fn row_28_ended_at_any_moment_it_goes_on_and_what_was_told_is_there() {
    let bench = Bench::new();
    for n in 0..30 {
        fs::write(bench.from().join(format!("f{n}")), noise(n, 300_000)).unwrap();
    }
    let from = bench.from();
    let writer = Writer::new(move |n| {
        let file = fs::File::options().write(true).open(from.join(format!("f{}", n % 30)))?;
        file.write_all_at(&noise(n, 5_000), n * 13 % 290_000)?;
        if n % 9 == 0 {
            fs::rename(from.join("f1"), from.join("f0"))?;
            fs::write(from.join("f1"), noise(n, 280_000 + n as usize % 30_000))?;
        }
        breathe(300);
        Ok(())
    });
    let mut receiver = bench.receiver();
    for cut in 0..25_u64 {
        let under = bench.receive(receiver, order(1));
        tokio::time::sleep(Duration::from_millis(cut * cut % 60)).await;
        under.task.abort();
        receiver = match under.task.await {
            Ok((receiver, received)) => panic!("it ended by itself: {received:?} {receiver:?}"),
            // As after kill -9: nothing is remembered but what is on the disk.
            Err(_) => bench.receiver(),
        };
    }
    writer.stop();
    let root = bench.source.seal(1).await.unwrap();
    assert_eq!(bench.receive(receiver, order(1)).end().await.1.unwrap().root, root);
    bench.assert_equal();
    assert_eq!(Source::new(bench.to(), 3).seal(1).await.unwrap(), root, "it reads back as what was told");
}

#[tokio::test]
async fn what_was_noted_saves_reading_and_is_never_believed_against_the_files() {
    for damage in ["the note", "a file", "nothing"] {
        let bench = Bench::new();
        for n in 0..5 {
            fs::write(bench.from().join(format!("f{n}")), noise(n, MIB)).unwrap();
        }
        let journal = bench.dir.path().join("journal");
        let under = bench.receive(bench.receiver(), order(1));
        let noted = || {
            let mut tree = crate::transfer::tree::Tree::new(Arc::default());
            crate::transfer::journal::recall(&journal, &mut tree);
            tree.nodes.len()
        };
        // All files that have come to rest.
        while noted() < 5 {
            assert!(!under.task.is_finished(), "it ended before it noted anything");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        under.task.abort();
        assert!(under.task.await.is_err());
        match damage {
            "the note" => {
                let mut bytes = fs::read(&journal).unwrap();
                bytes[200] ^= 1;
                fs::write(&journal, bytes).unwrap();
            }
            "a file" => {
                fs::File::options().write(true).open(bench.to().join("f3")).unwrap().write_all_at(b"x", 9).unwrap();
            }
            _ => {}
        }
        let root = bench.source.seal(1).await.unwrap();
        let mut under = bench.receive(bench.receiver(), order(1));
        under.until(|p| p.size.0 > 0).await;
        assert_eq!(under.end().await.1.unwrap().root, root, "{damage}");
        bench.assert_equal();
    }
}

#[tokio::test]
async fn a_run_that_was_dropped_goes_on_in_the_same_receiver() {
    let bench = Bench::new();
    fs::write(bench.from().join("f"), noise(1, 8 * MIB)).unwrap();
    let source = Arc::clone(&bench.source);
    let mut receiver = bench.receiver();
    let sent = AtomicU64::new(0);
    for micros in [1, 100, 3_000, 10_000, 20_000, 40_000] {
        let open = || {
            let stream = super::bench::connect(&source, 1);
            async move { Ok(stream) }
        };
        let slow = slowed(1, 64 * MIB as u64);
        let run = receiver.run(&slow, open, |p| sent.store(p.sent.0, Ordering::Relaxed));
        let _ = tokio::time::timeout(Duration::from_micros(micros), run).await;
        receiver.settled().await;
    }
    let root = bench.source.seal(1).await.unwrap();
    assert_eq!(bench.receive(receiver, order(1)).end().await.1.unwrap().root, root);
    bench.assert_equal();
}

/// A file system of its own that goes away with it.
struct Small(std::path::PathBuf);

impl Small {
    fn new(at: &std::path::Path, bytes: usize) -> Self {
        fs::create_dir_all(at).unwrap();
        let size = std::ffi::CString::new(format!("size={bytes}")).unwrap();
        mount("tmpfs", at, "tmpfs", MountFlags::NODEV, Some(size.as_c_str())).unwrap();
        Self(at.to_owned())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn row_29_a_full_disk_at_the_target_leaves_the_source_alone() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let bench = Bench::new();
    fs::write(bench.from().join("f"), noise(1, 6 * MIB)).unwrap();
    let before = picture(&bench.from());
    let small = Small::new(&bench.dir.path().join("small"), 4 * MIB);
    let receiver = || Receiver::new(small.0.join("target"), small.0.join("journal"));
    let (receiver, received) = bench.receive(receiver(), order(1)).end().await;
    assert!(matches!(&received, Err(ReceiveError::DiskFull { path }) if path.ends_with("target")), "{received:?}");
    // It was enough when it began, and is not any more.
    let slow = slowed(1, 4 * MIB as u64);
    fs::write(bench.from().join("f"), noise(1, 3 * MIB)).unwrap();
    let mut under = bench.receive(receiver, slow);
    under.until(|p| p.done.0 > 0).await;
    let _ = fs::write(small.0.join("hog"), noise(2, 4 * MIB));
    let (receiver, received) = under.end().await;
    assert!(matches!(received, Err(ReceiveError::DiskFull { .. })), "{received:?}");
    // There is room again.
    fs::remove_file(small.0.join("hog")).unwrap();
    let root = bench.source.seal(1).await.unwrap();
    assert_eq!(bench.receive(receiver, order(1)).end().await.1.unwrap().root, root);
    assert_eq!(picture(&small.0.join("target")), picture(&bench.from()));
    assert_ne!(picture(&bench.from()), before, "only what this test itself wrote");
}

#[tokio::test]
async fn another_file_system_inside_the_state_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let bench = Bench::new();
    let _small = Small::new(&bench.from().join("d/mounted"), MIB);
    let refused = bench.source.seal(1).await;
    assert!(matches!(&refused, Err(TreeError::Refused { path, .. }) if path == "d/mounted"), "{refused:?}");
    let received = bench.receive(bench.receiver(), order(1)).end().await.1;
    assert!(matches!(&received, Err(ReceiveError::Refused { why, .. }) if why.contains("d/mounted")), "{received:?}");
}

#[tokio::test]
async fn another_attempt_is_refused_and_an_unsealed_source_goes_on() {
    let bench = Bench::new();
    fs::write(bench.from().join("f"), b"one").unwrap();
    let mut old = bench.receive(bench.receiver(), order(1));
    old.until(|p| p.in_step).await;
    let two = bench.source.seal(2).await.unwrap();
    let received = old.end().await.1;
    assert!(matches!(received, Err(ReceiveError::SourceRefuses(_))), "{received:?}");
    bench.source.unseal();
    fs::write(bench.from().join("f"), b"three").unwrap();
    let mut under = bench.receive(bench.receiver(), order(3));
    under.until(|p| p.in_step).await;
    let three = bench.source.seal(3).await.unwrap();
    assert_ne!(two, three);
    assert_eq!(under.end().await.1.unwrap().root, three);
    bench.assert_equal();
}

#[tokio::test]
async fn something_that_still_writes_to_a_sealed_state_is_named() {
    let bench = Bench::new();
    let path = bench.from().join("busy");
    fs::write(&path, noise(1, 16 * MIB)).unwrap();
    let writer = Writer::new(move |n| fs::File::options().write(true).open(&path)?.write_all_at(&[n as u8], n % 1000));
    // A writer that does not come to run for a while is none.
    let mut sealed = Ok(chandler_protocol::Digest([0; 32]));
    for attempt in 1..50 {
        sealed = bench.source.seal(attempt).await;
        if sealed.is_err() {
            break;
        }
    }
    writer.stop();
    assert_eq!(sealed, Err(TreeError::Changing { path: "busy".into() }));
    assert!(bench.source.seal(99).await.is_ok());
}

#[tokio::test]
async fn the_last_round_is_not_slowed() {
    let bench = Bench::new();
    fs::write(bench.from().join("f"), noise(1, 8 * MIB)).unwrap();
    let mut under = bench.receive(bench.receiver(), slowed(1, 100_000));
    under.until(|p| p.done.0 > 0).await;
    let began = std::time::Instant::now();
    bench.source.seal(1).await.unwrap();
    under.end().await.1.unwrap();
    assert!(began.elapsed() < Duration::from_secs(40), "at 100 kB/s it would take 80 s: {:?}", began.elapsed());
    bench.assert_equal();
}

#[tokio::test]
async fn caps_are_said_by_name_on_both_sides() {
    let tight = Limits { entries: 10, file: 1 << 20, data: 1 << 21, ..Limits::default() };
    let check = |make: fn(&std::path::Path), word: &'static str| async move {
        let loose = Bench::new();
        make(&loose.from());
        let receiver = Receiver::with(loose.to(), loose.dir.path().join("j"), tight);
        let received = loose.receive(receiver, order(1)).end().await.1;
        assert!(matches!(&received, Err(ReceiveError::Refused { why, .. }) if why.contains(word)), "{received:?}");
        let source = Source::with(loose.from(), 1, tight, None);
        let sealed = source.seal(1).await;
        assert!(matches!(&sealed, Err(TreeError::Refused { why, .. }) if why.contains(word)), "{sealed:?}");
    };
    check(|d| (0..11).for_each(|n| fs::write(d.join(format!("f{n}")), b"").unwrap()), "10 entries").await;
    check(|d| fs::File::create(d.join("f")).unwrap().set_len(1 << 30).unwrap(), "larger than").await;
    check(|d| (0..5).for_each(|n| fs::write(d.join(format!("f{n}")), noise(n, 600_000)).unwrap()), "larger than").await;
}
