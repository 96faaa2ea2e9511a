//! Which module of the controller may use which: `main -> lib -> {api, tasks} -> federation -> {store, link} -> engine`.

use std::collections::BTreeSet;

use crate::arrows::code_lines;
use crate::source;

/// Module of `controller/src`, and the modules it may not use.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("api", &["tasks"]),
    ("tasks", &["api"]),
    ("federation", &["api", "tasks"]),
    ("store", &["api", "federation", "link", "tasks"]),
    ("link", &["api", "federation", "tasks"]),
];

#[test]
fn the_controllers_modules_use_only_what_is_below() {
    let mut wrong = Vec::new();
    // A file of tests may borrow from above: what a user sees is asserted there.
    let is_test = |path: &str| path.ends_with("/tests.rs") || path.contains("/tests/");
    let product = |path: &str| path.starts_with("controller/src/") && !is_test(path);
    for file in source::rust().iter().filter(|s| product(&s.path)) {
        let inner = file.path.strip_prefix("controller/src/").unwrap_or_default();
        let module = inner.split(['/', '.']).next().unwrap_or_default();
        let Some((_, forbidden)) = FORBIDDEN.iter().find(|(name, _)| *name == module) else { continue };
        for used in used_modules(&file.text).iter().filter(|used| forbidden.contains(&used.as_str())) {
            wrong.push(format!("{}: {module} may not use {used}", file.path));
        }
    }
    source::none(&wrong, "uses against the layers of the controller:");
}

/// The names that follow `crate::` anywhere, in braces too.
fn used_modules(text: &str) -> BTreeSet<String> {
    let code = code_lines(text).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for (at, path) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$')) {
            continue;
        }
        let rest = &code[at + path.len()..];
        match rest.strip_prefix('{') {
            None => found.extend(first_name(rest)),
            Some(group) => found.extend(group_names(group)),
        }
    }
    found
}

fn first_name(text: &str) -> Option<String> {
    let name: String = text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// The first names of the items of `{a::b, c::{d, e}}`, from behind the opening brace.
fn group_names(text: &str) -> Vec<String> {
    let (mut depth, mut item, mut names) = (1_u32, String::new(), Vec::new());
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            names.extend(first_name(&item));
            item.clear();
        } else {
            item.push(c);
        }
        if depth == 0 {
            break;
        }
    }
    names
}

#[test]
fn uses_are_found_in_every_form() {
    let text = "use crate::store::Store;\nuse crate::{\n    api::{error, order},\n    link,\n};\n// crate::tasks\nfn f() { my_crate::no(); crate::event::x() }";
    assert_eq!(used_modules(text), ["api", "event", "link", "store"].map(str::to_owned).into());
}
