//! A simulated fleet: one controller and agents as hosts of one simulation, moved on from outside in steps, audited
//! after each.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode, header};
use chandler_controller::api;
use chandler_controller::config::Config;
use chandler_controller::link::identity::Authority;
use chandler_controller::store::blobs::{Blobs, MemoryShelf};
use chandler_controller::store::memory::MemoryStore;
use chandler_controller::store::{EventFilter, Store as _};
use chandler_controller::{Core, CoreParts};
use chandler_engine::audit::audit;
use chandler_engine::event::Event;
use chandler_engine::model::Model;
use chandler_protocol::Micros;
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;
use turmoil::Sim;

use crate::air::{EPOCH, Seeded, SimulatedClock, Stopped};
use crate::machine::Machine;
use crate::sockets::{QuietListeners, SimulatedSockets};
use crate::state::Kept;
use crate::users::Users;

/// What the controller's host is called.
pub(crate) const CONTROLLER: &str = "controller";
/// Where it listens for agents.
const PORT: u16 = 7_443;
/// How far time moves on in a step.
const TICK: Duration = Duration::from_millis(2);
/// How long a packet is under way.
const DELAY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(25));
/// Packets that may wait at a socket.
const WAITING: usize = 4_096;
/// How long anything may take, in simulated time, before it counts as never.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a whole simulation may take.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Most events a run may have.
const EVENTS_MAX: u32 = 100_000;

/// What a controller that runs has put on the desk for its operator.
#[derive(Debug, Default)]
struct Desk {
    router: Option<Router>,
    token: Option<String>,
}

/// What is left of the controller when it crashes, and what every start of it is made from.
#[derive(Clone)]
struct Parts {
    store: Arc<MemoryStore>,
    blobs: Arc<Blobs>,
    authority: Arc<Authority>,
    world: chandler_controller::world::World,
    config: Config,
    desk: Arc<Mutex<Desk>>,
}

mod fault;
mod tell;

pub(crate) use fault::{Fault, Node};
pub(crate) use tell::told;

/// A simulated fleet.
pub(crate) struct Fleet {
    sim: Sim<'static>,
    parts: Parts,
    /// The computers, in the order in which they joined.
    pub(crate) machines: Vec<Arc<Machine>>,
    /// The users of what keeps a state, and what they watch.
    pub(crate) users: Users,
    /// What was done to it, for whoever sees it fail.
    pub(crate) log: Vec<String>,
    /// Who is frozen, the controller first.
    stopped: Vec<Stopped>,
    seed: u64,
    patience: Duration,
    calls: u64,
    audited: u64,
}

/// What differs between simulations.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// How far time moves on in a step.
    pub(crate) tick: Duration,
    /// How long anything may take, in simulated time, before it counts as never.
    pub(crate) patience: Duration,
    /// What the controller is told.
    pub(crate) config: Config,
}

impl Default for Settings {
    fn default() -> Self {
        Self { tick: TICK, patience: PATIENCE, config: Config::default() }
    }
}

impl Fleet {
    /// A controller that has been started.
    pub(crate) fn new(seed: u64, settings: Settings) -> Self {
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .tick_duration(settings.tick)
            .simulation_duration(LONGEST)
            .min_message_latency(DELAY.0)
            .max_message_latency(DELAY.1)
            .udp_capacity(WAITING)
            .build();
        let random = Arc::new(Seeded::new(seed, 0));
        let quic = SocketAddr::from((sim.lookup(CONTROLLER), PORT));
        let config = Config { quic, advertise: vec![quic], ..settings.config };
        let stopped = Stopped::default();
        let life = config.certificate_life.0;
        let parts = Parts {
            store: Arc::default(),
            blobs: Arc::new(Blobs::new(Box::new(MemoryShelf::default()))),
            authority: Arc::new(Authority::ephemeral(EPOCH, life, random.clone()).unwrap()),
            world: chandler_controller::world::World {
                clock: Arc::new(SimulatedClock { stopped: stopped.clone(), ..SimulatedClock::default() }),
                random,
                sockets: Arc::new(SimulatedSockets::new(seed, 0)),
            },
            config,
            desk: Arc::default(),
        };
        let every_start = parts.clone();
        sim.host(CONTROLLER, move || control(every_start.clone()));
        let mut fleet = Self {
            sim,
            parts,
            machines: Vec::new(),
            users: Users::default(),
            log: Vec::new(),
            stopped: vec![stopped],
            seed,
            patience: settings.patience,
            calls: 0,
            audited: 0,
        };
        fleet.until("the controller to be up", |fleet| fleet.desk().router.is_some());
        fleet
    }

    /// One more computer, whose wall clock is behind by so much, and whose agent joins with this join string.
    pub(crate) fn add_machine(&mut self, join: &str, behind: Micros) {
        let number = u8::try_from(self.machines.len() + 1).unwrap();
        let name = machine_name(self.machines.len());
        let machine = Arc::new(Machine::new(&name, number));
        self.machines.push(machine.clone());
        let stopped = Stopped::default();
        self.stopped.push(stopped.clone());
        let world = chandler_agent::World {
            clock: Arc::new(SimulatedClock { behind, stopped }),
            random: Arc::new(Seeded::new(self.seed, number.into())),
            sockets: Arc::new(SimulatedSockets::new(self.seed, number.into())),
            listeners: Arc::new(QuietListeners),
            disk: machine.clone(),
            depot: machine.clone(),
            driver: machine.clone(),
            workspace: machine.clone(),
            states: Arc::new(Kept(machine.clone())),
            fronts: chandler_agent::fronts::Fronts::default(),
            probe: machine,
        };
        let config = chandler_agent::Config {
            join: Some(join.parse().unwrap()),
            host_name: name.clone(),
            status_file: None,
            owner: None,
            tunnel: chandler_agent::tunnel::TunnelSettings::default(),
            notice: Arc::new(|_| {}),
        };
        self.sim.host(name, move || {
            let (config, world) = (config.clone(), world.clone());
            async move { Ok(chandler_agent::run(config, world, std::future::pending()).await?) }
        });
    }

    /// Asks the API as the operator; it must succeed.
    pub(crate) fn call(&mut self, method: Method, path: &str, body: &Value) -> Value {
        self.send(method, path, "application/json", body.to_string().into_bytes())
    }

    /// The same with a body that is no document.
    pub(crate) fn send(&mut self, method: Method, path: &str, content_type: &str, body: Vec<u8>) -> Value {
        let (status, bytes) = self.ask(method, path, content_type, body);
        assert!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&bytes));
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Asks the API as the operator, whatever the answer is.
    pub(crate) fn ask(&mut self, method: Method, path: &str, content_type: &str, body: Vec<u8>) -> (StatusCode, Bytes) {
        self.calls += 1;
        let (router, token) = {
            let desk = self.desk();
            (desk.router.clone().unwrap(), desk.token.clone().unwrap())
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, content_type)
            .header("idempotency-key", format!("call-{}", self.calls))
            .body(Body::from(body))
            .unwrap();
        let answer = Arc::new(Mutex::new(None));
        let told = answer.clone();
        self.sim.client(format!("operator-{}", self.calls), async move {
            let response = router.oneshot(request).await?;
            let status = response.status();
            let bytes = response.into_body().collect().await?.to_bytes();
            *told.lock().unwrap() = Some((status, bytes));
            Ok(())
        });
        self.until(&format!("an answer to {path}"), |_| answer.lock().unwrap().is_some());
        answer.lock().unwrap().take().unwrap()
    }

    /// Moves time on until something is so.
    pub(crate) fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let deadline = self.sim.elapsed() + self.patience;
        while !is_so(self) {
            let now = self.sim.elapsed();
            assert!(now < deadline, "gave up waiting for {what} at {now:?}");
            self.step();
        }
    }

    /// Moves time on.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            self.step();
        }
    }

    /// Moves time on by one tick, then looks whether what must never be is so.
    pub(crate) fn step(&mut self) {
        self.sim.step().unwrap();
        let (model, now) = (self.model(), self.now());
        if model.generation != self.audited {
            self.audited = model.generation;
            let found = audit(&model);
            assert!(found.is_empty(), "at {now}: {found:#?}");
            self.users.learn(&model);
        }
        self.users.step(&self.machines, now);
        let wrongs: Vec<String> = self.machines.iter().flat_map(|m| m.wrongs()).collect();
        assert!(wrongs.is_empty(), "at {now}: {wrongs:?}");
    }

    /// How long the simulation has lasted.
    pub(crate) fn now(&self) -> Micros {
        Micros::from_std(self.sim.elapsed())
    }

    /// Everything that is committed.
    pub(crate) fn model(&self) -> Model {
        self.parts.store.load().now_or_never().unwrap().unwrap()
    }

    /// Everything that has happened.
    pub(crate) fn events(&self) -> Vec<Event> {
        let all = EventFilter { after: 0, limit: EVENTS_MAX, subject: None };
        self.parts.store.events(&all).now_or_never().unwrap().unwrap()
    }

    /// Whether the books balance.
    pub(crate) fn is_balanced(&self) -> bool {
        self.parts.store.ledger().now_or_never().unwrap().unwrap().balanced
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.parts.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the computer of this index is called.
pub(crate) fn machine_name(index: usize) -> String {
    format!("machine-{}", index + 1)
}

/// One start of the controller.
async fn control(parts: Parts) -> turmoil::Result {
    let core = Core::start(CoreParts {
        store: parts.store,
        blobs: parts.blobs,
        authority: parts.authority,
        reset_key: vec![7; 64],
        config: parts.config,
        world: parts.world,
    })
    .await?;
    let is_first = core.api.writer.snapshot().tokens.is_empty();
    let token = if is_first { Some(core.make_operator_token().await?) } else { None };
    {
        let mut desk = parts.desk.lock().unwrap_or_else(PoisonError::into_inner);
        desk.token = token.or_else(|| desk.token.take());
        desk.router = Some(api::router(core.api.clone()));
    }
    core.run(std::future::pending()).await;
    Ok(())
}
