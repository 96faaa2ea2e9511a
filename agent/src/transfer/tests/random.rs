//! Any tree, changed in any way between rounds: what arrives is equal.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use proptest::prelude::*;

use super::bench::{Bench, noise, order};
use crate::transfer::Limits;

/// One thing that a program does to its files. Numbers name the files.
#[derive(Debug, Clone)]
enum Deed {
    Write { file: u8, length: u32, seed: u64 },
    Patch { file: u8, at: u32, length: u16, seed: u64 },
    Zero { file: u8, at: u32, length: u32 },
    Append { file: u8, length: u16, seed: u64 },
    Resize { file: u8, length: u32 },
    Replace { file: u8, length: u32, seed: u64 },
    Insert { file: u8, at: u16, seed: u64 },
    Rename { file: u8, to: u8 },
    RenameDirectory { dir: u8, to: u8 },
    Link { file: u8, to: u8 },
    Symlink { file: u8, to: u8 },
    Remove { file: u8 },
    RemoveDirectory { dir: u8 },
    Mode { file: u8, mode: u16 },
    Attribute { file: u8, value: u8 },
    TurnToDirectory { file: u8 },
}

fn deed() -> impl Strategy<Value = Deed> {
    let file = || 0..9_u8;
    let dir = || 0..3_u8;
    prop_oneof![
        3 => (file(), 0..400_000_u32, any::<u64>()).prop_map(|(file, length, seed)| Deed::Write { file, length, seed }),
        3 => (file(), 0..400_000_u32, any::<u16>(), any::<u64>())
            .prop_map(|(file, at, length, seed)| Deed::Patch { file, at, length, seed }),
        1 => (file(), 0..400_000_u32, 0..200_000_u32).prop_map(|(file, at, length)| Deed::Zero { file, at, length }),
        2 => (file(), any::<u16>(), any::<u64>()).prop_map(|(file, length, seed)| Deed::Append { file, length, seed }),
        2 => (file(), 0..500_000_u32).prop_map(|(file, length)| Deed::Resize { file, length }),
        2 => (file(), 0..700_000_u32, any::<u64>()).prop_map(|(file, length, seed)| Deed::Replace { file, length, seed }),
        2 => (file(), any::<u16>(), any::<u64>()).prop_map(|(file, at, seed)| Deed::Insert { file, at, seed }),
        2 => (file(), file()).prop_map(|(file, to)| Deed::Rename { file, to }),
        1 => (dir(), dir()).prop_map(|(dir, to)| Deed::RenameDirectory { dir, to }),
        2 => (file(), file()).prop_map(|(file, to)| Deed::Link { file, to }),
        1 => (file(), file()).prop_map(|(file, to)| Deed::Symlink { file, to }),
        1 => file().prop_map(|file| Deed::Remove { file }),
        1 => dir().prop_map(|dir| Deed::RemoveDirectory { dir }),
        1 => (file(), any::<u16>()).prop_map(|(file, mode)| Deed::Mode { file, mode }),
        1 => (file(), any::<u8>()).prop_map(|(file, value)| Deed::Attribute { file, value }),
        1 => file().prop_map(|file| Deed::TurnToDirectory { file }),
    ]
}

fn name(file: u8) -> String {
    match file / 3 {
        0 => format!("f{file}"),
        d => format!("d{d}/f{}", file % 3),
    }
}

fn directory(dir: u8) -> String {
    ["d1", "d2", "d1/f0"][usize::from(dir % 3)].into()
}

/// Does it as far as it can be done.
fn act(root: &Path, deed: &Deed) -> io::Result<()> {
    let open = |file: u8| fs::File::options().read(true).write(true).open(root.join(name(file)));
    let fresh = |file: u8| {
        let path = root.join(name(file));
        fs::create_dir_all(path.parent().unwrap_or(root)).map(|()| path)
    };
    match *deed {
        Deed::Write { file, length, seed } => fs::write(fresh(file)?, noise(seed, length as usize)),
        Deed::Patch { file, at, length, seed } => open(file)?.write_all_at(&noise(seed, length.into()), at.into()),
        Deed::Zero { file, at, length } => open(file)?.write_all_at(&vec![0; length as usize], at.into()),
        Deed::Append { file, length, seed } => {
            let file = open(file)?;
            let end = file.metadata()?.len();
            file.write_all_at(&noise(seed, length.into()), end)
        }
        Deed::Resize { file, length } => open(file)?.set_len(length.into()),
        Deed::Replace { file, length, seed } => {
            fs::write(root.join("tmp"), noise(seed, length as usize))?;
            fs::rename(root.join("tmp"), fresh(file)?)
        }
        Deed::Insert { file, at, seed } => {
            let mut bytes = fs::read(root.join(name(file)))?;
            let at = usize::from(at).min(bytes.len());
            bytes.splice(at..at, noise(seed, 100));
            fs::write(root.join("tmp"), bytes)?;
            fs::rename(root.join("tmp"), root.join(name(file)))
        }
        Deed::Rename { file, to } => fs::rename(root.join(name(file)), fresh(to)?),
        Deed::RenameDirectory { dir, to } => fs::rename(root.join(directory(dir)), root.join(directory(to))),
        Deed::Link { file, to } => fs::hard_link(root.join(name(file)), fresh(to)?),
        Deed::Symlink { file, to } => symlink(name(file).replace('/', "-"), fresh(to)?),
        Deed::Remove { file } => fs::remove_file(root.join(name(file))),
        Deed::RemoveDirectory { dir } => fs::remove_dir_all(root.join(directory(dir))),
        Deed::Mode { file, mode } => {
            let mode = u32::from(mode & 0o777);
            fs::set_permissions(root.join(name(file)), fs::Permissions::from_mode(mode))
        }
        Deed::Attribute { file, value } => {
            let file = open(file)?;
            let flags = rustix::fs::XattrFlags::empty();
            Ok(rustix::fs::fsetxattr(&file, format!("user.n{}", value % 3), &[value], flags)?)
        }
        Deed::TurnToDirectory { file } => {
            fs::remove_file(root.join(name(file)))?;
            fs::create_dir(root.join(name(file)))?;
            fs::write(root.join(name(file)).join("inner"), noise(file.into(), 1_000))
        }
    }
}

async fn moved(rounds: &[Vec<Deed>], watch_from: u64) {
    let bench = Bench::with(Limits { watch_from, ..Limits::default() });
    let do_all = |deeds: &[Deed]| deeds.iter().for_each(|d| drop(act(&bench.from(), d)));
    do_all(&rounds[0]);
    let mut under = bench.receive(bench.receiver(), order(1));
    for deeds in &rounds[1..rounds.len() - 1] {
        let seen = under.progress.borrow().rounds;
        under.until(|p| p.rounds > seen).await;
        do_all(deeds);
    }
    do_all(&rounds[rounds.len() - 1]);
    let root = bench.source.seal(1).await.unwrap();
    assert_eq!(under.end().await.1.unwrap().root, root);
    bench.assert_equal();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("CASES").map_or(60, |c| c.parse().unwrap()), failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_changed_in_any_way_arrives_equal(
        rounds in prop::collection::vec(prop::collection::vec(deed(), 0..14), 2..6),
        watched in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(moved(&rounds, if watched { 0 } else { u64::MAX }));
    }
}
