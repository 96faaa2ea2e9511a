//! Orders that are wrong, field by field.

use serde_json::{Value, json};

use super::{ACME, OPERATOR, World, order, task};

/// `order` with the value at a JSON pointer replaced; `null` takes it out.
fn with(mut order: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = order.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Object(fields), Value::Null) => {
            fields.remove(key);
        }
        (parent, value) => parent[key] = value,
    }
    order
}

#[tokio::test]
async fn every_wrong_field_is_named_with_what_to_write() {
    let world = World::new().await;
    world.publish("notes", "1.0.0").await.expect(201);
    let health = |v: Value| with(order("x"), "/software/health", v);
    let prepare = |v: Value| with(order("x"), "/software/prepare", v);
    let criteria = |v: Value| with(order("x"), "/policy", json!({ "criteria": v }));
    let long = "x".repeat(33 << 10);
    let rows: Vec<(Value, &str, &str)> = vec![
        (with(order("x"), "/name", json!("Not A Name")), "name", "a-z 0-9"),
        (with(order("x"), "/offering", json!("golden")), "offering", "standard"),
        (with(order("x"), "/software/artifact", json!("notes")), "software.artifact", "name@version"),
        (with(order("x"), "/software/artifact", Value::Null), "software", "artifact"),
        (with(order("x"), "/software/installed", json!({ "name": "a", "path": "/bin/a" })), "software", "not both"),
        (
            with(
                with(order("x"), "/software/artifact", Value::Null),
                "/software/installed",
                json!({ "name": "a", "path": "/usr/../bin/a" }),
            ),
            "software.installed.path",
            "absolute",
        ),
        (
            with(
                with(order("x"), "/software/artifact", Value::Null),
                "/software/installed",
                json!({ "name": "a", "path": "/usr/bin/a" }),
            ),
            "software.command[0]",
            "absolute",
        ),
        (with(order("x"), "/software/command", json!([])), "software.command", "program"),
        (with(order("x"), "/software/command", json!(["./../x"])), "software.command[0]", "inside the artifact"),
        (with(order("x"), "/software/command", json!(["./x", "a\u{0}b"])), "software.command[1]", "NUL"),
        (with(order("x"), "/software/command", json!(["./x", long])), "software.command", "32768"),
        (with(order("x"), "/software/command", json!(vec!["./x"; 257])), "software.command", "256"),
        (
            with(order("x"), "/software/command", json!(["./x", "{port.admin}"])),
            "software.command[1]",
            "names http only",
        ),
        (with(order("x"), "/software/environment", json!({ "A": "{port.b}" })), "software.environment.A", "names http"),
        (with(order("x"), "/software/environment", json!({ "A=B": "1" })), "software.environment.A=B", "without ="),
        (with(order("x"), "/software/state", Value::Null), "software.command[4]", "software.state"),
        (with(order("x"), "/software/state", json!({ "path": "../x" })), "software.state.path", "directory"),
        (health(json!({})), "software.health", "exactly one"),
        (health(json!({ "http": "/", "tcp": true })), "software.health", "exactly one"),
        (health(json!({ "http": "healthz" })), "software.health.http", "/healthz"),
        (health(json!({ "tcp": true, "port": "admin" })), "software.health.port", "http"),
        (health(json!({ "tcp": true, "interval": "1 ms" })), "software.health.interval", "100 ms"),
        (health(json!({ "tcp": true, "failures": 0 })), "software.health.failures", "1 to 100"),
        (with(order("x"), "/software/limits/memory", json!("1 KiB")), "software.limits.memory", "1 MiB"),
        (with(order("x"), "/software/limits/pids", json!(0)), "software.limits.pids", "at least 1"),
        (with(order("x"), "/software/port/0/fixed", json!(0)), "software.port[0].fixed", "65535"),
        (
            with(order("x"), "/software/port", json!([{ "name": "http" }, { "name": "http" }])),
            "software.port[1].name",
            "already",
        ),
        (with(order("x"), "/software/outputs", json!(["a"])), "software.outputs", "task"),
        (with(order("x"), "/software/timeLimit", json!("1 min")), "software.timeLimit", "task"),
        (with(order("x"), "/software/retries", json!(1)), "software.retries", "task"),
        (with(order("x"), "/software/restart", json!({ "delay": "2 h" })), "software.restart.delay", "1 h"),
        (with(order("x"), "/software/stop", json!({ "grace": "1 h" })), "software.stop.grace", "10 min"),
        (with(order("x"), "/sla/cost/max", json!("30 USD/month")), "sla.cost.max", "EUR"),
        (with(order("x"), "/sla/availability/min", json!("100 %")), "sla.availability.min", "99.9999 %"),
        (with(order("x"), "/sla/interactivity", json!({ "p95": "2 h" })), "sla.interactivity.p95", "1 h"),
        (with(order("x"), "/sla/residency", json!(["DE", "ch"])), "sla.residency[1]", "capitals"),
        (with(order("x"), "/sla/deadline", json!({ "within": "1 h" })), "sla.deadline", "task"),
        (with(order("x"), "/policy", json!({ "owners": [] })), "policy.owners", "at least one"),
        (with(order("x"), "/policy", json!({ "replicas": 2 })), "policy.replicas", "exclusive"),
        (with(order("x"), "/policy", json!({ "replicas": 17 })), "policy.replicas", "1 to 16"),
        (with(order("x"), "/policy", json!({ "replicas": { "min": 2, "max": 1 } })), "policy.replicas", "1 to 16"),
        (with(order("x"), "/item", json!([{ "name": "a" }])), "item", "task"),
        (with(task("x"), "/item/1/name", json!("one")), "item[1].name", "already"),
        (with(task("x"), "/item/0/name", json!("a/b")), "item[0].name", "a-z"),
        (with(task("x"), "/item/0/inputs", json!([{ "path": "../x" }])), "item[0].inputs[0].path", "inside"),
        (with(task("x"), "/item/0/inputs", json!([{ "path": "x" }])), "item[0].inputs[0].digest", "digest"),
        (
            with(task("x"), "/item/0/inputs", json!([{ "path": "x", "digest": "0".repeat(64) }])),
            "item[0].inputs[0].digest",
            "not uploaded",
        ),
        (
            with(task("x"), "/item/0/inputs", json!([{ "path": "x", "file": "x" }])),
            "item[0].inputs[0].file",
            "command line",
        ),
        (with(task("x"), "/software/outputs", json!(["/etc/passwd"])), "software.outputs[0]", "inside"),
        (with(task("x"), "/software/outputs", json!(["stdout"])), "software.outputs[0]", "always"),
        (with(task("x"), "/policy", json!({ "replicas": 2 })), "policy.replicas", "once"),
        (with(order("x"), "/policy", json!({ "move": { "hold": "11 s" } })), "policy.move.hold", "10.0 s"),
        (with(order("x"), "/policy", json!({ "move": { "drain": "2 h" } })), "policy.move.drain", "1 h"),
        (with(order("x"), "/policy", json!({ "move": { "keep": "400 d" } })), "policy.move.keep", "365 d"),
        (with(order("x"), "/policy", json!({ "move": { "rate": "1 KiB/s" } })), "policy.move.rate", "64 KiB/s"),
        (
            with(order("x"), "/policy", json!({ "onPartition": "keepRunning", "onLoss": "startEmpty" })),
            "policy.onLoss",
            "policy.onPartition",
        ),
        (with(task("x"), "/policy", json!({ "move": { "cut": true } })), "policy.move", "leave it out"),
        (with(task("x"), "/policy", json!({ "onLoss": "startEmpty" })), "policy.move", "leave it out"),
        (with(task("x"), "/policy", json!({ "criteria": { "cheaper": true } })), "policy.criteria", "leave it out"),
        (criteria(json!({ "premiumPercent": 1_001 })), "policy.criteria.premiumPercent", "1000"),
        (criteria(json!({ "prefer": ["remote", "remote"] })), "policy.criteria.prefer", "twice"),
        (criteria(json!({ "at": [{ "when": "noon", "blackout": true }] })), "policy.criteria.at[0].when", "Mon-Fri"),
        (criteria(json!({ "at": [{ "when": "daily 1:00-2:00" }] })), "policy.criteria.at[0]", "blackout"),
        (
            criteria(json!({ "at": [{ "when": "daily 1:00-2:00", "replicas": 2 }] })),
            "policy.criteria.at[0].replicas",
            "1 to 1",
        ),
        (prepare(json!({})), "software.prepare", "exactly one"),
        (prepare(json!({ "http": "prepare" })), "software.prepare.http", "/prepare"),
        (prepare(json!({ "tcp": true, "port": "admin" })), "software.prepare.port", "http"),
        (prepare(json!({ "exec": ["./p", "{port.b}"] })), "software.prepare.exec[1]", "names http"),
        (prepare(json!({ "tcp": true, "within": "1 h" })), "software.prepare.within", "10 min"),
        (
            with(order("x"), "/software/environment", json!({ "A": "{front.svc-1.a}" })),
            "software.environment.A",
            "uses",
        ),
        (with(order("x"), "/front", json!({ "on": ["rack", "nowhere"] })), "front.on[1]", "nowhere"),
        (with(order("x"), "/front", json!({ "on": ["home-1"] })), "front.on[0]", "of yours"),
        (with(task("x"), "/front", json!({ "lan": true })), "front", "with ports"),
        (
            with(order("x"), "/software/port", json!([{ "name": "a", "front": 80 }, { "name": "http", "front": 80 }])),
            "software.port[1].front",
            "already",
        ),
        (with(order("x"), "/uses", json!([{ "service": "db" }])), "uses[0].service", "no such service"),
        (with(order("x"), "/uses", json!([{ "service": "x" }])), "uses[0].service", "itself"),
    ];
    for (wrong, pointer, detail) in rows {
        for path in ["/api/v1/orders", "/api/v1/quotes"] {
            let response = world.post(ACME, path, wrong.clone()).await;
            response.refused("E0111");
            let errors = response.body["errors"].as_array().unwrap();
            let is_told = |e: &Value| e["pointer"] == pointer && e["detail"].as_str().unwrap().contains(detail);
            assert!(errors.iter().any(is_told), "{path} {pointer} {detail}: {}", response.text);
        }
    }
    assert!(world.writer.snapshot().orders.is_empty());
}

#[tokio::test]
async fn all_wrong_fields_are_told_at_once() {
    let world = World::new().await;
    let wrong = with(with(order("Bad Name"), "/sla/cost/max", json!("1 USD/month")), "/software/command", json!([]));
    let response = world.post(ACME, "/api/v1/orders", wrong).await;
    response.refused("E0111");
    let pointers: Vec<_> = response.body["errors"].as_array().unwrap().iter().map(|e| e["pointer"].clone()).collect();
    assert_eq!(pointers, ["name", "sla.cost.max", "software.command", "software.artifact"]);
}

#[tokio::test]
async fn an_artifact_that_is_not_there_names_those_that_are() {
    let world = World::new().await;
    let response = world.post(ACME, "/api/v1/orders", order("x")).await;
    response.refused("E0401");
    assert!(response.text.contains("none is published yet"), "{}", response.text);
    world.publish("notes", "1.0.1").await.expect(201);
    let response = world.post(ACME, "/api/v1/orders", order("x")).await;
    response.refused("E0401");
    assert!(response.text.contains("there is no artifact notes@1.0.0; published: notes@1.0.1"), "{}", response.text);
}

#[tokio::test]
async fn a_name_is_free_once_its_service_and_order_are_gone() {
    let world = World::new().await;
    world.publish("notes", "1.0.0").await.expect(201);
    let first = world.post(ACME, "/api/v1/orders", order("notes")).await.expect(201);
    world.post(ACME, "/api/v1/orders", order("notes")).await.refused("E0140");
    world.admit().await;
    world.post(ACME, "/api/v1/orders", order("notes")).await.refused("E0140");
    let cancel = format!("/api/v1/orders/{}/cancel", first["id"].as_str().unwrap());
    assert_eq!(world.post(ACME, &cancel, Value::Null).await.expect(200)["state"], "cancelled");
    world.post(ACME, &cancel, Value::Null).await.refused("E0140");
}

#[tokio::test]
async fn numbers_count_up_and_the_request_is_shown_as_written() {
    let world = World::new().await;
    world.publish("notes", "1.0.0").await.expect(201);
    for name in ["a", "b", "c"] {
        let mut wanted = order(name);
        wanted["customer"] = "acme".into();
        world.post(OPERATOR, "/api/v1/orders", wanted).await.expect(201);
    }
    let page = world.get(ACME, "/api/v1/orders?limit=2").await.expect(200);
    let token = page["nextPageToken"].as_str().unwrap();
    let rest = world.get(ACME, &format!("/api/v1/orders?limit=2&pageToken={token}")).await.expect(200);
    let names: Vec<_> =
        [&page, &rest].iter().flat_map(|p| p["items"].as_array().unwrap()).map(|o| &o["name"]).collect();
    assert_eq!(names, ["c", "b", "a"]);
    assert!(rest.get("nextPageToken").is_none());
    let request = &page["items"][0]["request"];
    assert_eq!(request["software"]["limits"]["cpu"], 0.5);
    assert_eq!(request["sla"]["cost"]["max"], "30 EUR/month");
    assert_eq!(request["customer"], "acme");
    world.get(ACME, &format!("/api/v1/services?pageToken={token}")).await.refused("E0145");
    world.get(ACME, "/api/v1/orders?limit=0").await.refused("E0110");
    world.get(ACME, "/api/v1/orders?limit=501").await.refused("E0110");
    world.get(ACME, "/api/v1/orders?colour=red").await.refused("E0110");
}

#[tokio::test]
async fn how_a_service_may_be_moved_is_kept_as_written() {
    let world = World::new().await;
    world.publish("notes", "1.0.0").await.expect(201);
    let mut wanted = order("notes");
    wanted["software"]["port"][0]["front"] = json!(18_080);
    wanted["software"]["prepare"] = json!({ "http": "/prepare", "tcp": false, "within": "20 s" });
    wanted["front"] = json!({ "on": ["rack", "server-1"], "lan": true });
    wanted["policy"] = json!({
        "owners": ["customer", "provider"], "replicas": 1,
        "move": { "hold": "1 s", "drain": "3 s", "cut": true, "rate": "50 MiB/s", "keep": "2 d" },
        "onPartition": "stop", "onLoss": "startEmpty",
        "criteria": { "prefer": ["customer"], "premiumPercent": 10,
            "at": [{ "when": "Mon-Fri 12:00-14:00 Europe/Berlin", "blackout": true }] },
    });
    let made = world.post(ACME, "/api/v1/orders", wanted.clone()).await.expect(201);
    let shown = world.get(ACME, &format!("/api/v1/orders/{}", made["id"].as_str().unwrap())).await.expect(200);
    for part in ["front", "policy"] {
        assert_eq!(shown["request"][part], wanted[part], "{part}");
    }
    assert_eq!(shown["request"]["software"]["prepare"], wanted["software"]["prepare"]);
    let model = world.writer.snapshot();
    let spec = &model.orders.values().next().unwrap().spec;
    assert_eq!(spec.policy.front.numbers, [("http".to_owned(), 18_080)]);
    assert_eq!(spec.policy.mobility.rate_max.unwrap().0, 50 << 20);
    assert_eq!(spec.policy.mobility.prepare.as_ref().unwrap().within.0, 20_000_000);
    // An order that says nothing of it shows nothing of it.
    let plain = world.post(ACME, "/api/v1/orders", order("plain")).await.expect(201);
    let policy = &plain["request"]["policy"];
    assert_eq!((policy.get("move"), policy.get("criteria"), plain["request"].get("front")), (None, None, None));
}

#[tokio::test]
async fn a_service_uses_others_through_front_doors_and_in_no_circle() {
    let world = World::new().await;
    world.notes().await;
    let id = world.get(ACME, "/api/v1/services/notes").await.expect(200)["id"].as_str().unwrap().to_owned();
    let mut app = order("app");
    app["software"]["environment"] = json!({ "MODE": "x" });
    app["software"]["port"][0]["front"] = json!(7_000);
    app["uses"] = json!([{ "service": "notes", "env": { "DB": "http" } }]);
    world.post(ACME, "/api/v1/orders", app.clone()).await.expect(201);
    world.admit().await;
    let model = world.writer.snapshot();
    let service = model.services.values().find(|s| s.name == "app").unwrap();
    let db = service.spec.environment.iter().find(|(name, _)| name == "DB").unwrap();
    assert_eq!(db.1, format!("{{front.{id}.http}}"));
    assert_eq!(service.policy.uses[0].service, "notes");

    let refused = |wanted: Value, pointer: &'static str, detail: &'static str| {
        let world = &world;
        async move {
            let refused = world.post(ACME, "/api/v1/orders", wanted).await;
            refused.refused("E0111");
            let first = &refused.body["errors"][0];
            assert_eq!(first["pointer"], pointer, "{}", refused.text);
            assert!(first["detail"].as_str().unwrap().contains(detail), "{}", refused.text);
        }
    };
    let uses = |name: &str, uses: Value| with(order(name), "/uses", uses);
    let env = |env: Value| json!([{ "service": "notes", "env": env }]);
    refused(uses("b", env(json!({ "DB": "admin" }))), "uses[0].env.DB", "http").await;
    refused(uses("b", env(json!({ "D=B": "http" }))), "uses[0].env.D=B", "without =").await;
    refused(with(app.clone(), "/software/environment", json!({ "DB": "1" })), "uses[0].env.DB", "already").await;
    // notes would use app, which uses notes.
    let mut circle = uses("notes", json!([{ "service": "app" }]));
    circle["action"] = json!("modify");
    refused(circle, "uses[0].service", "notes uses app uses notes").await;
    // Both may be on one computer: they cannot have one number there.
    let mut other = order("other");
    other["software"]["port"][0]["front"] = json!(7_000);
    refused(other, "software.port[0].front", "service app").await;
    // What is used stays until nothing uses it.
    world.change("DELETE", ACME, "/api/v1/services/notes", None, Value::Null).await.refused("E0140");
    world.change("DELETE", ACME, "/api/v1/services/app", None, Value::Null).await.expect(202);
    // Another customer's service cannot be used.
    let foreign = with(order("x"), "/uses", json!([{ "service": "notes" }]));
    let refused = world.post(super::GLOBEX, "/api/v1/orders", foreign).await;
    assert_eq!(refused.body["errors"][0]["pointer"], "uses[0].service", "{}", refused.text);
}
