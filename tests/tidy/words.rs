//! Words that may not stand anywhere, each with its reason and the few places where it may.

use crate::source::{self, Source};

struct Word {
    /// Any of these.
    texts: &'static [&'static str],
    why: &'static str,
    /// Whether it concerns this file.
    concerns: fn(&Source) -> bool,
    /// Files where it may stand.
    except: &'static [&'static str],
}

const WORDS: &[Word] = &[
    Word {
        texts: &["into_0rtt", "max_early_data_size", "enable_early_data"],
        why: "early data can be replayed: a command would take effect twice",
        concerns: Source::is_rust,
        except: &[],
    },
    Word {
        texts: &["unbounded_channel", "UnboundedSender", "unbounded()", "mpsc::channel()"],
        why: "every queue has a limit",
        concerns: Source::is_rust,
        except: &[],
    },
    Word {
        texts: &[
            "\"sh\", \"-c\"",
            "\"bash\", \"-c\"",
            "\"-c\"",
            "Command::new(\"sh\")",
            "Command::new(\"bash\")",
            "Command::new(\"/bin/sh\")",
            "Command::new(\"/bin/bash\")",
        ],
        why: "nothing is passed to a shell",
        // Programs that misbehave on purpose are tests.
        concerns: |file| file.is_rust() && !file.is_under("tests") && !file.path.contains("/tests/"),
        except: &[],
    },
    Word {
        texts: &["danger::", "dangerous()"],
        why: "certificates are checked by the TLS library, not by us",
        concerns: Source::is_rust,
        // While it joins, an agent knows the controller's authority by its fingerprint only. The controller asks the
        // library itself, at an earlier moment, about a certificate that has ended. In a tunnel, trust comes from the key
        // that a grant names; the library still verifies that the other side has it. Between controllers, the library
        // verifies the chain against the anchors of one partner, at each call.
        except: &[
            "agent/src/tls.rs",
            "agent/src/tunnel/pinned.rs",
            "controller/src/federation/tls.rs",
            "controller/src/link/tls.rs",
        ],
    },
    Word {
        texts: &["todo!(", "unimplemented!(", "FIXME", "XXX"],
        why: "unfinished work is not left in the code",
        concerns: Source::is_rust,
        except: &[],
    },
    Word {
        texts: &["crates.io", "pypi.org", "npmjs.org", "npmjs.com"],
        why: "the project names no registry; the lock file does",
        concerns: |file| !source::has_extension(&file.path, "lock"),
        except: &[],
    },
];

/// Directories of the machines this is developed on.
/// Written in two parts, so that this file does not find itself.
const HOMES: &[&str] =
    &[concat!("/", "work/"), concat!("/", "root/"), concat!("/home/", "user/"), concat!("/", "Users/")];

/// The lists above hold what they forbid.
const THIS: &str = "tests/tidy/words.rs";

fn files() -> impl Iterator<Item = Source> {
    source::all().into_iter().filter(|s| s.path != THIS)
}

#[test]
fn forbidden_words() {
    let mut wrong = Vec::new();
    for file in files() {
        for word in WORDS.iter().filter(|w| (w.concerns)(&file)) {
            if word.except.contains(&file.path.as_str()) {
                continue;
            }
            for (number, line) in file.text.lines().enumerate() {
                if let Some(text) = word.texts.iter().find(|t| line.contains(**t)) {
                    wrong.push(format!("{}:{}: {text}: {}", file.path, number + 1, word.why));
                }
            }
        }
    }
    source::none(&wrong, "forbidden words:");
}

#[test]
fn exceptions_are_still_needed() {
    let files: Vec<_> = files().collect();
    for word in WORDS {
        for except in word.except {
            let file = files.iter().find(|f| f.path == **except);
            let needed = file.is_some_and(|f| word.texts.iter().any(|t| f.text.contains(t)));
            assert!(needed, "{except} no longer needs its exception for {:?}", word.texts);
        }
    }
}

#[test]
fn no_path_of_one_machine() {
    let mut wrong = Vec::new();
    for file in files() {
        for (number, line) in file.text.lines().enumerate() {
            if HOMES.iter().any(|home| has_absolute(line, home)) {
                wrong.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    source::none(&wrong, "paths that exist on one machine only:");
}

/// Whether a path that starts with `home` stands in `line`, not as the middle of a longer path.
fn has_absolute(line: &str, home: &str) -> bool {
    line.match_indices(home).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '*'))
    })
}

#[test]
fn paths_inside_a_directory_are_no_machine() {
    assert!(has_absolute("cd /srv/main", "/srv/") && has_absolute("x=\"/srv/a\"", "/srv/"));
    assert!(!has_absolute("{data}/srv/in.txt a-1/srv/x", "/srv/"));
}
