//! `chandler-agent run`.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use rustix::fs::FlockOperation;
use tokio::signal::unix::{SignalKind, signal};

use super::{RunArgs, Settings, say, tell};
use crate::owner::OwnerFiles;
use crate::world::RealWorld;
use crate::{AgentError, Config, Notice, World};

/// The file in the data directory that `status` reads.
pub(super) const STATUS: &str = "status.json";
/// The file in the data directory that one agent at a time holds.
const LOCK: &str = "lock";

pub(super) fn run(args: RunArgs, shim: Vec<OsString>) -> ExitCode {
    log_to_stderr();
    match begin(&args, shim) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}

fn log_to_stderr() {
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::INFO);
    // Within the demo somebody else may have set one up.
    let _ = subscriber.with_target(false).with_ansi(false).try_init();
}

fn begin(args: &RunArgs, shim: Vec<OsString>) -> Result<(), AgentError> {
    let settings = Settings::load(args)?;
    let dir = settings.data_dir.clone();
    crate::disk::private_dir(&dir)
        .map_err(|e| AgentError::DataDir(format!("the data directory {} cannot be used: {e}", dir.display())))?;
    let _lock = lock(&dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| AgentError::Setting(format!("the runtime cannot be started: {e}")))?;
    runtime.block_on(async {
        let world = World::real(RealWorld {
            data_dir: &dir,
            shim,
            host_name: settings.name.clone(),
            offer: settings.offer,
            programs: settings.programs,
        })?;
        let config = Config {
            join: settings.join,
            host_name: settings.name,
            status_file: Some(dir.join(STATUS)),
            owner: Some(OwnerFiles::new(&dir, settings.owner_file)),
            tunnel: settings.tunnel,
            notice: Arc::new(notice),
        };
        crate::run(config, world, told_to_stop()).await
    })
}

/// One agent for each data directory.
pub(super) fn lock(dir: &Path) -> Result<File, AgentError> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|e| AgentError::DataDir(format!("{}: {e}", path.display())))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(AgentError::Locked(dir.display().to_string())),
    }
}

/// SIGTERM or Ctrl-C.
async fn told_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// What the person who started it waits for. The one line on standard output is for programs.
fn notice(notice: Notice) {
    match notice {
        Notice::KeyMade => tell("key         made here; never leaves this machine"),
        Notice::Waiting { why, deadline } => {
            tell(&format!("controller  not reached yet: {why}; waiting up to {deadline}"))
        }
        Notice::Reached { address, took } => {
            tell(&format!("controller  {address} reached in {took}, fingerprint matches"));
        }
        Notice::Admitted { host, site, waited } => {
            tell(&format!("admitted    as {host}, site {site} (waited {waited} of 15 s)"));
        }
        Notice::JoinIgnored { host } => tell(&format!("joined      already as {host}; the join string is not used")),
        Notice::Ready { host, site, took } => {
            say(&format!("ready host={host} site={site}"));
            tell(&format!("ready in {took}. Next: chandler-agent status"));
        }
    }
}
