//! What `chandler-agent status` shows: kept current in one small file by the agent that runs.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chandler_protocol::Micros;
use chandler_protocol::state::{Failure, Phase};
use serde::{Deserialize, Serialize};

use crate::agent::Shared;
use crate::owner::OwnerStatus;
use crate::sync::lock;

/// How often the file is written when nothing changes: it says that the agent lives.
const EVERY: Duration = Duration::from_secs(30);
/// Shortest time between two writes.
const GAP: Duration = Duration::from_millis(500);
/// A file older than this is of an agent that hangs.
pub const STALE: Micros = Micros::from_secs(90);

/// How the phase of what does not run for the owner's sake is written.
pub const MADE_WAY: &str = "made way";

/// How things stand with the controller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkState {
    /// Whom the agent is connected to.
    pub controller: Option<SocketAddr>,
    /// Time to it and back, when the session began.
    pub round_trip_micros: i64,
    /// The wall clock of this computer minus the controller's.
    pub clock_offset_micros: Option<i64>,
    /// Why no controller is connected.
    pub problem: Option<String>,
    /// Why the disk takes no new orders.
    pub disk_error: Option<String>,
    /// Why orders are refused that the disk would take.
    #[serde(default)]
    pub refused: Option<String>,
}

impl LinkState {
    /// Whether a controller is connected.
    pub fn is_connected(&self) -> bool {
        self.controller.is_some()
    }

    pub(crate) fn connected(&mut self, controller: SocketAddr, rtt: Duration, offset: Micros) {
        self.controller = Some(controller);
        self.round_trip_micros = Micros::from_std(rtt).0;
        self.clock_offset_micros = Some(offset.0);
        self.problem = None;
    }

    pub(crate) fn lost(&mut self, why: &str) {
        self.controller = None;
        self.problem = Some(why.to_owned());
    }
}

/// One assignment as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Its id.
    pub id: String,
    /// The service's name.
    pub name: String,
    /// How far it is.
    pub phase: String,
    /// What a person should know.
    pub message: String,
    /// Where it listens.
    pub ports: Vec<(String, u16)>,
    /// How often it was started.
    pub starts: u32,
}

/// Everything `chandler-agent status` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The id of this computer.
    pub host: String,
    /// Its site.
    pub site: String,
    /// The agent's version.
    pub version: String,
    /// The agent's process.
    pub pid: u32,
    /// When this was written, by the boot clock.
    pub written_micros: i64,
    /// The boot.
    pub boot_id: [u8; 16],
    /// How things stand with the controller.
    pub link: LinkState,
    /// What the owner of this computer allows.
    #[serde(default)]
    pub owner: OwnerStatus,
    /// Generation of the desired state that is stored.
    pub generation: u64,
    /// What runs, and what does not.
    pub workloads: Vec<Workload>,
}

/// Keeps the file current for as long as the agent runs.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let Some(path) = shared.config.status_file.clone() else { return std::future::pending().await };
    loop {
        if let Err(error) = write(&path, &status(&shared)) {
            tracing::debug!(%error, "the status file is not written");
        }
        tokio::time::sleep(GAP).await;
        // Changed or due, whichever is first.
        let _ = tokio::time::timeout(EVERY, shared.status_wanted.notified()).await;
    }
}

fn status(shared: &Shared) -> Status {
    let identity = lock(&shared.identity).clone();
    let (_, observed) = shared.board.snapshot();
    let workloads = observed
        .into_iter()
        .map(|o| Workload {
            id: o.id.to_string(),
            name: shared.name_of(o.id),
            phase: phase_name(o.phase),
            message: o.message,
            ports: o.ports,
            starts: o.starts,
        })
        .collect();
    Status {
        host: identity.host.to_string(),
        site: identity.site,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        written_micros: shared.world.clock.boot().0,
        boot_id: shared.world.probe.boot_id(),
        link: shared.link(),
        owner: shared.owner.status(),
        generation: shared.generation(),
        workloads,
    }
}

fn phase_name(phase: Phase) -> String {
    match phase {
        Phase::Pending => "pending".into(),
        Phase::Fetching(ppm) => format!("fetching {} %", ppm / 10_000),
        Phase::Starting => "starting".into(),
        Phase::Running => "running".into(),
        Phase::Unhealthy => "unhealthy".into(),
        Phase::BackingOff => "backing off".into(),
        Phase::Stopping => "stopping".into(),
        Phase::Stopped => "stopped".into(),
        Phase::Completed(_) => "completed".into(),
        Phase::Failed(Failure::Owner) => MADE_WAY.into(),
        Phase::Failed(_) => "failed".into(),
        Phase::Wiped => "wiped".into(),
        Phase::Receiving(p) => format!("receiving, round {}", p.rounds + 1),
        Phase::Verified(_) => "verified".into(),
        Phase::Sealed(_) => "sealed".into(),
    }
}

/// Replaces the file whole. It is not worth an fsync: it says how things are now.
fn write(path: &Path, status: &Status) -> std::io::Result<()> {
    let temp = path.with_extension("json.new");
    std::fs::write(&temp, serde_json::to_vec(status)?)?;
    std::fs::rename(&temp, path)
}

/// The status as the agent last wrote it.
pub fn read(path: &Path) -> Option<Status> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
