//! The server as a whole, over its router: a small world of two customers, a site owner and one provider's host.

mod access;
mod flows;
mod gpu;
mod hostile;
mod idempotency;
mod market;
mod moves;
mod orders;
mod scope;
mod settlement;
mod standing;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use chandler_engine::availability::History;
use chandler_engine::catalogue::Offering;
use chandler_engine::fleet::{Host, HostState, Pulse};
use chandler_engine::identity::{Role, Token};
use chandler_engine::party::{Party, PartyRole};
use chandler_engine::site::{Rates, Site, SiteRole};
use chandler_protocol::inventory::{Cpu, Driver, HostInventory, Offered};
use chandler_protocol::workload::DriverKind;
use chandler_protocol::world::{Clock, Random};
use chandler_protocol::{Bytes, HostId, MicroMoney, Micros, MilliCpu, PartyId, SiteId, Timestamp, TokenId};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{ApiState, router};
use crate::federation::{Federation, Identity};
use crate::link::Sessions;
use crate::link::identity::Authority;
use crate::store::Writer;
use crate::store::blobs::{Blobs, MemoryShelf};
use crate::store::memory::MemoryStore;

/// The time: 2026-11-22 12:00 UTC, and one second more with each look.
struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_795_348_800_000_000 + self.0.fetch_add(1, Ordering::Relaxed) as i64 * 1_000_000)
    }
    fn boot(&self) -> Micros {
        Micros(self.0.load(Ordering::Relaxed) as i64 * 1_000_000)
    }
}

/// Bytes that never repeat.
struct TestRandom(AtomicU64);

impl Random for TestRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let seed = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        blake3::Hasher::new().update(&seed).finalize_xof().fill(bytes);
    }
}

pub(crate) struct World {
    router: Router,
    state: ApiState,
    pub(crate) writer: Writer,
    blobs: Arc<Blobs>,
    /// Counts keys, so that each POST has its own.
    keys: AtomicU64,
}

const OPERATOR: &str = "operator-secret";
const ACME: &str = "acme-secret";
const GLOBEX: &str = "globex-secret";
const OWNER: &str = "owner-secret";

struct Response {
    status: u16,
    headers: HeaderMap,
    body: Value,
    text: String,
}

impl Response {
    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
    /// Fails unless the status is this; gives the body.
    #[track_caller]
    fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.body
    }
    /// Fails unless it is a problem with this code.
    #[track_caller]
    fn refused(&self, code: &str) {
        assert_eq!(self.code(), code, "{} {}", self.status, self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert!(!self.body["requestId"].as_str().unwrap().is_empty());
        assert_eq!(u64::from(self.status), self.body["status"].as_u64().unwrap());
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let clock = Arc::new(TestClock(AtomicU64::new(0)));
        let random: Arc<dyn Random> = Arc::new(TestRandom(AtomicU64::new(0)));
        let store = Arc::new(MemoryStore::default());
        let writer = Writer::start(store, clock.clone(), random.clone(), "EUR").await.unwrap();
        let authority = Authority::ephemeral(clock.now(), Micros::from_secs(86_400), random).unwrap();
        let blobs = Arc::new(Blobs::new(Box::new(MemoryShelf::default())));
        let identity = Arc::new(Identity::ephemeral(clock.now(), writer.random().clone()).unwrap());
        let federation = Federation::new(identity, writer.clone());
        let state = ApiState {
            writer: writer.clone(),
            blobs: blobs.clone(),
            sessions: Arc::new(Sessions::default()),
            relay: Arc::default(),
            authority: Arc::new(authority),
            federation: Arc::new(federation),
        };
        let world = Self { router: router(state.clone()), state, writer, blobs, keys: AtomicU64::new(0) };
        world.found().await;
        world
    }

    /// The same world, for a server of its own.
    fn state(&self) -> ApiState {
        self.state.clone()
    }

    /// Who takes part, and one host of the provider.
    async fn found(&self) {
        let made = self.writer.transact("test", |draft| {
            draft.put(Offering::standard(draft.now));
            draft.put(market::market());
            for (n, name, role, secret, token_role) in [
                (1, "acme", PartyRole::Customer, ACME, Role::Customer),
                (2, "globex", PartyRole::Customer, GLOBEX, Role::Customer),
                (3, "home", PartyRole::SiteOwner, OWNER, Role::SiteOwner),
                (4, "provider", PartyRole::ServiceProvider, OPERATOR, Role::Operator),
            ] {
                let id = PartyId::from_random([n; 10]);
                draft.put(Party { id, name: name.to_owned(), roles: vec![role] });
                let party = (token_role != Role::Operator).then_some(id);
                let secret_hash = super::access::secret_hash(secret.as_bytes());
                draft.put(Token { id: TokenId::from_random([n; 10]), secret_hash, role: token_role, party });
            }
            for (n, name, owner, role) in [
                (1, "acme-office", 1, SiteRole::Customer),
                (2, "rack", 4, SiteRole::Provider),
                (3, "home-1", 3, SiteRole::Remote),
            ] {
                draft.put(Site {
                    id: SiteId::from_random([n; 10]),
                    name: name.to_owned(),
                    owner: PartyId::from_random([owner; 10]),
                    role,
                    country: "DE".to_owned(),
                    rates: Rates {
                        core_hour: MicroMoney(10_000),
                        gib_hour: MicroMoney(2_000),
                        gpu_hour: MicroMoney(0),
                    },
                    version: 1,
                    home: None,
                });
            }
            let server = host(2, "server-1", HostState::Active);
            let pulse = Pulse { seen_at: draft.now, connected: true, rtt: server.rtt, readings: None };
            draft.model.pulses.insert(server.id, pulse);
            draft.put(server);
            draft.put(host(3, "pc-1", HostState::Registered));
            Ok::<_, ()>(())
        });
        made.await.unwrap();
    }

    async fn send(&self, request: Request<Body>) -> Response {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 64 << 20).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Response { status: parts.status.as_u16(), headers: parts.headers, body, text }
    }

    async fn get(&self, token: &str, path: &str) -> Response {
        self.send(request("GET", path, token).body(Body::empty()).unwrap()).await
    }

    /// A POST under a key of its own.
    async fn post(&self, token: &str, path: &str, body: Value) -> Response {
        let key = format!("key-{}", self.keys.fetch_add(1, Ordering::Relaxed));
        self.post_with(token, path, &key, body).await
    }

    async fn post_with(&self, token: &str, path: &str, key: &str, body: Value) -> Response {
        let request = request("POST", path, token).header("idempotency-key", key);
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// PUT, PATCH or DELETE.
    async fn change(&self, method: &str, token: &str, path: &str, etag: Option<&str>, body: Value) -> Response {
        let mut request = request(method, path, token);
        if let Some(etag) = etag {
            request = request.header("if-match", etag);
        }
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// Publishes an archive of a few bytes.
    async fn publish(&self, name: &str, version: &str) -> Response {
        let content = format!("archive of {name} {version}");
        let digest = blake3::hash(content.as_bytes()).to_hex();
        let path = format!("/api/v1/artifacts?name={name}&version={version}&platform=any&digest={digest}");
        let key = format!("key-{}", self.keys.fetch_add(1, Ordering::Relaxed));
        let request = request("POST", &path, OPERATOR).header("idempotency-key", key);
        self.send(request.body(Body::from(content)).unwrap()).await
    }

    /// What the task would do: decides acknowledged orders.
    async fn admit(&self) {
        let admit = |draft: &mut chandler_engine::draft::Draft<'_>| {
            chandler_engine::fulfilment::admit(draft);
            Ok::<_, ()>(())
        };
        self.writer.transact("test", admit).await.unwrap();
    }

    /// A service of acme that is reserved on the provider's host; gives its order.
    pub(crate) async fn notes(&self) -> Value {
        self.publish("notes", "1.0.0").await.expect(201);
        let order = self.post(ACME, "/api/v1/orders", order("notes")).await.expect(201);
        self.admit().await;
        order
    }
}

fn request(method: &str, path: &str, token: &str) -> axum::http::request::Builder {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    if token.is_empty() { request } else { request.header("authorization", format!("Bearer {token}")) }
}

pub(crate) fn host(site: u8, name: &str, state: HostState) -> Host {
    let inventory = HostInventory {
        host_name: name.to_owned(),
        cpu: Cpu { model: "test".to_owned(), cores: 8, mhz: 3_000 },
        memory: Bytes(16 << 30),
        os: "linux".to_owned(),
        architecture: "x86_64".to_owned(),
        drivers: vec![Driver {
            kind: DriverKind::Process,
            limits_cpu: true,
            limits_memory: true,
            limits_pids: true,
            note: String::new(),
        }],
        offered: Offered { cpu: MilliCpu(8_000), memory: Bytes(16 << 30), disk: Bytes(100 << 30) },
        ..HostInventory::default()
    };
    Host {
        id: HostId::from_random([site; 10]),
        site: SiteId::from_random([site; 10]),
        name: name.to_owned(),
        state,
        note: String::new(),
        since: Timestamp(0),
        key_fingerprint: [site; 32],
        agent_version: "0.1.0".to_owned(),
        starts: 1,
        inventory: Some(inventory),
        history: History::default(),
        rtt: Some(Micros::from_millis(5)),
        failures: Vec::new(),
        protocol: 2,
        listens: Vec::new(),
        drain: None,
        terms: None,
    }
}

/// A sound order for a service.
fn order(name: &str) -> Value {
    json!({
        "name": name,
        "software": {
            "artifact": "notes@1.0.0",
            "command": ["./notes", "--listen", "127.0.0.1:{port.http}", "--data", "{state}"],
            "limits": { "cpu": 0.5, "memory": "256 MiB" },
            "port": [{ "name": "http", "mode": "http" }],
            "state": { "path": "data" },
            "health": { "http": "/healthz" },
        },
        "sla": { "cost": { "max": "30 EUR/month" }, "availability": { "min": "99 %" } },
    })
}

/// A sound order for a task.
fn task(name: &str) -> Value {
    json!({
        "name": name,
        "software": { "kind": "task", "artifact": "notes@1.0.0", "command": ["./notes", "{item}"] },
        "item": [{ "name": "one" }, { "name": "two" }],
    })
}
