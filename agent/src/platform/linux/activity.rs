//! Signs of the owner: processors, keyboards, terminals, sessions and batteries, from `/proc`, `/sys`, `/dev` and `/run`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chandler_protocol::Micros;

use super::readings::busy_and_total;
use crate::owner::Power;

/// Words by which `/proc/interrupts` names keyboards, mice and touch pads.
const INPUT_WORDS: [&str; 7] = ["i8042", "keyboard", "mouse", "touchpad", "i2c_hid", "hid-", "xhci_hcd"];

/// Looks for signs of the owner below a root directory.
#[derive(Debug)]
pub(crate) struct Signs {
    root: PathBuf,
    /// Processor time that was busy, and all of it.
    cpu: Option<(u64, u64)>,
    /// Interrupts of keyboards and mice.
    interrupts: Option<u64>,
}

impl Signs {
    /// Of this computer.
    pub(crate) fn new() -> Self {
        Self::below(Path::new("/"))
    }

    fn below(root: &Path) -> Self {
        Self { root: root.to_owned(), cpu: None, interrupts: None }
    }

    /// Share of all processors that was busy since the last look, in thousandths, and how much processor time there was
    /// in all. `None` at the first look, and when it cannot be told.
    pub(crate) fn busy(&mut self) -> Option<(u64, Micros)> {
        let now = busy_and_total(&fs::read_to_string(self.root.join("proc/stat")).ok()?);
        let before = self.cpu.replace(now)?;
        let total = now.1.checked_sub(before.1).filter(|t| *t > 0)?;
        // Ticks are hundredths of a second for every program, whatever the kernel's own are.
        let all = Micros(i64::try_from(total).ok()?.checked_mul(10_000)?);
        Some((now.0.saturating_sub(before.0).saturating_mul(1_000) / total, all))
    }

    /// Whether a keyboard or a mouse was used since the last look; `None` when there is none, or it cannot be told.
    pub(crate) fn input(&mut self) -> Option<bool> {
        let now = input_interrupts(&fs::read_to_string(self.root.join("proc/interrupts")).ok()?)?;
        let before = self.interrupts.replace(now)?;
        Some(now != before)
    }

    /// How long ago anything was typed into a terminal, as `w` tells it; `None` when no terminal is open.
    pub(crate) fn terminals(&self) -> Option<Duration> {
        let names = fs::read_dir(self.root.join("dev/pts")).ok()?.flatten();
        let numbered = names.filter(|e| e.file_name().to_str().is_some_and(|n| n.parse::<u32>().is_ok()));
        let used = numbered.filter_map(|e| e.metadata().ok()?.accessed().ok()).max()?;
        Some(SystemTime::now().duration_since(used).unwrap_or_default())
    }

    /// Active sessions as the login manager lists them; `None` where there is no login manager.
    pub(crate) fn sessions(&self) -> Option<u32> {
        let files = fs::read_dir(self.root.join("run/systemd/sessions")).ok()?.flatten();
        let texts = files.filter_map(|e| fs::read_to_string(e.path()).ok());
        let active = texts.filter(|t| t.lines().any(|l| l == "ACTIVE=1") && t.lines().any(|l| l == "CLASS=user"));
        u32::try_from(active.count()).ok()
    }

    /// What feeds the computer. A battery that does not say how it is may be empty.
    pub(crate) fn power(&self) -> Power {
        let Ok(supplies) = fs::read_dir(self.root.join("sys/class/power_supply")) else { return Power::Mains };
        let read = |path: &Path, name| fs::read_to_string(path.join::<&str>(name)).ok().map(|t| t.trim().to_owned());
        let (mut charge, mut is_unknown) = (None, false);
        for path in supplies.flatten().map(|e| e.path()) {
            match read(&path, "type").as_deref() {
                Some("Mains" | "USB") if read(&path, "online").as_deref() == Some("1") => return Power::Mains,
                // That of a mouse feeds a mouse.
                Some("Battery") if read(&path, "scope").as_deref() != Some("Device") => {
                    match read(&path, "capacity").and_then(|t| t.parse::<u32>().ok()) {
                        Some(percent) => charge = Some(charge.map_or(percent, |c: u32| c.min(percent))),
                        None => is_unknown = true,
                    }
                }
                _ => {}
            }
        }
        match charge {
            _ if is_unknown => Power::Unknown,
            Some(percent) => Power::Battery(percent),
            None => Power::Mains,
        }
    }
}

/// How often keyboards and mice asked for attention; `None` when no line names one.
fn input_interrupts(text: &str) -> Option<u64> {
    let is_input = |line: &&str| INPUT_WORDS.iter().any(|word| line.contains(word));
    let count = |line: &str| {
        let numbers = line.split_ascii_whitespace().skip(1).map_while(|n| n.parse::<u64>().ok());
        numbers.fold(0, u64::wrapping_add)
    };
    text.lines().filter(is_input).map(count).reduce(u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn processors_and_keyboards_are_compared_with_the_last_look() {
        let dir = tempfile::tempdir().unwrap();
        let mut signs = Signs::below(dir.path());
        assert_eq!((signs.busy(), signs.input()), (None, None), "nothing can be read");
        put(dir.path(), "proc/stat", "cpu  10 0 20 60 10 0 0 0 0 0\n");
        put(dir.path(), "proc/interrupts", "      CPU0 CPU1\n  1:  5  7  IO-APIC 1-edge i8042\n 30: 9 9 nvme0q0\n");
        assert_eq!((signs.busy(), signs.input()), (None, None), "a change needs two looks");
        put(dir.path(), "proc/stat", "cpu  40 0 40 110 10 0 0 0 0 0\n");
        assert_eq!(signs.busy(), Some((500, Micros::from_secs(1))));
        put(dir.path(), "proc/interrupts", "      CPU0 CPU1\n  1:  5  7  IO-APIC 1-edge i8042\n 30: 99 9 nvme0q0\n");
        assert_eq!(signs.input(), Some(false), "a disk is no keyboard");
        put(dir.path(), "proc/interrupts", "      CPU0 CPU1\n  1:  5  8  IO-APIC 1-edge i8042\n 30: 99 9 nvme0q0\n");
        assert_eq!(signs.input(), Some(true));
    }

    #[test]
    fn sessions_and_batteries_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let signs = Signs::below(dir.path());
        assert_eq!((signs.sessions(), signs.power()), (None, Power::Mains), "a server has neither");
        put(dir.path(), "run/systemd/sessions/1", "UID=1000\nACTIVE=1\nCLASS=user\n");
        put(dir.path(), "run/systemd/sessions/2", "UID=1000\nACTIVE=0\nCLASS=user\n");
        put(dir.path(), "run/systemd/sessions/3", "UID=112\nACTIVE=1\nCLASS=greeter\n");
        assert_eq!(signs.sessions(), Some(1));
        let supply = "sys/class/power_supply/";
        put(dir.path(), &format!("{supply}mouse/type"), "Battery\n");
        put(dir.path(), &format!("{supply}mouse/scope"), "Device\n");
        put(dir.path(), &format!("{supply}BAT0/type"), "Battery\n");
        assert_eq!(signs.power(), Power::Unknown, "it does not say");
        put(dir.path(), &format!("{supply}BAT0/capacity"), "35\n");
        put(dir.path(), &format!("{supply}AC/type"), "Mains\n");
        put(dir.path(), &format!("{supply}AC/online"), "0\n");
        assert_eq!(signs.power(), Power::Battery(35));
        put(dir.path(), &format!("{supply}AC/online"), "1\n");
        assert_eq!(signs.power(), Power::Mains);
    }
}
