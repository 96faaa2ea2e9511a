//! One controller of a test, with its operator and its listeners on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use chandler_api::federation::Standing;
use chandler_engine::partner::Partner;
use chandler_protocol::world::Clock;
use chandler_protocol::{Micros, Timestamp};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::api::{ApiState, router};
use crate::config::Config;
use crate::federation::{CallError, Identity};
use crate::link::identity::Authority;
use crate::store::blobs::{Blobs, MemoryShelf};
use crate::store::memory::MemoryStore;
use crate::world::{SystemClock, SystemRandom, World};
use crate::{Core, CoreParts};

/// The real time and what a test adds to it.
#[derive(Debug, Default)]
pub(super) struct Later(AtomicI64);

impl Clock for Later {
    fn now(&self) -> Timestamp {
        SystemClock.now().after(Micros(self.0.load(Ordering::Relaxed)))
    }
    fn boot(&self) -> Micros {
        SystemClock.boot()
    }
}

/// A controller.
pub(super) struct House {
    pub(super) api: ApiState,
    pub(super) quic: SocketAddr,
    router: Router,
    token: String,
    clock: Arc<Later>,
    keys: AtomicU64,
}

impl House {
    /// A controller that listens for partners.
    pub(super) async fn open() -> Self {
        Self::with(Some(SocketAddr::from(([127, 0, 0, 1], 0))), None).await
    }

    /// One that does not.
    pub(super) async fn shut() -> Self {
        Self::with(None, None).await
    }

    pub(super) async fn with(federation: Option<SocketAddr>, identity: Option<Identity>) -> Self {
        let clock = Arc::new(Later::default());
        let random = Arc::new(SystemRandom);
        let now = clock.now();
        let identity = identity.unwrap_or_else(|| Identity::ephemeral(now, random.clone()).unwrap());
        let parts = CoreParts {
            store: Arc::new(MemoryStore::default()),
            blobs: Arc::new(Blobs::new(Box::new(MemoryShelf::default()))),
            authority: Arc::new(Authority::ephemeral(now, Micros::from_secs(86_400), random).unwrap()),
            reset_key: vec![7; 64],
            config: Config { quic: SocketAddr::from(([127, 0, 0, 1], 0)), federation, ..Config::default() },
            world: World { clock: clock.clone(), ..World::real() },
        };
        let core = Core::start_as(parts, identity).await.unwrap();
        let token = core.make_operator_token().await.unwrap();
        if let Some(listener) = core.partners().await.unwrap() {
            tokio::spawn(listener.run(std::future::pending()));
        }
        let (api, quic) = (core.api.clone(), core.quic_address().unwrap());
        tokio::spawn(core.run(std::future::pending()));
        Self { router: router(api.clone()), api, quic, token, clock, keys: AtomicU64::new(0) }
    }

    /// Time goes by.
    pub(super) fn wait(&self, time: Micros) {
        self.clock.0.fetch_add(time.0, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Where partners call.
    pub(super) fn address(&self) -> String {
        self.api.federation.address().unwrap()
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Result<Value, String> {
        let key = format!("key-{}", self.keys.fetch_add(1, Ordering::Relaxed));
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/{path}"))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.token))
            .header("idempotency-key", key)
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let is_success = response.status().is_success();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        if is_success { Ok(body) } else { Err(body["code"].as_str().unwrap().to_owned()) }
    }

    /// What the operator is answered, or the code of the refusal.
    pub(super) async fn get(&self, path: &str) -> Result<Value, String> {
        self.call("GET", path, Value::Null).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Result<Value, String> {
        self.call("POST", path, body).await
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> Result<Value, String> {
        self.call("PUT", path, body).await
    }

    /// An invitation for a partner of this name.
    pub(super) async fn invite(&self, name: &str, may: &[&str]) -> String {
        let made = self.post("partners/invitations", json!({ "name": name, "may": may })).await.unwrap();
        made["invitation"].as_str().unwrap().to_owned()
    }

    /// Accepts one; gives the partner or the code of the refusal.
    pub(super) async fn accept(&self, invitation: &str, name: &str) -> Result<Value, String> {
        let wanted = json!({ "invitation": invitation, "name": name, "may": ["buy", "sell"] });
        self.post("partners/accept", wanted).await
    }

    /// Both become partners under these names: this one invites.
    pub(super) async fn befriend(&self, other: &Self, name: &str, own_name: &str) {
        let invitation = self.invite(name, &["buy", "sell"]).await;
        other.accept(&invitation, own_name).await.unwrap();
    }

    /// What is known here of a partner.
    pub(super) fn partner(&self, name: &str) -> Arc<Partner> {
        self.api.writer.snapshot().partners.values().find(|p| p.name == name).unwrap().clone()
    }

    /// Asks a partner how it sees this controller; gives that or the code of the refusal.
    pub(super) async fn standing_at(&self, name: &str) -> Result<Standing, String> {
        let code = |e: CallError| e.code().to_owned();
        let client = self.api.federation.client(self.partner(name).party).map_err(code)?;
        client.get("standing").await.map_err(code)
    }
}
