//! What agent and supervisor tell each other, as small files in the run directory and one line over a pipe.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use chandler_protocol::Micros;
use chandler_protocol::state::Exit;
use rustix::fs::FlockOperation;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::driver::{Launch, Ports};
use crate::platform::ProcId;

/// Written by the agent before the supervisor is started: an [`Order`].
pub(crate) const ORDER: &str = "order";
/// Written by the supervisor once the program runs: a [`RunRecord`].
pub(crate) const RUN: &str = "run";
/// Written by the supervisor when all has ended: an [`ExitRecord`].
pub(crate) const EXIT: &str = "exit";
/// Written by the agent while software runs under a lease: a [`LeaseRecord`].
pub(crate) const LEASE: &str = "lease";
/// A pipe: whatever arrives in it tells the supervisor to look at [`LEASE`].
pub(crate) const LOOK: &str = "look";
/// Written by the supervisor before it ends a run because its lease is over: an [`ExpiredRecord`].
pub(crate) const EXPIRED: &str = "expired";
/// The variable that marks every process of an assignment. Its value is the run directory, so that two agents on
/// one computer never take each other's processes for their own.
pub(crate) const MARK: &str = "CHANDLER_RUN";
/// Locked by the supervisor as long as it lives.
const LOCK: &str = "lock";
/// Largest of these files.
const RECORD_MAX: u64 = 4 << 20;

/// What the supervisor shall do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// How it was asked for: an agent that finds it running compares this with what is wanted then.
    pub(crate) launch: Launch,
    /// Where it listens.
    pub(crate) ports: Ports,
    /// Program and arguments, replaced.
    pub(crate) command: Vec<String>,
    /// The whole environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Where it starts.
    pub(crate) directory: String,
    /// Where its logs go.
    pub(crate) log: String,
    /// Control groups to enter.
    pub(crate) groups: Vec<String>,
}

/// A run that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    pub(crate) boot_id: [u8; 16],
    pub(crate) shim: ProcId,
    pub(crate) program: ProcId,
    pub(crate) started: Micros,
}

/// A run that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExitRecord {
    pub(crate) boot_id: [u8; 16],
    pub(crate) started: Micros,
    pub(crate) ended: Micros,
    pub(crate) exit: Exit,
    pub(crate) cpu: Option<Micros>,
}

/// What the supervisor guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaseRecord {
    pub(crate) boot_id: [u8; 16],
    /// Everything is killed then, by the boot clock; `None`: nothing is guarded any more.
    pub(crate) until: Option<Micros>,
}

/// A run was ended because its lease was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExpiredRecord {
    pub(crate) boot_id: [u8; 16],
    pub(crate) started: Micros,
}

/// The one line that the supervisor says to the agent that started it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// The program runs.
    Running,
    /// It does not, and will not the next time either.
    Failed(String),
    /// It does not, but may the next time.
    Again(String),
}

impl Report {
    pub(crate) fn to_line(&self) -> String {
        let clean = |why: &str| chandler_protocol::text::clean(why, chandler_protocol::text::TEXT_MAX);
        match self {
            Self::Running => "running\n".to_owned(),
            Self::Failed(why) => format!("failed {}\n", clean(why)),
            Self::Again(why) => format!("again {}\n", clean(why)),
        }
    }

    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let line = line.strip_suffix('\n')?;
        match line.split_once(' ') {
            None if line == "running" => Some(Self::Running),
            Some(("failed", why)) => Some(Self::Failed(why.to_owned())),
            Some(("again", why)) => Some(Self::Again(why.to_owned())),
            _ => None,
        }
    }
}

/// A record, or `None` when it is missing or torn.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let meta = fs::metadata(path).ok()?;
    if meta.len() > RECORD_MAX {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    let (body, sum) = bytes.split_last_chunk::<32>()?;
    if blake3::hash(body) != blake3::Hash::from_bytes(*sum) {
        return None;
    }
    postcard::from_bytes(body).ok()
}

/// Replaces a record whole. It need not survive power loss: it is about this boot.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let mut bytes = postcard::to_allocvec(value).map_err(io::Error::other)?;
    bytes.extend(*blake3::hash(&bytes).as_bytes());
    let temp = path.with_extension("new");
    File::create(&temp)?.write_all(&bytes)?;
    fs::rename(&temp, path)
}

/// Locks the run directory for as long as the file is kept open.
///
/// # Errors
/// Another process holds the lock.
pub(crate) fn lock(dir: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(dir.join(LOCK))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Whether a supervisor lives that uses this run directory.
pub(crate) fn is_locked(dir: &Path) -> bool {
    dir.join(LOCK).exists() && lock(dir).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_the_pipe_and_hostile_text() {
        for report in [Report::Running, Report::Failed("no such file".into()), Report::Again("busy".into())] {
            assert_eq!(Report::from_line(&report.to_line()), Some(report));
        }
        assert_eq!(Report::Failed("a\nrunning".into()).to_line(), "failed arunning\n");
        for bad in ["", "running", "running \n", "else\n"] {
            assert_eq!(Report::from_line(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_torn_record_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exit");
        write(&path, &7_u32).unwrap();
        assert_eq!(read::<u32>(&path), Some(7));
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(read::<u32>(&path), None);
    }

    #[test]
    fn only_one_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_locked(dir.path()));
        let held = lock(dir.path()).unwrap();
        assert!(is_locked(dir.path()));
        drop(held);
        assert!(!is_locked(dir.path()));
    }
}
