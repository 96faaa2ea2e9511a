//! The market on the command line, against a stub of the controller.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

#[path = "../../api/tests/support/stub.rs"]
#[expect(dead_code, reason = "only some of the stub is used here")]
mod stub;
#[path = "support/terminal.rs"]
mod terminal;

use serde_json::{Value, json};
use stub::{Response, Stub};
use terminal::run;

const OFFER: &str = "of-000g40o40k30e21v";
const DEMAND: &str = "a-000g40o40k30e21v";

fn money(micros: i64) -> Value {
    json!({ "micros": micros, "currency": "EUR" })
}

fn rates(core: i64, gib: i64) -> Value {
    json!({ "coreHour": money(core), "gibHour": money(gib) })
}

fn offer(state: &str, version: u64) -> Value {
    json!({
        "id": OFFER, "site": "attic", "owner": "lab", "state": state, "reason": "", "rates": rates(4_000, 500),
        "free": false, "windows": ["daily 22:00-06:00 UTC"], "minTerm": "1 min", "reclaimNotice": "10 min",
        "residency": "DE", "availability": "95 %", "priceNotice": "1 d", "version": version,
        "postedAt": "2026-11-22T09:14:00Z", "commitment": "0".repeat(64), "machines": 2,
        "closed": { "the offer's hours are over": 2 }, "leases": 1,
    })
}

/// A controller with one offer, which it gives and takes in its newest version.
fn offering() -> Stub {
    Stub::start(|request| {
        let tagged = |status, body: &Value| Response::json(status, body).with("etag", "\"v1\"");
        match request.route().as_str() {
            "POST /api/v1/market/offers" => tagged(201, &offer("active", 1)),
            "GET /api/v1/market/offers/attic" => tagged(200, &offer("active", 1)),
            "GET /api/v1/market/offers/of-000g40o40k30e21v" => tagged(200, &offer("active", 1)),
            "PATCH /api/v1/market/offers/of-000g40o40k30e21v" => tagged(200, &offer("paused", 2)),
            "GET /api/v1/market/offers" => Response::json(200, &json!({ "items": [offer("active", 1)] })),
            other => panic!("{other} was asked for"),
        }
    })
}

fn body(stub: &Stub, method: &str) -> Value {
    let requests = stub.requests();
    let request = requests.iter().find(|r| r.method == method).unwrap();
    serde_json::from_slice(&request.body).unwrap()
}

#[test]
fn an_offer_says_what_was_typed_and_no_more() {
    let stub = offering();
    let line = ["market", "post", "--site", "attic", "--core-hour", "0.004 EUR", "--gib-hour", "0.0005 EUR"];
    let more = ["--hours", "daily 22:00-06:00 UTC", "--notice", "5 min", "--share", "2 cores, 4 GiB, 1 GPU"];
    let gpu = ["--gpu-hour", "0.20 EUR"];
    let ran = run(&stub, &[&line[..], &more[..], &gpu[..]].concat());
    ran.expect(0, &[OFFER, "0.004 EUR", "0.0005 EUR", "2: the offer's hours are over"], &["chandler market leases"]);
    let expect = json!({
        "site": "attic", "free": false, "capacity": { "cpu": 2.0, "memory": "4 GiB", "gpus": 1 },
        "rates": { "coreHour": money(4_000), "gibHour": money(500), "gpuHour": money(200_000) },
        "windows": ["daily 22:00-06:00 UTC"], "minTerm": "1 min", "reclaimNotice": "5 min", "priceNotice": "1 d",
    });
    assert_eq!(body(&stub, "POST"), expect);
    for bad in [
        ["--core-hour", "NaN EUR"],
        ["--core-hour", "-1 EUR"],
        ["--gpu-hour", "NaN EUR"],
        ["--share", "all of it"],
        ["--notice", "soon"],
    ] {
        let ran = run(&stub, &["market", "post", "--site", "attic", "--gib-hour", "1 EUR", bad[0], bad[1]]);
        ran.expect(2, &[], &[bad[0]]);
    }
    run(&stub, &["market", "offers"]).expect(0, &["SITE", "attic", "active", "0.0005", "daily 22:00-06:00 UTC"], &[]);
}

#[test]
fn changes_are_of_the_version_that_was_read() {
    let stub = offering();
    run(&stub, &["market", "set", "attic", "--gib-hour", "0.001 EUR", "--share", "all"]).expect(0, &["version"], &[]);
    let requests = stub.requests();
    let patch = requests.iter().find(|r| r.method == "PATCH").unwrap();
    assert_eq!(patch.header("if-match"), Some("\"v1\""));
    assert_eq!(body(&stub, "PATCH"), json!({ "rates": rates(4_000, 1_000), "capacity": null }));
    run(&stub, &["market", "set", "attic"]).expect(2, &[], &["say what changes"]);

    let stub = offering();
    run(&stub, &["market", "set", "attic", "--gpu-hour", "0.20 EUR", "--until", "never"]).expect(0, &["version"], &[]);
    let mut expect = rates(4_000, 500);
    expect["gpuHour"] = money(200_000);
    assert_eq!(body(&stub, "PATCH"), json!({ "rates": expect, "until": null }));
    run(&stub, &["market", "set", "attic", "--until", "soon"]).expect(2, &[], &["--until", "2026-11-22T09:14:00Z"]);
    run(&stub, &["market", "pause", "--help"]).expect(0, &["What was sold runs on under its lease"], &[]);
    run(&stub, &["market", "set", "--help"]).expect(0, &["announced to their", "A lower rate is for new leases"], &[]);

    let stub = offering();
    run(&stub, &["market", "pause", "attic", "--reason", "a party"]).expect(0, &["paused"], &[]);
    assert_eq!(body(&stub, "PATCH"), json!({ "state": "paused", "reason": "a party" }));

    // What cannot be undone is asked for.
    let stub = offering();
    run(&stub, &["market", "withdraw", "attic"]).expect(2, &[], &["1 open lease has to leave within 10 min", "--yes"]);
    assert!(stub.requests().iter().all(|r| r.method == "GET"), "nothing was changed");
    run(&stub, &["market", "withdraw", "attic", "--yes"]).expect(0, &[OFFER], &[]);
    assert_eq!(body(&stub, "PATCH"), json!({ "state": "withdrawn", "reason": "" }));
}

fn lot(host: &str, owner: &str) -> Value {
    json!({
        "host": host, "hostId": "h-000g40o40k30e21v", "offer": OFFER, "version": 3, "owner": owner,
        "ownerId": "p-000g40o40k30e21v", "rates": rates(4_000, 500), "free": { "milliCpu": 2_000, "memory": "4 GiB", "gpus": 0 },
        "country": "DE", "availabilityPpm": 950_000, "risk": money(40), "salt": "1".repeat(64),
        "commitment": "2".repeat(64),
    })
}

fn record(replays: bool) -> Value {
    let zeros = "0".repeat(64);
    let mut record = json!({
        "demand": {
            "id": DEMAND, "buyer": "nova", "buyerId": "p-000g40o40k30e21v",
            "wanted": { "milliCpu": 1_000, "memory": "1 GiB", "gpus": 0 }, "cap": money(9_000), "candidates": [], "countries": [],
            "notOwners": [], "same": [],
        },
        "demandDigest": zeros, "named": 7, "rule": "secondScore", "rules": 1, "seed": zeros,
        "at": "2026-11-22T09:14:00Z", "previous": zeros, "hash": "3".repeat(64), "lotsDigest": zeros, "lots": 9,
        "fit": 1,
        "ranked": [{
            "rank": 1, "lot": lot("pc-1", "lab"), "rate": money(4_500), "extra": money(200), "score": money(4_740),
            "tie": zeros,
        }],
        "refused": [{ "lot": lot("pc-2\u{1b}[2J", "home"), "rule": "overCap", "reason": "0.02 an hour is above the cap" }],
        "refusals": { "overCap": 1, "notQualified": 7 },
        "winner": {
            "host": "pc-1", "hostId": "h-000g40o40k30e21v", "offer": OFFER, "version": 3, "owner": "lab",
            "ownerId": "p-000g40o40k30e21v", "rates": rates(4_000, 500), "posted": money(4_500), "paid": money(4_760),
        },
        "explain": "it has the least score", "replays": replays, "whole": true,
    });
    if !replays {
        record["difference"] = json!("winner: is not what the rules say");
    }
    record
}

#[test]
fn explain_tells_every_lot_and_whether_the_record_replays() {
    let stub = |replays| {
        Stub::start(move |request| match request.route().as_str() {
            "GET /api/v1/market/demands/a-000g40o40k30e21v" => Response::json(200, &record(replays)),
            other => panic!("{other} was asked for"),
        })
    };
    let ran = run(&stub(true), &["market", "explain", DEMAND]);
    let parts = [
        "secondScore v1",
        "for at most 0.009 EUR an hour",
        "0.0045",
        "0.0002",
        "0.00004",
        "0.00474",
        "wins, paid 0.00476 an hour",
        "pc-2[2J",
        "overCap: 0.02 an hour is above the cap",
        "7 notQualified",
        "it has the least score",
        "replayed: the record gives the same winner and the same pay",
    ];
    ran.expect(0, &parts, &[]);
    let ran = run(&stub(false), &["market", "explain", DEMAND]);
    ran.expect(3, &["does NOT give"], &["winner: is not what the rules say"]);
    let ran = run(&stub(true), &["market", "explain", DEMAND, "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap(), record(true), "nothing of the record is lost");
}

#[test]
fn demands_and_leases_are_listed() {
    let stub = Stub::start(|request| match request.route().as_str() {
        "GET /api/v1/market/demands" => {
            let line = json!({
                "id": DEMAND, "at": "2026-11-22T09:14:00Z", "buyer": "nova",
                "wanted": { "milliCpu": 1_000, "memory": "1 GiB", "gpus": 0 }, "cap": money(9_000), "fit": 0,
            });
            Response::json(200, &json!({ "items": [line], "nextPageToken": "more" }))
        }
        "GET /api/v1/market/leases" => {
            assert!(
                request.target.contains("side=sold") && request.target.contains("state=open"),
                "{}",
                request.target
            );
            let lease = json!({
                "id": DEMAND, "side": "sold", "partner": "nova", "host": "pc-1", "hostId": "h-000g40o40k30e21v",
                "site": "attic", "label": "notes", "service": "svc-000g40o40k30e21v",
                "capacity": { "milliCpu": 500, "memory": "256 MiB" }, "rates": rates(4_000, 500),
                "state": "reclaiming", "since": "2026-11-22T09:14:00Z", "madeAt": "2026-11-22T09:14:00Z",
                "endsAt": "2026-11-22T09:24:00Z", "reason": "the owner is back", "metered": "1 h",
            });
            Response::json(200, &json!({ "items": [lease] }))
        }
        "GET /api/v1/market" => {
            let zeros = "0".repeat(64);
            let market = json!({
                "rule": "postedRate", "seed": zeros, "head": zeros, "cleared": 12, "activeOffers": 2, "openLeases": 1,
            });
            Response::json(200, &market)
        }
        other => panic!("{other} was asked for"),
    });
    run(&stub, &["market", "demands", "--limit", "1"]).expect(0, &[DEMAND, "nova", "0.009"], &["there are more"]);
    let args = ["market", "leases", "--side", "sold", "--state", "open"];
    run(&stub, &args).expect(0, &["reclaiming", "0.5", "until 2026-11-22T09:24:00Z: the owner is back"], &[]);
    run(&stub, &["market", "show"]).expect(0, &["postedRate", "12 demands"], &[]);
}
