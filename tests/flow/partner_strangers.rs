//! A partner that speaks of what is not its own, and one that asks for what is another's: nothing changes, and nothing is
//! given out.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::http::{Method, StatusCode};
use chandler_api::market::{Lease, LeaseQuery};
use chandler_api::service::Service;
use chandler_api::site::SiteRole;
use chandler_engine::federation::{
    Catalogue, HostNews, LeaseState, LeaseWord, Lot, News, Party, Refused, Taken, Wrong,
};
use chandler_engine::site::Rates;
use chandler_harness::wait::eventually;
use chandler_protocol::lease::{LeaseGrant, LeaseRequest, LeaseWanted};
use chandler_protocol::state::{Failure, ObservedAssignment, Phase, Sealed};
use chandler_protocol::{AssignmentId, Digest, HostId, Micros};
use chandler_tests::fleet::{AgentOptions, ControllerOptions, Fleet, PATIENCE};
use chandler_tests::load::{Demand, Load, check_notes};
use chandler_tests::partners::{agree, may_buy, offer, sees};
use chandler_tests::{orders, process};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::liar::{Answer, Asked, Caller, Liar, Tongue, Words};
use crate::partner_ground::Ground;

const WRITES: Demand = Demand { clients: 2, pace: Duration::from_millis(20), writes: true };
/// Answers with lies that the buyer has to hear.
const LIES: u64 = 40;

/// What the liar says of what is not its own.
#[derive(Default)]
struct Tale {
    is_told: AtomicBool,
    /// How many answers were lies: news, what is for sale, what became of orders.
    lies: [AtomicU64; 3],
    /// Of others: what runs, under which epoch, and where.
    others: Mutex<Vec<(AssignmentId, u64, HostId)>>,
    /// Everything that its buyer said about what hosts shall do and what may run.
    said: Mutex<Vec<String>>,
}

impl Tale {
    fn tell(&self, asked: &Asked, answer: &mut Answer) {
        let is_order = asked.path.starts_with("hosts/");
        if is_order {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            said.push(format!("{} {}", asked.path, asked.body));
        }
        if !self.is_told.load(Ordering::Relaxed) || !answer.status.is_success() {
            return;
        }
        let lie = |kind: usize| self.lies[kind].fetch_add(1, Ordering::Relaxed);
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.path == "news" {
            let n = lie(0);
            change(&mut answer.body, |body| news(body, &others, n));
        } else if asked.path == "catalogue" {
            lie(1);
            change(&mut answer.body, |body| catalogue(body, &others));
        } else if asked.path.ends_with("/orders") {
            lie(2);
            change(&mut answer.body, |body| refused(body, &others));
        }
    }

    fn told(&self) -> [u64; 3] {
        self.lies.each_ref().map(|n| n.load(Ordering::Relaxed))
    }

    fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

/// Changes a document as what it is: a lie that cannot be read would not be heard.
fn change<T: Serialize + DeserializeOwned>(body: &mut Value, how: impl FnOnce(&mut T)) {
    let Ok(mut document) = serde_json::from_value(body.take()) else { return };
    how(&mut document);
    *body = serde_json::to_value(&document).unwrap_or_default();
}

/// How a copy of somebody else's is said to be.
fn seen(id: AssignmentId, epoch: u64, n: u64) -> ObservedAssignment {
    let sealed = Sealed { attempt: 1, root: Digest([9; 32]), lease: 1 };
    let phase = match n % 5 {
        0 => Phase::Stopped,
        1 => Phase::Wiped,
        2 => Phase::Failed(Failure::State),
        3 => Phase::Sealed(sealed),
        _ => Phase::Running,
    };
    let epoch =
        [epoch, epoch + 7, epoch.saturating_sub(1)].into_iter().cycle().nth(usize::try_from(n % 3).unwrap_or(0));
    ObservedAssignment {
        id,
        epoch: epoch.unwrap_or(1),
        phase,
        ports: Vec::new(),
        starts: 9,
        failures: 9,
        message: "not there any more".to_owned(),
        health: Default::default(),
        outputs: Vec::new(),
    }
}

/// On every host, of others too, their copies are said to be lost, their leases over, and new ones are asked for.
fn news(news: &mut News, others: &[(AssignmentId, u64, HostId)], n: u64) {
    let all: Vec<_> = others.iter().map(|(id, epoch, _)| seen(*id, *epoch, n)).collect();
    let wanted = others.iter().map(|(id, epoch, _)| LeaseWanted { assignment: *id, epoch: *epoch, generation: 0 });
    let ask = LeaseRequest { nonce: 4_711 + n, wanted: wanted.collect() };
    for host in &mut news.hosts {
        host.observed.get_or_insert_default().extend(all.iter().cloned());
        host.asks.push(ask.clone());
    }
    let Some(own) = news.hosts.first().cloned() else { return };
    for (.., host) in others {
        // Now it is silent, now it is there and speaks of itself.
        let connected = n.is_multiple_of(2);
        let silent = if connected { Micros::ZERO } else { Micros::from_secs(3_600) };
        news.hosts.push(HostNews { host: *host, connected, silent, ..own.clone() });
    }
    let Some(own) = news.leases.first().cloned() else { return };
    for (id, _, host) in others {
        let state = if n.is_multiple_of(2) { LeaseState::Closed } else { LeaseState::Active };
        let closed_by = (state == LeaseState::Closed).then_some(Party::Owner);
        news.leases.push(LeaseWord { id: *id, host: *host, state, closed_by, ..own.clone() });
    }
}

/// The hosts of others are for sale, for nothing.
fn catalogue(catalogue: &mut Catalogue, others: &[(AssignmentId, u64, HostId)]) {
    let Some(own) = catalogue.lots.first().cloned() else { return };
    let free = |(.., host): &(AssignmentId, u64, HostId)| Lot { host: *host, rates: Rates::default(), ..own.clone() };
    catalogue.lots.extend(others.iter().map(free));
}

/// Orders for what is others' are refused.
fn refused(taken: &mut Taken, others: &[(AssignmentId, u64, HostId)]) {
    let why = "no such thing here";
    taken.refused =
        others.iter().map(|(id, ..)| Refused { id: *id, wrong: Wrong::Limits, why: why.to_owned() }).collect();
}

/// A third party that sells in another country.
async fn third(alpha: &Fleet) -> Result<Fleet> {
    let mut gamma = Fleet::with(ControllerOptions { federation: true, ..ControllerOptions::default() }).await?;
    gamma.site("shed", "provider", SiteRole::Provider, "CH", (600_000, 0)).await?;
    gamma.agent("shed", "yonder", AgentOptions::default()).await?;
    offer(&gamma, "shed", (600_000, 0)).await?;
    may_buy((alpha, "alpha"), (&gamma, "gamma")).await?;
    sees(alpha, "gamma.yonder").await?;
    Ok(gamma)
}

/// Where each of these services is, and under which epoch.
async fn places(alpha: &Fleet, names: &[&str]) -> Result<Vec<(AssignmentId, u64, HostId)>> {
    let mut all = Vec::new();
    for name in names {
        let service = alpha.client.service(name).await?;
        let [one] = service.placements.as_slice() else { anyhow::bail!("one place: {service:#?}") };
        all.push((one.assignment, one.epoch, one.host_id));
    }
    Ok(all)
}

async fn leases(fleet: &Fleet) -> Result<Vec<(AssignmentId, String, String)>> {
    let all: Vec<Lease> = fleet.client.leases(&LeaseQuery::default()).await?.items;
    let mut all: Vec<_> = all.into_iter().map(|l| (l.id, l.host, format!("{:?}", l.state))).collect();
    all.sort();
    Ok(all)
}

/// It says of the buyer's own copy, and of one at a third party's, that they are lost, over, or later; it sells their hosts
/// and asks for their leases, and refuses orders for them. Both go on where they are, and nothing is said to it about them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_is_not_believed_about_what_is_not_its_own() -> Result<()> {
    let tale = Arc::new(Tale::default());
    let told = tale.clone();
    let words = Words(move |asked: &Asked, answer: &mut Answer| told.tell(asked, answer));
    let (ground, _liar) = Liar::ground("3 s", |_| Ok(Arc::new(words) as Arc<dyn Tongue>)).await?;
    let alpha = &ground.alpha;
    let gamma = third(alpha).await?;
    let door = ground.order(true, "[policy]\nowners = [\"provider\"]").await?;
    let swiss = "[policy]\nowners = [\"partner\"]\n[sla]\nresidency = [\"CH\"]";
    alpha.order_completed(&orders::notes("acme", "swiss", swiss)?).await?;
    let german = "[policy]\nowners = [\"partner\"]\n[sla]\nresidency = [\"DE\"]";
    alpha.order_completed(&orders::notes("acme", "german", german)?).await?;
    let own = places(alpha, &["ledger", "swiss"]).await?;
    let guest = places(alpha, &["german"]).await?;
    let far = alpha.door("swiss", "laptop").await?;
    let before = leases(alpha).await?;
    let running = [alpha, &gamma, &ground.beta].map(|fleet| process::notes_under(fleet.dir()).unwrap_or_default());
    let hosts: Vec<_> = [alpha.client.host("near").await?, alpha.client.host("gamma.yonder").await?].into();
    let loads = [Load::start(door, "ledger", WRITES), Load::start(far, "swiss", WRITES)];

    let never = (AssignmentId::from_random([88; 10]), 1, own[0].2);
    tale.others.lock().unwrap_or_else(PoisonError::into_inner).extend(own.iter().copied().chain([never]));
    tale.is_told.store(true, Ordering::Relaxed);
    // What it says of its own is heard meanwhile: more is bought from it, and runs there.
    alpha.order_completed(&orders::notes("acme", "more", german)?).await?;
    let heard = || async { tale.told().iter().zip([LIES, 1, 1]).all(|(told, least)| *told >= least).then_some(()) };
    eventually("the lies to be heard", PATIENCE, heard).await?;
    let more = places(alpha, &["more"]).await?;
    ensure!(more[0].2 == guest[0].2, "it is elsewhere: {more:?}");
    for load in &loads {
        load.answers(100).await?;
    }
    for (load, at) in loads.into_iter().zip([door, far]) {
        let record = load.stop().await?;
        ensure!(record.failed.is_empty(), "{} of {}: {:?}", record.failed.len(), record.answered.len(), record.failed);
        check_notes(at, &record.written).await?;
    }
    ensure!(places(alpha, &["ledger", "swiss"]).await? == own && places(alpha, &["german"]).await? == guest, "moved");
    for name in ["ledger", "swiss", "german", "more"] {
        let service: Service = alpha.client.service(name).await?;
        ensure!(service.replacements.is_empty() && service.moves.is_empty(), "{service:#?}");
    }
    let mut after = [alpha, &gamma, &ground.beta].map(|fleet| process::notes_under(fleet.dir()).unwrap_or_default());
    ensure!(after[2].len() == 2, "{after:?}");
    after[2].retain(|p| running[2].contains(p));
    ensure!(running == after, "{running:?} {after:?}");
    let mut now = leases(alpha).await?;
    now.retain(|(id, ..)| *id != more[0].0);
    ensure!(now == before, "{before:?} {now:?}");
    for host in hosts {
        let now = alpha.client.host(&host.name).await?;
        ensure!(now.site == host.site && now.state == host.state, "{now:#?}");
    }
    let said = tale.said();
    for (id, _, host) in &own {
        ensure!(!said.contains(&format!("hosts/{host}/orders")), "orders for another's host: {said}");
        let granted = said.lines().filter(|l| l.contains("/grants")).any(|l| given(l, *id));
        ensure!(!granted, "the liar was given the lease of {id}: {said}");
    }
    tale.is_told.store(false, Ordering::Relaxed);
    agree((alpha, "alpha"), (&ground.beta, "beta")).await?;
    agree((alpha, "alpha"), (&gamma, "gamma")).await?;
    eprintln!("lies in {:?} answers: news, catalogues, orders", tale.told());
    Ok(())
}

/// Whether a grant gives a lease of this assignment.
fn given(line: &str, id: AssignmentId) -> bool {
    let body = line.split_once(' ').map_or("", |(_, body)| body);
    let grant = serde_json::from_str::<LeaseGrant>(body);
    grant.is_ok_and(|grant| grant.given.iter().any(|g| g.assignment == id))
}

/// Nothing that is kept of another buyer's can be read or signed.
async fn reads_nothing(ground: &Ground, caller: &Caller) -> Result<()> {
    for (path, all) in [("news", "hosts"), ("news", "leases"), ("receipts", "receipts")] {
        let (status, said) = caller.says(Method::GET, path, &Value::Null).await?;
        ensure!(status == StatusCode::OK && said[all] == json!([]), "{path}: {status} {said}");
    }
    let (status, said) = caller.says(Method::GET, "leases", &Value::Null).await?;
    ensure!(status == StatusCode::OK && said == json!([]), "{status} {said}");
    let word = json!([{ "number": 1, "contested": 1, "price": 0 }]);
    let (status, said) = caller.says(Method::POST, "disputes", &word).await?;
    ensure!(status == StatusCode::OK && said == json!([]), "{status} {said}");
    let head = json!({ "head": { "number": 1, "hash": Digest([1; 32]) }, "signature": "00", "contested": [] });
    let (status, said) = caller.says(Method::POST, "receipts/countersigned", &head).await?;
    ensure!(status == StatusCode::CONFLICT, "{status} {said}");
    let digest = ground.alpha.client.artifacts(Default::default()).await?.items[0].digest;
    let (status, said) = caller.says(Method::GET, &format!("content/{digest}"), &Value::Null).await?;
    ensure!(status == StatusCode::NOT_FOUND, "{status} {said}");
    Ok(())
}

/// A partner that buys here too and has nothing: it asks for everything of another buyer's, with that one's own words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_gets_nothing_of_another_buyers() -> Result<()> {
    let tale = Arc::new(Tale::default());
    let told = tale.clone();
    let words = Words(move |asked: &Asked, answer: &mut Answer| told.tell(asked, answer));
    let (ground, liar) = Liar::ground("3 s", |_| Ok(Arc::new(words) as Arc<dyn Tongue>)).await?;
    let nosy = Fleet::with(ControllerOptions { federation: true, ..ControllerOptions::default() }).await?;
    liar.knows(&nosy, &ground.beta)?;
    may_buy((&nosy, "nosy"), (&ground.beta, "beta")).await?;
    let door = ground.order(true, "[policy]\nowners = [\"partner\"]").await?;
    ground.agree().await?;
    let before = (places(&ground.alpha, &["ledger"]).await?, ground.leases().await?);
    let [(id, epoch, host)] = before.0.as_slice() else { anyhow::bail!("one place") };
    let running = process::notes_under(ground.beta.dir())?;
    let load = Load::start(door, "ledger", WRITES);
    load.answers(20).await?;

    let caller = Caller::of(&nosy, &ground.beta)?;
    let none = Value::Null;
    let (status, standing) = caller.says(Method::GET, "standing", &none).await?;
    ensure!(status == StatusCode::OK && standing["name"] == "nosy", "it is a partner: {standing}");
    let lease = format!("leases/{id}");
    for (method, path) in
        [(Method::GET, lease.clone()), (Method::DELETE, lease.clone()), (Method::GET, format!("{lease}/log"))]
    {
        let (status, said) = caller.says(method.clone(), &path, &none).await?;
        ensure!(status == StatusCode::NOT_FOUND && said["code"] == "E0130", "{method} {path}: {status} {said}");
    }
    let demand = json!({ "service": ground.alpha.client.service("ledger").await?.id, "label": "mine",
        "wanted": { "cpu": 500, "memory": 134_217_728 }, "cap": 1_000_000_000, "candidates": [{ "host": host, "extra": 0 }] });
    let (status, said) = caller.says(Method::PUT, &lease, &demand).await?;
    ensure!(status == StatusCode::CONFLICT, "{status} {said}");

    // The buyer's own orders in another's mouth, and the same with nothing in them.
    let heard = tale.said();
    let orders = heard.lines().rev().find_map(|l| l.strip_prefix(&format!("hosts/{host}/orders ")));
    let mut orders: Value = serde_json::from_str(orders.context("it was told what to do")?)?;
    ensure!(orders["assignments"][0]["id"] == json!(id), "{orders:#}");
    orders["generation"] = json!(orders["generation"].as_u64().unwrap_or(0) + 1_000_000);
    orders["assignments"][0]["epoch"] = json!(epoch + 1);
    orders["assignments"][0]["target"] = json!("Stopped");
    let path = format!("hosts/{host}/orders");
    let (status, said) = caller.says(Method::PUT, &path, &orders).await?;
    let all = said["refused"].as_array().cloned().unwrap_or_default();
    ensure!(status == StatusCode::OK && all.len() == 1 && all[0]["wrong"] == "unleased", "{status} {said}");
    orders["generation"] = json!(orders["generation"].as_u64().unwrap_or(0) + 1);
    orders["assignments"] = json!([]);
    let (status, said) = caller.says(Method::PUT, &path, &orders).await?;
    ensure!(status == StatusCode::OK, "{status} {said}");

    let grant = LeaseGrant { nonce: 1, lasts: Micros::ZERO, renew: Micros::ZERO, given: Vec::new() };
    let (status, said) =
        caller.says(Method::POST, &format!("hosts/{host}/grants"), &serde_json::to_value(grant)?).await?;
    ensure!(status == StatusCode::OK && said == json!(false), "{status} {said}");

    reads_nothing(&ground, &caller).await?;

    load.answers(50).await?;
    let record = load.stop().await?;
    ensure!(record.failed.is_empty(), "{} of {}: {:?}", record.failed.len(), record.answered.len(), record.failed);
    check_notes(door, &record.written).await?;
    let now = (places(&ground.alpha, &["ledger"]).await?, ground.leases().await?);
    ensure!(now == before && process::notes_under(ground.beta.dir())? == running, "{before:?} {now:?}");
    ground.agree().await?;
    Ok(())
}
