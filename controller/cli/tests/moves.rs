//! Moves and drains on the command line, against a stub of the controller.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

#[path = "../../api/tests/support/stub.rs"]
#[expect(dead_code, reason = "only some of the stub is used here")]
mod stub;
#[path = "support/terminal.rs"]
mod terminal;

use std::sync::atomic::{AtomicUsize, Ordering};

use chandler_api::problem::{MOVE_REFUSED, NOT_A_DESTINATION, Problem};
use serde_json::{Value, json};
use stub::{Request, Response, Stub};
use terminal::run;

const ID: &str = "m-000g40o40k30e21v";

fn worth(stall: i64, failed: u64) -> Value {
    let money = json!({ "micros": 1_500_000, "currency": "EUR" });
    json!({
        "gain": money, "cost": money, "horizonMicros": 86_400_000_000_i64, "holdMicros": 0, "longestStallMicros": stall,
        "bytes": 431_000_000_u64, "stateBytes": 412_000_000_u64, "rounds": 2, "held": 7, "failed": failed, "retried": 0,
        "cut": 0,
    })
}

/// A move in the last of these phases.
fn moving(phases: &[&str], reason: &str) -> Value {
    let last = *phases.last().unwrap();
    let steps: Vec<_> = phases
        .iter()
        .enumerate()
        .map(|(n, phase)| {
            let mut step = json!({ "phase": phase, "at": format!("2026-11-22T09:14:0{n}Z") });
            if *phase != last {
                step["tookMicros"] = json!(1_000_000);
            }
            step
        })
        .collect();
    let is_final = matches!(last, "done" | "rolledBack" | "declined");
    let end = |host: &str| json!({ "host": host, "hostId": "h-000g40o40k30e21v", "site": "rack" });
    let mut m = json!({
        "id": ID, "service": "notes", "serviceId": "svc-000g40o40k30e21v", "customer": "acme", "kind": "exclusive",
        "trigger": "operator", "evidence": "predicted availability 99.1 < 99.5", "by": "t-000g40o40k30e21v",
        "from": end("h-4f2a"), "to": end("h-02d1"), "phase": last, "reason": reason, "since": "2026-11-22T09:14:05Z",
        "steps": steps, "next": if is_final { json!([]) } else { json!(["switching", "draining"]) },
        "reversible": !is_final, "attempt": 1, "predicted": worth(0, 0), "times": 0, "startedAt": "2026-11-22T09:14:00Z",
    });
    if is_final {
        m["realised"] = worth(38_000, 0);
        m["endedAt"] = json!("2026-11-22T09:14:05Z");
    }
    m
}

/// Takes the order of a move and then is in each of these states in turn, the last one for good.
fn ordering(states: Vec<Value>) -> Stub {
    let looks = AtomicUsize::new(0);
    Stub::start(move |request| {
        if request.method == "POST" {
            return Response::json(202, &moving(&["planned"], ""));
        }
        let look = looks.fetch_add(1, Ordering::SeqCst).min(states.len() - 1);
        Response::json(200, &states[look])
    })
}

#[test]
fn a_move_is_followed_phase_by_phase() {
    let mut holding = moving(&["planned", "copying", "holding"], "7 requests\x1b[2J wait");
    holding["progress"] = json!({
        "rounds": 2, "doneBytes": 0, "totalBytes": 0, "sizeBytes": 0, "sentBytes": 0, "rateBytes": 0, "waiting": 7,
        "underWay": 1,
    });
    let stub = ordering(vec![holding, moving(&["planned", "copying", "holding", "done"], "")]);
    let ran = run(&stub, &["service", "move", "notes", "--to", "h-02d1", "--follow"]);
    let talk = [
        "m-000g40o40k30e21v notes h-4f2a -> h-02d1, because predicted availability 99.1 < 99.5 (Ctrl-C detaches",
        "\n  planned       0.00 s\n",
        "\n  holding       2.00 s  7 requests[2J wait\n",
        "done in 5.0 s, 392.9 MiB of state, 411 MiB sent; longest stall 38 ms, 0 requests failed, 0 connections cut",
        "gain 1.50 EUR (expected 1.50 EUR)",
        "Next: chandler service show notes",
    ];
    ran.expect(0, &["m-000g40o40k30e21v done\n"], &talk);
    let body: Value = serde_json::from_slice(&stub.requests()[0].body).unwrap();
    assert_eq!(
        (stub.routes()[0].as_str(), body),
        ("POST /api/v1/services/notes/move", json!({ "to": { "host": "h-02d1" } }))
    );
}

#[test]
fn a_move_that_is_rolled_back_fails_and_says_why() {
    let stub = ordering(vec![moving(&["planned", "rolledBack"], "h-02d1 has no room on its disk")]);
    let talk =
        ["error: m-000g40o40k30e21v rolledBack: h-02d1 has no room on its disk", "chandler service explain notes"];
    run(&stub, &["service", "move", "notes", "--to", "provider", "--wait"]).expect(1, &[], &talk);
    let body: Value = serde_json::from_slice(&stub.requests()[0].body).unwrap();
    assert_eq!(body, json!({ "to": { "owner": "provider" } }));
    let slow = ordering(vec![moving(&["planned"], "")]);
    let args = ["service", "move", "notes", "--to", "h-1", "--follow", "--timeout", "250 ms"];
    run(&slow, &args).expect(8, &[], &["error[E0501]", "is planned still", "chandler move show"]);
}

#[test]
fn a_destination_is_a_host_or_else_a_site() {
    let stub = Stub::start(|request: &Request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        match body["to"]["site"].as_str() {
            Some("berlin-1") => Response::json(202, &moving(&["planned"], "")),
            _ => {
                let problem = Problem::new(NOT_A_DESTINATION, "there is no such");
                Response::json(404, &serde_json::to_value(problem).unwrap())
            }
        }
    });
    let ran = run(&stub, &["service", "move", "notes", "--to", "berlin-1"]);
    ran.expect(0, &["m-000g40o40k30e21v planned"], &["Next: chandler move show m-000g40o40k30e21v --follow"]);
    let talk =
        ["error[E0314]: there is no such destination", "there is no host or site nowhere", "chandler help E0314"];
    run(&stub, &["service", "move", "notes", "--to", "nowhere"]).expect(5, &[], &talk);
    run(&stub, &["service", "move", "notes"]).expect(2, &[], &["--to"]);
}

#[test]
fn a_place_that_does_not_fit_is_refused_with_the_nearest() {
    let stub = Stub::start(|_| {
        let problem =
            Problem::new(MOVE_REFUSED, "notes cannot go to pc-9: too small; the nearest host that fits is server-2");
        Response::json(422, &serde_json::to_value(problem).unwrap())
    });
    let talk = ["error[E0310]: it cannot go there", "the nearest host that fits is server-2"];
    run(&stub, &["service", "move", "notes", "--to", "pc-9"]).expect(7, &[], &talk);
}

#[test]
fn a_move_shows_what_is_done_what_goes_on_and_what_is_to_come() {
    let mut copying = moving(&["planned", "copying"], "");
    copying["predicted"]["holdMicros"] = json!(38_000);
    copying["progress"] = json!({
        "rounds": 1, "doneBytes": 1_048_576, "totalBytes": 4_194_304, "sizeBytes": 1_073_741_824_u64,
        "sentBytes": 0, "rateBytes": 1_048_576, "leftMicros": 3_000_000, "waiting": 0, "underWay": 0,
    });
    let stub = Stub::start(move |request| {
        let id = request.target.rsplit('/').next().unwrap_or_default();
        match id {
            ID => Response::json(200, &copying),
            _ => Response::json(200, &moving(&["planned", "declined"], "it saves 3 %, less than 10 %")),
        }
    });
    let ran = run(&stub, &["move", "show", ID]);
    let out = [
        "m-000g40o40k30e21v notes h-4f2a -> h-02d1, because predicted availability 99.1 < 99.5\n",
        "\n  done  planned 1.0 s\n",
        "\n> now   copying ",
        "; round 2: 1 MiB of 4 MiB at 1 MiB/s, 3.0 s left, state 1 GiB\n",
        "\n  next  switching draining\n",
        "\n  wait  requests will probably wait for less than 38 ms\n",
        "rolls back by itself until switching is acknowledged\n",
    ];
    ran.expect(0, &out, &[]);
    run(&stub, &["move", "show", "m-1"]).expect(0, &["not begun: it saves 3 %, less than 10 %"], &[]);
    let json: Value = serde_json::from_str(&run(&stub, &["move", "show", ID, "-o", "json"]).out).unwrap();
    assert_eq!((&json["id"], &json["phase"]), (&json!(ID), &json!("copying")));
}

#[test]
fn moves_are_listed_with_what_they_did() {
    let stub = Stub::start(|request| {
        let known = request.target.contains("service=notes") && request.target.contains("declined=true");
        let mut declined = moving(&["declined"], "it saves 3 %");
        declined["times"] = json!(4);
        let items = if known { vec![moving(&["done"], ""), declined] } else { Vec::new() };
        Response::json(200, &json!({ "items": items }))
    });
    let ran = run(&stub, &["move", "list", "--service", "notes", "--declined"]);
    ran.expect(0, &["MOVE", "38 ms", "declined", "operator: it saves 3 % (4 times)"], &[]);
    run(&stub, &["move", "list"]).expect(0, &[], &["no moves"]);
}

fn report(going: &[(&str, &str)], done: bool) -> Value {
    let services: Vec<_> = going
        .iter()
        .map(|(going, why)| {
            json!({
                "service": "notes", "serviceId": "svc-000g40o40k30e21v", "host": "pc-4", "going": going, "why": why,
                "to": if *going == "cannot" { Value::Null } else { json!("pc-5") },
            })
        })
        .collect();
    json!({
        "name": "pc-4", "done": done, "services": services, "kept": 1,
        "draining": { "since": "2026-11-22T09:14:00Z", "by": "t-1", "reason": "new disk" },
    })
}

#[test]
fn a_drain_ends_or_says_what_cannot_go() {
    let drain = |last: Value| {
        let looks = AtomicUsize::new(0);
        Stub::start(move |request| match (request.method.as_str(), looks.fetch_add(1, Ordering::SeqCst)) {
            ("POST", _) => Response::json(202, &report(&[("moving", "")], false)),
            _ => Response::json(200, &last),
        })
    };
    let stub = drain(report(&[("moved", "")], true));
    let ran = run(&stub, &["host", "drain", "pc-4", "--reason", "new disk", "--wait"]);
    let talk =
        ["pc-4 is draining (Ctrl-C detaches", "moving   notes on pc-4 -> pc-5", "moved    notes on pc-4 -> pc-5"];
    ran.expect(0, &["drained since 2026-11-22T09:14:00Z by t-1: new disk", "kept", "1 copy"], &talk);
    let body: Value = serde_json::from_slice(&stub.requests()[0].body).unwrap();
    assert_eq!(body, json!({ "reason": "new disk" }));

    let stub = drain(report(&[("cannot", "no other host has 64 GiB")], false));
    let ran = run(&stub, &["site", "drain", "berlin-1", "--wait"]);
    ran.expect(7, &["no other host has 64 GiB"], &["error: 1 service cannot leave pc-4", "chandler service move"]);
    assert_eq!(stub.routes()[1], "GET /api/v1/sites/berlin-1/drain");

    let stub = drain(report(&[("moving", "")], false));
    let ran = run(&stub, &["host", "drain", "pc-4"]);
    ran.expect(0, &["draining since"], &["Next: chandler host drain pc-4 --wait"]);
    let args = ["host", "drain", "pc-4", "--wait", "--timeout", "300 ms"];
    run(&stub, &args).expect(8, &[], &["1 service still on pc-4"]);
}

#[test]
fn a_site_is_set_as_it_was_read() {
    let stub = Stub::start(|request| {
        let money = json!({ "micros": 10_000, "currency": "EUR" });
        let site = json!({
            "id": "s-000g40o40k30e21v", "name": "berlin-1", "owner": "lab", "role": "remote", "country": "DE",
            "rates": { "coreHour": money, "gibHour": money }, "hosts": 2, "lead": "30 min",
            "hours": "daily 08:00-18:00 UTC",
            "maintenance": [{ "from": "2026-12-01T02:00:00Z", "to": "2026-12-01T04:00:00Z", "reason": "new switch" }],
        });
        match request.method.as_str() {
            "PATCH" => {
                assert_eq!(request.header("if-match"), Some("\"v3\""));
                Response::json(200, &site)
            }
            _ => Response::json(200, &site).with("etag", "\"v3\""),
        }
    });
    let window = "2026-12-01T02:00:00Z 2026-12-01T04:00:00Z new switch";
    let args = ["site", "set", "berlin-1", "--core-hour", "0.02 EUR", "--hours", "always", "--maintenance", window];
    let ran = run(&stub, &args);
    ran.expect(0, &["open", "30 min before it closes", "2026-12-01T02:00:00Z to 2026-12-01T04:00:00Z new switch"], &[]);
    let body: Value = serde_json::from_slice(&stub.requests()[1].body).unwrap();
    assert_eq!((&body["hours"], &body["rates"]["coreHour"]["micros"]), (&json!(""), &json!(20_000)));
    assert_eq!(body["rates"]["gibHour"]["micros"], 10_000, "what is not named stays");
    assert_eq!(body["maintenance"][0]["reason"], "new switch");
    run(&stub, &["site", "set", "berlin-1"]).expect(2, &[], &["say what changes"]);
    run(&stub, &["site", "set", "berlin-1", "--maintenance", "tonight"]).expect(2, &[], &["is not a time"]);
}

#[test]
fn criteria_that_are_not_named_stay() {
    let stub = Stub::start(|request| match request.method.as_str() {
        "PUT" => Response::json(200, &serde_json::from_slice::<Value>(&request.body).unwrap()),
        _ => Response::json(200, &json!({ "marginFloorPercent": 10, "ownFirstPercent": 5, "consolidate": false })),
    });
    let ran = run(&stub, &["criteria", "set", "--own-first", "none", "--consolidate", "on"]);
    ran.expect(0, &["margin floor  10 %", "own first     none", "consolidate   on"], &[]);
    run(&stub, &["criteria", "set"]).expect(2, &[], &["say what changes"]);
    run(&stub, &["criteria", "set", "--own-first", "lots"]).expect(2, &[], &["whole number"]);
}

#[test]
fn a_service_shows_its_doors_its_owner_and_its_move() {
    let stub = Stub::start(|_| {
        let mut holding = moving(&["planned", "holding"], "");
        holding["progress"] = json!({
            "rounds": 0, "doneBytes": 0, "totalBytes": 0, "sizeBytes": 0, "sentBytes": 0, "rateBytes": 0, "waiting": 7,
            "underWay": 1,
        });
        let door = json!({
            "host": "pc-1", "hostId": "h-000g40o40k30e21v", "connected": true, "holding": true, "waiting": 7,
            "addresses": [{ "port": "http", "address": "127.0.0.1:18080" }], "requests": 903, "failed": 0, "errors": 0,
            "held": 7, "retried": 0, "cut": 0, "p50Micros": 1_200, "p95Micros": 31_000,
        });
        Response::json(
            200,
            &json!({
                "id": "svc-000g40o40k30e21v", "name": "notes", "customer": "acme", "kind": "service", "state": "active",
                "operatingStatus": "running", "since": "2026-11-22T09:14:00Z", "reason": "", "order": "o-000g40o40k30e21v",
                "agreement": "ag-000g40o40k30e21v", "placements": [], "replacements": [], "front": [door],
                "tenure": { "epoch": 4, "owner": "h-4f2a", "stage": "sealing" }, "moves": [holding],
            }),
        )
    });
    let out = [
        "http 127.0.0.1:18080 on pc-1; p50 1.2 ms, p95 31 ms; 903 requests, 0 failed; 7 wait",
        "h-4f2a, epoch 4, sealing",
        "m-000g40o40k30e21v h-4f2a -> h-02d1, holding; 7 requests wait; 1 under way: chandler move show",
    ];
    run(&stub, &["service", "show", "notes"]).expect(0, &out, &[]);
}
