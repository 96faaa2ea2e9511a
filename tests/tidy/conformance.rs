//! Requirements and their tests: every test of `tests/conformance` is named after a requirement, and the
//! README's table is the list of them. `UPDATE=1 cargo test -p chandler-tests --test tidy` rewrites the table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use crate::source::{self, Source};

const BEGIN: &str = "<!-- conformance:begin -->\n";
const END: &str = "<!-- conformance:end -->";

/// Every requirement that has a test of its own.
const REQUIREMENTS: &[(&str, &str)] = &[
    ("A01", "attributes chosen from a catalogue become an SLA and provision the customer's computer"),
    ("A02", "changing the SLA re-provisions"),
    ("A03", "a customer criterion re-provisions within the SLA"),
    ("A04", "a provider criterion re-provisions within the SLA"),
    ("A05", "a task on the provider's resources"),
    ("A06", "a task on the customer's resources"),
    ("A07", "a task on a partner's resources"),
    ("A08", "a task on partners' resources only"),
    ("A09", "a task on partners' and the customer's resources together"),
    ("A10", "re-provisioning brings in a partner's resources"),
    ("A11", "re-provisioning brings in the provider's resources"),
    ("A12", "re-provisioning brings in the customer's resources"),
    ("A13", "cost: selected, enforced, measured, billed"),
    ("A14", "interactivity: selected, enforced, measured"),
    ("A15", "availability: selected, enforced, measured"),
    ("A16", "any one attribute alone, or any combination"),
    ("A17", "a virtual provider serves from partners' resources"),
    ("A18", "a value-added provider uses partners' resources"),
    ("A19", "a value-added provider combines its own and partners' resources"),
    ("A20", "a value-added provider mixes three sources and changes the mix"),
    ("A21", "a change in utilisation re-provisions"),
    ("A22", "a change in predicted or actual availability re-provisions"),
    ("A23", "a failed resource re-provisions"),
    ("A24", "a virtual provider serves from remote sites"),
    ("A25", "moved from a remote site, transparently"),
    ("A26", "moved from a partner, transparently"),
    ("A27", "a management server with web page, API and command line"),
    ("A28", "every trigger leads to every kind of resource"),
    ("A35", "one program from user input to transparent re-provisioning, installable at all four parties"),
    ("A36", "sites register their capacity over the network; a virtual provider allocates from it"),
    ("A37", "that virtual provider has the customer interface"),
    ("A38", "sites may be personal computers"),
    ("A39", "a marketplace for any number of virtual providers"),
    ("A40", "the desired rate decides, with quality, and is what the site is paid by"),
    ("B01", "orders, fulfilment, assurance, finance and analytics in one system at one time"),
    ("B02", "a server user manages all that a client user has"),
    ("B03", "the server is elsewhere: no shared network, file system or clock"),
    ("B04", "one atomic life cycle from request to inventory"),
    ("B05", "resources are hardware"),
    ("B06", "resources are software"),
    ("B07", "configured as required, changeable while assigned"),
    ("B08", "status of all requests, inventories and services as of one instant"),
    ("B09", "de-allocated: stopped, wiped, back in the inventory"),
];

/// The names of the functions that are tests.
fn tests_in(file: &Source) -> Vec<String> {
    let (mut is_test, mut names) = (false, Vec::new());
    for line in file.text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test && !line.starts_with("//")) {
            names.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
            is_test = false;
        }
    }
    names
}

/// The requirement after which a test is named: `a01_notes_run` belongs to A01.
fn requirement_of(test: &str) -> Option<&'static str> {
    let (id, rest) = test.split_once('_')?;
    let known = REQUIREMENTS.iter().map(|(id, _)| *id).find(|known| known.to_ascii_lowercase() == id)?;
    (!rest.is_empty()).then_some(known)
}

/// Tests by requirement.
fn found() -> BTreeMap<&'static str, Vec<String>> {
    let (mut by_id, mut wrong) = (BTreeMap::<_, Vec<String>>::new(), Vec::new());
    for file in source::rust().iter().filter(|s| s.is_under("tests/conformance")) {
        for test in tests_in(file) {
            match requirement_of(&test) {
                Some(id) => by_id.entry(id).or_default().push(test),
                None => wrong.push(format!("{}: {test}", file.path)),
            }
        }
    }
    source::none(&wrong, "named after no requirement (write a01_what_it_shows):");
    by_id.values_mut().for_each(|tests| tests.sort());
    by_id
}

fn table(found: &BTreeMap<&str, Vec<String>>) -> String {
    let mut text = String::from("| id | requirement | test |\n| --- | --- | --- |\n");
    for (id, title) in REQUIREMENTS {
        let tests = found.get(id).map(|names| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "));
        writeln!(text, "| {id} | {title} | {} |", tests.as_deref().unwrap_or("not yet")).unwrap();
    }
    writeln!(text, "\n{} of {} requirements have their test.", found.len(), REQUIREMENTS.len()).unwrap();
    text
}

#[test]
fn the_readme_lists_the_tests_there_are() {
    let path = source::root().join("README.md");
    let readme = fs::read_to_string(&path).expect("README.md");
    let parts = readme.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?)));
    let (before, (listed, after)) = parts.expect("README.md has no lines conformance:begin and conformance:end");
    let table = table(&found());
    if listed != table && std::env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(listed, table, "the conformance table is old: UPDATE=1 cargo test -p chandler-tests --test tidy");
}

#[test]
fn tests_are_found_and_named() {
    let text = "#[tokio::test(flavor = \"multi_thread\")]\nasync fn a01_runs() {}\nfn a02_no_test() {}\n#[test]\nfn b09_gone() {}";
    let file = Source { path: "tests/conformance/x.rs".to_owned(), text: text.to_owned() };
    assert_eq!(tests_in(&file), ["a01_runs", "b09_gone"]);
    assert_eq!(requirement_of("a01_runs"), Some("A01"));
    for bad in ["a29_restated", "a01_", "a1_x", "works", "x_a01"] {
        assert_eq!(requirement_of(bad), None, "{bad}");
    }
    assert_eq!(REQUIREMENTS.len(), 43);
}
