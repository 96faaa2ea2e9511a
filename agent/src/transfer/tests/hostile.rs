//! Row 27 and the hazards behind it: trees and peers that mean harm.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use chandler_protocol::transfer::{
    Ask, Batch, Content, Cut, Entry, Kind, Looked, Piece, Range, Refusal, Run, Say, Xattr,
};
use chandler_protocol::{Bytes, Digest, Micros};
use tokio::io::DuplexStream;

use super::bench::{Bench, connect, noise, order};
use crate::transfer::wire::Wire;
use crate::transfer::{ReceiveError, Receiver, TreeError};

fn entry(path: &str, kind: Kind) -> Entry {
    Entry {
        id: 1,
        path: path.as_bytes().to_vec(),
        mode: 0o644,
        owner: None,
        mtime: (0, 0),
        inode: 1,
        xattrs: Vec::new(),
        kind,
    }
}

fn directory(path: &str) -> Entry {
    entry(path, Kind::Directory)
}

fn file(path: &str, size: u64, runs: &[(u32, u32)]) -> Entry {
    let count = runs.iter().map(|r| r.1 as usize).sum();
    let runs = runs.iter().map(|(first, count)| Run { first: *first, count: *count }).collect();
    entry(path, Kind::File(Content { size, runs, digests: vec![Digest([7; 32]); count] }))
}

fn link(path: &str, target: &str) -> Entry {
    entry(path, Kind::Symlink { target: target.as_bytes().to_vec() })
}

/// A source that says what it is told to, whatever it is asked.
async fn speak(stream: DuplexStream, script: Arc<Vec<Say>>) {
    let mut wire = Wire::new(stream);
    while let Ok(Some(ask)) = wire.next::<Ask>().await {
        match ask {
            Ask::Await => std::future::pending().await,
            Ask::Look { .. } => {
                for say in script.iter() {
                    if wire.send(say).await.is_err() {
                        return;
                    }
                }
            }
            Ask::Fetch { ranges } => {
                let length = ranges[0].length + 5;
                let pieces = ranges.iter().map(|_| Piece::Whole { length }).collect();
                let raw = vec![1; length as usize * ranges.len()];
                let batch = Batch { pieces, is_packed: false, length: raw.len() as u32 };
                let _ = wire.send_with(&Say::Batch(batch), &raw).await;
            }
            Ask::Cuts { .. } => {
                let cuts = vec![Cut { length: u32::MAX, digest: Digest([0; 32]) }];
                let _ = wire.send(&Say::Cuts { cuts, is_last: true }).await;
            }
        }
    }
}

fn tree(entries: Vec<Entry>) -> Vec<Say> {
    let count = entries.len() as u64;
    vec![Say::Looking { tree: 1, is_change: false }, Say::Entries(entries), looked(count)]
}

fn looked(entries: u64) -> Say {
    Say::Looked(Looked {
        generation: 1,
        entries,
        size: Bytes(0),
        took: Micros(0),
        skipped: 0,
        sealed: Some(Digest([9; 32])),
    })
}

/// What a receiver makes of it. Nothing beside its own directory may have changed.
async fn receive(script: Vec<Say>) -> ReceiveError {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("victim"), b"untouched").unwrap();
    let mut receiver = Receiver::new(dir.path().join("target"), dir.path().join("journal"));
    let script = Arc::new(script);
    let open = || {
        let (near, far) = tokio::io::duplex(1 << 20);
        tokio::spawn(speak(far, Arc::clone(&script)));
        async move { Ok(near) }
    };
    let received = receiver.run(&order(1), open, |_| ()).await;
    assert_eq!(fs::read(dir.path().join("victim")).unwrap(), b"untouched");
    let mut beside: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    beside.retain(|n| n != "journal");
    beside.sort();
    assert_eq!(beside, ["target", "victim"], "nothing outside");
    received.unwrap_err()
}

#[tokio::test]
async fn row_27_trees_that_mean_harm_are_refused_before_anything_is_made() {
    let deep = "d/".repeat(64) + "x";
    let long = "x".repeat(256);
    let xattr = |name: &str| Xattr { name: name.as_bytes().to_vec(), value: vec![1] };
    let with = |entry: Entry, xattrs: Vec<Xattr>| Entry { xattrs, ..entry };
    let cases: Vec<(&str, Vec<Entry>)> = vec![
        ("climbs", vec![file("../victim", 0, &[])]),
        ("climbs later", vec![directory("a"), file("a/../../victim", 0, &[])]),
        ("absolute", vec![file("/etc/victim", 0, &[])]),
        ("empty name", vec![file("a//b", 0, &[])]),
        ("no name", vec![file("", 0, &[])]),
        ("NUL", vec![file("a\0b", 0, &[])]),
        ("long name", vec![file(&long, 0, &[])]),
        ("too deep", vec![file(&deep, 0, &[])]),
        ("twice", vec![file("a", 0, &[]), directory("a"), file("A", 0, &[])]),
        ("case", vec![file("readme", 0, &[]), file("README", 0, &[])]),
        ("through a link", vec![link("evil", "."), file("evil/passwd", 0, &[])]),
        ("through a file", vec![file("evil", 0, &[]), file("evil/passwd", 0, &[])]),
        ("in nothing", vec![file("evil/passwd", 0, &[])]),
        ("link out", vec![link("evil", "../victim")]),
        ("link to root", vec![link("evil", "/etc/passwd")]),
        ("link out by a detour", vec![directory("a"), link("a/evil", "b/../../../victim")]),
        ("setuid", vec![Entry { mode: 0o4755, ..file("evil", 0, &[]) }]),
        ("setgid", vec![Entry { mode: 0o2755, ..directory("evil") }]),
        ("security attribute", vec![with(file("a", 0, &[]), vec![xattr("security.capability")])]),
        ("trusted attribute", vec![with(file("a", 0, &[]), vec![xattr("trusted.overlay.opaque")])]),
        ("attributes out of order", vec![with(file("a", 0, &[]), vec![xattr("user.b"), xattr("user.a")])]),
        ("blocks beyond the end", vec![file("a", 10, &[(1, 1)])]),
        ("blocks twice", vec![file("a", 1 << 20, &[(1, 1), (1, 1)])]),
        ("endless file", vec![file("a", u64::MAX, &[])]),
        ("link to a directory", vec![directory("a"), entry("b", Kind::HardLink { to: b"a".to_vec() })]),
        ("link to nothing", vec![entry("b", Kind::HardLink { to: b"a".to_vec() })]),
        ("link outside", vec![entry("b", Kind::HardLink { to: b"../victim".to_vec() })]),
        ("link to a link", {
            let to = |t: &str| Kind::HardLink { to: t.as_bytes().to_vec() };
            vec![entry("a", to("b")), entry("b", to("a"))]
        }),
    ];
    for (name, entries) in cases {
        let error = receive(tree(entries)).await;
        assert!(matches!(error, ReceiveError::Refused { .. }), "{name}: {error:?}");
        assert!(!error.is_passing(), "{name}: trying again does not help");
    }
}

#[tokio::test]
async fn row_27_peers_that_do_not_keep_to_the_rules_are_refused() {
    let looking = |is_change| Say::Looking { tree: 1, is_change };
    let more = |count: usize| Say::More {
        runs: vec![Run { first: 0, count: count as u32 }],
        digests: vec![Digest([1; 32]); count],
    };
    let endless = Run { first: 0, count: u32::MAX };
    let cases: Vec<(&str, Vec<Say>)> = vec![
        ("no beginning", vec![Say::Entries(vec![directory("a")]), looked(1)]),
        ("changes of nothing", vec![looking(true), Say::Entries(vec![directory("a")]), looked(1)]),
        ("wrong count", vec![looking(false), Say::Entries(vec![directory("a")]), looked(2)]),
        ("blocks of a directory", vec![looking(false), Say::Entries(vec![directory("a")]), more(1), looked(1)]),
        ("blocks of nothing", vec![looking(false), more(1), looked(0)]),
        ("blocks without end", vec![looking(false), Say::Entries(vec![file("a", 100, &[])]), more(9), looked(1)]),
        (
            "a run without hashes",
            vec![
                looking(false),
                Say::Entries(vec![file("a", 1 << 40, &[])]),
                Say::More { runs: vec![endless], digests: Vec::new() },
                looked(1),
            ],
        ),
        ("an answer to nothing", vec![Say::Cuts { cuts: Vec::new(), is_last: true }]),
        ("more than was asked for", tree(vec![file("a", 100, &[(0, 1)])])),
    ];
    for (name, script) in cases {
        let error = receive(script).await;
        assert!(matches!(error, ReceiveError::Refused { .. }), "{name}: {error:?}");
    }
    let refused =
        receive(vec![Say::Refused { why: Refusal::Tree, message: "a \u{1b}[31mred\u{202e} lie".into() }]).await;
    assert_eq!(refused, ReceiveError::Refused { path: String::new(), why: "a [31mred lie".into() });
    let other = receive(tree(vec![directory("a")])).await;
    assert_eq!(other, ReceiveError::Differs, "a root that is not that of the tree");
}

#[tokio::test]
async fn row_27_a_source_refuses_links_out_and_leaves_out_what_is_no_file() {
    let bench = Bench::new();
    let from = bench.from();
    fs::write(from.join("f"), noise(1, 10_000)).unwrap();
    fs::set_permissions(from.join("f"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::write(bench.dir.path().join("secret"), b"secret").unwrap();
    fs::hard_link(bench.dir.path().join("secret"), from.join("linked")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, from.join("fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
    if rustix::process::geteuid().is_root() {
        let null = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(rustix::fs::CWD, from.join("null"), rustix::fs::FileType::CharacterDevice, mode, null)
            .unwrap();
    }
    let mut under = bench.receive(bench.receiver(), order(1));
    under.until(|p| p.in_step).await;
    bench.source.seal(1).await.unwrap();
    under.end().await.1.unwrap();
    let mut names: Vec<_> = fs::read_dir(bench.to()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["f", "linked"]);
    assert_eq!(fs::metadata(bench.to().join("f")).unwrap().permissions().mode() & 0o7777, 0o755);
    bench.source.unseal();
    for (target, at) in [("/etc/passwd", "evil"), ("..", "evil"), ("a/../../..", "evil")] {
        symlink(target, from.join(at)).unwrap();
        let sealed = bench.source.seal(2).await;
        assert!(matches!(&sealed, Err(TreeError::Refused { path, .. }) if path == at), "{target}: {sealed:?}");
        fs::remove_file(from.join(at)).unwrap();
    }
    fs::write(from.join("F"), b"").unwrap();
    let sealed = bench.source.seal(2).await;
    assert!(matches!(&sealed, Err(TreeError::Refused { why, .. }) if why.contains("case")), "{sealed:?}");
}

#[tokio::test]
async fn row_27_links_planted_at_the_target_are_not_followed() {
    for is_inside in [false, true] {
        let bench = Bench::new();
        for dir in ["d", "e"] {
            fs::create_dir(bench.from().join(dir)).unwrap();
            fs::write(bench.from().join(dir).join("f"), b"as it was").unwrap();
        }
        let outside = bench.dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("f"), b"as it was").unwrap();
        let mut under = bench.receive(bench.receiver(), order(1));
        under.until(|p| p.in_step).await;
        let victim = if is_inside { bench.to().join("e") } else { outside };
        fs::remove_dir_all(bench.to().join("d")).unwrap();
        symlink(if is_inside { "e".as_ref() } else { victim.as_path() }, bench.to().join("d")).unwrap();
        fs::write(bench.from().join("d/f"), b"more from the source").unwrap();
        bench.source.seal(1).await.unwrap();
        let received = under.end().await.1;
        assert!(received.is_err(), "{received:?}");
        assert_eq!(fs::read(victim.join("f")).unwrap(), b"as it was");
    }
}

#[tokio::test]
async fn a_receiver_that_asks_nonsense_is_told_so_and_gets_nothing() {
    let bench = Bench::new();
    fs::write(bench.from().join("f"), noise(1, 100_000)).unwrap();
    let range = |offset, length, parts| Range { file: 1, offset, length, parts };
    for ranges in [
        Vec::new(),
        vec![range(0, 0, Vec::new())],
        vec![range(0, u32::MAX, Vec::new())],
        vec![range(u64::MAX, 10, Vec::new())],
        vec![range(0, 65_536, vec![0; 3])],
        vec![range(0, 65_536, Vec::new()); 65],
        vec![range(0, 256 << 10, Vec::new()); 17],
    ] {
        let mut wire = Wire::new(connect(&bench.source, 1));
        wire.send(&Ask::Fetch { ranges }).await.unwrap();
        let said = wire.next::<Say>().await.unwrap();
        assert!(matches!(said, Some(Say::Refused { why: Refusal::Asked, .. })), "{said:?}");
        assert_eq!(wire.next::<Say>().await.unwrap(), None);
    }
    // A number that no file has.
    let mut wire = Wire::new(connect(&bench.source, 1));
    let unknown = Range { file: 999, offset: 0, length: 10, parts: Vec::new() };
    wire.send(&Ask::Fetch { ranges: vec![unknown] }).await.unwrap();
    let said = wire.next::<Say>().await.unwrap();
    assert!(matches!(said, Some(Say::Batch(Batch { pieces, length: 0, .. })) if pieces == [Piece::Missing]));
}
