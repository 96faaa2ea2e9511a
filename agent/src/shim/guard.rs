//! The guard of a lease: ends the software when its lease is over, whatever has become of the agent by then.
//!
//! The agent writes the deadline into a small file and extends it there; the guard reads the file when the deadline
//! passes, and ends everything unless it finds a later one. The timer counts by the boot clock, which goes on while a
//! computer sleeps. A deadline that comes forward, or the first one, is told over a pipe.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use chandler_protocol::Micros;
use rustix::fs::{Mode, OFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::record::{self, LeaseRecord};
use crate::platform::boot_clock;

/// Most bytes that are taken out of the pipe at once; what they are does not matter.
const PIPE: usize = 256;

/// Watches over one lease.
pub(super) struct Guard {
    dir: PathBuf,
    boot_id: [u8; 16],
    timer: OwnedFd,
    look: File,
    until: Option<Micros>,
}

impl Guard {
    /// A guard of the lease that is in `dir`, if one is.
    ///
    /// # Errors
    /// The system has no such timer or pipe: nothing that needs a lease may be started.
    pub(super) fn open(dir: &Path, boot_id: [u8; 16]) -> std::io::Result<Self> {
        let path = dir.join(record::LOOK);
        match rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR) {
            Err(e) if e != rustix::io::Errno::EXIST => return Err(e.into()),
            _ => {}
        }
        // Open for writing as well: it has no end when an agent closes its own.
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let look = File::from(rustix::fs::open(&path, flags, Mode::empty())?);
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let mut guard = Self { dir: dir.to_owned(), boot_id, timer, look, until: None };
        guard.read();
        guard.arm();
        Ok(guard)
    }

    /// What wakes the guard: readable when [`Self::is_over`] is to be asked.
    pub(super) fn sources(&self) -> [BorrowedFd<'_>; 2] {
        [self.timer.as_fd(), self.look.as_fd()]
    }

    /// Looks at the newest deadline. Whether it has passed: everything is to be ended now.
    pub(super) fn is_over(&mut self) -> bool {
        let mut bytes = [0; PIPE];
        while matches!(self.look.read(&mut bytes), Ok(PIPE)) {}
        self.read();
        self.arm();
        self.until.is_some_and(|until| boot_clock() >= until)
    }

    fn read(&mut self) {
        let record: Option<LeaseRecord> = record::read(&self.dir.join(record::LEASE));
        // A guard that cannot read a later deadline keeps to the one it knows.
        if let Some(record) = record.filter(|r| r.boot_id == self.boot_id) {
            self.until = record.until;
        }
    }

    /// Sets the timer to the deadline. Setting it makes it unreadable until then.
    fn arm(&self) {
        let at = self.until.map_or(Timespec { tv_sec: 0, tv_nsec: 0 }, |until| Timespec {
            tv_sec: until.0.max(1) / 1_000_000,
            tv_nsec: (until.0.max(1) % 1_000_000) * 1_000,
        });
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timer = Itimerspec { it_interval: never, it_value: at };
        // It fails only for times that are none, and the poll that waits for it is bounded anyway.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &timer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: &Path, boot_id: [u8; 16], until: Option<Micros>) {
        record::write(&dir.join(record::LEASE), &LeaseRecord { boot_id, until }).unwrap();
    }

    #[test]
    fn the_newest_deadline_counts_and_one_that_cannot_be_read_is_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let (boot, now) = ([1; 16], boot_clock());
        let later = Micros(now.0 + 60_000_000);
        let mut guard = Guard::open(dir.path(), boot).unwrap();
        assert!(!guard.is_over(), "without a lease nothing is guarded");
        put(dir.path(), [2; 16], Some(now));
        assert!(!guard.is_over(), "a lease of another boot is none");
        put(dir.path(), boot, Some(later));
        assert!(!guard.is_over());
        put(dir.path(), boot, Some(now));
        assert!(guard.is_over(), "a deadline may come forward");
        std::fs::remove_file(dir.path().join(record::LEASE)).unwrap();
        assert!(guard.is_over(), "a file that is gone extends nothing");
        put(dir.path(), boot, None);
        assert!(!guard.is_over(), "it is not guarded any more");
    }
}
