//! Moves under faults: services are moved by operators, drains and failures, and at a phase that the seed draws
//! something goes wrong that the seed draws too. Whatever happens, what [`crate::users`] watch holds at every step, and
//! once nothing goes wrong any more all is well again within a time.

use std::time::Duration;

use axum::http::Method;
use chandler_api::value::Span;
use chandler_controller::config::Config;
use chandler_engine::model::Model;
use chandler_engine::movement::{Move, MoveKind, MovePhase};
use chandler_engine::service::AllocationState;
use chandler_protocol::Micros;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::fleet::{Fault, Fleet, Settings, machine_name};
use crate::scenario::Trace;

mod strike;
mod well;

use strike::{Strike, described};
use well::{active, unsettled};

/// The provider's computers; the customer's, with the front doors, comes behind them.
const SERVERS: usize = 3;
const DOOR: usize = SERVERS;
/// Moves that are ordered, one after the other, in one run.
const EPISODES: usize = 2;
/// How long silence takes to mean something: short, so that runs are.
const GRACE: Micros = Micros::from_secs(4);
/// Once nothing goes wrong any more, all is well again within this (P10).
const WELL_AGAIN: Duration = Duration::from_secs(90);
/// And stays so.
const STAYS: Duration = Duration::from_secs(6);
/// How long the controller listens for front doors before it lets requests wait.
const LISTENS: Duration = Duration::from_secs(5);
/// How long software has at least to be unwell before its move is given up.
const SICK_FOR: Micros = Micros::from_secs(34);
/// How long a phase is waited for; then what was to happen in it happens all the same.
const PHASE_COMES: Micros = Micros::from_secs(9);

const WEB: &str = "web";
const LEDGER: &str = "ledger";

/// What one run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Everything that happened.
    pub(crate) trace: Trace,
    /// In which phase of which kind of move something went wrong, and what.
    pub(crate) strikes: Vec<(String, String)>,
    /// How moves ended.
    pub(crate) ends: Vec<(MoveKind, MovePhase)>,
    /// Writes that were told to be kept, all of which are.
    pub(crate) kept: usize,
    /// How long it took until all was well again, at most.
    pub(crate) well_after: Micros,
    /// How much time was simulated.
    pub(crate) lasted: Micros,
}

/// Why a service moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Operator,
    Drain,
    Failure,
}

struct Run {
    fleet: Fleet,
    rng: StdRng,
    strikes: Vec<(String, String)>,
    /// What goes wrong now, and until when.
    active: Vec<(Fault, Micros)>,
    well_after: Micros,
}

/// Runs the moves of a seed.
pub(crate) fn run(seed: u64) -> Outcome {
    let config = Config {
        grace: Span(GRACE),
        heartbeat: Span(Micros(GRACE.0 / 4)),
        relocation: chandler_controller::config::Relocation { period: Span(Micros::from_secs(1)), haste: 60 },
        ..Config::default()
    };
    let settings = Settings { tick: Duration::from_millis(4), patience: WELL_AGAIN, config };
    let mut run = Run {
        fleet: Fleet::new(seed, settings),
        rng: StdRng::seed_from_u64(seed ^ 0x6d6f_7665_7300),
        strikes: Vec::new(),
        active: Vec::new(),
        well_after: Micros::ZERO,
    };
    run.furnish();
    for _ in 0..EPISODES {
        run.episode();
    }
    run.close()
}

impl Run {
    /// A provider's computers, a customer's with the doors, and two services: one with a state, one without.
    fn furnish(&mut self) {
        let fleet = &mut self.fleet;
        fleet.call(Method::POST, "/api/v1/parties", &json!({"name": "acme", "roles": ["customer"]}));
        let rate = |micros: i64| json!({"micros": micros, "currency": "EUR"});
        for (name, owner, role) in [("cellar", "provider", "provider"), ("office", "acme", "customer")] {
            let site = json!({
                "name": name, "owner": owner, "role": role, "country": "DE",
                "rates": {"coreHour": rate(10_000), "gibHour": rate(2_000)},
            });
            fleet.call(Method::POST, "/api/v1/sites", &site);
        }
        for index in 0..=SERVERS {
            let site = if index == DOOR { "office" } else { "cellar" };
            let made = fleet.call(Method::POST, "/api/v1/joinTokens", &json!({"site": site}));
            let behind = if index == 1 { Micros::from_secs(400 * 86_400) } else { Micros::ZERO };
            fleet.add_machine(made["join"].as_str().unwrap(), behind);
        }
        fleet.until("the computers to be active hosts", |f| active(&f.model()) == SERVERS + 1);
        let content: Vec<u8> = (0..20_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let digest = blake3::hash(&content);
        let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
        let path = format!("/api/v1/artifacts?name=app&version=1&platform={platform}&digest={digest}");
        fleet.send(Method::POST, &path, "application/x-tar", content);
        let gives_up = self.rng.random_ratio(1, 5);
        fleet.call(Method::POST, "/api/v1/orders", &order(WEB, false, false));
        fleet.call(Method::POST, "/api/v1/orders", &order(LEDGER, true, gives_up));
        fleet.until("both to run", |f| unsettled(f).is_none());
        // A controller that has just begun to listen waits for front doors that it may not know.
        fleet.pass(LISTENS);
    }

    /// One move, with what goes wrong meanwhile, until all is well again.
    fn episode(&mut self) {
        let name = *[WEB, LEDGER, LEDGER].choose(&mut self.rng).unwrap();
        let cause = *[Cause::Operator, Cause::Operator, Cause::Drain, Cause::Failure].choose(&mut self.rng).unwrap();
        let source = place(&self.fleet, name);
        let others: Vec<usize> = (0..SERVERS).filter(|i| *i != source).collect();
        let target = *others.choose(&mut self.rng).unwrap();
        let strikes = self.draw_strikes(name, cause);
        let since = self.fleet.now();
        self.note(&format!("{cause:?} moves {name} from {source} to {target}: {strikes:?}"));
        let host = machine_name(source);
        match cause {
            Cause::Operator => {
                let to = json!({"to": {"host": machine_name(target)}});
                self.ask(&format!("/api/v1/services/{name}/move"), &to);
            }
            Cause::Drain => self.ask(&format!("/api/v1/hosts/{host}/drain"), &json!({"reason": "new fans"})),
            Cause::Failure => {
                let lasts = Micros::from_millis(self.rng.random_range(2_000..15_000));
                self.strike("before", Fault::Power(source), lasts, (source, target));
            }
        }
        for strike in strikes {
            self.await_phase(name, since, strike);
            let on = newest(&self.fleet.model(), name, since);
            // Where it really goes, which a drain and a failure choose themselves.
            let to = on.as_ref().and_then(|m| index_of(&self.fleet, &self.fleet.model().host_name(m.to_host)));
            let phase = on.map_or_else(|| "none".to_owned(), |m| format!("{:?} {}", m.kind, m.phase.as_str()));
            let target = to.unwrap_or(target);
            if let Some(fault) = self.draw_fault(source, target) {
                self.strike(&phase, fault, strike.lasts, (source, target));
            }
        }
        while !self.active.is_empty() {
            self.step();
        }
        self.settle();
        if cause == Cause::Drain {
            self.ask(&format!("/api/v1/hosts/{host}/undrain"), &Value::Null);
        }
    }

    fn await_phase(&mut self, name: &str, since: Micros, strike: Strike) {
        let deadline = Micros(self.fleet.now().0 + PHASE_COMES.0);
        let has_come = |f: &Fleet| newest(&f.model(), name, since).is_some_and(|m| m.phase >= strike.phase);
        while !has_come(&self.fleet) && self.fleet.now() < deadline {
            self.step();
        }
        let at = Micros(self.fleet.now().0 + strike.after.0);
        while self.fleet.now() < at {
            self.step();
        }
    }

    fn strike(&mut self, phase: &str, fault: Fault, lasts: Micros, (source, target): (usize, usize)) {
        let what = described(fault, source, target);
        // Long enough for a move to be given up because of it.
        let lasts = if matches!(fault, Fault::Sick(_)) { Micros(lasts.0 + SICK_FOR.0) } else { lasts };
        self.note(&format!("{phase}: {fault:?} for {lasts}"));
        self.fleet.begin(fault);
        self.strikes.push((phase.to_owned(), what));
        self.active.push((fault, Micros(self.fleet.now().0 + lasts.0)));
    }

    /// Moves time on; what is over is over.
    fn step(&mut self) {
        self.fleet.step();
        let now = self.fleet.now();
        let over: Vec<Fault> = self.active.iter().filter(|(_, until)| *until <= now).map(|(f, _)| *f).collect();
        for fault in over {
            self.active.retain(|(f, _)| *f != fault);
            self.note(&format!("{fault:?} is over"));
            self.fleet.end(fault);
        }
    }

    /// Nothing goes wrong any more: all is well again, within a time.
    fn settle(&mut self) {
        let from = self.fleet.now();
        let deadline = Micros(from.0 + Micros::from_std(WELL_AGAIN).0);
        while let Some(why) = unsettled(&self.fleet) {
            let now = self.fleet.now();
            assert!(now < deadline, "at {now}, {} after the last fault: {why}", Micros(now.0 - from.0));
            self.fleet.step();
        }
        let took = Micros(self.fleet.now().0 - from.0);
        self.note(&format!("well again after {took}"));
        self.well_after = self.well_after.max(took);
        self.fleet.users.check_kept(&self.fleet.model(), &self.fleet.machines);
    }

    fn close(mut self) -> Outcome {
        let starts = |f: &Fleet| f.machines.iter().map(|m| m.starts().len()).sum::<usize>();
        self.settle();
        // A computer that has just come back is heard of by then.
        self.fleet.pass(STAYS);
        self.settle();
        let before = starts(&self.fleet);
        self.fleet.pass(STAYS);
        self.settle();
        let moved = self.fleet.model().moves.values().any(|m| !m.phase.is_final());
        assert!(moved || starts(&self.fleet) == before, "something was started again that was well");
        assert!(self.fleet.is_balanced());
        let model = self.fleet.model();
        Outcome {
            trace: Trace::of(&self.fleet),
            strikes: std::mem::take(&mut self.strikes),
            ends: model.moves.values().map(|m| (m.kind, m.phase)).collect(),
            kept: self.fleet.users.check_kept(&model, &self.fleet.machines),
            well_after: self.well_after,
            lasted: self.fleet.now(),
        }
    }

    /// Asks the operator's API. A refusal is an answer.
    fn ask(&mut self, path: &str, body: &Value) {
        let (status, said) = self.fleet.ask(Method::POST, path, "application/json", body.to_string().into_bytes());
        if !status.is_success() {
            self.note(&format!("{path}: {status} {}", String::from_utf8_lossy(&said)));
        }
    }

    fn note(&mut self, text: &str) {
        let now = self.fleet.now();
        self.fleet.log.push(format!("{} {text}", now.0));
    }
}

fn order(name: &str, keeps_state: bool, gives_up: bool) -> Value {
    let mut order = json!({
        "customer": "acme", "name": name,
        "software": {
            "artifact": "app@1",
            "command": ["./app", "--listen", "{port.http}"],
            "limits": {"cpu": 1.0, "memory": "256 MiB"},
            "port": [{"name": "http", "mode": "http"}],
            "health": {"http": "/healthz", "port": "http", "interval": "200 ms", "grace": "1 s"},
        },
        "policy": {"owners": ["provider"]},
    });
    if keeps_state {
        order["software"]["state"] = json!({"path": "data", "exclusive": true});
        order["policy"]["move"] = json!({"keep": "3 s"});
    }
    if gives_up {
        order["policy"]["onLoss"] = json!("startEmpty");
    }
    order
}

/// Where the only copy of a service is.
fn place(fleet: &Fleet, name: &str) -> usize {
    let model = fleet.model();
    let service = model.services.values().find(|s| s.name == name).unwrap();
    let copy = model.assignments_of(service.id).find(|a| a.state != AllocationState::Releasing).unwrap();
    index_of(fleet, &model.host_name(copy.host)).unwrap()
}

fn index_of(fleet: &Fleet, host: &str) -> Option<usize> {
    (0..fleet.machines.len()).find(|index| machine_name(*index) == host)
}

/// The newest move of a service since then.
fn newest(model: &Model, name: &str, since: Micros) -> Option<Move> {
    let moves = model.moves.values().filter(|m| m.name == name && m.started_at.0 - crate::air::EPOCH.0 >= since.0);
    moves.filter(|m| m.phase != MovePhase::Declined).max_by_key(|m| (m.started_at, m.id)).map(|m| m.as_ref().clone())
}
