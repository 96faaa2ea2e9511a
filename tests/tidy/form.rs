//! How files look: each says what it is for, none has a name that says nothing, none grows without end.

use crate::source::{self, Source};

/// Longest file. Most are below 300; one that reaches this has more than one idea.
const LINES_MAX: usize = 600;
/// Longest head of a file, the lines that begin with `//!`, unless it is a crate's own.
const HEAD_MAX: usize = 12;
/// Names that say nothing.
const NAMES: &[&str] = &["mod.rs", "util.rs", "utils.rs", "helper.rs", "helpers.rs", "misc.rs", "common.rs"];
/// Where use-cases without a home would pile up.
const NOWHERE: &str = "controller/src/service.rs";

fn all_wrong(rule: &str, check: impl Fn(&Source) -> Option<String>) {
    let wrong: Vec<_> =
        source::rust().iter().filter_map(|s| check(s).map(|why| format!("{}: {why}", s.path))).collect();
    source::none(&wrong, rule);
}

#[test]
fn every_file_says_what_it_is_for() {
    all_wrong("heads:", |file| {
        let head = file.text.lines().take_while(|l| l.starts_with("//!")).count();
        let crate_root = file.text.contains("```") || ["lib.rs", "main.rs"].contains(&file.name());
        match head {
            0 => Some("does not open with //!".to_owned()),
            n if n > HEAD_MAX && !crate_root => Some(format!("{n} lines of //! are a chapter")),
            _ => None,
        }
    });
}

#[test]
fn no_file_grows_without_end() {
    all_wrong("sizes:", |file| {
        let lines = file.text.lines().count();
        (lines > LINES_MAX).then(|| format!("{lines} lines, at most {LINES_MAX}"))
    });
}

#[test]
fn names_say_something() {
    all_wrong("names:", |file| {
        (NAMES.contains(&file.name()) || file.path == NOWHERE).then(|| "name it after what is in it".to_owned())
    });
}

/// A test that is switched off is a promise nobody keeps.
#[test]
fn no_test_is_switched_off() {
    let ignored = concat!("#[", "ignore");
    all_wrong("tests switched off:", |file| {
        let line = file.text.lines().position(|l| l.trim_start().starts_with(ignored))?;
        Some(format!("line {}", line + 1))
    });
}

#[test]
fn the_top_level_is_as_designed() {
    let expected = [
        ".ci",
        ".gitignore",
        "Cargo.lock",
        "Cargo.toml",
        "README.md",
        "agent",
        "clippy.toml",
        "controller",
        "deny.toml",
        "packaging",
        "protocol",
        "rustfmt.toml",
        "tests",
    ];
    let found = std::fs::read_dir(source::root()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let other: Vec<_> =
        found.filter(|n| ![".git", "target"].contains(&n.as_str()) && !expected.contains(&n.as_str())).collect();
    source::none(&other, "not part of the top level:");
}
