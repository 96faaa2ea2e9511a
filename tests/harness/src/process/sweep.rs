//! Ends what a test left behind: workloads live in sessions of their own, on purpose, so they are found
//! by the directory they were started from.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Rounds in a row that must find nothing: a process may be forking while it is looked for.
const QUIET_ROUNDS: u32 = 2;
/// Longest time spent: a killed process is gone within milliseconds unless the disk hangs.
const SWEEP_MAX: Duration = Duration::from_secs(10);
/// Pause between two rounds, for the kernel to take the dead away.
const PAUSE: Duration = Duration::from_millis(10);

/// Kills every process, but this one, whose command line or working directory names `directory` or
/// something in it. Gives how many were killed.
///
/// # Errors
/// The directory is not absolute or so short that it would be half the machine; `/proc` cannot be read;
/// or some did not die.
pub fn kill_all_under(directory: &Path) -> io::Result<usize> {
    let names = directory.components().filter(|c| matches!(c, Component::Normal(_))).count();
    if !directory.is_absolute() || names < 2 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "needs an absolute path of at least two names"));
    }
    let real = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_path_buf());
    let wanted = [directory.as_os_str().as_bytes(), real.as_os_str().as_bytes()];
    let begin = Instant::now();
    let (mut killed, mut quiet) = (std::collections::BTreeSet::new(), 0);
    while quiet < QUIET_ROUNDS {
        if begin.elapsed() > SWEEP_MAX {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "some processes did not die"));
        }
        let found = find(&wanted)?;
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        for pid in found {
            // It may be gone already, which is what was wanted.
            let _ = kill_process(pid, Signal::KILL);
            killed.insert(pid.as_raw_nonzero());
        }
        if quiet < QUIET_ROUNDS {
            sleep(PAUSE);
        }
    }
    Ok(killed.len())
}

/// Sends a signal to every process that [`kill_all_under`] would kill, once. Gives how many there are.
///
/// # Errors
/// `/proc` cannot be read.
pub fn signal_all_under(directory: &Path, signal: Signal) -> io::Result<usize> {
    let real = fs::canonicalize(directory)?;
    let found = find(&[directory.as_os_str().as_bytes(), real.as_os_str().as_bytes()])?;
    for pid in &found {
        // It may be gone already.
        let _ = kill_process(*pid, signal);
    }
    Ok(found.len())
}

/// The processes, but this one, that name one of `wanted`.
fn find(wanted: &[&[u8]]) -> io::Result<Vec<Pid>> {
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(entry) = entry else { continue };
        let Some(id) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        if u32::try_from(id) == Ok(own) || is_dead(&entry.path()) {
            continue;
        }
        // A process that ended meanwhile, or is another user's, has nothing to read.
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let cwd = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        if wanted.iter().any(|w| names(&command, w) || names(cwd.as_os_str().as_bytes(), w)) {
            found.extend(Pid::from_raw(id));
        }
    }
    Ok(found)
}

/// Whether it has ended and only waits for its parent to notice.
fn is_dead(process: &Path) -> bool {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    // The name before may hold anything, even parentheses; the state follows the last one.
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// Whether `text` holds `path` as a whole path or as the beginning of one: `/tmp/a` is not in `/tmp/ab`.
fn names(text: &[u8], path: &[u8]) -> bool {
    let part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    text.windows(path.len().max(1))
        .enumerate()
        .any(|(at, window)| window == path && !text.get(at + path.len()).is_some_and(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_not_found_in_its_longer_sibling() {
        assert!(names(b"prog\0--data\0/tmp/x1/d\0", b"/tmp/x1"));
        assert!(names(b"prog\0--data=/tmp/x1", b"/tmp/x1"));
        assert!(!names(b"prog\0--data\0/tmp/x12/d\0", b"/tmp/x1"));
        assert!(!names(b"", b"/tmp/x1"));
    }

    #[test]
    fn half_the_machine_is_refused() {
        for bad in ["/", "/tmp", "tmp/x/y", ""] {
            assert!(kill_all_under(Path::new(bad)).is_err(), "{bad:?} was swept");
        }
    }
}
