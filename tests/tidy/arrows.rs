//! Which crate may depend on which: the arrows of the design, one way only.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::source;

/// Package, and the packages of ours it may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("chandler-protocol", &[]),
    ("chandler-engine", &["chandler-protocol"]),
    ("chandler-api", &["chandler-protocol"]),
    ("chandler-controller", &["chandler-api", "chandler-engine", "chandler-protocol"]),
    ("chandler-agent", &["chandler-protocol"]),
    ("chandler", &["chandler-api", "chandler-protocol"]),
    ("chandler-harness", &[]),
    ("chandler-fuzz", &["chandler-protocol"]),
];
/// What only the command's feature `demo` may bring in.
const DEMO: &[&str] = &["chandler-agent", "chandler-controller", "chandler-harness"];
/// Tests of any crate but the harness itself may use the harness.
const IN_TESTS: &str = "chandler-harness";
/// Everything flows into the tests.
const TESTS: &str = "chandler-tests";
/// What touches the world: the pure crates have no use for it.
const IMPURE: &[&str] = &[
    "async-trait",
    "axum",
    "futures-util",
    "getrandom",
    "quinn",
    "rand",
    "reqwest",
    "rustix",
    "rustls",
    "sqlx",
    "sysinfo",
    "tempfile",
    "tokio",
];
const PURE: &[&str] = &["chandler-engine", "chandler-protocol"];

struct Manifest {
    path: String,
    table: Table,
}

impl Manifest {
    fn name(&self) -> Option<&str> {
        self.table.get("package")?.get("name")?.as_str()
    }

    /// Dependencies in tables of this name, those for one platform included.
    fn dependencies(&self, kind: &str) -> BTreeMap<&str, &Value> {
        let platforms = self.table.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
        let tables = platforms.filter_map(|t| t.get(kind)).chain(self.table.get(kind));
        tables.filter_map(Value::as_table).flatten().map(|(name, value)| (name.as_str(), value)).collect()
    }
}

fn manifests() -> Vec<Manifest> {
    let files = source::all().into_iter().filter(|s| s.name() == "Cargo.toml");
    files
        .map(|s| Manifest { table: s.text.parse().unwrap_or_else(|e| panic!("{}: {e}", s.path)), path: s.path })
        .collect()
}

fn is_ours(name: &str) -> bool {
    name == "chandler" || name.starts_with("chandler-")
}

#[test]
fn crates_depend_one_way_only() {
    let mut wrong = Vec::new();
    for manifest in manifests() {
        let Some(package) = manifest.name() else { continue };
        if package == TESTS {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package) else {
            wrong.push(format!("{}: {package} is not in the table of tests/tidy/arrows.rs", manifest.path));
            continue;
        };
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for (name, value) in manifest.dependencies(kind) {
                let in_tests = kind == "dev-dependencies" && name == IN_TESTS;
                let in_demo = package == "chandler" && DEMO.contains(&name) && is_optional(value);
                if is_ours(name) && !allowed.contains(&name) && !in_tests && !in_demo {
                    wrong.push(format!("{}: {package} may not use {name}", manifest.path));
                }
            }
        }
    }
    source::none(&wrong, "dependencies against the arrows of the design:");
}

fn is_optional(value: &Value) -> bool {
    value.get("optional").and_then(Value::as_bool) == Some(true)
}

/// Both daemons come into the command through one feature, so that it can be built without them.
#[test]
fn only_demo_links_the_daemons() {
    let manifests = manifests();
    let command = manifests.iter().find(|m| m.name() == Some("chandler")).unwrap();
    let features = command.table.get("features").and_then(Value::as_table).cloned().unwrap_or_default();
    for (feature, parts) in features {
        for part in parts.as_array().unwrap() {
            let part = part.as_str().unwrap();
            let links = DEMO.iter().any(|d| part.trim_start_matches("dep:").split(['/', '?']).next() == Some(d));
            assert!(!links || feature == "demo", "feature {feature} of chandler brings in {part}");
        }
    }
}

#[test]
fn pure_crates_cannot_touch_the_world() {
    let mut wrong = Vec::new();
    for manifest in manifests() {
        let Some(package) = manifest.name().filter(|n| PURE.contains(n)) else { continue };
        for name in manifest.dependencies("dependencies").into_keys().filter(|n| IMPURE.contains(n)) {
            wrong.push(format!("{package} is pure and may not use {name}"));
        }
    }
    for file in source::rust().iter().filter(|s| s.is_under("controller/engine/src") || s.is_under("protocol/src")) {
        for word in ["async fn", "async move", ".await"] {
            if code_lines(&file.text).any(|line| line.contains(word)) {
                wrong.push(format!("{} is pure and may not wait: {word}", file.path));
            }
        }
    }
    let clippy = |path: &str| std::fs::read_to_string(source::root().join(path)).unwrap();
    if clippy("protocol/clippy.toml") != clippy("controller/engine/clippy.toml") {
        wrong.push("protocol/clippy.toml and controller/engine/clippy.toml differ".to_owned());
    }
    source::none(&wrong, "purity:");
}

/// Versions are chosen in one place.
#[test]
fn versions_stand_in_the_workspace_only() {
    let mut wrong = Vec::new();
    for manifest in manifests().iter().filter(|m| m.name().is_some_and(|n| n != "chandler-fuzz")) {
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for (name, value) in manifest.dependencies(kind) {
                if value.get("workspace").and_then(Value::as_bool) != Some(true) {
                    wrong.push(format!("{}: {name}", manifest.path));
                }
            }
        }
    }
    source::none(&wrong, "write NAME.workspace = true:");
}

/// The lines of a source that are not comments.
pub(crate) fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}
