//! Archives as an attacker would make them, each refused as a whole.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// A header that says whatever it is told, checksum and all.
fn entry(name: &str, kind: EntryType, link: &str, mode: u32, body: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    let raw = header.as_old_mut();
    raw.name[..name.len()].copy_from_slice(name.as_bytes());
    raw.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(body.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(name: &str) -> Vec<u8> {
    entry(name, EntryType::Regular, "", 0o644, b"x")
}

fn link(name: &str, target: &str) -> Vec<u8> {
    entry(name, EntryType::Symlink, target, 0o777, b"")
}

fn run(entries: &[Vec<u8>]) -> (tempfile::TempDir, Result<(), UnpackError>) {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = entries.concat();
    bytes.extend([0; 1_024]);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let result = unpack(&file, bytes.len() as u64, &dir.path().join("to"));
    (dir, result)
}

#[test]
fn hostile_archives_are_refused() {
    let device = |kind| entry("dev", kind, "", 0o644, b"");
    let mut lying = file("a");
    lying[124..136].copy_from_slice(b"77777777777\0");
    let mut header = tar::Header::from_byte_slice(&lying[..512]).clone();
    header.set_cksum();
    lying[..512].copy_from_slice(header.as_bytes());
    let long = "d/".repeat(49) + "x";
    let table: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("parent", vec![file("../x")]),
        ("parent inside", vec![file("a/../../x")]),
        ("absolute", vec![file("/etc/x")]),
        ("dot", vec![file("a/./x")]),
        ("empty part", vec![file("a//x")]),
        ("no name", vec![file("./")]),
        ("control", vec![file("a\x1b[31m")]),
        ("backslash", vec![file("a\\b")]),
        ("absolute link", vec![link("l", "/etc")]),
        ("climbing link", vec![link("a/l", "../../x")]),
        ("link that goes down and up", vec![link("a/l", "b/../../x")]),
        ("through a link", vec![link("l", "a"), file("l/x")]),
        ("link over a file", vec![file("a"), link("a", "b")]),
        ("file over a link", vec![link("a", "b"), file("a")]),
        ("empty link", vec![link("a", "")]),
        ("hard link", vec![file("a"), entry("b", EntryType::Link, "a", 0o644, b"")]),
        ("character device", vec![device(EntryType::Char)]),
        ("block device", vec![device(EntryType::Block)]),
        ("fifo", vec![device(EntryType::Fifo)]),
        ("sparse", vec![device(EntryType::GNUSparse)]),
        ("twice", vec![file("a"), file("a")]),
        ("case", vec![file("a"), file("A")]),
        ("case of a directory", vec![file("dir/a"), file("DIR/b")]),
        ("below a file", vec![file("a"), file("a/b")]),
        ("file over a directory", vec![file("a/b"), file("a")]),
        ("longer than the archive", vec![lying]),
        ("bad checksum", vec![[b"junk".as_slice(), &[1; 508]].concat()]),
        (
            "too deep",
            vec![file(&long), entry("e", EntryType::Regular, "", 0o644, b""), {
                let mut deep = tar::Builder::new(Vec::new());
                let mut header = tar::Header::new_gnu();
                header.set_size(0);
                deep.append_data(&mut header, "d/".repeat(80) + "x", std::io::empty()).unwrap();
                deep.into_inner().unwrap()[..1_536].to_vec()
            }],
        ),
    ];
    for (what, entries) in table {
        let (dir, result) = run(&entries);
        assert!(matches!(result, Err(UnpackError::Refused(_))), "{what}: {result:?}");
        assert!(!dir.path().join("x").exists(), "{what}: something was written outside");
    }
}

#[test]
fn harmless_archives_are_unpacked_without_dangerous_modes() {
    let (dir, result) = run(&[
        entry("./", EntryType::Directory, "", 0o777, b""),
        entry("bin/", EntryType::Directory, "", 0o777, b""),
        entry("./bin/tool", EntryType::Regular, "", 0o6777, b"#!/bin/true\n"),
        entry("data/file", EntryType::Regular, "", 0o666, b"hello"),
        link("bin/alias", "tool"),
        link("bin/data", "../data/file"),
    ]);
    result.unwrap();
    let to = dir.path().join("to");
    let mode = |p: &str| fs::metadata(to.join(p)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("bin/tool"), mode("data/file")), (0o555, 0o444));
    assert_eq!(mode("bin") & 0o022, 0);
    assert_eq!(fs::read_to_string(to.join("bin/data")).unwrap(), "hello");
    assert_eq!(fs::read_to_string(to.join("bin/alias")).unwrap(), "#!/bin/true\n");
}

#[test]
fn a_truncated_archive_is_refused() {
    let whole = [file("a"), entry("b", EntryType::Regular, "", 0o644, &[7; 4_096])].concat();
    let mut handle = tempfile::tempfile().unwrap();
    handle.write_all(&whole[..2_048]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let result = unpack(&handle, 2_048, &dir.path().join("to"));
    assert!(result.is_err());
}
