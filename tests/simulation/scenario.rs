//! What happens to the simulated fleet, and the trace of it.

use std::fmt::Write as _;
use std::time::Duration;

use axum::http::Method;
use chandler_engine::fleet::HostState;
use chandler_engine::order::OrderState;
use chandler_engine::service::OperatingStatus;
use chandler_protocol::Micros;
use serde_json::{Value, json};

use crate::fleet::{Fault, Fleet, Node, Settings, machine_name, told};

/// How wrong a clock may be.
const TEN_YEARS: Micros = Micros::from_secs(10 * 365 * 86_400);
/// Lines shown around a difference.
const CONTEXT: usize = 4;

/// The least that happens in a scenario: a trace with fewer lines has missed something.
const LINES_MIN: usize = 40;

/// The first computer cannot be reached.
const CUT: Fault = Fault::Cut(Node::Machine(0), Node::Controller);

/// Everything that happened, in order, with its simulated time: the events of the store, then the starts of software on
/// every computer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace(Vec<String>);

impl Trace {
    pub(crate) fn of(fleet: &Fleet) -> Self {
        let mut lines = told(&fleet.events());
        for (index, machine) in fleet.machines.iter().enumerate() {
            for (at, assignment) in machine.starts() {
                lines.push(format!("{} {} starts {assignment}", at.0, machine_name(index)));
            }
        }
        assert!(lines.len() >= LINES_MIN, "{lines:#?}");
        Self(lines)
    }

    /// Stands for the whole trace.
    pub(crate) fn hash(&self) -> blake3::Hash {
        blake3::hash(self.0.join("\n").as_bytes())
    }

    /// The line at which two traces part.
    pub(crate) fn first_difference(&self, other: &Self) -> Option<usize> {
        let length = self.0.len().max(other.0.len());
        (0..length).find(|line| self.0.get(*line) != other.0.get(*line))
    }

    /// The lines up to one and a few behind it.
    pub(crate) fn around(&self, line: usize) -> String {
        let mut text = String::new();
        for (number, line) in self.0.iter().enumerate().skip(line.saturating_sub(CONTEXT)).take(CONTEXT * 2) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{number}: {line}");
        }
        text
    }
}

/// Runs the scenario: join, order, crash of the controller, crash of an agent, a partition, and the end.
pub(crate) fn run(seed: u64) -> Trace {
    let mut fleet = Fleet::new(seed, Settings::default());
    join_two(&mut fleet);
    order(&mut fleet, "a");
    order(&mut fleet, "b");
    fleet.until("both to run", |f| is_running(f, "a") && is_running(f, "b"));
    assert_eq!(starts(&fleet), 2);

    fleet.begin(Fault::Crash(Node::Controller));
    fleet.pass(Duration::from_secs(5));
    assert_eq!(running(&fleet), 2, "software stopped because its controller did");
    fleet.end(Fault::Crash(Node::Controller));
    fleet.until("every host to be active again", |f| hosts_in(f, HostState::Active) == 2);
    fleet.pass(Duration::from_secs(15));
    assert!(is_running(&fleet, "a") && is_running(&fleet, "b"));
    assert_eq!(starts(&fleet), 2, "software was started again because its controller was");

    fleet.begin(Fault::Crash(Node::Machine(0)));
    fleet.pass(Duration::from_secs(2));
    fleet.end(Fault::Crash(Node::Machine(0)));
    fleet.pass(Duration::from_secs(10));
    assert!(is_running(&fleet, "a") && is_running(&fleet, "b"));
    assert_eq!(starts(&fleet), 2, "software was started again because its agent was");

    cut_off(&mut fleet);
    end(&mut fleet);
    Trace::of(&fleet)
}

fn join_two(fleet: &mut Fleet) {
    fleet.call(Method::POST, "/api/v1/parties", &json!({"name": "acme", "roles": ["customer"]}));
    let rate = |micros: i64| json!({"micros": micros, "currency": "EUR"});
    let site = json!({
        "name": "cellar", "owner": "provider", "role": "provider", "country": "DE",
        "rates": {"coreHour": rate(10_000), "gibHour": rate(2_000)},
    });
    fleet.call(Method::POST, "/api/v1/sites", &site);
    for (count, behind) in [(1, Micros::ZERO), (2, TEN_YEARS)] {
        let made = fleet.call(Method::POST, "/api/v1/joinTokens", &json!({"site": "cellar"}));
        fleet.add_machine(made["join"].as_str().unwrap(), behind);
        fleet.until("the computer to be an active host", |f| hosts_in(f, HostState::Active) == count);
    }
    // Several chunks of what does not compress.
    let content: Vec<u8> = (0..800_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let digest = blake3::hash(&content);
    let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
    let path = format!("/api/v1/artifacts?name=app&version=1&platform={platform}&digest={digest}");
    fleet.send(Method::POST, &path, "application/x-tar", content);
}

fn order(fleet: &mut Fleet, name: &str) {
    let order: Value = json!({
        "customer": "acme", "name": name,
        "software": {
            "artifact": "app@1",
            "command": ["./app", "--listen", "{port.http}"],
            "limits": {"cpu": 1.5, "memory": "1 GiB"},
            "port": [{"name": "http", "mode": "http"}],
            "health": {"http": "/healthz", "port": "http", "interval": "500 ms"},
        },
    });
    fleet.call(Method::POST, "/api/v1/orders", &order);
}

/// A computer that is cut off is lost, what it ran is started on the other once there is room there, and when it is
/// back it stops its old copy.
fn cut_off(fleet: &mut Fleet) {
    fleet.begin(CUT);
    fleet.pass(Duration::from_secs(4));
    fleet.end(CUT);
    fleet.pass(Duration::from_secs(10));
    assert_eq!(starts(fleet), 2, "a short silence moved software");
    assert_eq!(hosts_in(fleet, HostState::Active), 2);

    fleet.begin(CUT);
    fleet.until("the host that is cut off to be lost", |f| hosts_in(f, HostState::Lost) == 1);
    assert_eq!(running(fleet), 2, "software stopped because its line was cut");
    fleet.end(CUT);
    fleet.until("the host to be back", |f| hosts_in(f, HostState::Active) == 2);
    fleet.until("both to run", |f| is_running(f, "a") && is_running(f, "b") && running(f) == 2);
}

fn end(fleet: &mut Fleet) {
    for name in ["a", "b"] {
        fleet.call(Method::DELETE, &format!("/api/v1/services/{name}"), &Value::Null);
    }
    fleet.until("both to be gone", |f| {
        let model = f.model();
        model.assignments.is_empty() && model.orders.values().all(|o| o.state == OrderState::Completed)
    });
    assert_eq!(running(fleet), 0);
    assert!(fleet.is_balanced());
}

fn hosts_in(fleet: &Fleet, state: HostState) -> usize {
    fleet.model().hosts.values().filter(|h| h.state == state).count()
}

fn is_running(fleet: &Fleet, name: &str) -> bool {
    fleet.model().services.values().any(|s| s.name == name && s.status == OperatingStatus::Running)
}

fn starts(fleet: &Fleet) -> usize {
    fleet.machines.iter().map(|m| m.starts().len()).sum()
}

fn running(fleet: &Fleet) -> usize {
    let now = fleet.now();
    fleet.machines.iter().map(|m| m.running(now)).sum()
}
