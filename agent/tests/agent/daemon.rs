//! Starting and ending the real program, and what tests order from it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use chandler_protocol::state::{Assignment, DesiredState, ObservedAssignment, Phase, Target};
use chandler_protocol::workload::*;
use chandler_protocol::{AssignmentId, Bytes, Digest, Micros};

use crate::controller::{Controller, Heard};

/// An agent that runs. It is ended, with its software, when this is dropped.
pub(crate) struct Daemon {
    child: Child,
    dir: PathBuf,
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chandler-agent"));
    command.env_remove("CHANDLER_JOIN").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// Runs the program to its end. The test's controller lives on this thread and goes on meanwhile.
pub(crate) async fn call(dir: &Path, arguments: &[&str]) -> Output {
    let mut program = program();
    program.args(arguments).arg("--data-dir").arg(dir).stderr(Stdio::piped());
    tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap()
}

impl Daemon {
    /// Starts it, and waits for the line that says it is connected.
    pub(crate) async fn start(dir: &Path, controller: &Controller) -> (Self, String) {
        let daemon = Self::launch(dir, Some(&controller.join_string().to_text()));
        daemon.ready().await
    }

    pub(crate) fn launch(dir: &Path, join: Option<&str>) -> Self {
        let mut command = program();
        command.args(["run", "--name", "pc-1", "--program", "tool=/bin/true", "--data-dir"]).arg(dir);
        if join.is_some() {
            command.args(["--join", "-"]).stdin(Stdio::piped());
        }
        let mut child = command.spawn().unwrap();
        if let (Some(join), Some(mut stdin)) = (join, child.stdin.take()) {
            stdin.write_all(join.as_bytes()).unwrap();
        }
        Self { child, dir: dir.to_owned() }
    }

    pub(crate) async fn ready(mut self) -> (Self, String) {
        let mut out = BufReader::new(self.child.stdout.take().unwrap());
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            out.read_line(&mut line).map(|_| line)
        });
        let line = tokio::time::timeout(Duration::from_secs(30), line).await.unwrap().unwrap().unwrap();
        (self, line)
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// As a crash or a power button would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.dir = PathBuf::new();
    }

    /// As a service manager would.
    pub(crate) async fn terminate(mut self) -> std::process::ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.dir = PathBuf::new();
        self.wait().await
    }

    pub(crate) async fn wait(&mut self) -> std::process::ExitStatus {
        for _ in 0..4_000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the agent did not end");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.dir.as_os_str().is_empty() {
            end_software(&self.dir);
        }
    }
}

/// Ends whatever an agent with this data directory started.
pub(crate) fn end_software(dir: &Path) {
    let mark = format!("CHANDLER_RUN={}", dir.display());
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|b| *b == 0).any(|e| e.starts_with(mark.as_bytes())) {
            let _ = rustix::process::kill_process(
                rustix::process::Pid::from_raw(pid).unwrap(),
                rustix::process::Signal::KILL,
            );
        }
    }
}

/// Ends the software of a test whose agents are gone.
pub(crate) struct Cleaned(pub(crate) tempfile::TempDir);

impl Cleaned {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Cleaned {
    fn drop(&mut self) {
        end_software(self.0.path());
    }
}

pub(crate) fn id(n: u8) -> AssignmentId {
    AssignmentId::from_random([n; 10])
}

pub(crate) fn shell(text: &str) -> WorkloadSpec {
    WorkloadSpec {
        name: "notes".into(),
        kind: WorkloadKind::Service,
        driver: DriverKind::Process,
        software: Software::Installed { name: "sh".into(), path: "/bin/sh".into() },
        command: vec!["/bin/sh".into(), "-c".into(), text.into()],
        environment: Vec::new(),
        limits: Limits::default(),
        ports: Vec::new(),
        state: None,
        health: None,
        restart: RestartPolicy::default(),
        stop: StopPolicy { grace: Micros::from_secs(5), ..StopPolicy::default() },
        inputs: Vec::new(),
        outputs: Vec::new(),
        time_limit: None,
    }
}

pub(crate) fn order(n: u8, epoch: u64, target: Target, spec: WorkloadSpec) -> Assignment {
    Assignment { id: id(n), epoch, target, spec }
}

pub(crate) fn desired(generation: u64, assignments: Vec<Assignment>) -> DesiredState {
    DesiredState { generation, assignments }
}

pub(crate) fn find(heard: &Heard, n: u8) -> Option<&ObservedAssignment> {
    heard.observed.assignments.iter().find(|o| o.id == id(n))
}

/// Waits until an assignment is in a phase that `is_it` knows.
pub(crate) async fn phase(
    controller: &Controller,
    n: u8,
    is_it: impl Fn(&ObservedAssignment) -> bool,
) -> ObservedAssignment {
    controller.until("the phase", |h| find(h, n).filter(|o| is_it(o)).cloned()).await
}

pub(crate) async fn running(controller: &Controller, n: u8) -> ObservedAssignment {
    phase(controller, n, |o| o.phase == Phase::Running).await
}

/// An archive with one program in it.
pub(crate) fn archive(name: &str, text: &str, padding: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |path: &str, mode: u32, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, path, bytes).unwrap();
    };
    add(name, 0o755, text.as_bytes());
    let noise: Vec<u8> = (0..padding).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    add("share/noise", 0o644, &noise);
    builder.into_inner().unwrap()
}

pub(crate) fn artifact(digest: Digest, bytes: &[u8]) -> Software {
    Software::Artifact { name: "notes".into(), version: "1".into(), digest, length: Bytes(bytes.len() as u64) }
}

/// The pid that a program wrote into its log.
pub(crate) fn pid_in_log(dir: &Path, n: u8) -> String {
    let log = chandler_agent::driver::Layout::new(dir).log(id(n));
    let mut files: Vec<PathBuf> = std::fs::read_dir(log).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let out = files.iter().find(|p| p.to_string_lossy().contains("stdout")).unwrap();
    std::fs::read_to_string(out).unwrap().lines().last().unwrap().to_owned()
}
