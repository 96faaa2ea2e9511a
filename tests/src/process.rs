//! Software as this machine sees it: which process it is, what it was given, and whether it is there at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use crate::http;

/// The process that answers for the notes application at this URL: it says so itself.
///
/// # Errors
/// It does not answer, or not like notes.
pub async fn of_notes(url: &str) -> anyhow::Result<Process> {
    let answer = http::get(url).await?;
    let id = answer.body.split_once(" pid ").and_then(|(_, rest)| rest.split_once(':'));
    let id = id.and_then(|(id, _)| id.parse().ok());
    Ok(Process { id: id.with_context(|| format!("{answer:?} names no process"))? })
}

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its process id.
    pub id: i32,
}

impl Process {
    fn path(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.id))
    }

    /// Whether it is there and has not ended.
    pub fn is_alive(self) -> bool {
        let stat = fs::read_to_string(self.path("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    /// Its arguments, the program first.
    ///
    /// # Errors
    /// It is gone.
    pub fn arguments(self) -> anyhow::Result<Vec<String>> {
        Ok(texts(&fs::read(self.path("cmdline"))?))
    }

    /// The environment it was started with.
    ///
    /// # Errors
    /// It is gone.
    pub fn environment(self) -> anyhow::Result<BTreeMap<String, String>> {
        let all = texts(&fs::read(self.path("environ"))?);
        Ok(all.iter().filter_map(|t| t.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    }

    /// Its working directory.
    ///
    /// # Errors
    /// It is gone.
    pub fn directory(self) -> anyhow::Result<PathBuf> {
        Ok(fs::read_link(self.path("cwd"))?)
    }

    /// How much memory the kernel lets it have, in either version of control groups; `None`: as much as there is.
    ///
    /// # Errors
    /// It is gone.
    pub fn memory_limit(self) -> anyhow::Result<Option<u64>> {
        let groups = fs::read_to_string(self.path("cgroup"))?;
        let limits = groups.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (controllers, path) = (parts.nth(1)?, parts.next()?.trim_start_matches('/'));
            let file = match controllers {
                "memory" => format!("/sys/fs/cgroup/memory/{path}/memory.limit_in_bytes"),
                "" => format!("/sys/fs/cgroup/{path}/memory.max"),
                _ => return None,
            };
            fs::read_to_string(file).ok()?.trim().parse().ok()
        });
        Ok(limits.min())
    }

    /// Sends it, and it alone, a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.id).context("a process id is positive")?;
        Ok(kill_process(pid, signal)?)
    }

    /// kill -9.
    ///
    /// # Errors
    /// It is gone.
    pub fn kill(self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)
    }
}

/// The processes of the notes application that work in directories under this one, with these.
///
/// # Errors
/// The machine does not say what runs.
pub fn notes_at(under: &Path) -> anyhow::Result<Vec<(Process, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let process = Process { id };
        // What is gone meanwhile is not there.
        let Ok(directory) = process.directory() else { continue };
        let is_notes =
            |a: Vec<String>| a.first().is_some_and(|a| a.ends_with("/notes")) && a.iter().any(|a| a == "--data");
        if directory.starts_with(under) && process.is_alive() && process.arguments().is_ok_and(is_notes) {
            found.push((process, directory));
        }
    }
    Ok(found)
}

/// The same without the directories.
///
/// # Errors
/// As for [`notes_at`].
pub fn notes_under(under: &Path) -> anyhow::Result<Vec<Process>> {
    Ok(notes_at(under)?.into_iter().map(|(process, _)| process).collect())
}

/// Texts that each end with a zero.
fn texts(bytes: &[u8]) -> Vec<String> {
    let parts = bytes.split(|b| *b == 0).filter(|part| !part.is_empty());
    parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}
