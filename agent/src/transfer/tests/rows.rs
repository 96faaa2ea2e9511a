//! The rows of the list of cases that are about what must arrive.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::bench::{Bench, Writer, breathe, noise, order};
use crate::transfer::Limits;

const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_state_at_rest_arrives_with_all_that_belongs_to_it() {
    let bench = Bench::new();
    let from = bench.from();
    fs::create_dir_all(from.join("a/b/c")).unwrap();
    fs::write(from.join("a/empty"), b"").unwrap();
    fs::write(from.join("a/b/small"), b"hello").unwrap();
    fs::write(from.join("a/b/c/large"), noise(1, 3 * MIB + 17)).unwrap();
    fs::write(from.join("text"), "the same again and again ".repeat(100_000)).unwrap();
    fs::write(from.join("zeros"), vec![0; 300_000]).unwrap();
    symlink("b/small", from.join("a/link")).unwrap();
    symlink("../../text", from.join("a/b/up")).unwrap();
    symlink("nowhere", from.join("dangling")).unwrap();
    fs::set_permissions(from.join("a/b/small"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(from.join("a/b/c"), fs::Permissions::from_mode(0o555)).unwrap();
    let file = File::open(from.join("text")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 5)).unwrap();
    rustix::fs::fsetxattr(&file, "user.kind", b"notes", rustix::fs::XattrFlags::empty()).unwrap();
    let progress = bench.moved(|| ()).await;
    let mut value = [0; 16];
    let got = rustix::fs::getxattr(bench.to().join("text"), "user.kind", &mut value[..]).unwrap();
    assert_eq!(&value[..got], b"notes");
    assert!(progress.sent.0 < 4 * MIB as u64, "what packs well is sent packed: {}", progress.sent);
    assert_eq!(bench.source.seal(1).await, bench.source.seal(1).await, "the same again");
    let again = crate::transfer::Source::new(bench.to(), 99);
    assert_eq!(again.seal(5).await, bench.source.seal(1).await, "whoever measures it finds the same root");
}

#[tokio::test]
async fn row_19_event_overflow_the_root_is_equal() {
    let bench = Bench::with(Limits { watch_from: 0, ..Limits::default() });
    let from = bench.from();
    for n in 0..50 {
        fs::write(from.join(format!("f{n}")), noise(n, 9_000)).unwrap();
    }
    let (at, source) = (from.clone(), Arc::clone(&bench.source));
    let writer = Writer::new(move |n| {
        OpenOptions::new().write(true).open(at.join(format!("f{}", n % 50)))?.write_all_at(&noise(n, 64), n % 8_000)?;
        // What the queue of the kernel does when it is full.
        if n % 500 == 0 {
            source.lose_hints();
        }
        if n % 50 == 0 {
            breathe(100);
        }
        Ok(())
    });
    bench.moved(|| writer.stop()).await;
}

#[tokio::test]
async fn row_20_mkdir_races_the_root_is_equal() {
    for watch_from in [0, u64::MAX] {
        let bench = Bench::with(Limits { watch_from, ..Limits::default() });
        let from = bench.from();
        fs::create_dir(from.join("keep")).unwrap();
        let outside = bench.dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let at = from.clone();
        let writer = Writer::new(move |n| {
            let dir = at.join(format!("d{}/e/f", n % 40));
            fs::create_dir_all(&dir)?;
            fs::write(dir.join(format!("x{}", n % 3)), n.to_le_bytes())?;
            if n % 7 == 0 {
                fs::remove_dir_all(at.join(format!("d{}", (n * 3) % 40))).or_else(|e| match e.kind() {
                    std::io::ErrorKind::NotFound => Ok(()),
                    _ => Err(e),
                })?;
            }
            if n % 11 == 0 {
                // A whole directory moves in: nothing says what is in it.
                let made = outside.join(format!("m{n}"));
                fs::create_dir(&made)?;
                fs::write(made.join("inner"), b"moved in")?;
                fs::rename(made, at.join(format!("keep/m{n}")))?;
            }
            breathe(1_000);
            Ok(())
        });
        bench.moved(|| writer.stop()).await;
    }
}

#[tokio::test]
async fn row_21_stores_to_mapped_memory_the_root_is_equal() {
    let bench = Bench::new();
    let path = bench.from().join("mapped");
    fs::write(&path, vec![1; 4 * MIB]).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let map = map(&file, 4 * MIB);
    let writer = Writer::new(move |n| {
        // Always the same pages, which stay dirty: most of these stores move no stamp.
        map[(n as usize % 64) * 4096 + (n as usize / 64) % 4096] = n as u8;
        if n % 1_000 == 0 {
            breathe(200);
        }
        Ok(())
    });
    bench.moved(|| writer.stop()).await;
}

#[expect(unsafe_code, reason = "a shared mapping is what is tested; the file is as long as the mapping and lives on")]
fn map(file: &File, length: usize) -> &'static mut [u8] {
    use rustix::mm::{MapFlags, ProtFlags, mmap};
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, never unmapped, and the only one in this process.
    unsafe {
        let at = mmap(std::ptr::null_mut(), length, protection, MapFlags::SHARED, file, 0).unwrap();
        std::slice::from_raw_parts_mut(at.cast(), length)
    }
}

#[tokio::test]
async fn row_21_a_store_that_moved_no_stamp_is_found_at_the_end() {
    let stamp = |path: &std::path::Path| {
        let meta = fs::metadata(path).unwrap();
        (meta.ctime(), meta.ctime_nsec(), meta.mtime(), meta.mtime_nsec())
    };
    // The kernel may write the page out just then, and the store moves a stamp after all.
    for _ in 0..50 {
        let bench = Bench::new();
        let path = bench.from().join("mapped");
        fs::write(&path, vec![1; MIB]).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let map = map(&file, MIB);
        bench.source.shared.look().unwrap();
        map[5] = 2;
        bench.source.shared.look().unwrap();
        let before = stamp(&path);
        map[6] = 3;
        let is_unseen = stamp(&path) == before;
        let root = bench.source.seal(1).await.unwrap();
        let afresh = crate::transfer::Source::new(bench.from(), 8);
        assert_eq!(afresh.seal(1).await.unwrap(), root, "the last store is in it");
        if is_unseen {
            return;
        }
    }
    panic!("no store moved no stamp: nothing was tested");
}

#[tokio::test]
async fn row_22_same_size_and_time_set_back_the_root_is_equal() {
    let bench = Bench::new();
    let path = bench.from().join("f");
    fs::write(&path, noise(1, 100_000)).unwrap();
    let mut under = bench.receive(bench.receiver(), order(1));
    under.until(|p| p.in_step).await;
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"another", 50_000).unwrap();
    file.set_modified(time).unwrap();
    let sent = under.progress.borrow().sent.0;
    let rounds = under.progress.borrow().rounds;
    under.until(|p| p.rounds > rounds + 2).await;
    let sent = under.progress.borrow().sent.0 - sent;
    assert!((4_000..20_000).contains(&sent), "one part of one block was enough: {sent} bytes");
    bench.source.seal(1).await.unwrap();
    under.end().await.1.unwrap();
    bench.assert_equal();
}

#[tokio::test]
async fn row_23_hard_links_renames_and_a_sparse_tebibyte() {
    let bench = Bench::new();
    let from = bench.from();
    fs::write(from.join("b"), noise(1, 200_000)).unwrap();
    fs::hard_link(from.join("b"), from.join("c")).unwrap();
    fs::write(from.join("log"), noise(2, 400_000)).unwrap();
    fs::write(from.join("log.1"), noise(3, 400_000)).unwrap();
    fs::create_dir(from.join("old")).unwrap();
    fs::write(from.join("old/inner"), noise(4, 500_000)).unwrap();
    let sparse = File::create(from.join("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    sparse.write_all_at(b"in the middle", (1 << 39) + 5).unwrap();
    sparse.write_all_at(b"at the end", (1 << 40) - 10).unwrap();
    let mut under = bench.receive(bench.receiver(), order(1));
    under.until(|p| p.in_step).await;
    let sent = under.progress.borrow().sent.0;
    // An earlier name of the same file; rotated logs; a renamed directory; another hole.
    fs::hard_link(from.join("b"), from.join("a")).unwrap();
    fs::rename(from.join("log.1"), from.join("log.2")).unwrap();
    fs::rename(from.join("log"), from.join("log.1")).unwrap();
    fs::write(from.join("log"), b"fresh").unwrap();
    fs::rename(from.join("old"), from.join("new")).unwrap();
    sparse.write_all_at(&[0; 13], (1 << 39) + 5).unwrap();
    sparse.write_all_at(b"elsewhere", 1 << 30).unwrap();
    let rounds = under.progress.borrow().rounds;
    under.until(|p| p.rounds > rounds + 2).await;
    let sent = under.progress.borrow().sent.0 - sent;
    assert!(sent < 100_000, "renamed files were not sent again: {sent} bytes");
    bench.source.seal(1).await.unwrap();
    under.end().await.1.unwrap();
    bench.assert_equal();
    let there = fs::metadata(bench.to().join("sparse")).unwrap();
    assert!(there.blocks() * 512 < MIB as u64, "holes are kept: {} bytes", there.blocks() * 512);
}

#[tokio::test]
async fn row_24_a_writer_that_beats_the_link_is_never_in_step_and_says_so() {
    let bench = Bench::new();
    let path = bench.from().join("grows");
    let mut file = File::create(&path).unwrap();
    let began = std::time::Instant::now();
    let writer = Writer::new(move |n| {
        // 4 MiB a second, however busy the computer is.
        while began.elapsed() < Duration::from_micros(n * 3_906) {
            breathe(200);
        }
        file.write_all(&noise(n, 16 << 10))
    });
    let mut under = bench.receive_by(bench.receiver(), order(1), super::bench::narrow(2 << 20));
    under.until(|p| p.rounds >= 2 && p.dirty.0 > MIB as u64).await;
    let progress = *under.progress.borrow();
    assert!(!progress.in_step, "{progress:?}");
    // Those who decide see why: in the time of one round more than the link carries in the hold.
    let quarter = progress.dirty.0 * 4;
    assert!(quarter > progress.rate.0, "{progress:?}");
    writer.stop();
    // Sealed all the same, it still arrives.
    let root = bench.source.seal(1).await.unwrap();
    assert_eq!(under.end().await.1.unwrap().root, root);
    bench.assert_equal();
}

#[tokio::test]
async fn files_that_are_replaced_whole_are_sent_only_where_they_differ() {
    let bench = Bench::new();
    let from = bench.from();
    let old = noise(1, 4 * MIB);
    fs::write(from.join("f"), &old).unwrap();
    let mut under = bench.receive(bench.receiver(), order(1));
    under.until(|p| p.in_step).await;
    let sent = under.progress.borrow().sent.0;
    // Written anew under another name with some bytes more at the beginning, as databases and editors do.
    let mut new = b"a few bytes more".to_vec();
    new.extend_from_slice(&old);
    fs::write(bench.dir.path().join("f.new"), &new).unwrap();
    fs::rename(bench.dir.path().join("f.new"), from.join("f")).unwrap();
    let rounds = under.progress.borrow().rounds;
    under.until(|p| p.rounds > rounds + 2).await;
    let sent = under.progress.borrow().sent.0 - sent;
    assert!(sent < 600_000, "{sent} bytes for 16 that are new");
    bench.source.seal(1).await.unwrap();
    under.end().await.1.unwrap();
    bench.assert_equal();
}

#[tokio::test]
async fn many_writers_of_every_kind_and_nothing_is_lost() {
    let bench = Bench::new();
    let from = bench.from();
    for n in 0..40 {
        fs::write(from.join(format!("f{n}")), noise(n, MIB)).unwrap();
    }
    let at = from.clone();
    let in_place = Writer::new(move |n| {
        let file = OpenOptions::new().write(true).open(at.join(format!("f{}", n % 20)))?;
        file.write_all_at(&noise(n, 4096), (n * 7919) % 250 * 4096)?;
        breathe(500);
        Ok(())
    });
    let at = from.clone();
    let whole = Writer::new(move |n| {
        fs::write(at.join("tmp"), noise(n, 300_000 + (n as usize % 1000)))?;
        fs::rename(at.join("tmp"), at.join(format!("f{}", 20 + n % 10)))?;
        breathe(5_000);
        Ok(())
    });
    let mut log = File::create(from.join("log")).unwrap();
    let append = Writer::new(move |n| {
        log.write_all(format!("line {n}\n").as_bytes())?;
        if n % 5_000 == 4_999 {
            log.set_len(0)?;
            std::io::Seek::rewind(&mut log)?;
        }
        breathe(50);
        Ok(())
    });
    let acknowledged = Arc::clone(&append.count);
    bench
        .moved(move || {
            in_place.stop();
            whole.stop();
            append.stop();
        })
        .await;
    let last = acknowledged.load(Ordering::Relaxed) - 1;
    let log = fs::read_to_string(bench.to().join("log")).unwrap();
    assert!(last % 5_000 == 4_999 || log.ends_with(&format!("line {last}\n")), "the last line is there");
}
