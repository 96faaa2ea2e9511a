//! The program against a stub of the controller: what it prints where, and how it exits.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

#[path = "../../api/tests/support/stub.rs"]
mod stub;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use chandler_api::problem::{INFEASIBLE, Problem};
use serde_json::{Value, json};
use stub::{Request, Response, Stub};

const ORDER: &str =
    "customer = \"acme\"\nname = \"notes\"\n[software]\nartifact = \"notes@1.0.0\"\ncommand = [\"./notes\"]\n";

/// A home directory of its own, and the program in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        std::fs::write(home.path().join("notes.toml"), ORDER).unwrap();
        home
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, url: &str, args: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_chandler"))
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("CHANDLER_URL", url)
            .env("CHANDLER_TOKEN", "s3cret")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran::new(&output)
    }
}

#[derive(Debug)]
struct Ran {
    exit: i32,
    out: String,
    talk: String,
}

impl Ran {
    fn new(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { exit: output.status.code().unwrap(), out: text(&output.stdout), talk: text(&output.stderr) }
    }

    #[track_caller]
    fn expect(&self, exit: i32, out: &[&str], talk: &[&str]) {
        assert_eq!(self.exit, exit, "{self:?}");
        for part in out {
            assert!(self.out.contains(part), "{part:?} is not on stdout:\n{}\n{}", self.out, self.talk);
        }
        for part in talk {
            assert!(self.talk.contains(part), "{part:?} is not on stderr:\n{}", self.talk);
        }
    }
}

fn run(stub: &Stub, args: &[&str]) -> Ran {
    Home::new().run(&stub.url, args)
}

fn event(id: u64, to: &str, millis: u32, reason: &str) -> Value {
    json!({
        "id": id, "at": format!("2026-11-22T09:14:00.{millis:03}Z"), "by": "x", "noun": "order",
        "subject": "o-000g40o40k30e21v", "name": "notes", "from": "", "to": to, "reason": reason,
    })
}

fn order(state: &str, history: &[Value]) -> Value {
    json!({
        "id": "o-000g40o40k30e21v", "customer": "acme", "name": "notes", "action": "add", "kind": "service",
        "state": state, "reason": "", "orderedAt": "2026-11-22T09:14:00Z", "history": history,
        "request": { "name": "notes", "software": { "command": ["./notes"] } },
    })
}

/// Acknowledges an order and then is in each of these states in turn, the last one for good.
fn ordering(states: Vec<Value>) -> Stub {
    let looks = AtomicUsize::new(0);
    Stub::start(move |request| match request.route().as_str() {
        "POST /api/v1/orders" => Response::json(201, &order("acknowledged", &[])),
        "GET /api/v1/orders/o-000g40o40k30e21v" => {
            let look = looks.fetch_add(1, Ordering::SeqCst).min(states.len() - 1);
            Response::json(200, &states[look])
        }
        other => panic!("{other} was asked for"),
    })
}

#[test]
fn an_order_is_followed_phase_by_phase() {
    let placed = event(1, "inProgress", 10, "398 hosts, 21.40 EUR/month\x1b[2J");
    let stub = ordering(vec![
        order("inProgress", std::slice::from_ref(&placed)),
        order("completed", &[placed, event(2, "completed", 620, "notes answers")]),
    ]);
    let ran = run(&stub, &["order", "submit", "-f", "notes.toml", "--wait", "--set", "policy.replicas=2"]);
    assert_eq!(ran.out, "o-000g40o40k30e21v completed\n");
    assert_eq!(
        ran.talk,
        "o-000g40o40k30e21v acknowledged (Ctrl-C detaches, the order goes on)\n  \
         inProgress   0.01 s  398 hosts, 21.40 EUR/month[2J\n  \
         completed    0.62 s  notes answers\n\
         Next: chandler service show notes\n"
    );
    assert_eq!(ran.exit, 0);
    let body: Value = serde_json::from_slice(&stub.requests()[0].body).unwrap();
    assert_eq!(body["policy"]["replicas"], 2);
    assert_eq!(stub.requests()[0].header("authorization"), Some("Bearer s3cret"));
}

#[test]
fn an_order_that_cannot_be_met_shows_the_nearest_and_exits_7() {
    let mut rejected = order("rejected", &[]);
    rejected["code"] = "E0301".into();
    rejected["reason"] = "CH: 12 hosts; of those <= 8 EUR/month: 0".into();
    rejected["nearest"] = json!([{
        "term": "sla.cost.max", "value": "11.20 EUR/month", "host": "h-1", "site": "bern-1", "text": "",
        "predicted": { "monthlyCost": { "micros": 11_200_000, "currency": "EUR" }, "availabilityPpm": 999_000 },
    }]);
    let stub = ordering(vec![rejected]);
    let talk = [
        "error[E0301]: no host meets all of this SLA\n  CH: 12 hosts; of those <= 8 EUR/month: 0\n",
        "change one:  A cost 11.20 EUR/month",
        "try: chandler order submit -f notes.toml --set sla.cost.max=\"11.20 EUR/month\"",
    ];
    let ran = run(&stub, &["order", "submit", "-f", "notes.toml", "--wait"]);
    ran.expect(7, &[], &talk);
    assert_eq!(ran.out, "");
    let ran = run(&stub, &["order", "submit", "-f", "notes.toml", "--wait", "-o", "json"]);
    ran.expect(7, &["\"state\": \"rejected\""], &talk);
    let problem: Problem = serde_json::from_str(ran.talk.lines().last().unwrap()).unwrap();
    assert_eq!((problem.code.as_str(), problem.nearest.len()), (INFEASIBLE.code, 1));
}

#[test]
fn an_order_that_fails_or_lasts_too_long_says_so() {
    let failed = ordering(vec![order("failed", &[])]);
    let talk = ["error: o-000g40o40k30e21v failed", "next: chandler order show o-000g40o40k30e21v"];
    run(&failed, &["order", "submit", "-f", "notes.toml", "--wait"]).expect(1, &[], &talk);
    let slow = ordering(vec![order("inProgress", &[])]);
    let args = ["order", "submit", "-f", "notes.toml", "--wait", "--timeout", "300 ms"];
    run(&slow, &args).expect(
        8,
        &[],
        &["error[E0501]", "is inProgress after 0.", "chandler order show o-000g40o40k30e21v"],
    );
}

#[test]
fn ctrl_c_detaches_and_the_order_goes_on() {
    let stub = ordering(vec![order("inProgress", &[])]);
    let home = Home::new();
    let child = Command::new(env!("CARGO_BIN_EXE_chandler"))
        .args(["order", "submit", "-f", "notes.toml", "--wait", "--url", &stub.url])
        .current_dir(home.path())
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while stub.requests().len() < 3 {
        assert!(std::time::Instant::now() < deadline, "the order was never looked at");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ran = Ran::new(&child.wait_with_output().unwrap());
    ran.expect(130, &[], &["detached; o-000g40o40k30e21v goes on. Next: chandler order show o-000g40o40k30e21v"]);
    assert!(!stub.routes().iter().any(|route| route.contains("cancel")));
}

#[test]
fn local_inputs_are_uploaded_once_and_only_when_absent() {
    let home = Home::new();
    let task = "name = \"count\"\n[software]\nkind = \"task\"\ncommand = [\"wc\", \"{item}\"]\n\
                [[item]]\nname = \"one\"\ninputs = [{ path = \"in\", file = \"data/there\" }]\n";
    std::fs::create_dir(home.path().join("data")).unwrap();
    std::fs::write(home.path().join("count.toml"), task).unwrap();
    for (name, content) in [("there", "known"), ("a.csv", "new"), ("b.csv", "new")] {
        std::fs::write(home.path().join("data").join(name), content).unwrap();
    }
    let known = format!("GET /api/v1/blobs/{}", blake3::hash(b"known").to_hex());
    let stub = Stub::start(move |request: &Request| match request.method.as_str() {
        "GET" if request.route() == known => Response::json(200, &json!({ "digest": &known[18..], "length": 5 })),
        "GET" => Response::raw(404, b"").with("x-test", "absent"),
        "PUT" => Response::json(201, &json!({ "digest": &request.target[14..], "length": 3 })),
        _ => Response::json(201, &order("acknowledged", &[])),
    });
    let ran = home.run(&stub.url, &["order", "submit", "-f", "count.toml", "--items", "data/*.csv"]);
    ran.expect(0, &["o-000g40o40k30e21v acknowledged"], &["2 files", "1 uploaded, 1 there already"]);
    let new = blake3::hash(b"new").to_hex();
    let puts: Vec<String> = stub.routes().into_iter().filter(|r| r.starts_with("PUT")).collect();
    assert_eq!(puts, [format!("PUT /api/v1/blobs/{new}")]);
    let body: Value = serde_json::from_slice(&stub.requests().last().unwrap().body).unwrap();
    assert_eq!(body["item"][1], json!({ "name": "a.csv", "inputs": [{ "path": "a.csv", "digest": new.as_str() }] }));
    assert!(body["item"][0]["inputs"][0].get("file").is_none());
}

#[test]
fn software_is_packed_and_published_with_its_digest() {
    let home = Home::new();
    std::fs::write(home.path().join("notes"), "#!/bin/true").unwrap();
    let stub = Stub::start(|request| {
        let query = request.target.split('?').nth(1).unwrap_or_default();
        assert!(query.contains("name=notes&") && query.contains("version=1.0.0"), "{query}");
        assert!(query.contains(&format!("digest={}", blake3::hash(&request.body).to_hex())), "{query}");
        assert!(query.contains("platform=linux-"), "{query}");
        Response::json(
            201,
            &json!({
                "name": "notes", "version": "1.0.0", "platform": "linux-x86_64", "digest": blake3::hash(b"").to_hex().as_str(),
                "size": "2 KiB", "publishedAt": "2026-11-22T09:14:00Z",
            }),
        )
    });
    let ran = home.run(&stub.url, &["artifact", "publish", "notes", "--name", "notes", "--version", "1.0.0"]);
    ran.expect(0, &["notes@1.0.0"], &["packed     1 entry"]);
    let archive = stub.requests()[0].body.clone();
    let mut archive = tar::Archive::new(archive.as_slice());
    let entry = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!((entry.path().unwrap().to_str(), entry.header().mode().unwrap()), (Some("notes"), 0o755));
}

#[test]
fn outputs_are_checked_and_stay_in_their_directory() {
    let service = |path: &str, digest: &str| {
        json!({
            "id": "svc-000g40o40k30e21v", "name": "count", "item": "one", "customer": "acme", "kind": "task",
            "state": "terminated", "operatingStatus": "completed", "since": "2026-11-22T09:14:00Z", "reason": "",
            "order": "o-000g40o40k30e21v", "agreement": "ag-000g40o40k30e21v", "placements": [], "replacements": [],
            "outputs": [{ "path": path, "digest": digest, "length": 6 }],
        })
    };
    let good = blake3::hash(b"result").to_hex();
    let stub = Stub::start(move |request| match request.route().as_str() {
        "GET /api/v1/services" => Response::json(200, &json!({ "items": [service("out/r.txt", &good)] })),
        "GET /api/v1/services/damaged" => Response::json(200, &service("r.txt", &blake3::hash(b"other").to_hex())),
        "GET /api/v1/services/evil" => Response::json(200, &service("../../evil", &good)),
        _ => Response::raw(200, b"result"),
    });
    let home = Home::new();
    let fetch = |args: &[&str]| home.run(&stub.url, &[&["service", "outputs"], args, &["--to", "to"]].concat());
    fetch(&["--order", "o-000g40o40k30e21v"]).expect(0, &["to/one/out/r.txt"], &[]);
    assert_eq!(std::fs::read(home.path().join("to/one/out/r.txt")).unwrap(), b"result");
    fetch(&["damaged"]).expect(1, &[], &["was damaged on the way"]);
    assert!(!home.path().join("to/r.txt").exists());
    fetch(&["evil"]).expect(1, &[], &["is refused"]);
    assert!(!home.path().parent().unwrap().join("evil").exists());
}

#[test]
fn lists_are_whole_and_the_same_under_json() {
    let host = |name: &str, state: &str| {
        json!({
            "id": "h-000g40o40k30e21v", "name": name, "site": "berlin-1", "siteRole": "remote", "state": state,
            "note": "", "availabilityPpm": 999_000, "offered": { "milliCpu": 4_000, "memory": "8 GiB" },
            "reserved": { "milliCpu": 0, "memory": "0 B" }, "allocationStatus": "available", "assignments": 0,
            "agentVersion": "0.1.0",
        })
    };
    let stub = Stub::start(move |request| {
        let last = request.target.contains("pageToken");
        let page = if last {
            json!({ "items": [host("pc-2", "unknown")] })
        } else {
            json!({ "items": [host("pc\u{1b}]0;x\u{7}-1", "active")], "nextPageToken": "2" })
        };
        Response::json(200, &page)
    });
    let ran = run(&stub, &["host", "list"]);
    ran.expect(0, &["HOST", "pc]0;x-1", "pc-2"], &["2 hosts, 1 needs attention: chandler host show pc-2"]);
    assert!(!ran.out.contains(['\u{1b}', '\u{7}']));
    let ran = run(&stub, &["host", "list", "-o", "json"]);
    let list: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert_eq!(list["items"][0]["name"], "pc\u{1b}]0;x\u{7}-1");
    assert!(!ran.out.contains(['\u{1b}', '\u{7}']));
}

#[test]
fn an_empty_list_is_no_failure_and_says_what_to_do() {
    let stub = Stub::start(|_| Response::json(200, &json!({ "items": [] })));
    let ran = run(&stub, &["party", "list"]);
    ran.expect(0, &[], &["no parties yet. Next: chandler party create"]);
    assert_eq!(ran.out, "");
    assert_eq!(run(&stub, &["party", "list", "-o", "json"]).out, "{\n  \"items\": []\n}\n");
}

#[test]
fn what_cannot_be_undone_needs_a_yes() {
    let stub = Stub::start(|request| match request.route().as_str() {
        "DELETE /api/v1/services/notes" => Response::json(202, &order("acknowledged", &[])),
        _ => Response::json(
            200,
            &json!({
                "id": "svc-000g40o40k30e21v", "name": "notes", "customer": "acme", "kind": "service", "state": "active",
                "operatingStatus": "running", "since": "2026-11-22T09:14:00Z", "reason": "", "order": "o-000g40o40k30e21v",
                "agreement": "ag-000g40o40k30e21v", "placements": [], "replacements": [],
            }),
        ),
    });
    let ran = run(&stub, &["service", "delete", "notes"]);
    ran.expect(2, &[], &["Deleting stops it and wipes its data", "give --yes"]);
    assert!(!stub.routes().iter().any(|route| route.starts_with("DELETE")));
    run(&stub, &["service", "delete", "notes", "--yes"]).expect(0, &["o-000g40o40k30e21v acknowledged"], &[]);
}

#[test]
fn exit_statuses_follow_the_codes() {
    let stub = Stub::start(|request| {
        let code = request.target.rsplit('/').next().unwrap_or_default();
        let known = chandler_api::problem::code(code).unwrap();
        Response::json(known.status, &serde_json::to_value(Problem::new(*known, "because")).unwrap())
    });
    for (code, exit) in [("E0100", 1), ("E0120", 4), ("E0121", 4), ("E0130", 5), ("E0140", 6), ("E0302", 7)] {
        let talk = [format!("error[{code}]: "), format!("more:  chandler help {code}")];
        run(&stub, &["party", "show", code]).expect(exit, &[], &[talk[0].as_str(), talk[1].as_str()]);
    }
    let home = Home::new();
    home.run("http://127.0.0.1:9", &["status"]).expect(
        9,
        &[],
        &["(1 try, 0.0 s); trying again\nerror[E0107]", "127.0.0.1:9 refused", "3 tries"],
    );
    home.run("http://127.0.0.1:9", &["order", "submit"]).expect(2, &[], &["--file"]);
    home.run("nonsense", &["status"]).expect(1, &[], &["is not a controller's address"]);
    std::fs::write(home.path().join("bad.toml"), "name = 7").unwrap();
    let talk = ["error[E0110]", "bad.toml, line 1, column 8, field name", "1 | name = 7"];
    home.run("http://127.0.0.1:9", &["order", "submit", "-f", "bad.toml"]).expect(1, &[], &talk);
}

#[test]
fn books_that_do_not_balance_exit_3() {
    let stub = Stub::start(|_| {
        let zero = json!({ "micros": 0, "currency": "EUR" });
        Response::json(
            200,
            &json!({
                "balanced": false, "postings": 2, "unbalanced": 1, "unposted": 0, "receivable": zero, "payable": zero, "earnings": zero,
            }),
        )
    });
    run(&stub, &["ledger", "check"]).expect(3, &["balanced    NO", "1 unbalanced"], &["the books do not balance"]);
}

#[test]
fn login_stores_what_later_commands_use() {
    let stub = Stub::start(|request| {
        let signed_in = request.header("authorization") == Some("Bearer from-login");
        let money = json!({ "micros": 0, "currency": "EUR" });
        let status = json!({
            "at": "2026-11-22T09:14:00Z", "generation": 1, "orders": {}, "services": {}, "hosts": {}, "inventory": {},
            "attention": ["site lyon-2 is silent"], "ratedThisMonth": money,
        });
        let refused =
            serde_json::to_value(Problem::new(chandler_api::problem::NOT_SIGNED_IN, "unknown token")).unwrap();
        if signed_in { Response::json(200, &status) } else { Response::json(401, &refused) }
    });
    let home = Home::new();
    std::fs::write(home.path().join("token"), "from-login\n").unwrap();
    std::fs::write(home.path().join("wrong"), "wrong\n").unwrap();
    home.run(&stub.url, &["login", "--token-file", "wrong"]).expect(4, &[], &["error[E0120]"]);
    let file = home.path().join(".config/chandler/config.toml");
    assert!(!file.exists());
    home.run(&stub.url, &["login", "--token-file", "token"]).expect(0, &[], &["signed in to"]);
    let bare = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chandler"));
        Ran::new(&command.args(args).env_clear().env("HOME", home.path()).output().unwrap())
    };
    bare(&["status"]).expect(0, &["! site lyon-2 is silent"], &[]);
    let config = bare(&["config"]);
    config.expect(0, &[&stub.url, "token      set", ".config/chandler/config.toml", "default"], &[]);
    assert!(!config.out.contains("from-login"));
}

#[test]
fn help_completions_and_manual_need_no_controller() {
    let home = Home::new();
    let run = |args: &[&str]| home.run("nonsense", args);
    run(&["help", "E0301"]).expect(0, &["E0301: no host meets all of this SLA", "exit status 7"], &[]);
    run(&["help", "e0107"]).expect(0, &["E0107"], &[]);
    run(&["help", "E9999"]).expect(5, &[], &["chandler help codes"]);
    run(&["help", "order", "submit"]).expect(0, &["--items", "Examples:"], &[]);
    run(&["help", "nothing"]).expect(2, &[], &["there is no command"]);
    for shell in ["bash", "zsh", "fish"] {
        run(&["completions", shell]).expect(0, &["chandler", "join-token"], &[]);
    }
    run(&["man", "man1"]).expect(0, &[], &[]);
    let page = std::fs::read_to_string(home.path().join("man1/chandler-order-submit.1")).unwrap();
    assert!(page.contains("Examples"), "{page}");
    let root = std::fs::read_to_string(home.path().join("man1/chandler.1")).unwrap();
    assert!(root.contains("Exit status") && root.contains("controller unreachable"), "{root}");
}
