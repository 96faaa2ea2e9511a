//! Moves, drains, windows and criteria over the API.

use chandler_engine::fleet::{HostState, Pulse};
use chandler_engine::site::SiteRole;
use chandler_engine::{fulfilment, service};
use chandler_protocol::state::{ObservedAssignment, Phase};
use chandler_protocol::{HostId, ServiceId};
use serde_json::{Value, json};

use super::{ACME, GLOBEX, OPERATOR, OWNER, World, host, order};

/// The provider's second host.
const SPARE: u8 = 7;

impl World {
    /// One more host of the provider, and each service of acme in use where it is.
    async fn running(&self) {
        let made = self.writer.transact("test", |draft| {
            let spare = chandler_engine::fleet::Host {
                site: chandler_protocol::SiteId::from_random([2; 10]),
                ..host(SPARE, "server-2", HostState::Active)
            };
            let pulse = Pulse { seen_at: draft.now, connected: true, rtt: spare.rtt, readings: None };
            draft.model.pulses.insert(spare.id, pulse);
            draft.put(spare);
            let all: Vec<_> = draft.model.assignments.values().cloned().collect();
            for a in all {
                let seen = ObservedAssignment {
                    id: a.id,
                    epoch: a.epoch,
                    phase: Phase::Running,
                    ports: Vec::new(),
                    starts: 1,
                    failures: 0,
                    message: String::new(),
                    health: chandler_protocol::state::Health::default(),
                    outputs: Vec::new(),
                };
                for service in fulfilment::observe(draft, a.host, &[seen]) {
                    fulfilment::advance(draft, service);
                }
            }
            Ok::<_, ()>(())
        });
        made.await.unwrap();
        assert!(self.writer.snapshot().services.values().all(|s| s.state == service::ServiceState::Active));
    }

    async fn move_to(&self, token: &str, to: Value) -> super::Response {
        self.post(token, "/api/v1/services/notes/move", json!({ "to": to })).await
    }

    fn service_id(&self) -> ServiceId {
        *self.writer.snapshot().services.keys().next().unwrap()
    }
}

#[tokio::test]
async fn a_move_is_ordered_shown_and_listed() {
    let world = World::new().await;
    world.notes().await;
    world.running().await;
    let reply = world.move_to(ACME, json!({ "host": "server-2" })).await;
    let location = reply.headers["location"].to_str().unwrap().to_owned();
    let made = reply.expect(202);
    let id = made["id"].as_str().unwrap();
    assert_eq!(location, format!("/api/v1/moves/{id}"));
    assert_eq!((&made["service"], &made["trigger"]), (&json!("notes"), &json!("operator")));
    assert_eq!((&made["from"]["host"], &made["to"]["host"]), (&json!("server-1"), &json!("server-2")));
    assert_eq!((&made["kind"], &made["reversible"]), (&json!("exclusive"), &json!(true)));
    assert_eq!(made["steps"][0]["phase"], "planned");
    let next: Vec<_> = made["next"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
    assert!(next.ends_with(&["holding", "finalCopy", "starting", "verifying", "switching", "draining", "done"]));
    assert!(made.get("realised").is_none());

    // The same order again is the same move; it is seen with the service, and in the events.
    assert_eq!(world.move_to(ACME, json!({ "site": "rack" })).await.body["id"], id, "it goes there already");
    assert_eq!(world.get(OPERATOR, &location).await.expect(200)["id"], id);
    let service = world.get(ACME, "/api/v1/services/notes").await.expect(200);
    assert_eq!((&service["moves"][0]["id"], &service["tenure"]["owner"]), (&json!(id), &json!("server-1")));
    assert_eq!(service["tenure"]["stage"], "settled");
    let events = world.get(ACME, &format!("/api/v1/events?subject={id}")).await.expect(200);
    assert_eq!(events["items"][0]["to"], "planned");

    for (query, n) in [("", 1), ("?state=open", 1), ("?state=ended", 0), ("?service=notes&declined=true", 1)] {
        let list = world.get(ACME, &format!("/api/v1/moves{query}")).await.expect(200);
        assert_eq!(list["items"].as_array().unwrap().len(), n, "{query}");
    }
    world.get(ACME, "/api/v1/moves?state=flying").await.refused("E0110");
    world.get(ACME, "/api/v1/moves?service=nothing").await.refused("E0130");
    // To others it does not exist.
    assert_eq!(world.get(GLOBEX, "/api/v1/moves").await.expect(200)["items"], json!([]));
    world.get(GLOBEX, &location).await.refused("E0130");
    world.get(ACME, "/api/v1/moves/m-nonsense").await.refused("E0130");
}

#[tokio::test]
async fn a_move_that_cannot_be_says_why_and_changes_nothing() {
    let world = World::new().await;
    world.notes().await;
    world.move_to(ACME, json!({ "host": "server-2" })).await.refused("E0314");
    // Reserved and not yet in use.
    world.move_to(ACME, json!({ "owner": "provider" })).await.refused("E0311");
    world.running().await;
    let before = world.writer.snapshot().moves.len();
    let check = |token: &'static str, to: Value, code: &'static str, part: &'static str| {
        let world = &world;
        async move {
            let refused = world.move_to(token, to).await;
            refused.refused(code);
            let detail = refused.body["detail"].as_str().unwrap();
            assert!(detail.contains(part), "{detail}");
        }
    };
    check(ACME, json!({ "host": "server-1" }), "E0312", "there already").await;
    check(ACME, json!({ "host": "nowhere" }), "E0314", "nowhere").await;
    check(ACME, json!({ "site": "nowhere" }), "E0314", "nowhere").await;
    // Not connected: the nearest that fits is named.
    check(ACME, json!({ "host": "pc-1" }), "E0310", "server-2").await;
    check(ACME, json!({ "owner": "partner" }), "E0314", "").await;
    // The computer of another customer is not found, existing or not.
    foreign(&world).await;
    check(ACME, json!({ "host": "globex-pc" }), "E0314", "globex-pc").await;
    check(OPERATOR, json!({ "host": "globex-pc" }), "E0310", "globex-pc").await;
    check(ACME, json!({ "site": "globex-office" }), "E0314", "globex-office").await;
    drain_host(&world, "server-2").await;
    check(ACME, json!({ "host": "server-2" }), "E0310", "drain").await;
    for body in [
        json!({}),
        json!({ "to": {} }),
        json!({ "to": { "host": "a", "site": "b" } }),
        json!({ "to": { "planet": "x" } }),
    ] {
        world.post(ACME, "/api/v1/services/notes/move", body).await.refused("E0110");
    }
    world.post(GLOBEX, "/api/v1/services/notes/move", json!({ "to": { "host": "server-2" } })).await.refused("E0130");
    world.post(OWNER, "/api/v1/services/notes/move", json!({ "to": { "host": "server-2" } })).await.refused("E0121");
    assert_eq!(world.writer.snapshot().moves.len(), before);
}

async fn foreign(world: &World) {
    let made = world.writer.transact("test", |draft| {
        let site = draft.model.site_named("acme-office").unwrap().as_ref().clone();
        let id = chandler_protocol::SiteId::from_random([9; 10]);
        let owner = chandler_protocol::PartyId::from_random([2; 10]);
        let (name, role) = ("globex-office".to_owned(), SiteRole::Customer);
        draft.put(chandler_engine::site::Site { id, name, owner, role, ..site });
        draft.put(host(9, "globex-pc", HostState::Active));
        Ok::<_, ()>(())
    });
    made.await.unwrap();
}

async fn drain_host(world: &World, name: &str) {
    let body = json!({ "reason": "new disk" });
    world.post(OPERATOR, &format!("/api/v1/hosts/{name}/drain"), body).await.expect(202);
}

#[tokio::test]
async fn two_contrary_orders_end_in_the_later_one() {
    let world = World::new().await;
    world.notes().await;
    world.running().await;
    let first = world.move_to(ACME, json!({ "host": "server-2" })).await.expect(202);
    let back = world.move_to(ACME, json!({ "host": "server-1" })).await;
    // It runs there and goes away: the order to stay ends the move, or says that it is there.
    let first = world.get(ACME, &format!("/api/v1/moves/{}", first["id"].as_str().unwrap())).await.expect(200);
    let open = world.writer.snapshot().moves_of(world.service_id()).count();
    assert!(open <= 1, "one open move at most");
    assert!(back.code() == "E0312" || first["phase"] == "rolledBack", "{} {}", back.text, first["phase"]);
}

#[tokio::test]
async fn a_drain_says_what_goes_and_what_cannot() {
    let world = World::new().await;
    world.notes().await;
    world.running().await;
    let none = world.get(OPERATOR, "/api/v1/hosts/server-1/drain").await.expect(200);
    assert_eq!((none.get("draining"), &none["done"]), (None, &json!(false)));
    let body = json!({ "reason": "new disk" });
    let report = world.post(OPERATOR, "/api/v1/hosts/server-1/drain", body.clone()).await.expect(202);
    assert_eq!((&report["draining"]["reason"], &report["done"]), (&json!("new disk"), &json!(false)));
    assert_eq!(
        (&report["services"][0]["service"], &report["services"][0]["going"]),
        (&json!("notes"), &json!("waiting"))
    );
    let host = world.get(OPERATOR, "/api/v1/hosts/server-1").await.expect(200);
    assert_eq!(host["draining"]["reason"], "new disk");
    // Asked again it is the same drain, with the first reason.
    let again = world.post(OPERATOR, "/api/v1/hosts/server-1/drain", json!({ "reason": "other" })).await.expect(202);
    assert_eq!(again["draining"], report["draining"]);
    // The task's look: it goes to the other host, and the report says so.
    let look = world.writer.transact("relocation", |draft| {
        use chandler_engine::assurance::Patience;
        use chandler_engine::relocation::trigger::{Rules, Senses, consider};
        let mut senses = Senses::default();
        Ok::<_, ()>(consider(draft, &mut senses, &Rules::default(), Patience::default()).planned.len())
    });
    assert_eq!(look.await.unwrap(), 1);
    let report = world.get(OPERATOR, "/api/v1/hosts/server-1/drain").await.expect(200);
    let item = &report["services"][0];
    assert_eq!((&item["going"], &item["to"]), (&json!("moving"), &json!("server-2")), "{report}");

    let ended = world.post(OPERATOR, "/api/v1/hosts/server-1/undrain", Value::Null).await.expect(200);
    assert_eq!(ended.get("draining"), None);
    assert_eq!(world.get(OPERATOR, "/api/v1/hosts/server-1").await.expect(200).get("draining"), None);
    let long = json!({ "reason": "x".repeat(513) });
    world.post(OPERATOR, "/api/v1/hosts/server-1/drain", long).await.refused("E0111");
    world.post(OPERATOR, "/api/v1/hosts/server-1/drain", json!({ "why": "x" })).await.refused("E0110");
    world.post(OPERATOR, "/api/v1/hosts/server-1/revoke", Value::Null).await.expect(200);
    world.post(OPERATOR, "/api/v1/hosts/server-1/drain", body).await.refused("E0313");
}

#[tokio::test]
async fn an_owner_drains_its_own_and_no_other() {
    let world = World::new().await;
    let drain = |path: &'static str| world.post(OWNER, path, json!({}));
    drain("/api/v1/hosts/pc-1/drain").await.expect(202);
    drain("/api/v1/sites/home-1/drain").await.expect(202);
    drain("/api/v1/hosts/server-1/drain").await.refused("E0130");
    drain("/api/v1/sites/rack/drain").await.refused("E0130");
    world.post(ACME, "/api/v1/hosts/server-1/drain", json!({})).await.refused("E0121");
    let site = world.get(OWNER, "/api/v1/sites/home-1").await;
    assert_eq!(site.headers["etag"], "\"v2\"");
    assert!(site.body["draining"].is_object(), "{}", site.text);
    let report = world.post(OWNER, "/api/v1/sites/home-1/undrain", Value::Null).await.expect(200);
    assert_eq!((report.get("draining"), &report["name"]), (None, &json!("home-1")));
}

#[tokio::test]
async fn a_service_of_others_is_not_named_to_an_owner() {
    let world = World::new().await;
    world.publish("notes", "1.0.0").await.expect(201);
    let mut wanted = order("notes");
    wanted["policy"] = json!({ "owners": ["remote"] });
    let awake = world.writer.transact("test", |draft| {
        let pc = draft.model.host_named("pc-1").unwrap().as_ref().clone();
        let pulse = Pulse { seen_at: draft.now, connected: true, rtt: pc.rtt, readings: None };
        draft.model.pulses.insert(pc.id, pulse);
        draft.put(chandler_engine::fleet::Host { state: HostState::Active, ..pc });
        Ok::<_, ()>(())
    });
    awake.await.unwrap();
    wanted["sla"] = json!({});
    world.post(ACME, "/api/v1/orders", wanted).await.expect(201);
    world.admit().await;
    let report = world.post(OWNER, "/api/v1/hosts/pc-1/drain", json!({})).await.expect(202);
    let item = &report["services"][0];
    assert_eq!(item["service"], "", "{report}");
    assert!(item["serviceId"].as_str().unwrap().starts_with("svc-"));
}

#[tokio::test]
async fn a_site_has_hours_and_windows() {
    let world = World::new().await;
    let path = "/api/v1/sites/home-1";
    let patch = |etag: &'static str, body: Value| world.change("PATCH", OWNER, path, Some(etag), body);
    let body = json!({
        "hours": "Mon-Fri 08:00-18:00 Europe/Berlin", "lead": "15 min",
        "maintenance": [{ "from": "2026-12-01T02:00:00Z", "to": "2026-12-01T04:00:00Z", "reason": "new switch" }],
    });
    let site = patch("\"v1\"", body.clone()).await.expect(200);
    assert_eq!(site["hours"], "Mon,Tue,Wed,Thu,Fri 08:00-18:00 Europe/Berlin");
    assert_eq!((&site["maintenance"], &site["lead"]), (&body["maintenance"], &json!("15 min")));
    patch("\"v1\"", json!({ "hours": "" })).await.refused("E0141");
    let rows = [
        (json!({ "hours": "always" }), "hours"),
        (json!({ "lead": "8 d" }), "lead"),
        (
            json!({ "maintenance": [{ "from": "2026-12-01T02:00:00Z", "to": "2026-12-01T02:00:00Z" }] }),
            "maintenance[0].to",
        ),
        (
            json!({ "maintenance": [{ "from": "2026-01-01T02:00:00Z", "to": "2026-01-02T02:00:00Z" }] }),
            "maintenance[0].to",
        ),
    ];
    for (body, pointer) in rows {
        let refused = patch("\"v2\"", body).await;
        refused.refused("E0111");
        assert_eq!(refused.body["errors"][0]["pointer"], pointer, "{}", refused.text);
    }
    let open = patch("\"v2\"", json!({ "hours": "", "maintenance": [] })).await.expect(200);
    assert_eq!((open.get("hours"), open.get("maintenance"), &open["rates"]), (None, None, &site["rates"]));
    // A change to what is so already is none.
    assert_eq!(patch("\"v3\"", json!({ "hours": "" })).await.headers["etag"], "\"v3\"");
}

#[tokio::test]
async fn the_provider_says_what_it_would_rather_have() {
    let world = World::new().await;
    let path = "/api/v1/criteria";
    assert_eq!(world.get(OPERATOR, path).await.expect(200), json!({ "consolidate": false }));
    let wanted = json!({ "marginFloorPercent": 10, "ownFirstPercent": 20, "consolidate": true });
    assert_eq!(world.change("PUT", OPERATOR, path, None, wanted.clone()).await.expect(200), wanted);
    assert_eq!(world.get(OPERATOR, path).await.expect(200), wanted);
    let wrong = json!({ "marginFloorPercent": 101 });
    world.change("PUT", OPERATOR, path, None, wrong).await.refused("E0111");
    world.change("PUT", ACME, path, None, json!({})).await.refused("E0121");
    world.change("PUT", OPERATOR, path, None, json!({})).await.expect(200);
    assert_eq!(world.get(OPERATOR, path).await.expect(200), json!({ "consolidate": false }));
}

#[tokio::test]
async fn front_doors_are_shown_with_the_service() {
    use chandler_protocol::way::{DoorCounters, ObservedDoor};
    let world = World::new().await;
    world.notes().await;
    let service = world.service_id();
    let seen = world.writer.transact("test", move |draft| {
        let mut counters = DoorCounters { requests: 3, failed: 1, ..DoorCounters::default() };
        for ms in [1, 1, 40] {
            counters.first_byte.record(chandler_protocol::Micros::from_millis(ms));
        }
        let door = ObservedDoor {
            service,
            sequence: 1,
            holding: false,
            waiting: 0,
            under_way: Vec::new(),
            long_lived: Vec::new(),
            addresses: vec![("http".to_owned(), "127.0.0.1:18080".parse().unwrap())],
            message: "a\u{1b}[31mb".to_owned(),
            opened: 1,
            counters,
        };
        draft.model.doors.insert((service, HostId::from_random([2; 10])), std::sync::Arc::new(door));
        Ok::<_, ()>(())
    });
    seen.await.unwrap();
    let shown = world.get(ACME, "/api/v1/services/notes").await.expect(200);
    let door = &shown["front"][0];
    assert_eq!((&door["host"], &door["addresses"][0]["address"]), (&json!("server-1"), &json!("127.0.0.1:18080")));
    assert_eq!((&door["requests"], &door["failed"], &door["connected"]), (&json!(3), &json!(1), &json!(true)));
    assert_eq!(door["message"], "a[31mb");
    assert!((1_000..1_300).contains(&door["p50Micros"].as_i64().unwrap()), "{door}");
    assert!((40_000..50_000).contains(&door["p95Micros"].as_i64().unwrap()), "{door}");
}
