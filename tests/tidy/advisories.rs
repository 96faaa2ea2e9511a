//! Whether a package we build on has a known vulnerability. The database is read from disk, so that the answer
//! is the same twice: `CHANDLER_ADVISORY_DB`, or `data/advisory-db` in the directory `shared` beside the workspace.

use std::path::PathBuf;

use rustsec::advisory::Informational;
use rustsec::database::Query;
use rustsec::{Database, Lockfile, Vulnerability};

use crate::source;

/// Advisories that do not concern us, each with the reason.
const ACCEPTED: &[(&str, &str)] = &[];

fn database() -> Option<Database> {
    let path = match std::env::var_os("CHANDLER_ADVISORY_DB") {
        Some(path) => PathBuf::from(path),
        None => source::root().join("../shared/data/advisory-db"),
    };
    if !path.is_dir() {
        eprintln!("advisories: no database at {}, skipped", path.display());
        return None;
    }
    Some(Database::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// What the database says about a lock file, vulnerabilities first, then unsound and unmaintained packages.
fn findings(database: &Database, lock: &Lockfile) -> (Vec<Vulnerability>, Vec<Vulnerability>) {
    let serious = |v: &Vulnerability| {
        !matches!(v.advisory.informational, Some(Informational::Unmaintained | Informational::Notice))
    };
    let all = database.vulnerabilities(lock).into_iter();
    let all = all.chain(database.query_vulnerabilities(lock, &Query::crate_scope().informational(true)));
    all.partition(serious)
}

fn line(v: &Vulnerability) -> String {
    format!("{} {}: {} {}", v.package.name, v.package.version, v.advisory.id, v.advisory.title)
}

#[test]
fn no_known_vulnerability() {
    let Some(database) = database() else { return };
    let lock = Lockfile::load(source::root().join("Cargo.lock")).unwrap();
    let (serious, others) = findings(&database, &lock);
    for other in &others {
        eprintln!("advisories: only noted: {}", line(other));
    }
    let accepted = |v: &&Vulnerability| ACCEPTED.iter().any(|(id, _)| *id == v.advisory.id.to_string());
    for (id, _) in ACCEPTED {
        let found = serious.iter().any(|v| v.advisory.id.to_string() == *id);
        assert!(found, "{id} is accepted and no longer concerns us");
    }
    let wrong: Vec<_> = serious.iter().filter(|v| !accepted(v)).map(line).collect();
    source::none(&wrong, "known vulnerabilities:");
}

/// The check can fail.
#[test]
fn a_known_vulnerability_is_found() {
    let Some(database) = database() else { return };
    // The registry's name in the source is what the lock file itself uses; it is taken from there.
    let own = std::fs::read_to_string(source::root().join("Cargo.lock")).unwrap();
    let registry = own.lines().find(|l| l.starts_with("source = \"registry+")).unwrap();
    let lock = format!("version = 4\n\n[[package]]\nname = \"time\"\nversion = \"0.1.43\"\n{registry}\n");
    let (serious, _) = findings(&database, &lock.parse().unwrap());
    assert!(serious.iter().any(|v| v.advisory.id.to_string() == "RUSTSEC-2020-0071"), "found {}", serious.len());
}
