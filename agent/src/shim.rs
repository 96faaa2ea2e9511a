//! The supervisor of one workload: this program started again as `shim DIR`, in a session of its own.
//!
//! It outlives the agent. It starts the program, keeps its logs bounded, waits, ends what the program left behind,
//! and writes down how it ended. Software that runs under a lease it kills before the lease ends, unless it is extended.
//! One thread, no runtime: it costs little beside the program it looks after.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use chandler_protocol::state::Exit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus};

mod end;
mod guard;
pub(crate) mod log;
pub(crate) mod record;

use guard::Guard;
use log::LogWriter;
use record::{ExitRecord, ExpiredRecord, Order, Report, RunRecord};

use crate::platform::{ProcId, boot_clock, boot_id};

/// Bytes taken from the program's output at once.
const READ: usize = 16 << 10;
/// How often orphans that the program left are looked for while it runs.
const REAP_EVERY: Duration = Duration::from_secs(60);
/// The pause between two tries to kill what the kernel does not let go yet.
const KILL_PAUSE: Duration = Duration::from_millis(20);
/// How long output that is still in the pipes is waited for once everything has ended.
const DRAIN: Duration = Duration::from_millis(20);
/// Most bytes drained then: as much as is kept anyway.
const DRAIN_MAX: usize = 2 << 20;

/// The variable that tells a program how many seconds it has until it is moved.
pub(crate) const MOVE_IN: &str = "CHANDLER_MOVE_IN";

/// Tells the supervisor of `dir` to look at its lease, if there is one.
pub(crate) fn tell_to_look(dir: &Path) {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    // Nobody reads it when nothing runs; a pipe that is full has said it already.
    if let Ok(pipe) = rustix::fs::open(dir.join(record::LOOK), flags, Mode::empty()) {
        let _ = rustix::io::write(pipe, &[1]);
    }
}

/// Supervises the workload of `dir`, a run directory that the agent prepared.
pub(crate) fn main(dir: &Path) -> ExitCode {
    let mut answer = std::io::stdout();
    let mut tell = |report: &Report| {
        // The agent may be gone by now; the workload runs all the same.
        let _ = answer.write_all(report.to_line().as_bytes()).and_then(|()| answer.flush());
    };
    match begin(dir) {
        Ok(running) => {
            tell(&Report::Running);
            running.finish(dir);
            ExitCode::SUCCESS
        }
        Err(report) => {
            tell(&report);
            ExitCode::FAILURE
        }
    }
}

/// Becomes a health check of the workload of `dir`, under the workload's own limits.
pub(crate) fn probe(dir: &Path, program: &OsStr, arguments: &[OsString]) -> ExitCode {
    let Some(order) = record::read::<Order>(&dir.join(record::ORDER)) else { return ExitCode::FAILURE };
    if enter(&order.groups).is_ok() {
        // Comes back only when it did not work, which is a failed try like any other.
        let _ = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(order.environment)
            .envs(std::env::var_os(MOVE_IN).map(|seconds| (MOVE_IN, seconds)))
            .current_dir(order.directory)
            .exec();
    }
    ExitCode::FAILURE
}

/// Puts this process into control groups.
fn enter(groups: &[String]) -> std::io::Result<()> {
    let me = std::process::id().to_string();
    groups.iter().try_for_each(|group| std::fs::write(Path::new(group).join("cgroup.procs"), &me))
}

struct Running {
    /// Held as long as this supervisor lives: at most one runs an assignment.
    _lock: File,
    pid: Pid,
    pidfd: std::os::fd::OwnedFd,
    pipes: Pipes,
    record: RunRecord,
    guard: Guard,
    /// Control groups of the run, and what marks its processes.
    groups: Vec<String>,
    mark: String,
    /// Its lease was over.
    is_expired: bool,
}

struct Pipes {
    out: Option<std::process::ChildStdout>,
    err: Option<std::process::ChildStderr>,
    out_log: LogWriter,
    err_log: LogWriter,
}

fn begin(dir: &Path) -> Result<Running, Report> {
    let failed = |what: &str, e: &dyn std::fmt::Display| Report::Failed(format!("{what}: {e}"));
    let order: Order = record::read(&dir.join(record::ORDER)).ok_or_else(|| Report::Failed("no order".into()))?;
    let lock = record::lock(dir).map_err(|e| Report::Again(format!("it is running already: {e}")))?;
    // Not the leader of a group yet, so this works but when started by hand; then the session is already its own.
    let _ = rustix::process::setsid();
    enter(&order.groups).map_err(|e| failed("cannot enter its control group", &e))?;
    let me = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(me)).map_err(|e| failed("cannot adopt orphans", &e))?;
    let boot_id = boot_id();
    // Before the program: what cannot be guarded is not started.
    let guard = Guard::open(dir, boot_id).map_err(|e| Report::Again(format!("it cannot be guarded: {e}")))?;
    let log = Path::new(&order.log);
    let (out_log, err_log) = (LogWriter::open(log, log::STDOUT), LogWriter::open(log, log::STDERR));
    let program = order.command.first().ok_or_else(|| Report::Failed("no command".into()))?;
    // Neither a `pre_exec` hook nor a user id: that would fork this process instead of spawning beside it.
    let mut child = Command::new(program)
        .args(&order.command[1..])
        .env_clear()
        .envs(order.environment.iter().map(|(k, v)| (k, v)))
        .current_dir(&order.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|e| match e.kind() {
            std::io::ErrorKind::WouldBlock
            | std::io::ErrorKind::OutOfMemory
            | std::io::ErrorKind::ExecutableFileBusy => Report::Again(format!("{program} cannot be started now: {e}")),
            _ => Report::Failed(format!("{program} cannot be started: {e}")),
        })?;
    let pid = Pid::from_child(&child);
    let started = boot_clock();
    let identify = |pid: u32| ProcId::of(pid).unwrap_or(ProcId { pid, start: 0 });
    let record = RunRecord { boot_id, shim: identify(std::process::id()), program: identify(child.id()), started };
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty());
    let written = record::write(&dir.join(record::RUN), &record);
    match (pidfd, written) {
        (Ok(pidfd), Ok(())) => {
            let pipes = Pipes { out: child.stdout.take(), err: child.stderr.take(), out_log, err_log };
            let (groups, mark) = (order.groups, format!("{}={}", record::MARK, dir.display()));
            Ok(Running { _lock: lock, pid, pidfd, pipes, record, guard, groups, mark, is_expired: false })
        }
        (pidfd, written) => {
            // Nobody would find it again.
            let _ = child.kill();
            let _ = child.wait();
            Err(Report::Again(format!("it cannot be watched: {:?} {:?}", pidfd.err(), written.err())))
        }
    }
}

impl Running {
    fn finish(mut self, dir: &Path) {
        let exit = self.wait(dir);
        let cpu = match self.is_expired {
            true => end::end_all(self.pid, &self.groups, &self.mark),
            false => end::end_everything(),
        };
        self.pipes.drain();
        let record =
            ExitRecord { boot_id: self.record.boot_id, started: self.record.started, ended: boot_clock(), exit, cpu };
        // It is believed in this boot only, so it need not outlive it: others may wait for this end.
        if let Err(error) = record::write(&dir.join(record::EXIT), &record) {
            // With the disk full the agent will find no record and say that it does not know; nothing else is lost.
            let _ = writeln!(std::io::stderr(), "how the program ended is not kept: {error}");
        }
    }

    fn wait(&mut self, dir: &Path) -> Exit {
        loop {
            let [timer, look] = self.guard.sources();
            let ready = self.pipes.poll(&[timer, look, self.pidfd.as_fd()], REAP_EVERY);
            // The lease first: a flood of output must not delay its end.
            if ready.others.first() == Some(&true) || ready.others.get(1) == Some(&true) {
                self.look_at_lease(dir);
            }
            self.pipes.pump(&ready);
            loop {
                match rustix::process::wait(WaitOptions::NOHANG) {
                    Ok(Some((pid, status))) if pid == self.pid => return exit_of(status),
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    // Somebody else reaped it: impossible but for a debugger.
                    Err(_) => return Exit::Unknown,
                }
            }
        }
    }
}

impl Running {
    /// Kills everything when the lease is over. Why is written down first, as far as there is a disk for it.
    fn look_at_lease(&mut self, dir: &Path) {
        if !self.guard.is_over() {
            return;
        }
        if !std::mem::replace(&mut self.is_expired, true) {
            let expired = ExpiredRecord { boot_id: self.record.boot_id, started: self.record.started };
            let _ = record::write(&dir.join(record::EXPIRED), &expired);
        } else {
            std::thread::sleep(KILL_PAUSE);
        }
        end::kill_all(self.pid, &self.groups, &self.mark);
    }
}

/// What is readable.
#[derive(Debug, Default)]
struct Ready {
    out: bool,
    err: bool,
    /// In the order asked for.
    others: Vec<bool>,
}

impl Pipes {
    /// Waits until a pipe has something or one of `others` is readable; tells which.
    fn poll(&self, others: &[BorrowedFd<'_>], wait: Duration) -> Ready {
        let pipes = [self.out.as_ref().map(AsFd::as_fd), self.err.as_ref().map(AsFd::as_fd)];
        let sources = pipes.iter().flatten().chain(others);
        let mut fds: Vec<PollFd<'_>> = sources.map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let wait =
            Timespec { tv_sec: i64::try_from(wait.as_secs()).unwrap_or(0), tv_nsec: i64::from(wait.subsec_nanos()) };
        if !matches!(poll(&mut fds, Some(&wait)), Ok(n) if n > 0) {
            return Ready::default();
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        // In the order of `sources`: of the pipes only those that are open are in the list.
        let out = self.out.is_some() && ready.next().unwrap_or(false);
        let err = self.err.is_some() && ready.next().unwrap_or(false);
        Ready { out, err, others: ready.collect() }
    }

    /// Takes what is there into the logs. Gives how many bytes that were.
    fn pump(&mut self, ready: &Ready) -> usize {
        let mut taken = 0;
        if ready.out {
            taken += take(&mut self.out, &mut self.out_log);
        }
        if ready.err {
            taken += take(&mut self.err, &mut self.err_log);
        }
        taken
    }

    fn drain(&mut self) {
        let mut taken = 0;
        while (self.out.is_some() || self.err.is_some()) && taken < DRAIN_MAX {
            let ready = self.poll(&[], DRAIN);
            if !ready.out && !ready.err {
                return;
            }
            taken += self.pump(&ready);
        }
    }
}

fn take<R: Read>(pipe: &mut Option<R>, log: &mut LogWriter) -> usize {
    let mut buffer = [0; READ];
    match pipe.as_mut().map(|p| p.read(&mut buffer)) {
        Some(Ok(n)) if n > 0 => {
            log.write(&buffer[..n]);
            n
        }
        Some(Err(e)) if e.kind() == std::io::ErrorKind::Interrupted => 0,
        _ => {
            *pipe = None;
            0
        }
    }
}

fn exit_of(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unknown,
    }
}
