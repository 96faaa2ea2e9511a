//! A door, what is behind it, and what its agent would do: everything real but the tunnel, which is plain TCP here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chandler_agent::disk::FileDisk;
use chandler_agent::door::{BoxedIo, Doors, OpenError, Opener, Parts, RealFronts};
use chandler_agent::world::{RealClock, RealRandom};
use chandler_protocol::tunnel::TunnelRefusal;
use chandler_protocol::way::{Backend, Door, DoorLimits, DoorPort, Hold, ObservedDoor, Route};
use chandler_protocol::workload::PortMode;
use chandler_protocol::{AssignmentId, Micros, MoveId, ServiceId};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::app::App;
use crate::caller::PATIENCE;

/// What the agent of a copy says to those who ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// Connects, if the epoch is the copy's.
    Open,
    Refuses(TunnelRefusal),
    /// There is no way to it.
    Nothing,
}

#[derive(Default)]
pub(crate) struct Plain {
    copies: Mutex<BTreeMap<AssignmentId, (SocketAddr, u64, Says)>>,
    /// Every epoch that a copy was asked for with.
    pub(crate) asked: Mutex<Vec<(AssignmentId, u64)>>,
}

impl Plain {
    pub(crate) fn set(&self, app: &App, says: Says) {
        self.copies.lock().unwrap().insert(app.backend.assignment, (app.address, app.backend.epoch, says));
    }
}

#[async_trait]
impl Opener for Plain {
    async fn open(&self, backend: &Backend, _: &str) -> Result<BoxedIo, OpenError> {
        self.asked.lock().unwrap().push((backend.assignment, backend.epoch));
        let known = self.copies.lock().unwrap().get(&backend.assignment).copied();
        match known {
            Some((_, epoch, Says::Refuses(why))) => Err(OpenError::Refused { why, epoch }),
            Some((_, epoch, _)) if epoch != backend.epoch => {
                Err(OpenError::Refused { why: TunnelRefusal::NotHere, epoch })
            }
            Some((address, _, Says::Open)) => {
                let stream = TcpStream::connect(address).await;
                let stream = stream.map_err(|_| OpenError::Refused { why: TunnelRefusal::Unreachable, epoch: 0 })?;
                stream.set_nodelay(true).unwrap();
                Ok(Box::new(stream))
            }
            _ => Err(OpenError::NotSent("no way".into())),
        }
    }
}

pub(crate) struct Ground {
    pub(crate) doors: Doors,
    pub(crate) plain: Arc<Plain>,
    pub(crate) door: Door,
    pub(crate) told: Arc<Notify>,
    dir: tempfile::TempDir,
}

pub(crate) fn the_move(n: u8) -> MoveId {
    MoveId::from_random([n; 10])
}

impl Ground {
    /// A door with one port, not yet routed anywhere.
    pub(crate) fn new(mode: PortMode) -> Self {
        // Thousands of connections have both their ends in this process.
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        let limit = rustix::process::Rlimit { current: most, maximum: most };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (plain, told) = (Arc::new(Plain::default()), Arc::new(Notify::new()));
        let doors = doors(&dir, &plain, &told);
        let door = Door {
            service: ServiceId::from_random([9; 10]),
            name: "notes".into(),
            ports: vec![DoorPort { name: "http".into(), mode, number: None, lan: None }],
            route: Route { sequence: 0, hold: None, backends: Vec::new() },
            limits: DoorLimits::default(),
        };
        Self { doors, plain, door, told, dir }
    }

    /// A door of HTTP that is routed to this copy.
    pub(crate) async fn http(app: &App) -> (Self, SocketAddr) {
        let mut ground = Self::new(PortMode::Http);
        ground.serve(&[app]);
        let at = ground.address().await;
        (ground, at)
    }

    /// Requests go to these copies, which answer.
    pub(crate) fn serve(&mut self, apps: &[&App]) {
        for app in apps {
            self.plain.set(app, Says::Open);
        }
        self.route(None, apps);
    }

    /// Requests wait for at most `ms`.
    pub(crate) fn hold(&mut self, ms: i64, apps: &[&App]) {
        let hold = Hold { r#move: the_move(1), attempt: 1, limit: Micros::from_millis(ms) };
        self.route(Some(hold), apps);
    }

    pub(crate) fn route(&mut self, hold: Option<Hold>, apps: &[&App]) {
        let backends = apps.iter().map(|a| a.backend).collect();
        self.door.route = Route { sequence: self.door.route.sequence + 1, hold, backends };
        self.update();
    }

    pub(crate) fn update(&self) {
        self.doors.update(std::slice::from_ref(&self.door));
    }

    /// As when the agent is started anew with the disk it had.
    pub(crate) fn restart(&mut self) {
        self.doors.update(&[]);
        self.doors = doors(&self.dir, &self.plain, &self.told);
    }

    pub(crate) fn observed(&self) -> ObservedDoor {
        self.doors.observed().remove(0)
    }

    pub(crate) async fn address(&self) -> SocketAddr {
        until("an address", || self.doors.addresses().into_values().next()).await
    }

    /// Waits until so many requests wait.
    pub(crate) async fn waiting(&self, n: u32) {
        until(&format!("{n} to wait"), || (self.observed().waiting == n).then_some(())).await;
    }
}

fn doors(dir: &tempfile::TempDir, plain: &Arc<Plain>, told: &Arc<Notify>) -> Doors {
    Doors::new(Parts {
        opener: plain.clone(),
        fronts: Arc::new(RealFronts),
        disk: Arc::new(FileDisk::open(&dir.path().join("records")).unwrap()),
        clock: Arc::new(RealClock),
        random: Arc::new(RealRandom),
        told: told.clone(),
    })
}

/// Looks until it is there.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
