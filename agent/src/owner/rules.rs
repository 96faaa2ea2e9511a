//! The owner's rules, as `owner.toml` says them.

use std::collections::BTreeSet;

use chandler_protocol::hours::Hours;
use chandler_protocol::unit::ParseUnitError;
use chandler_protocol::{Bytes, Micros, MilliCpu};
use serde::Deserialize;

/// Most lines of hours.
const HOURS_MAX: usize = 32;
/// Largest file of rules, in bytes.
pub const FILE_MAX: u64 = 64 << 10;
/// How long software may take to stop unless the rules say otherwise, and the longest that they may say.
const GRACE: Micros = Micros::from_millis(300);
const GRACE_MAX: Micros = Micros::from_secs(2);
/// How long before the end of the hours nothing new is offered, unless the rules say otherwise.
const NOTICE: Micros = Micros::from_secs(600);
/// How long the owner must have been away unless the rules say otherwise.
const IDLE_AFTER: Micros = Micros::from_secs(300);
/// Share of all processors that others use from which the computer counts as in use, in percent.
const PROCESSOR: u32 = 30;

/// The most that the fleet gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cap {
    /// Processor time.
    pub cpu: MilliCpu,
    /// Memory.
    pub memory: Bytes,
}

impl Cap {
    /// No cap: everything that is offered.
    pub const ALL: Self = Self { cpu: MilliCpu(u32::MAX), memory: Bytes(u64::MAX) };
    /// Nothing.
    pub const NOTHING: Self = Self { cpu: MilliCpu(0), memory: Bytes(0) };

    /// Whether nothing can run within it: software needs both.
    pub fn is_nothing(self) -> bool {
        self.cpu.0 == 0 || self.memory.0 == 0
    }
}

impl Default for Cap {
    fn default() -> Self {
        Self::ALL
    }
}

/// How it is found that the owner uses the computer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sense {
    /// Programs that are not the fleet's use the processors.
    Processor,
    /// A keyboard, a mouse or a terminal is used.
    Input,
    /// Somebody has an active session.
    Sessions,
}

/// The rules of an owner. Without a file, everything is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// When the computer may be used; always when empty.
    pub hours: Vec<Hours>,
    /// How long before the hours end nothing new is offered, so that what runs can leave.
    pub notice: Micros,
    /// How long software may take to stop before it is killed.
    pub grace: Micros,
    /// The most while the owner is away.
    pub idle: Cap,
    /// The most while the owner uses it.
    pub in_use: Cap,
    /// How use is found.
    pub senses: BTreeSet<Sense>,
    /// Share of all processors that others use from which it counts as use, in percent.
    pub processor: u32,
    /// How long there must have been no use.
    pub idle_after: Micros,
    /// On battery power nothing runs below this charge, in percent.
    pub battery_least: Option<u32>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            hours: Vec::new(),
            notice: NOTICE,
            grace: GRACE,
            idle: Cap::ALL,
            in_use: Cap::ALL,
            senses: BTreeSet::from([Sense::Processor, Sense::Input]),
            processor: PROCESSOR,
            idle_after: IDLE_AFTER,
            battery_least: None,
        }
    }
}

impl Rules {
    /// Whether it matters if the owner uses the computer.
    pub fn heed_use(&self) -> bool {
        self.in_use != self.idle
    }

    /// The rules that a file says.
    ///
    /// # Errors
    /// It says something else; names the field and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        let rules = Self {
            notice: span("when.notice", file.when.notice.as_deref(), NOTICE, Micros::from_secs(7 * 86_400))?,
            hours: file.when.hours,
            grace: span("grace", file.grace.as_deref(), GRACE, GRACE_MAX)?,
            idle: file.caps.idle.read("caps.idle")?,
            in_use: file.caps.in_use.read("caps.in-use")?,
            senses: file.r#use.senses.map_or_else(|| Self::default().senses, |s| s.into_iter().collect()),
            processor: file.r#use.processor.unwrap_or(PROCESSOR),
            idle_after: span(
                "use.idle-after",
                file.r#use.idle_after.as_deref(),
                IDLE_AFTER,
                Micros::from_secs(86_400),
            )?,
            battery_least: file.battery.least,
        };
        if rules.hours.len() > HOURS_MAX {
            return Err(format!("when.hours: write at most {HOURS_MAX} lines"));
        }
        if !(1..=100).contains(&rules.processor) {
            return Err("use.processor: write a share of all processors from 1 to 100, in percent".to_owned());
        }
        if rules.battery_least.is_some_and(|least| least > 101) {
            return Err(
                "battery.least: write a charge from 0 to 101, in percent; 101 means never on battery".to_owned()
            );
        }
        if rules.heed_use() && rules.senses.is_empty() {
            return Err(
                "use.senses: name at least one of processor, input, sessions, or give caps.in-use and caps.idle the \
                        same"
                    .to_owned(),
            );
        }
        Ok(rules)
    }
}

fn span(field: &str, text: Option<&str>, or: Micros, most: Micros) -> Result<Micros, String> {
    let Some(text) = text else { return Ok(or) };
    let span: Micros = text.parse().map_err(|e: ParseUnitError| format!("{field}: {e}"))?;
    if span > most { Err(format!("{field}: write at most {most}")) } else { Ok(span) }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    grace: Option<String>,
    when: FileWhen,
    caps: FileCaps,
    r#use: FileUse,
    battery: FileBattery,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileWhen {
    hours: Vec<Hours>,
    notice: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct FileCaps {
    idle: FileCap,
    in_use: FileCap,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileCap {
    /// In thousandths of a core, as in the agent's settings.
    cpu: Option<u32>,
    memory: Option<String>,
}

impl FileCap {
    fn read(&self, field: &str) -> Result<Cap, String> {
        let memory = self.memory.as_deref().map(str::parse::<Bytes>).transpose();
        let memory = memory.map_err(|e| format!("{field}.memory: {e}"))?;
        let Cap { cpu, memory: all } = Cap::ALL;
        Ok(Cap { cpu: self.cpu.map_or(cpu, MilliCpu), memory: memory.unwrap_or(all) })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct FileUse {
    senses: Option<Vec<Sense>>,
    processor: Option<u32>,
    idle_after: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileBattery {
    least: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_of_the_readme_is_read() {
        let text = r#"
            grace = "200 ms"
            [when]
            hours = ["Mon-Fri 18:00-08:00 Europe/Berlin", "Sat,Sun 00:00-24:00 Europe/Berlin"]
            notice = "5 min"
            [caps]
            idle = { cpu = 4000, memory = "8 GiB" }
            in-use = { cpu = 0 }
            [use]
            senses = ["processor", "input", "sessions"]
            processor = 20
            idle-after = "10 min"
            [battery]
            least = 50
        "#;
        let rules = Rules::parse(text).unwrap();
        assert_eq!((rules.hours.len(), rules.notice, rules.grace.as_millis()), (2, Micros::from_secs(300), 200));
        assert_eq!(rules.idle, Cap { cpu: MilliCpu(4_000), memory: Bytes(8 << 30) });
        assert!(rules.in_use.is_nothing() && rules.heed_use());
        assert_eq!((rules.processor, rules.battery_least, rules.senses.len()), (20, Some(50), 3));
        assert_eq!(Rules::parse(""), Ok(Rules::default()));
        assert!(!Rules::default().heed_use());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, names) in [
            ("[when]\nhours = [\"Mon\"]", "write days"),
            ("[when]\nhuors = []", "huors"),
            ("[when]\nnotice = \"5\"", "when.notice"),
            ("grace = \"1 h\"", "at most"),
            ("[caps]\nidle = { memory = \"5\" }", "caps.idle.memory"),
            ("[use]\nprocessor = 0", "use.processor"),
            ("[use]\nsenses = [\"smell\"]", "smell"),
            ("[use]\nsenses = []\n[caps]\nin-use = { cpu = 0 }", "use.senses"),
            ("[battery]\nleast = 200", "battery.least"),
            ("nonsense", "="),
        ] {
            let error = Rules::parse(text).unwrap_err();
            assert!(error.contains(names), "{text:?}: {error}");
        }
    }
}
