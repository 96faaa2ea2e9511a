//! Files of the API's schema, as TOML or JSON: read, changed by `--set`, and refused with file, line and field.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::problem::Failure;

/// Longest file that is read.
const FILE_MAX: u64 = 16 << 20;
/// Deepest path of a `--set`.
const DEPTH_MAX: usize = 16;
/// Longest line that is quoted in an error.
const QUOTE_MAX: usize = 100;

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// TOML 1.
    Toml,
    /// JSON.
    Json,
}

/// A document as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What errors call it.
    pub name: String,
    /// Its text.
    pub text: String,
    /// How it is written.
    pub format: Format,
    /// What relative paths in it are relative to.
    pub base: PathBuf,
}

/// `KEY.PATH=VALUE`: a value that replaces the one in the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The path, dotted; a number picks from a list.
    pub path: String,
    /// The value: TOML where it is TOML, a text otherwise.
    pub value: Value,
}

impl std::str::FromStr for Assignment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) = text.split_once('=').ok_or("write it as key.path=value")?;
        let path = path.trim();
        if path.is_empty() || path.split('.').any(str::is_empty) || path.split('.').count() > DEPTH_MAX {
            return Err(format!("{path:?} is not a path such as sla.cost.max"));
        }
        Ok(Self { path: path.to_owned(), value: loose(value) })
    }
}

/// A value as TOML writes it, so that `2`, `true` and `["DE", "CH"]` are what they look like; text otherwise.
fn loose(text: &str) -> Value {
    #[derive(Deserialize)]
    struct Only {
        v: toml::Value,
    }
    match toml::from_str::<Only>(&format!("v = {}", text.trim())) {
        // A date has no counterpart in JSON, and no field wants one.
        Ok(Only { v }) if !matches!(v, toml::Value::Datetime(_)) => {
            serde_json::to_value(v).unwrap_or_else(|_| Value::String(text.to_owned()))
        }
        _ => Value::String(text.to_owned()),
    }
}

/// Where and why a document is not what it should be.
struct Wrong {
    field: String,
    message: String,
    /// Line and column, from 1.
    at: Option<(usize, usize)>,
}

impl Document {
    /// Reads a file; `-` is stdin. The extension tells TOML from JSON.
    ///
    /// # Errors
    /// It cannot be read, is too long, or has another extension.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let cannot = |e: std::io::Error| Failure::local(format!("cannot read {name}: {e}"));
        let text = if path == Path::new("-") {
            limited(std::io::stdin().lock()).map_err(cannot)?
        } else {
            limited(std::fs::File::open(path).map_err(cannot)?).map_err(cannot)?
        };
        let format = match path.extension().and_then(|e| e.to_str()) {
            Some("toml") => Format::Toml,
            Some("json") => Format::Json,
            None if name == "-" => {
                if text.trim_start().starts_with('{') {
                    Format::Json
                } else {
                    Format::Toml
                }
            }
            _ => return Err(Failure::local(format!("{name} is neither .toml nor .json"))),
        };
        let base = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        Ok(Self { name, text, format, base })
    }

    /// The value in it, after these changes.
    ///
    /// # Errors
    /// Syntax, an unknown field, or a value that is not allowed; with file, line, column and field.
    pub fn parse<T: DeserializeOwned>(&self, changes: &[Assignment]) -> Result<T, Failure> {
        if changes.is_empty() {
            return self.decode().map_err(|wrong| self.failure(&wrong));
        }
        let mut value: Value = self.decode().map_err(|wrong| self.failure(&wrong))?;
        for change in changes {
            set(&mut value, change).map_err(|why| Failure::document(format!("--set {}: {why}", change.path)))?;
        }
        let wrong = match serde_path_to_error::deserialize(value) {
            Ok(value) => return Ok(value),
            Err(e) => Wrong { field: field_of(e.path()), message: e.inner().to_string(), at: None },
        };
        let related = |c: &&Assignment| under(&wrong.field, &c.path) || under(&c.path, &wrong.field);
        if let Some(change) = changes.iter().find(related) {
            let text = format!("--set {}: field {}: {}", change.path, wrong.field, wrong.message);
            return Err(Failure::document(text));
        }
        // The file itself is wrong there; only its own text knows the line.
        match self.decode::<T>() {
            Err(located) if located.field == wrong.field => Err(self.failure(&located)),
            _ => Err(self.failure(&wrong)),
        }
    }

    fn decode<T: DeserializeOwned>(&self) -> Result<T, Wrong> {
        match self.format {
            Format::Toml => self.decode_toml(),
            Format::Json => self.decode_json(),
        }
    }

    fn decode_toml<T: DeserializeOwned>(&self) -> Result<T, Wrong> {
        let wrong = |e: &toml::de::Error, field| Wrong {
            field,
            message: e.message().to_owned(),
            at: e.span().map(|span| position(&self.text, span.start)),
        };
        let deserializer = toml::Deserializer::parse(&self.text).map_err(|e| wrong(&e, String::new()))?;
        serde_path_to_error::deserialize(deserializer).map_err(|e| wrong(e.inner(), field_of(e.path())))
    }

    fn decode_json<T: DeserializeOwned>(&self) -> Result<T, Wrong> {
        let mut deserializer = serde_json::Deserializer::from_str(&self.text);
        let wrong = |e: &serde_json::Error, field| {
            let text = e.to_string();
            let tail = format!(" at line {} column {}", e.line(), e.column());
            let at = (e.line() > 0).then(|| (e.line(), e.column().max(1)));
            Wrong { field, message: text.strip_suffix(&tail).unwrap_or(&text).to_owned(), at }
        };
        let value =
            serde_path_to_error::deserialize(&mut deserializer).map_err(|e| wrong(e.inner(), field_of(e.path())))?;
        deserializer.end().map_err(|e| wrong(&e, String::new()))?;
        Ok(value)
    }

    fn failure(&self, wrong: &Wrong) -> Failure {
        let mut place = self.name.clone();
        if let Some((line, column)) = wrong.at {
            place = format!("{place}, line {line}, column {column}");
        }
        if !wrong.field.is_empty() {
            place = format!("{place}, field {}", wrong.field);
        }
        let quote = wrong.at.map(|(line, column)| quote(&self.text, line, column)).unwrap_or_default();
        Failure::document(format!("{place}: {}{quote}", wrong.message.trim_end()))
    }
}

fn limited(from: impl std::io::Read) -> std::io::Result<String> {
    let text = std::io::read_to_string(from.take(FILE_MAX + 1))?;
    if text.len() as u64 > FILE_MAX {
        return Err(std::io::Error::other(format!("it is longer than {} MiB", FILE_MAX >> 20)));
    }
    Ok(text)
}

/// The path of an error, empty for the document as a whole.
fn field_of(path: &serde_path_to_error::Path) -> String {
    let text = path.to_string();
    if text == "." || text == "?" { String::new() } else { text }
}

/// Line and column, from 1, of a byte.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The line in question with a mark under the column.
fn quote(text: &str, line: usize, column: usize) -> String {
    let Some(content) = text.lines().nth(line - 1) else { return String::new() };
    // Tabs and control characters are one column wide here, so that the mark stands where it should.
    let content: String = content.chars().take(QUOTE_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let mark = if column <= QUOTE_MAX { format!("\n{margin} | {}^", " ".repeat(column - 1)) } else { String::new() };
    format!("\n{number} | {content}{mark}")
}

/// Whether `path` is `root` or below it.
fn under(path: &str, root: &str) -> bool {
    // Lists are written `port[0]` by errors and `port.0` by people.
    let plain = |p: &str| p.replace('[', ".").replace(']', "");
    let (path, root) = (plain(path), plain(root));
    path == root || path.strip_prefix(&root).is_some_and(|rest| rest.starts_with('.'))
}

fn set(root: &mut Value, change: &Assignment) -> Result<(), String> {
    let mut place = root;
    let parts: Vec<&str> = change.path.split('.').collect();
    for (i, part) in parts.iter().enumerate() {
        let so_far = parts[..i].join(".");
        if place.is_null() {
            *place = Value::Object(serde_json::Map::new());
        }
        place = match place {
            Value::Object(map) => map.entry((*part).to_owned()).or_insert(Value::Null),
            Value::Array(list) => {
                let length = list.len();
                let index = part.parse::<usize>().ok().and_then(|index| list.get_mut(index));
                index.ok_or_else(|| format!("{so_far} is a list of {length}, counted from 0"))?
            }
            _ => return Err(format!("{so_far} is a value and holds nothing")),
        };
    }
    *place = change.value.clone();
    Ok(())
}

#[cfg(test)]
mod tests {
    use chandler_api::order::OrderRequest;

    use super::*;
    use crate::problem::text;

    const NOTES: &str = r#"customer = "acme"
name = "notes"
[software]
artifact = "notes@1.0.0"
command = ["./notes"]
limits = { cpu = 0.5, memory = "256 MiB" }
port = [{ name = "http", mode = "http" }]
[sla]
cost = { max = "30 EUR/month" }
"#;

    fn document(text: &str, format: Format) -> Document {
        let name = if format == Format::Toml { "notes.toml" } else { "notes.json" };
        Document { name: name.to_owned(), text: text.to_owned(), format, base: PathBuf::new() }
    }

    /// Parses the order and expects its error to contain each of these.
    fn refused(text_: &str, format: Format, sets: &[&str], expect: &[&str]) {
        let sets: Vec<Assignment> = sets.iter().map(|s| s.parse().unwrap()).collect();
        let failure = document(text_, format).parse::<OrderRequest>(&sets).unwrap_err();
        assert_eq!(failure.exit(), 1);
        let shown = text(&failure);
        for part in expect {
            assert!(shown.contains(part), "{part:?} is not in:\n{shown}");
        }
    }

    #[test]
    fn errors_name_file_line_column_and_field() {
        let toml = |from: &str, to: &str| NOTES.replace(from, to);
        let table: &[(String, &[&str])] = &[
            (
                toml("command =", "comand ="),
                &["notes.toml, line 5, column 1", "comand", "expected one of", "5 | comand"],
            ),
            (toml("30 EUR/month", "30 EUR"), &["line 9, column 16, field sla.cost.max", "such as \"30 EUR/month\""]),
            (toml("0.5", "-1"), &["line 6", "field software.limits.cpu", "0.001 to 1024"]),
            (toml("256 MiB", "lots"), &["line 6", "field software.limits.memory", "is not a size"]),
            (toml("mode = \"http\"", "mode = \"udp\""), &["line 7", "software.port[0].mode", "`tcp`"]),
            (toml("name = \"notes\"", "name = "), &["notes.toml, line 2, column "]),
            (toml("name = \"notes\"\n", ""), &["notes.toml", "missing field `name`"]),
            (format!("{NOTES}\n[policy]\nreplicas = \"two\"\n"), &["policy.replicas", "{ min = 1, max = 3 }"]),
        ];
        for (text, expect) in table {
            refused(text, Format::Toml, &[], expect);
        }
    }

    #[test]
    fn json_orders_are_told_likewise() {
        let json = "{\n  \"name\": \"n\",\n  \"software\": {\n    \"command\": [\"x\"],\n    \"retries\": -1\n  }\n}";
        refused(json, Format::Json, &[], &["notes.json, line 5, column 17", "field software.retries", "invalid value"]);
        refused("{", Format::Json, &[], &["notes.json, line 1", "EOF"]);
        refused("{\"name\": \"n\", \"software\": {\"command\": []}} x", Format::Json, &[], &["trailing characters"]);
    }

    fn parsed(sets: &[&str]) -> OrderRequest {
        let sets: Vec<Assignment> = sets.iter().map(|s| s.parse().unwrap()).collect();
        document(NOTES, Format::Toml).parse(&sets).unwrap()
    }

    #[test]
    fn set_changes_the_order_before_it_is_checked() {
        let order = parsed(&["sla.cost.max=11.20 EUR/month", "policy.replicas=2", "software.port.0.front=18081"]);
        assert_eq!(order.sla.cost.unwrap().max.to_string(), "11.2 EUR/month");
        assert_eq!(order.policy.replicas.max, 2);
        assert_eq!(order.software.port[0].front, Some(18_081));
        let order = parsed(&["sla.residency=[\"DE\", \"CH\"]", "name=other", "sla.interactivity.p95=\"50 ms\""]);
        assert_eq!(order.sla.residency, ["DE", "CH"]);
        assert_eq!(order.name, "other");
        assert_eq!(order.sla.interactivity.unwrap().p95.to_string(), "50 ms");
        assert_eq!(parsed(&["software.limits={ cpu = 2 }"]).software.limits.cpu.0, 2_000);
    }

    #[test]
    fn a_wrong_set_is_named() {
        refused(
            NOTES,
            Format::Toml,
            &["sla.cost.max=cheap"],
            &["--set sla.cost.max: field sla.cost.max", "not a cost"],
        );
        refused(NOTES, Format::Toml, &["sla.coast.max=1"], &["coast"]);
        refused(NOTES, Format::Toml, &["name.x=1"], &["--set name.x: name is a value"]);
        refused(NOTES, Format::Toml, &["software.port.7.front=1"], &["software.port is a list of 1"]);
        // A mistake of the file keeps its line although something else was set.
        let broken = NOTES.replace("256 MiB", "lots");
        refused(&broken, Format::Toml, &["name=other"], &["line 6", "software.limits.memory"]);
        assert!("name".parse::<Assignment>().is_err() && "a..b=1".parse::<Assignment>().is_err());
    }
}
