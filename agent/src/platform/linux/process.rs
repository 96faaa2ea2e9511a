//! Processes by identity: a bare pid may belong to another program after a while, pid and start time do not.

use std::fs;
use std::os::fd::OwnedFd;
use std::time::Duration;

use chandler_protocol::workload::StopSignal;
use chandler_protocol::{Bytes, Micros};
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::driver;

/// Clock ticks a second in `/proc`: fixed in the kernel's interface on every architecture that matters.
const TICKS: i64 = 100;
/// How often a process is looked at where the kernel has no pidfd.
const POLL: Duration = Duration::from_millis(100);
/// Most processes of one workload that are looked at.
const TREE_MAX: usize = 8_192;
/// Bytes of a process' environment in which the mark is looked for: the kernel lets none be larger.
const ENVIRONMENT_MAX: usize = 6 << 20;
/// Processes that are looked at before others get a turn.
const LOOKED_AT_ONCE: usize = 64;

/// One process, for ever (within one boot).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcId {
    /// Its number.
    pub(crate) pid: u32,
    /// When it started, in ticks since boot.
    pub(crate) start: u64,
}

impl ProcId {
    /// The process that has this number now. A dead one whose parent has not asked yet does not count.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = Stat::of(pid)?;
        (!matches!(stat.state, 'Z' | 'X')).then_some(Self { pid, start: stat.start })
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// What is read of `/proc/PID/stat`.
struct Stat {
    state: char,
    /// Own processor time.
    cpu: Micros,
    /// Processor time of children that ended and were waited for.
    reaped: Micros,
    start: u64,
    resident_pages: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The program's name stands in parentheses and may hold anything, so fields are counted from the last one.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.get(text.rfind(')')? + 2..)?.split_ascii_whitespace().collect();
        let number = |i: usize| fields.get(i)?.parse::<i64>().ok();
        let ticks = |i: usize| Some(Micros(number(i)?.saturating_mul(1_000_000 / TICKS)));
        Some(Self {
            state: fields.first()?.chars().next()?,
            cpu: Micros(ticks(11)?.0 + ticks(12)?.0),
            reaped: Micros(ticks(13)?.0 + ticks(14)?.0),
            start: u64::try_from(number(19)?).ok()?,
            resident_pages: u64::try_from(number(21)?).unwrap_or(0),
        })
    }
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|t| fs::read_to_string(t.path().join("children")).ok());
    lists.flat_map(|l| l.split_ascii_whitespace().filter_map(|p| p.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Every process below `pid`, parents first.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let mut found = children(pid);
    let mut next = 0;
    while next < found.len() && found.len() < TREE_MAX {
        let more = children(found[next]);
        found.extend(more);
        next += 1;
    }
    found
}

/// The direct children of this process.
pub(crate) fn own_children() -> Vec<u32> {
    children(std::process::id())
}

/// Processor time of all children of this process that ended.
pub(crate) fn own_reaped_cpu() -> Option<Micros> {
    Stat::of(std::process::id()).map(|s| s.reaped)
}

/// What everything below `pid` uses, ended processes included.
pub(crate) fn tree_usage(pid: u32) -> Option<driver::Measure> {
    let mut cpu = Stat::of(pid)?.reaped.0;
    let mut pages = 0_u64;
    for stat in descendants(pid).into_iter().filter_map(Stat::of) {
        cpu = cpu.saturating_add(stat.cpu.0).saturating_add(stat.reaped.0);
        pages = pages.saturating_add(stat.resident_pages);
    }
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4_096);
    Some(driver::Measure { cpu: Micros(cpu), memory: Bytes(pages.saturating_mul(page)) })
}

/// Sends a signal to a program and its process group. Nothing happens when it is no longer that program.
pub(crate) fn signal_group(id: ProcId, signal: driver::Signal) {
    let signal = match signal {
        driver::Signal::Stop(StopSignal::Terminate) => Signal::TERM,
        driver::Signal::Stop(StopSignal::Interrupt) => Signal::INT,
        driver::Signal::Stop(StopSignal::Quit) => Signal::QUIT,
        driver::Signal::Kill => Signal::KILL,
    };
    let Some(pid) = i32::try_from(id.pid).ok().and_then(Pid::from_raw) else { return };
    // The pidfd pins the process; only then is it certain whom the number means.
    let pinned = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok();
    if !id.is_alive() {
        return;
    }
    if rustix::process::kill_process_group(pid, signal).is_err() {
        match pinned {
            Some(fd) => drop(rustix::process::pidfd_send_signal(fd, signal)),
            None => drop(rustix::process::kill_process(pid, signal)),
        }
    }
}

/// Kills every process whose environment holds `mark` (a whole `NAME=value`): those that hang under no supervisor.
/// Gives how many there were. Dropping the future stops the search, so that it kills nothing of a later run.
pub(crate) async fn kill_marked(mark: &str) -> usize {
    let mut found = 0;
    for some in all_processes().chunks(LOOKED_AT_ONCE) {
        found += kill_marked_of(some, mark);
        tokio::task::yield_now().await;
    }
    found
}

/// The same at once, for those that have nothing else to do.
pub(crate) fn kill_marked_now(mark: &str) -> usize {
    kill_marked_of(&all_processes(), mark)
}

fn all_processes() -> Vec<i32> {
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    all.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

fn kill_marked_of(some: &[i32], mark: &str) -> usize {
    let marked = some.iter().filter(|pid| is_marked(**pid, mark));
    marked.inspect(|pid| kill(**pid)).count()
}

fn is_marked(pid: i32, mark: &str) -> bool {
    use std::io::Read;
    let mut environment = Vec::new();
    let Ok(file) = fs::File::open(format!("/proc/{pid}/environ")) else { return false };
    file.take(ENVIRONMENT_MAX as u64).read_to_end(&mut environment).is_ok()
        && environment.split(|b| *b == 0).any(|entry| entry == mark.as_bytes())
}

/// Kills the process that has this number now.
pub(crate) fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

/// Kills the process group of a child that was not waited for yet: until then nobody else can have its number.
pub(crate) fn kill_group(leader: &std::process::Child) {
    let _ = rustix::process::kill_process_group(Pid::from_child(leader), Signal::KILL);
}

/// Waits for the end of a process that need not be a child.
#[derive(Debug)]
pub(crate) enum ProcessHandle {
    /// The kernel tells.
    Pidfd(u32, AsyncFd<OwnedFd>),
    /// It must be asked.
    Polled(ProcId),
}

impl ProcessHandle {
    /// The process with this number, if there is one.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let raw = Pid::from_raw(i32::try_from(pid).ok()?)?;
        match rustix::process::pidfd_open(raw, PidfdFlags::empty()) {
            Ok(fd) => register(fd).map(|fd| Self::Pidfd(pid, fd)).or_else(|| ProcId::of(pid).map(Self::Polled)),
            Err(rustix::io::Errno::SRCH) => None,
            Err(_) => ProcId::of(pid).map(Self::Polled),
        }
    }

    /// This very process, if it still runs.
    pub(crate) fn of_id(id: ProcId) -> Option<Self> {
        let handle = Self::of(id.pid)?;
        id.is_alive().then_some(handle)
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&self) {
        match self {
            Self::Pidfd(pid, fd) => {
                // The descriptor holds the number, so whatever has it is this process; a wake-up alone proves nothing.
                while let Ok(mut ready) = fd.readable().await {
                    if ProcId::of(*pid).is_none() {
                        return;
                    }
                    ready.clear_ready();
                }
            }
            Self::Polled(id) => {
                while id.is_alive() {
                    tokio::time::sleep(POLL).await;
                }
            }
        }
    }
}

#[expect(deprecated, reason = "its successor is unsafe for types that lend their descriptor out; this one owns it")]
fn register(fd: OwnedFd) -> Option<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_parentheses_cannot_forge_the_fields() {
        let text = "77 (x) R 1 (y)) S 1 2 3 0 -1 4 5 6 7 8 150 50 20 10 20 0 1 0 9999 1000 42 18";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.state, stat.start, stat.resident_pages), ('S', 9_999, 42));
        assert_eq!((stat.cpu, stat.reaped), (Micros::from_secs(2), Micros::from_millis(300)));
        assert!(Stat::parse("77 (x").is_none());
        assert!(Stat::parse("").is_none());
    }

    #[test]
    fn a_reused_number_is_another_process() {
        let me = ProcId::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!ProcId { start: me.start + 1, ..me }.is_alive());
        assert!(ProcessHandle::of(u32::MAX).is_none());
    }
}
