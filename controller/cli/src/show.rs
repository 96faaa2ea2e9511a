//! Printing: tables and key-value blocks for people, the API's schema for programs.
//!
//! Whatever comes from the controller may have been said by an agent or another customer: control characters are
//! stripped from text, and escaped in JSON.

use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal, Write};

use chandler_api::value::Time;
use chandler_protocol::text::clean;
use comfy_table::{CellAlignment, presets};
use serde::Serialize;

use crate::config::{Color, Output};
use crate::problem::Failure;

/// How this run prints.
#[derive(Debug, Clone, Copy)]
pub struct Out {
    json: bool,
    color: bool,
}

impl Out {
    /// For the time before the settings are known.
    pub(crate) const fn plain() -> Self {
        Self { json: false, color: false }
    }

    pub(crate) fn new(output: Output, color: Color) -> Self {
        let color = match color {
            Color::Auto => std::io::stderr().is_terminal(),
            Color::Always => true,
            Color::Never => false,
        };
        Self { json: output == Output::Json, color }
    }

    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// One thing: its schema, or this text.
    pub(crate) fn object<T: Serialize>(self, value: &T, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json { self.json(value) } else { stdout(&text()) }
    }

    /// A list: `{"items": [...]}`, or a table. An empty one prints no table and says why on stderr.
    pub(crate) fn list<T: Serialize>(
        self,
        items: &[T],
        empty: &str,
        table: impl FnOnce() -> Table,
    ) -> Result<(), Failure> {
        if self.json {
            return self.json(&serde_json::json!({ "items": items }));
        }
        if items.is_empty() {
            self.talk(empty);
            return Ok(());
        }
        stdout(&table().to_string())
    }

    /// One JSON document on one line, as in a stream.
    pub(crate) fn json_line<T: Serialize>(self, value: &T) -> Result<(), Failure> {
        stdout(&escaped(&serde_json::to_string(value).map_err(|e| Failure::local(e.to_string()))?))
    }

    fn json<T: Serialize>(self, value: &T) -> Result<(), Failure> {
        stdout(&escaped(&serde_json::to_string_pretty(value).map_err(|e| Failure::local(e.to_string()))?))
    }

    /// Talk: everything that is not the data asked for.
    pub(crate) fn talk(self, text: &str) {
        let lines: Vec<String> = text.lines().map(|l| clean(l, usize::MAX)).collect();
        stderr(&lines.join("\n"));
    }

    /// An error, already cleaned; its first word is red on a terminal.
    pub(crate) fn error(self, text: &str) {
        match text.split_once(':') {
            Some((label, rest)) if self.color && label.starts_with("error") => {
                stderr(&format!("\x1b[1;31m{label}\x1b[0m:{rest}"));
            }
            _ => stderr(text),
        }
    }

    /// The object of an error, for programs.
    pub(crate) fn error_object<T: Serialize>(self, value: &T) {
        if let Ok(text) = serde_json::to_string(value) {
            stderr(&escaped(&text));
        }
    }
}

/// Prints to stdout. A reader that has seen enough (`head`) is no failure.
pub(crate) fn stdout(text: &str) -> Result<(), Failure> {
    raw(text.as_bytes())?;
    raw(b"\n")
}

/// Prints bytes as they are.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        // Whoever read has read enough: a command that goes on printing ends here, and well.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(Failure::Closed),
        Err(e) => Err(Failure::local(format!("cannot write to stdout: {e}"))),
    }
}

fn stderr(text: &str) {
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// JSON that no terminal obeys: what `clean` would strip is written as an escape, so that nothing is lost.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\x7f' || !clean(c.encode_utf8(&mut [0; 4]), 1).is_empty() {
            text.push(c);
        } else {
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        }
    }
    text
}

/// Columns for people. Cells that are empty show `-`.
#[derive(Debug, Clone)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns. A name that starts with `>` aligns its column to the right; one that starts with `?`
    /// is left out while all of its cells are empty.
    pub fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|h| clean(h, usize::MAX)).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|c| clean(&c, usize::MAX)).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_empty = |column: usize| self.rows.iter().all(|row| row.get(column).is_none_or(String::is_empty));
        let kept: Vec<_> = (0..self.head.len()).filter(|i| !self.head[*i].starts_with('?') || !is_empty(*i)).collect();
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(kept.iter().map(|i| self.head[*i].trim_start_matches(['?', '>'])));
        for row in &self.rows {
            let cells = kept.iter().filter_map(|i| row.get(*i));
            table.add_row(cells.map(|c| if c.is_empty() { "-" } else { c.as_str() }));
        }
        for (column, i) in table.column_iter_mut().zip(&kept) {
            column.set_padding((0, 2));
            if self.head[*i].trim_start_matches('?').starts_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let text = table.to_string();
        f.write_str(&text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"))
    }
}

/// Lines of `name  value`, names aligned. Values that are empty are left out.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    lines: Vec<(String, String)>,
}

impl Facts {
    /// Adds a line.
    pub fn add(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        let value = clean(&value.into(), usize::MAX);
        if !value.is_empty() {
            self.lines.push((clean(name, usize::MAX), value));
        }
        self
    }
}

impl std::fmt::Display for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = self.lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (i, (name, value)) in self.lines.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}{name:<width$}  {value}")?;
        }
        Ok(())
    }
}

/// Text of many lines from a log: line ends and tabs stay, everything else that steers a terminal goes.
pub(crate) fn log_text(text: &str) -> String {
    text.split('\n')
        .map(|line| line.split('\t').map(|part| clean(part, usize::MAX)).collect::<Vec<_>>().join("\t"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A moment for people: UTC, to the second.
pub(crate) fn moment(time: Time) -> String {
    let second = time.0.0.div_euclid(1_000_000);
    jiff::Timestamp::from_second(second).map_or_else(|_| time.to_string(), |t| t.to_string())
}

/// How long ago, in one unit: `2s`, `41s`, `3m`, `5h`, `12d`. The future is `0s`.
pub(crate) fn age(time: Time) -> String {
    let now = jiff::Timestamp::now().as_microsecond();
    let seconds = now.saturating_sub(time.0.0).max(0) / 1_000_000;
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `1 host`, `2 hosts`.
pub(crate) fn count(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_strip_what_steers_a_terminal() {
        let mut table = Table::new(&["HOST", ">CPU"]);
        table.row(["pc\x1b[2J\x07\u{202e}1\n".to_owned(), "5".to_owned()]);
        table.row([String::new(), "100".to_owned()]);
        assert_eq!(table.to_string(), "HOST    CPU\npc[2J1    5\n-       100");
        let mut facts = Facts::default();
        facts.add("name", "a\x1b[0mb").add("empty", "").add("longer", "x");
        assert_eq!(facts.to_string(), "name    a[0mb\nlonger  x");
    }

    #[test]
    fn json_keeps_everything_and_steers_nothing() {
        let text = "a\u{9b}31m\u{202e}ä\x7f\x1b";
        let json = escaped(&serde_json::to_string(text).unwrap());
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        assert!(json.contains('ä') && !json.chars().any(|c| c.is_control() || c == '\u{202e}'), "{json}");
    }

    #[test]
    fn logs_keep_their_lines() {
        assert_eq!(log_text("a\tb\x1b[31m\r\nc\n"), "a\tb[31m\nc\n");
    }

    #[test]
    fn moments_are_utc_to_the_second() {
        assert_eq!(moment(Time(chandler_protocol::Timestamp(1_763_802_842_123_456))), "2025-11-22T09:14:02Z");
    }
}
