//! Order files: an order, with `--set` changes and items made of local files.

use std::path::{Path, PathBuf};

use chandler_api::order::{ITEMS_MAX, Input, OrderRequest, TaskItem};

use crate::document::{Assignment, Document};
use crate::problem::Failure;

/// An order and where its input files are.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderFile {
    /// The order; inputs may still name local files.
    pub request: OrderRequest,
    /// What they are relative to.
    pub base: PathBuf,
}

impl OrderFile {
    /// Reads an order file. Each file that a pattern of `items` matches becomes one more item of the task.
    ///
    /// # Errors
    /// See [`Document`]; also when a pattern matches nothing.
    pub fn read(path: &Path, changes: &[Assignment], items: &[String]) -> Result<Self, Failure> {
        let document = Document::read(path)?;
        let mut request: OrderRequest = document.parse(changes)?;
        for pattern in items {
            for file in matching(pattern)? {
                request.items.push(item(&file)?);
            }
        }
        if request.items.len() > ITEMS_MAX {
            let text = format!("{} items are more than the {ITEMS_MAX} one order may have", request.items.len());
            return Err(Failure::local(text));
        }
        Ok(Self { request, base: document.base })
    }
}

/// The item that works on one file.
fn item(file: &Path) -> Result<TaskItem, Failure> {
    let not_text = || Failure::local(format!("the name of {} is not UTF-8", file.display()));
    let name = file.file_name().and_then(|n| n.to_str()).ok_or_else(not_text)?.to_owned();
    // Absolute, because a pattern is relative to where the command was typed, not to the order file.
    let path = std::path::absolute(file).map_err(|e| Failure::local(format!("{}: {e}", file.display())))?;
    let path = path.to_str().ok_or_else(not_text)?.to_owned();
    Ok(TaskItem { inputs: vec![Input { path: name.clone(), digest: None, file: Some(path) }], name })
}

/// The files a pattern matches, sorted. `*` and `?` stand in the last part of the path only.
fn matching(pattern: &str) -> Result<Vec<PathBuf>, Failure> {
    let path = Path::new(pattern);
    if path.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    let none = || Failure::local(format!("--items {pattern}: no such file"));
    let name = path.file_name().and_then(|n| n.to_str()).ok_or_else(none)?;
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let cannot =
        |e: std::io::Error| Failure::local(format!("--items {pattern}: cannot read {}: {e}", directory.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(cannot)? {
        let file = entry.map_err(cannot)?.path();
        let matches = file.file_name().and_then(|n| n.to_str()).is_some_and(|n| wild(name, n));
        if matches && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(none());
    }
    files.sort();
    Ok(files)
}

/// Whether a file name matches a pattern, as in a shell: a leading dot must be written.
fn wild(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on when the last `*` must take one character more.
    let mut retry = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, n + 1));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((after, at)) => {
                    (p, n) = (after, at);
                    retry = Some((after, at + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name, expect) in [
            ("*.txt", "a.txt", true),
            ("*.txt", ".txt", false),
            ("a?c*", "abcdef", true),
            ("*a*b", "xaxxab", true),
            ("*a*b", "xaxxac", false),
            ("a", "a", true),
            ("*", "anything", true),
            ("?", "", false),
        ] {
            assert_eq!(wild(pattern, name), expect, "{pattern} {name}");
        }
    }

    #[test]
    fn items_are_made_of_files() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.csv", "a.csv", "c.txt"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let order = dir.path().join("order.toml");
        std::fs::write(&order, "name = \"t\"\n[software]\nkind = \"task\"\ncommand = [\"wc\", \"{item}\"]\n").unwrap();
        let pattern = dir.path().join("*.csv").to_str().unwrap().to_owned();
        let file = OrderFile::read(&order, &[], &[pattern]).unwrap();
        let names: Vec<&str> = file.request.items.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, ["a.csv", "b.csv"]);
        assert_eq!(file.request.items[0].inputs[0].path, "a.csv");
        assert_eq!(file.base, dir.path());
        assert!(OrderFile::read(&order, &[], &[dir.path().join("*.gone").to_str().unwrap().to_owned()]).is_err());
    }
}
