//! From an order to its end, and what else changes things.

use axum::body::Body;
use chandler_engine::finance::{self, UsageRow};
use chandler_engine::fleet::Capacity;
use chandler_engine::model::Change;
use chandler_engine::service::PriceTerms;
use chandler_engine::site::Rates;
use chandler_protocol::{
    AssignmentId, Bytes, HostId, MicroMoney, Micros, MilliCpu, PartyId, ServiceId, SiteId, Timestamp,
};
use serde_json::{Value, json};

use super::{ACME, GLOBEX, OPERATOR, World, order, request, task};

#[tokio::test]
async fn an_order_becomes_a_service_with_an_sla_and_a_reason() {
    let world = World::new().await;
    let order = world.notes().await;
    assert_eq!(order["state"], "acknowledged");
    let path = format!("/api/v1/orders/{}", order["id"].as_str().unwrap());
    let order = world.get(ACME, &path).await.expect(200);
    assert_eq!((&order["state"], &order["kind"]), (&json!("inProgress"), &json!("service")));
    let history: Vec<_> = order["history"].as_array().unwrap().iter().map(|e| e["to"].clone()).collect();
    assert_eq!(history, ["acknowledged", "inProgress"]);
    assert!(order["monthlyCost"]["micros"].as_i64().unwrap() > 0);

    let service = world.get(ACME, "/api/v1/services/notes").await.expect(200);
    assert_eq!(service["placements"][0]["host"], "server-1");
    let why = world.get(ACME, "/api/v1/services/notes/explain").await.expect(200);
    assert_eq!(why["candidates"][0]["chosen"], true);
    assert_eq!(why["considered"], 2);
    let sla = world.get(ACME, "/api/v1/slas/notes").await;
    assert_eq!(sla.headers["etag"], "\"v1\"");
    let sla = sla.expect(200);
    assert_eq!(sla["terms"]["cost"]["max"], "30 EUR/month");
    assert_eq!(sla["status"], "notDetermined");
    // The host is not connected, so that its log cannot be had; that is no fault of ours.
    world.get(ACME, "/api/v1/services/notes/logs").await.refused("E0140");
    world.get(ACME, "/api/v1/services/notes/logs?stream=both").await.refused("E0110");
}

#[tokio::test]
async fn a_quote_tells_what_an_order_will_find() {
    let world = World::new().await;
    world.publish("notes", "1.0.0").await.expect(201);
    let quote = world.post(ACME, "/api/v1/quotes", order("notes")).await.expect(200);
    assert_eq!((&quote["feasible"], &quote["hosts"]), (&json!(true), &json!(["server-1"])));
    let mut wanted = order("notes");
    wanted["sla"]["cost"]["max"] = "0.10 EUR/month".into();
    let quote = world.post(ACME, "/api/v1/quotes", wanted.clone()).await.expect(200);
    assert_eq!(quote["feasible"], false);
    assert_eq!(quote["options"][0]["term"], "sla.cost.max");
    wanted["sla"]["cost"]["max"] = quote["options"][0]["value"].clone();
    assert_eq!(world.post(ACME, "/api/v1/quotes", wanted).await.expect(200)["feasible"], true);
    assert!(world.writer.snapshot().orders.is_empty());
}

#[tokio::test]
async fn an_sla_is_amended_as_it_was_read() {
    let world = World::new().await;
    world.notes().await;
    let change = json!({ "sla": { "cost": { "max": "29 EUR/month" } } });
    let patch = |etag: Option<&'static str>, change: &Value| {
        let (world, change) = (&world, change.clone());
        async move { world.change("PATCH", ACME, "/api/v1/slas/notes", etag, change).await }
    };
    patch(None, &change).await.refused("E0142");
    patch(Some("\"v7\""), &change).await.refused("E0141");
    let wrong = json!({ "sla": { "cost": { "max": "29 USD/month" } } });
    patch(Some("\"v1\""), &wrong).await.refused("E0111");
    let accepted = patch(Some("\"v1\""), &change).await;
    let location = accepted.headers["location"].to_str().unwrap().to_owned();
    let order = accepted.expect(202);
    assert_eq!(location, format!("/api/v1/orders/{}", order["id"].as_str().unwrap()));
    assert_eq!((&order["action"], &order["request"]["sla"]), (&json!("modify"), &change["sla"]));
    assert_eq!(order["request"]["software"]["artifact"], "notes@1.0.0");
}

#[tokio::test]
async fn a_service_is_deleted_by_an_order() {
    let world = World::new().await;
    world.notes().await;
    let deleted = world.change("DELETE", ACME, "/api/v1/services/notes", None, Value::Null).await.expect(202);
    assert_eq!(deleted["action"], "delete");
    // Asked again while that goes on, it is the same order.
    let again = world.change("DELETE", ACME, "/api/v1/services/notes", None, Value::Null).await.expect(202);
    assert_eq!(again["id"], deleted["id"]);
    world.admit().await;
    assert_eq!(world.get(ACME, "/api/v1/services/notes").await.expect(200)["state"], "terminating");
}

#[tokio::test]
async fn a_task_has_items_and_is_known_by_each() {
    let world = World::new().await;
    world.publish("notes", "1.0.0").await.expect(201);
    let input = b"some input";
    let digest = blake3::hash(input).to_hex().to_string();
    let path = format!("/api/v1/blobs/{digest}");
    world.get(ACME, &path).await.refused("E0130");
    let put = |content: &'static [u8]| {
        let request = request("PUT", &path, ACME).body(Body::from(content)).unwrap();
        world.send(request)
    };
    put(b"other").await.refused("E0402");
    world.get(ACME, &path).await.refused("E0130");
    put(input).await.expect(200);
    assert_eq!(world.get(ACME, &path).await.expect(200)["length"], 10);
    let mut wanted = task("count");
    wanted["item"][0]["inputs"] = json!([{ "path": "in.txt", "digest": digest }]);
    let order = world.post(ACME, "/api/v1/orders", wanted).await.expect(201);
    world.admit().await;
    let id = order["id"].as_str().unwrap();
    let order = world.get(ACME, &format!("/api/v1/orders/{id}")).await.expect(200);
    assert_eq!(order["items"], json!({ "pending": 2 }));
    assert_eq!(order["request"]["item"].as_array().unwrap().len(), 2);
    let listed = world.get(ACME, "/api/v1/orders").await.expect(200);
    assert_eq!(listed["items"][0]["request"].get("item"), None);
    let items = world.get(ACME, &format!("/api/v1/services?order={id}&limit=1")).await.expect(200);
    assert_eq!(items["items"][0]["item"], "one");
    let token = items["nextPageToken"].as_str().unwrap();
    let items = world.get(ACME, &format!("/api/v1/services?order={id}&limit=1&pageToken={token}")).await.expect(200);
    assert_eq!((&items["items"][0]["item"], items.get("nextPageToken")), (&json!("two"), None));
    world.get(ACME, "/api/v1/services/count").await.refused("E0140");
    world.get(ACME, "/api/v1/slas/count").await.expect(200);
}

#[tokio::test]
async fn collected_results_come_back_whole() {
    let world = World::new().await;
    world.publish("notes", "1.0.0").await.expect(201);
    world.post(ACME, "/api/v1/orders", task("count")).await.expect(201);
    world.admit().await;
    // Longer than one chunk, and than one part of a log.
    let content: Vec<u8> = (0..600_000_u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    let digest = world.blobs.keep(&content).unwrap().digest;
    let length = content.len() as u64;
    let item = world.writer.snapshot().services.values().next().cloned().unwrap();
    let id = item.id;
    let ended = move |draft: &mut chandler_engine::draft::Draft<'_>| {
        use chandler_protocol::state::{Exit, OutputFile};
        let file = |path: &str| OutputFile { path: path.to_owned(), digest, length };
        draft.put(chandler_engine::service::Service {
            exit: Some(Exit::Code(3)),
            outputs: vec![file("stdout"), file("out/result.txt")],
            ..item.as_ref().clone()
        });
        Ok::<_, ()>(())
    };
    world.writer.transact("test", ended).await.unwrap();
    assert_eq!(world.get(ACME, &format!("/api/v1/services/{id}")).await.expect(200)["exit"], "3");
    let file = world.get(ACME, &format!("/api/v1/services/{id}/outputs/out/result.txt")).await;
    assert_eq!(file.headers["content-length"], length.to_string());
    assert!(file.text.as_bytes() == content.as_slice(), "the content differs");
    world.get(ACME, &format!("/api/v1/services/{id}/outputs/other")).await.refused("E0130");
    world.get(ACME, &format!("/api/v1/services/{id}/outputs/out%2F..%2Fstdout")).await.refused("E0130");

    let tail = world.get(ACME, &format!("/api/v1/services/{id}/logs")).await.expect(200);
    assert!(tail["text"].as_str().unwrap().ends_with("599999\n"));
    assert_eq!(tail["end"], length);
    let path = format!("/api/v1/services/{id}/logs?offset=262140");
    let part = world.get(ACME, &path).await.expect(200);
    assert_eq!(part["text"].as_str().unwrap().as_bytes(), &content[262_140..262_140 + 65_536]);
    let empty = world.get(ACME, &format!("/api/v1/services/{id}/logs?stream=stderr")).await.expect(200);
    assert_eq!((&empty["text"], &empty["end"]), (&json!(""), &json!(0)));
}

#[tokio::test]
async fn a_published_version_never_changes() {
    let world = World::new().await;
    let first = world.publish("notes", "1.0.0").await.expect(201);
    assert_eq!(world.publish("notes", "1.0.0").await.expect(201), first);
    let digest = blake3::hash(b"other").to_hex();
    let path = format!("/api/v1/artifacts?name=notes&version=1.0.0&platform=any&digest={digest}");
    let request = request("POST", &path, OPERATOR).header("idempotency-key", "other");
    world.send(request.body(Body::from("other")).unwrap()).await.refused("E0140");
    assert_eq!(world.get(GLOBEX, "/api/v1/artifacts/notes/1.0.0").await.expect(200), first);
}

#[tokio::test]
async fn a_revoked_host_loses_its_work() {
    let world = World::new().await;
    world.notes().await;
    let host = world.post(OPERATOR, "/api/v1/hosts/server-1/revoke", Value::Null).await.expect(200);
    assert_eq!(host["state"], "revoked");
    // It may have been given a lease before it was revoked: its copy is given up once that is surely over.
    for _ in 0..13 {
        world.writer.clock().now();
    }
    let service = world.get(ACME, "/api/v1/services/notes").await.expect(200)["id"].as_str().unwrap().parse().unwrap();
    let look = move |draft: &mut chandler_engine::draft::Draft<'_>| {
        // Once to give the copy up, once to find it gone.
        for _ in 0..2 {
            chandler_engine::fulfilment::advance(draft, service);
        }
        Ok::<_, ()>(())
    };
    world.writer.transact("test", look).await.unwrap();
    let host = world.get(OPERATOR, "/api/v1/hosts/server-1").await.expect(200);
    assert_eq!(host["assignments"], 0);
    assert_eq!(world.get(ACME, "/api/v1/services/notes").await.expect(200)["placements"], json!([]));
    world.post(OPERATOR, "/api/v1/hosts/server-1/revoke", Value::Null).await.expect(200);
}

#[tokio::test]
async fn a_known_history_is_added_once() {
    let world = World::new().await;
    let before = world.get(OPERATOR, "/api/v1/hosts/pc-1").await.expect(200)["availabilityPpm"].as_u64().unwrap();
    let body = json!({ "upMicros": 3_600_000_000_000_i64, "downMicros": 0, "outages": 1, "source": "old monitoring" });
    let path = "/api/v1/hosts/pc-1/history";
    for _ in 0..2 {
        let request = request("PUT", path, OPERATOR).header("idempotency-key", "k");
        let host = world.send(request.body(Body::from(body.to_string())).unwrap()).await.expect(200);
        assert!(host["availabilityPpm"].as_u64().unwrap() > before);
    }
    let host = world.writer.snapshot().host_named("pc-1").cloned().unwrap();
    assert_eq!((host.history.up.0, host.history.outages), (3_600_000_000_000, 1));
    let wrong = json!({ "upMicros": -1, "downMicros": 0, "outages": 0, "source": " " });
    world.change("PUT", OPERATOR, path, None, wrong).await.refused("E0111");
}

#[tokio::test]
async fn bills_and_books_of_an_idle_month() {
    let world = World::new().await;
    let bills = world.post(OPERATOR, "/api/v1/bills", json!({})).await.expect(200);
    assert_eq!(bills["items"], json!([]));
    let run = json!({ "customer": "acme", "month": "2026-11" });
    let one = world.post(OPERATOR, "/api/v1/bills", run.clone()).await.expect(200);
    let two = world.post(OPERATOR, "/api/v1/bills", run).await.expect(200);
    assert_eq!(one["items"][0]["id"], two["items"][0]["id"]);
    assert_eq!((&two["items"][0]["state"], &two["items"][0]["total"]["micros"]), (&json!("new"), &json!(0)));
    for month in ["2026-13", "2027-01", "now"] {
        world.post(OPERATOR, "/api/v1/bills", json!({ "month": month })).await.refused("E0111");
    }
    assert_eq!(world.get(OPERATOR, "/api/v1/ledger/check").await.expect(200)["balanced"], true);
}

/// A stretch of use by acme, rated.
pub(super) fn usage(sequence: u64, service: &str, at: Timestamp, seconds: i64) -> UsageRow {
    let reserved = Capacity { cpu: MilliCpu(500), memory: Bytes(256 << 20), gpus: 0 };
    let rates = Rates { core_hour: MicroMoney(20_000), gib_hour: MicroMoney(3_000), gpu_hour: MicroMoney(0) };
    let price =
        PriceTerms { offering: ("standard".to_owned(), 1), margin_percent: 20, management_hour: MicroMoney(1_000) };
    let running = Micros::from_secs(seconds);
    UsageRow {
        host: HostId::from_random([2; 10]),
        sequence,
        assignment: AssignmentId::from_random([3; 10]),
        service: ServiceId::from_random([4; 10]),
        service_name: service.to_owned(),
        customer: PartyId::from_random([1; 10]),
        site: SiteId::from_random([2; 10]),
        owner: PartyId::from_random([4; 10]),
        at,
        running,
        cpu: running,
        reserved,
        rates,
        charge: finance::rate(running, reserved, rates, &price),
        price,
    }
}

#[tokio::test]
async fn a_bill_is_the_sum_of_its_month_and_final_once_that_is_over() {
    let world = World::new().await;
    let october = Timestamp(finance::month_range("2026-10").unwrap().0.0 + 1);
    let measure = |sequence: u64, name: &'static str, at: Option<Timestamp>| {
        world.writer.transact("test", move |draft| {
            draft.put(Change::Usage(usage(sequence, name, at.unwrap_or(draft.now), 3_600)));
            Ok::<_, ()>(())
        })
    };
    for (sequence, name, at) in [(1, "notes", None), (2, "maps", None), (3, "notes", Some(october))] {
        measure(sequence, name, at).await.unwrap();
    }
    let hour = usage(1, "notes", october, 3_600).charge.price().0;
    let total = |bills: &Value| bills["items"][0]["total"]["micros"].as_i64().unwrap();
    let bills = world.post(OPERATOR, "/api/v1/bills", json!({})).await.expect(200);
    assert_eq!((total(&bills), bills["items"][0]["lines"].as_array().unwrap().len()), (2 * hour, 2));
    assert_eq!(bills["items"][0]["lines"][0]["site"], "rack");
    measure(4, "notes", None).await.unwrap();
    let again = world.post(OPERATOR, "/api/v1/bills", json!({})).await.expect(200);
    assert_eq!((total(&again), &again["items"][0]["id"]), (3 * hour, &bills["items"][0]["id"]));
    let status = world.get(OPERATOR, "/api/v1/status").await.expect(200);
    assert_eq!(status["ratedThisMonth"], json!({ "micros": 3 * hour, "currency": "EUR" }));

    let old = json!({ "customer": "acme", "month": "2026-10" });
    let sent = world.post(OPERATOR, "/api/v1/bills", old.clone()).await.expect(200);
    assert_eq!((total(&sent), &sent["items"][0]["state"]), (hour, &json!("sent")));
    measure(5, "notes", Some(october)).await.unwrap();
    let same = world.post(OPERATOR, "/api/v1/bills", old).await.expect(200);
    assert_eq!(same["items"], sent["items"]);

    let mine = world.get(ACME, "/api/v1/bills").await.expect(200);
    assert_eq!(mine["items"].as_array().unwrap().len(), 2);
    assert_eq!(world.get(GLOBEX, "/api/v1/bills").await.expect(200)["items"], json!([]));
    let check = world.get(OPERATOR, "/api/v1/ledger/check").await.expect(200);
    assert_eq!((&check["balanced"], &check["postings"]), (&json!(true), &json!(5)));
}

#[tokio::test]
async fn offerings_have_versions() {
    let world = World::new().await;
    let path = "/api/v1/offerings/cheap";
    let body = |margin: u32| {
        json!({ "name": "cheap", "marginPercent": margin, "managementHour": { "micros": 5, "currency": "EUR" },
            "characteristics": ["cost", "residency"] })
    };
    for (margin, version) in [(10, 1), (10, 1), (11, 2)] {
        let offering = world.change("PUT", OPERATOR, path, None, body(margin)).await.expect(200);
        assert_eq!(offering["version"], version);
    }
    world.publish("notes", "1.0.0").await.expect(201);
    let mut wanted = order("notes");
    wanted["offering"] = "cheap".into();
    let refused = world.post(ACME, "/api/v1/orders", wanted).await;
    refused.refused("E0111");
    assert_eq!(refused.body["errors"][0]["pointer"], "sla.availability");
    let mut wrong = body(10);
    wrong["characteristics"] = json!(["cost", "colour"]);
    world.change("PUT", OPERATOR, path, None, wrong).await.refused("E0111");
}

#[tokio::test]
async fn a_deleted_token_opens_nothing_and_the_last_operators_stays() {
    let world = World::new().await;
    let body = json!({ "role": "customer", "party": "acme" });
    let made = world.post(OPERATOR, "/api/v1/tokens", body).await.expect(201);
    let secret = made["secret"].as_str().unwrap();
    world.get(secret, "/api/v1/orders").await.expect(200);
    let path = format!("/api/v1/tokens/{}", made["id"].as_str().unwrap());
    let deleted = world.change("DELETE", OPERATOR, &path, None, Value::Null).await;
    assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
    world.get(secret, "/api/v1/orders").await.refused("E0120");
    let last = chandler_protocol::TokenId::from_random([4; 10]);
    world.change("DELETE", OPERATOR, &format!("/api/v1/tokens/{last}"), None, Value::Null).await.refused("E0140");
    for body in [
        json!({ "role": "customer" }),
        json!({ "role": "operator", "party": "acme" }),
        json!({ "role": "siteOwner", "party": "acme" }),
    ] {
        world.post(OPERATOR, "/api/v1/tokens", body).await.refused("E0111");
    }
}

#[tokio::test]
async fn the_status_is_of_one_instant() {
    let world = World::new().await;
    world.notes().await;
    let status = world.get(OPERATOR, "/api/v1/status").await.expect(200);
    assert_eq!(status["generation"], world.writer.snapshot().generation);
    assert_eq!(status["orders"], json!({ "inProgress": 1 }));
    assert_eq!(status["services"], json!({ "starting": 1 }));
    assert_eq!(status["inventory"], json!({ "available": 1, "partiallyAllocated": 1 }));
}
