//! Daemons as child processes: started with their output in files, waited for by the line they print,
//! signalled, and surely gone in the end.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::wait::{TimedOut, eventually};

mod sweep;

pub use sweep::{kill_all_under, signal_all_under};

/// How much of a daemon's output is shown when it did not do what was waited for.
const TAIL_BYTES: usize = 4_096;
/// Most output files of one name in one directory: a test that starts a daemon more often is a loop gone wild.
const STARTS_MAX: u32 = 10_000;
/// Tries to start a program that is still open for writing. Another thread that forks at the wrong moment keeps it
/// open in its child until that child executes its own program, some milliseconds at most.
const BUSY_TRIES_MAX: u32 = 400;
/// Pause between two of these tries.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// What to start.
#[derive(Debug, Clone)]
pub struct Launch {
    program: PathBuf,
    name: String,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: PathBuf,
}

/// Why a daemon did not do what was waited for.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started, signalled or read.
    #[error("{name}: {action}")]
    Io {
        /// Which daemon.
        name: String,
        /// What was tried.
        action: &'static str,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// It ended instead.
    #[error("{name} ended with {status} before it printed {prefix:?}\n{tail}")]
    Ended {
        /// Which daemon.
        name: String,
        /// How.
        status: ExitStatus,
        /// What was waited for.
        prefix: String,
        /// The end of what it wrote.
        tail: String,
    },
    /// It took too long.
    #[error("{waited}\n{tail}")]
    TooLate {
        /// What was waited for.
        waited: TimedOut,
        /// The end of what it wrote.
        tail: String,
    },
}

impl Launch {
    /// A program that keeps its output in `directory` as `NAME.N.stdout` and `NAME.N.stderr`, N counting starts.
    /// The child's working directory is `directory` too, so that a sweep of it finds the child.
    pub fn new(program: impl Into<PathBuf>, name: &str, directory: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            name: name.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: directory.into(),
        }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<T: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// One more variable of the environment, which is otherwise inherited.
    #[must_use]
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((key.into(), value.into()));
        self
    }

    /// Starts it, in a process group of its own.
    ///
    /// # Errors
    /// The program or the output files cannot be opened.
    pub fn spawn(&self) -> Result<Daemon, ProcessError> {
        let error = |action| {
            let name = self.name.clone();
            move |source| ProcessError::Io { name, action, source }
        };
        let (stdout, stderr) = self.output_files().map_err(error("cannot create its output files"))?;
        let open = |path: &Path| File::options().append(true).open(path);
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(open(&stdout).map_err(error("cannot open its output"))?)
            .stderr(open(&stderr).map_err(error("cannot open its output"))?)
            .process_group(0);
        let child = start(&mut command).map_err(error("cannot be started"))?;
        Ok(Daemon { child, name: self.name.clone(), stdout, stderr })
    }

    /// Creates the files of the next start.
    fn output_files(&self) -> io::Result<(PathBuf, PathBuf)> {
        fs::create_dir_all(&self.directory)?;
        for n in 1..=STARTS_MAX {
            let file = |stream| self.directory.join(format!("{}.{n}.{stream}", self.name));
            let (stdout, stderr) = (file("stdout"), file("stderr"));
            match File::create_new(&stdout) {
                Ok(_) => return File::create(&stderr).map(|_| (stdout, stderr)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        Err(io::Error::other("started too often"))
    }
}

fn start(command: &mut Command) -> io::Result<Child> {
    for _ in 1..BUSY_TRIES_MAX {
        match command.spawn() {
            Err(e) if e.kind() == io::ErrorKind::ExecutableFileBusy => sleep(BUSY_PAUSE),
            done => return done,
        }
    }
    command.spawn()
}

/// A running child. Dropping it kills its process group; children that made sessions of their own live
/// on, as they do in the field: [`kill_all_under`] ends those.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    name: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Daemon {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its standard output is.
    pub fn stdout(&self) -> &Path {
        &self.stdout
    }

    /// Where its standard error is.
    pub fn stderr(&self) -> &Path {
        &self.stderr
    }

    /// Waits for a whole line on standard output that starts with `prefix` and gives what follows it.
    ///
    /// # Errors
    /// It ended, or took longer than `within`; the error shows the end of what it wrote.
    pub async fn wait_for_line(&mut self, prefix: &str, within: Duration) -> Result<String, ProcessError> {
        let what = format!("{} to print a line that starts with {prefix:?}", self.name);
        let found = eventually(&what, within, || {
            // The order matters: what it printed before it ended counts.
            let ended = self.child.try_wait();
            let line = first_line(&self.stdout, prefix);
            std::future::ready(match (line, ended) {
                (Ok(Some(line)), _) => Some(Ok(line)),
                (Err(source), _) | (_, Err(source)) => {
                    Some(Err(ProcessError::Io { name: self.name.clone(), action: "cannot be watched", source }))
                }
                (Ok(None), Ok(Some(status))) => Some(Err(ProcessError::Ended {
                    name: self.name.clone(),
                    status,
                    prefix: prefix.to_owned(),
                    tail: self.tail(),
                })),
                (Ok(None), Ok(None)) => None,
            })
        })
        .await;
        found.unwrap_or_else(|waited| Err(ProcessError::TooLate { waited, tail: self.tail() }))
    }

    /// Waits until it ended.
    ///
    /// # Errors
    /// It took longer than `within`.
    pub async fn wait_for_end(&mut self, within: Duration) -> Result<ExitStatus, ProcessError> {
        let what = format!("{} to end", self.name);
        let ended = eventually(&what, within, || std::future::ready(self.child.try_wait().transpose())).await;
        match ended {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(source)) => Err(self.error("cannot be watched", source)),
            Err(waited) => Err(ProcessError::TooLate { waited, tail: self.tail() }),
        }
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGTERM: please stop.
    ///
    /// # Errors
    /// It has been waited for already.
    pub fn terminate(&mut self) -> Result<(), ProcessError> {
        self.signal(Signal::TERM)
    }

    /// SIGSTOP: freezes it, as a machine that sleeps or hangs.
    ///
    /// # Errors
    /// It has been waited for already.
    pub fn freeze(&mut self) -> Result<(), ProcessError> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: lets it go on.
    ///
    /// # Errors
    /// It has been waited for already.
    pub fn thaw(&mut self) -> Result<(), ProcessError> {
        self.signal(Signal::CONT)
    }

    /// SIGKILL, to this process alone, and waits until it is gone.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<ExitStatus, ProcessError> {
        self.child.kill().and_then(|()| self.child.wait()).map_err(|e| self.error("cannot be killed", e))
    }

    /// Any signal, to this process alone.
    ///
    /// # Errors
    /// It has ended: its process id may be somebody else's by now.
    pub fn signal(&mut self, signal: Signal) -> Result<(), ProcessError> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(self.error("cannot be signalled", io::Error::other(format!("it ended with {status}"))));
        }
        let sent = kill_process(Pid::from_child(&self.child), signal);
        sent.map_err(|e| self.error("cannot be signalled", e.into()))
    }

    /// The end of what it wrote, for people.
    pub fn tail(&self) -> String {
        let mut text = String::new();
        for path in [&self.stdout, &self.stderr] {
            let bytes = fs::read(path).unwrap_or_default();
            let end = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]).into_owned();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "--- {} ({} bytes)\n{}", path.display(), bytes.len(), end.trim_end());
        }
        text
    }

    fn error(&self, action: &'static str, source: io::Error) -> ProcessError {
        ProcessError::Io { name: self.name.clone(), action, source }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The group outlives its leader while members are left, so its number cannot be another's as
        // long as the leader has not been waited for.
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// What follows `prefix` in the first whole line that starts with it.
fn first_line(path: &Path, prefix: &str) -> io::Result<Option<String>> {
    let bytes = fs::read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    Ok(whole.lines().find_map(|line| line.strip_prefix(prefix)).map(str::to_owned))
}

#[cfg(test)]
mod tests;
