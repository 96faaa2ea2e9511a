//! The agent as a whole: what its parts share, and how they are started and ended together.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use chandler_protocol::join::JoinString;
use chandler_protocol::state::{Assignment, DesiredState};
use chandler_protocol::{AssignmentId, Digest, HostId, Micros};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::AgentError;
use crate::artifact::fetch::Fetcher;
use crate::board::Board;
use crate::command::Memory;
use crate::disk;
use crate::door::{self, Doors};
use crate::identity::{HostKey, Identity};
use crate::lease::Leases;
use crate::link::bulk::Bulk;
use crate::notice::Notices;
use crate::owner::keep::Keeper;
use crate::owner::{Owner, OwnerFiles, Stand};
use crate::reconcile::{self, Accepted};
use crate::status::LinkState;
use crate::sync::lock;
use crate::telemetry::Buffer;
use crate::time::TrustedTime;
use crate::tunnel::{self, TunnelSettings, Tunnels};
use crate::usage::Journal;
use crate::ways::{Opening, WayKeeper};
use crate::workloads::Workloads;
use crate::world::World;

mod keeping;

/// Telemetry interval until a controller says another.
const INTERVAL: Micros = Micros::from_secs(10);
/// Bounds on what a controller may say.
const INTERVAL_MIN: Micros = Micros::from_millis(100);
const INTERVAL_MAX: Micros = Micros::from_secs(3_600);
/// Where accepted orders are kept.
const ACCEPTED: &str = "accepted";
/// Where the number of starts is kept.
const STARTS: &str = "starts";
/// How long saying goodbye to the controller may take.
const GOODBYE: std::time::Duration = std::time::Duration::from_millis(200);

/// What one agent is told when it is started.
#[derive(Clone)]
pub struct Config {
    /// Where to join; not needed once joined.
    pub join: Option<JoinString>,
    /// What this computer calls itself when it joins.
    pub host_name: String,
    /// Where `chandler-agent status` finds what it shows; none in simulations.
    pub status_file: Option<PathBuf>,
    /// Where the owner of this computer says when it may be used; none in simulations.
    pub owner: Option<OwnerFiles>,
    /// How tunnels to other agents are set up.
    pub tunnel: TunnelSettings,
    /// Told about what a person who just started the agent waits for.
    pub notice: Arc<dyn Fn(Notice) + Send + Sync>,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("host_name", &self.host_name).finish_non_exhaustive()
    }
}

/// What a person who just started the agent waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The key of this computer was made.
    KeyMade,
    /// Nobody answers yet.
    Waiting {
        /// What was tried.
        why: String,
        /// For how long it is tried.
        deadline: Micros,
    },
    /// The controller that the join string names answered.
    Reached {
        /// Where.
        address: SocketAddr,
        /// How long it took.
        took: Micros,
    },
    /// The controller admitted this computer.
    Admitted {
        /// Its id.
        host: HostId,
        /// Its site.
        site: String,
        /// How long it took.
        waited: Micros,
    },
    /// A join string was given to an agent that has joined already.
    JoinIgnored {
        /// Its id.
        host: HostId,
    },
    /// The first session began.
    Ready {
        /// Its id.
        host: HostId,
        /// Its site.
        site: String,
        /// How long since the start.
        took: Micros,
    },
}

/// What the parts of one agent share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) world: World,
    pub(crate) key: HostKey,
    pub(crate) identity: Mutex<Identity>,
    pub(crate) time: Arc<TrustedTime>,
    pub(crate) instance: [u8; 16],
    pub(crate) starts: u64,
    /// A controller has said what shall run since this agent began.
    pub(crate) heard: AtomicBool,
    pub(crate) started: Micros,
    /// Told whenever there may be something to say to the controller.
    pub(crate) wake: Arc<Notify>,
    pub(crate) board: Board,
    /// What serves here.
    pub(crate) workloads: Arc<Workloads>,
    pub(crate) leases: Leases,
    /// What the owner allows.
    pub(crate) owner: Owner,
    pub(crate) notices: Notices,
    pub(crate) journal: Mutex<Journal>,
    pub(crate) telemetry: Mutex<Buffer>,
    pub(crate) commands: Mutex<Memory>,
    pub(crate) bulk: Arc<Bulk>,
    pub(crate) fetcher: Fetcher,
    pub(crate) tunnels: Arc<Tunnels>,
    pub(crate) doors: Doors,
    pub(crate) ways: WayKeeper,
    /// The inventory as a frame ready to send, and its version.
    pub(crate) inventory: Mutex<(u64, Arc<Vec<u8>>)>,
    pub(crate) inventory_wanted: Notify,
    link: Mutex<LinkState>,
    /// Told whenever `status` has something new to show.
    pub(crate) status_wanted: Arc<Notify>,
    interval: AtomicI64,
    pub(crate) interval_changed: Notify,
    cores: AtomicU32,
    generation: AtomicU64,
    orders: Mutex<Orders>,
    /// Told when the disk did not take a desired state.
    unsaved: Notify,
    supervisors: Mutex<JoinSet<()>>,
    /// The artifact that each running instance was started from.
    in_use: Mutex<BTreeMap<AssignmentId, Digest>>,
}

/// What was ordered, and who is told about it.
#[derive(Default)]
struct Orders {
    accepted: Accepted,
    /// The newest desired state, as long as the disk does not take it.
    unsaved: Option<DesiredState>,
    told: BTreeMap<AssignmentId, watch::Sender<Assignment>>,
}

impl Shared {
    /// How often to take telemetry.
    pub(crate) fn interval(&self) -> Micros {
        Micros(self.interval.load(Ordering::Relaxed))
    }

    /// The controller says how often to take telemetry.
    pub(crate) fn set_interval(&self, interval: Micros) {
        let interval = interval.0.clamp(INTERVAL_MIN.0, INTERVAL_MAX.0);
        if self.interval.swap(interval, Ordering::Relaxed) != interval {
            self.interval_changed.notify_one();
        }
    }

    /// How things stand with the controller.
    pub(crate) fn link(&self) -> LinkState {
        lock(&self.link).clone()
    }

    /// How things stand with the controller changed.
    pub(crate) fn change_link(&self, change: impl FnOnce(&mut LinkState)) {
        change(&mut lock(&self.link));
        self.status_wanted.notify_one();
    }

    /// The generation of the desired state that is stored.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Takes a desired state: on disk first, then acted upon. When the disk fails nothing is acted upon, and it is tried
    /// again until a newer one takes its place.
    pub(crate) fn accept(self: &Arc<Self>, desired: DesiredState) {
        let mut orders = lock(&self.orders);
        if orders.unsaved.as_ref().is_some_and(|waiting| waiting.generation > desired.generation) {
            return;
        }
        let is_wiped = |id| self.board.get(id).is_some_and(|o| o.phase == chandler_protocol::state::Phase::Wiped);
        let Some(merged) = reconcile::merge(&orders.accepted, &desired, is_wiped) else { return };
        if let Err(error) = disk::save(self.world.disk.as_ref(), ACCEPTED, &merged.next) {
            let why = error.to_string();
            if self.link().disk_error.as_ref() != Some(&why) {
                tracing::error!(%error, "the desired state cannot be kept, so it is not acted upon yet");
            }
            self.change_link(|l| l.disk_error = Some(why));
            orders.unsaved = Some(desired);
            self.unsaved.notify_one();
            return;
        }
        orders.unsaved = None;
        for s in &merged.stale {
            tracing::warn!(assignment = %s.assignment, ordered = s.ordered, seen = s.seen, "an order with an old epoch is refused");
        }
        let refused = refusal(&merged.refused);
        if let Some(why) = &refused {
            tracing::error!("{why}");
        }
        self.change_link(|l| (l.disk_error, l.refused) = (None, refused));
        self.publish(&mut orders, merged.next);
        if !self.heard.swap(true, Ordering::Relaxed) {
            // Only now that every supervisor has its word: what is still remembered holds.
            orders.told.values().for_each(|sender| sender.send_modify(|_| {}));
        }
    }

    /// Takes the desired state that the disk did not take, if there still is one.
    fn accept_again(self: &Arc<Self>) {
        // Not while it is taken: the lock is let go of first.
        let waiting = lock(&self.orders).unsaved.clone();
        if let Some(desired) = waiting {
            self.accept(desired);
        }
    }

    /// Tells every supervisor what it is to do, and starts those that are missing.
    fn publish(self: &Arc<Self>, orders: &mut Orders, next: Accepted) {
        let is_settled_anew = self.owner.settle(&next);
        for (id, known) in &next.assignments {
            match orders.told.get(id) {
                Some(sender) => {
                    sender.send_if_modified(|order| {
                        let changed = *order != known.assignment;
                        order.clone_from(&known.assignment);
                        changed
                    });
                }
                None => {
                    let (sender, receiver) = watch::channel(known.assignment.clone());
                    orders.told.insert(*id, sender);
                    lock(&self.supervisors).spawn(crate::supervise::keep(self.clone(), *id, receiver));
                }
            }
        }
        // A supervisor whose sender is gone cleans up and ends.
        orders.told.retain(|id, _| next.assignments.contains_key(id));
        if is_settled_anew {
            orders.told.values().for_each(|sender| sender.send_modify(|_| {}));
        }
        self.generation.store(next.generation, Ordering::Relaxed);
        orders.accepted = next;
        self.board.touch();
        // Those that ended are let go of.
        while lock(&self.supervisors).try_join_next().is_some() {}
    }

    /// The owner allows something else from now on: all supervisors look anew. Whether anything changed.
    pub(crate) fn tell_owner(&self, stand: Stand) -> bool {
        let orders = lock(&self.orders);
        let changed = self.owner.decide(stand, &orders.accepted, self.world.clock.boot());
        if changed {
            orders.told.values().for_each(|sender| sender.send_modify(|_| {}));
        }
        changed
    }

    /// Writes the usage journal down; a full disk is said and tried again at the next interval.
    pub(crate) fn save_journal(&self) {
        if let Err(error) = lock(&self.journal).save(self.world.disk.as_ref()) {
            tracing::error!(%error, "usage is not written down yet");
        }
    }

    /// An instance runs from this artifact, or from none.
    pub(crate) fn set_in_use(&self, id: AssignmentId, digest: Option<Digest>) {
        let mut in_use = lock(&self.in_use);
        match digest {
            Some(digest) => drop(in_use.insert(id, digest)),
            None => drop(in_use.remove(&id)),
        }
    }

    fn supervised_digests(&self) -> Vec<Digest> {
        lock(&self.in_use).values().copied().collect()
    }

    /// The name that an assignment was ordered under, for people.
    pub(crate) fn name_of(&self, id: AssignmentId) -> String {
        let orders = lock(&self.orders);
        let name = orders.accepted.assignments.get(&id).map_or("", |k| k.assignment.spec.name.as_str());
        chandler_protocol::text::clean(name, chandler_protocol::text::NAME_MAX)
    }

    /// A copy of everything that is ordered.
    fn accepted(&self) -> Accepted {
        lock(&self.orders).accepted.clone()
    }
}

/// Which assignments there is no room for, for people.
fn refusal(refused: &[AssignmentId]) -> Option<String> {
    let first = refused.first()?;
    Some(format!(
        "{} assignments, {first} and on, have no room beside {} others",
        refused.len(),
        reconcile::ASSIGNMENTS_MAX
    ))
}

/// Ends everything when the agent ends: software goes on, its supervision here does not.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.doors.update(&[]);
        self.0.tunnels.stop();
        lock(&self.0.supervisors).abort_all();
        lock(&self.0.orders).told.clear();
    }
}

/// Runs the agent until `shutdown`. Software that it started goes on running.
///
/// # Errors
/// It could not start, or was refused when it joined. Losing the controller later is not an error.
pub async fn run(config: Config, world: World, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
    let mut shutdown = std::pin::pin!(shutdown);
    let shared = tokio::select! {
        biased;
        () = &mut shutdown => return Ok(()),
        shared = begin(config, world) => shared?,
    };
    let ending = Ending(shared.clone());
    // The owner is asked before anything is started.
    let mut keeper = shared.config.owner.clone().map(Keeper::new);
    if let Some(keeper) = &mut keeper {
        keeper.look(&shared);
    }
    {
        // What was ordered before is so again before anybody is asked.
        let kept: Accepted = disk::load(shared.world.disk.as_ref(), ACCEPTED)?.unwrap_or_default();
        let mut orders = lock(&shared.orders);
        shared.publish(&mut orders, kept);
    }
    shared.ways.load(&shared)?;
    let mut parts = JoinSet::new();
    parts.spawn(name("link", crate::link::control::keep_connected(shared.clone())));
    let tunnels = shared.tunnels.clone();
    parts.spawn(name("tunnels", async move { tunnels.run().await }));
    parts.spawn(name("ways", crate::ways::keep(shared.clone())));
    parts.spawn(name("owner", crate::owner::keep::keep(shared.clone(), keeper)));
    parts.spawn(name("orders", keeping::orders(shared.clone())));
    parts.spawn(name("meter", keeping::meter(shared.clone())));
    parts.spawn(name("inventory", keeping::inventory(shared.clone())));
    parts.spawn(name("janitor", keeping::janitor(shared.clone())));
    parts.spawn(name("status", crate::status::keep(shared.clone())));
    let result = tokio::select! {
        biased;
        () = &mut shutdown => Ok(()),
        ended = parts.join_next() => Err(AgentError::Ended(match ended {
            Some(Ok(name)) => name.to_owned(),
            Some(Err(error)) => error.to_string(),
            None => "parts".to_owned(),
        })),
    };
    drop(ending);
    parts.abort_all();
    shared.save_journal();
    let _ = tokio::time::timeout(GOODBYE, goodbye(&shared)).await;
    result
}

/// Everybody who is connected learns at once that the agent stops.
async fn goodbye(shared: &Shared) {
    if let Some(endpoint) = shared.bulk.endpoint() {
        endpoint.close(0_u32.into(), b"the agent stops");
        endpoint.wait_idle().await;
    }
    shared.tunnels.wait_stopped().await;
}

async fn name(name: &'static str, part: impl Future<Output = ()>) -> &'static str {
    part.await;
    name
}

/// Loads or makes everything that must be there before the agent can work; joins if it has not.
async fn begin(config: Config, world: World) -> Result<Arc<Shared>, AgentError> {
    let started = world.clock.boot();
    let (disk, boot_id) = (world.disk.as_ref(), world.probe.boot_id());
    let time = Arc::new(TrustedTime::load(world.clock.clone(), boot_id, disk));
    let known = Identity::load(disk)?;
    let (key, is_new) = HostKey::load_or_make(disk, world.random.as_ref())?;
    if is_new {
        (config.notice)(Notice::KeyMade);
    }
    let identity = match (known, &config.join) {
        (Some(identity), join) => {
            if join.is_some() {
                (config.notice)(Notice::JoinIgnored { host: identity.host });
            }
            identity
        }
        (None, Some(join)) => crate::join::join(join, &key, &config, &world, &time).await?,
        (None, None) => return Err(AgentError::NotJoined),
    };
    let starts = disk::load::<u64>(disk, STARTS)?.unwrap_or(0).saturating_add(1);
    disk::save(disk, STARTS, &starts)?;
    let journal = Journal::load(disk, boot_id)?;
    let mut instance = [0; 16];
    world.random.fill(&mut instance);
    let (wake, status_wanted) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let bulk = Arc::new(Bulk::default());
    let (ways, workloads) = (WayKeeper::default(), Arc::new(Workloads::new(world.states.clone())));
    let tunnels = Arc::new(Tunnels::new(tunnel::Parts {
        host: identity.host,
        key: &key,
        time: &time,
        sockets: world.sockets.clone(),
        disk: world.disk.clone(),
        is_local: identity.addresses.first().is_some_and(|a| a.ip().is_loopback()),
        settings: config.tunnel,
        serve: workloads.clone(),
        changed: ways.changed(),
    })?);
    Ok(Arc::new(Shared {
        fetcher: Fetcher::new(world.depot.clone(), bulk.clone()),
        bulk,
        workloads,
        leases: Leases::new(wake.clone()),
        owner: Owner::new(),
        notices: Notices::new(world.driver.clone(), ways.changed()),
        doors: Doors::new(door::Parts {
            opener: Arc::new(Opening(tunnels.clone())),
            fronts: world.listeners.clone(),
            disk: world.disk.clone(),
            clock: world.clock.clone(),
            random: world.random.clone(),
            told: ways.changed(),
        }),
        tunnels,
        ways,
        board: Board::new(vec![wake.clone(), status_wanted.clone()]),
        wake,
        journal: Mutex::new(journal),
        telemetry: Mutex::default(),
        commands: Mutex::default(),
        inventory: Mutex::default(),
        inventory_wanted: Notify::new(),
        link: Mutex::default(),
        status_wanted,
        interval: AtomicI64::new(INTERVAL.0),
        interval_changed: Notify::new(),
        cores: AtomicU32::new(1),
        generation: AtomicU64::new(0),
        orders: Mutex::default(),
        unsaved: Notify::new(),
        supervisors: Mutex::default(),
        in_use: Mutex::default(),
        config,
        world,
        key,
        identity: Mutex::new(identity),
        time,
        instance,
        starts,
        heard: AtomicBool::new(false),
        started,
    }))
}
