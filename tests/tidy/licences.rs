//! Whether everything we build on may be used: licences and bans, by the lists of `deny.toml`.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::source;

fn deny_list(section: &str, key: &str) -> Vec<String> {
    let text = std::fs::read_to_string(source::root().join("deny.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let list = table[section][key].as_array().unwrap();
    list.iter().map(|v| v.as_str().unwrap().to_owned()).collect()
}

/// What a question to cargo answers; `None` when packages of other platforms would have to be fetched for it.
fn cargo(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let output = command.args(arguments).args(["--locked", "--offline"]).current_dir(source::root()).output().unwrap();
    if !output.status.success() {
        eprintln!("licences: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Every package that is locked; only those of this platform where others are not fetched.
fn packages() -> Vec<Value> {
    let all = cargo(&["metadata", "--format-version", "1"]);
    let here = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let text = all.or_else(|| cargo(&["metadata", "--format-version", "1", "--filter-platform", &here])).unwrap();
    let metadata: Value = serde_json::from_str(&text).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Name and version of what is compiled for the platforms we build for: less than is locked.
fn built() -> BTreeSet<(String, String)> {
    let mut built = BTreeSet::new();
    for target in deny_list("graph", "targets") {
        let tree = ["tree", "--workspace", "--prefix", "none", "--format", "{p}", "--target", &target];
        let text = cargo(&tree).unwrap_or_default();
        for line in text.lines() {
            let mut words = line.split(' ').map(str::to_owned);
            built.extend(words.next().zip(words.next()));
        }
    }
    assert!(built.iter().any(|(name, _)| name == "chandler-tests"), "cargo tree gave nothing");
    built
}

#[test]
fn every_licence_is_allowed() {
    let allowed = deny_list("licenses", "allow");
    let mut wrong = Vec::new();
    for package in packages() {
        let name = format!("{} {}", package["name"], package["version"]);
        match package["license"].as_str() {
            None => wrong.push(format!("{name}: no licence named")),
            Some(licence) if !is_allowed(licence, &allowed) => wrong.push(format!("{name}: {licence}")),
            Some(_) => {}
        }
    }
    source::none(&wrong, "licences that are not in deny.toml:");
}

#[test]
fn nothing_banned_is_built() {
    let banned = deny_list("bans", "deny");
    let built = built();
    let wrong: Vec<_> = built.iter().map(|(name, _)| name.clone()).filter(|n| banned.contains(n)).collect();
    source::none(&wrong, "packages that deny.toml bans:");
    let tls: Vec<_> = built.iter().filter(|(name, _)| name == "rustls").collect();
    assert!(tls.len() <= 1, "several versions of rustls: {tls:?}");
}

/// Whether an expression such as `(MIT OR Apache-2.0) AND Unicode-3.0` can be met with `allowed`.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let met = alternatives(&mut words, allowed);
    met && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn alternatives(words: &mut Words, allowed: &[String]) -> bool {
    let mut met = all_of(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        // Both sides are read, whatever the first said.
        met |= all_of(words, allowed);
    }
    met
}

fn all_of(words: &mut Words, allowed: &[String]) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words, allowed: &[String]) -> bool {
    match words.next() {
        Some("(") => {
            let met = alternatives(words, allowed);
            words.next_if_eq(&")").is_some() && met
        }
        Some(name) if words.next_if_eq(&"WITH").is_some() => {
            let whole = format!("{name} WITH {}", words.next().unwrap_or_default());
            // An exception only permits more.
            allowed.iter().any(|a| *a == whole || a == name)
        }
        // `MPL-2.0+` is that version or, at our choice, a later one.
        Some(name) => allowed.iter().any(|a| a == name.trim_end_matches('+')),
        None => false,
    }
}

#[test]
fn expressions() {
    let allowed = ["MIT", "Apache-2.0", "Unicode-3.0"].map(str::to_owned);
    for good in
        ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "(MIT OR Apache-2.0) AND Unicode-3.0", "Apache-2.0 WITH X", "MIT+"]
    {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR X) AND Y", "", "(MIT", "MIT)", "MIT MIT", "GPL-2.0 WITH X"] {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
}
