//! Offers on the market, what becomes of them, and what is shown of demands and leases.

use std::sync::Arc;

use chandler_engine::draft::Draft;
use chandler_engine::federation::{Lease, LeaseState, Market, Posted, Side};
use chandler_engine::fleet::Capacity;
use chandler_engine::market::book::Book;
use chandler_engine::market::clearing::{Call, Clearing, Rule, clear};
use chandler_engine::market::demand::{Demand, Qualified};
use chandler_engine::market::lot::LotOffer;
use chandler_engine::model::Change;
use chandler_engine::party::PartyRole;
use chandler_engine::site::Rates;
use chandler_protocol::{
    AssignmentId, Bytes, Digest, HostId, MicroMoney, Micros, MilliCpu, PartyId, Ppm, ServiceId, SiteId, Timestamp,
};
use serde_json::{Value, json};

use super::{ACME, OPERATOR, OWNER, World};

const OFFERS: &str = "/api/v1/market/offers";

fn rates(core: i64, gib: i64) -> Value {
    let money = |micros| json!({ "micros": micros, "currency": "EUR" });
    json!({ "coreHour": money(core), "gibHour": money(gib) })
}

/// Rates with this for a GPU-hour.
fn gpu_hour(micros: impl Into<Value>) -> Value {
    let mut all = rates(1, 1);
    all["gpuHour"] = json!({ "micros": micros.into(), "currency": "EUR" });
    all
}

fn offer(site: &str) -> Value {
    json!({ "site": site, "rates": rates(8_000, 1_000) })
}

/// The same with other fields.
fn with(mut offer: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        offer[name] = value.clone();
    }
    offer
}

impl World {
    /// The controller in these roles.
    async fn act_as(&self, roles: &'static [PartyRole]) {
        let set = |draft: &mut Draft<'_>| {
            let own = draft.model.party_named("provider").cloned().unwrap();
            draft.put(own.acting_as(roles));
            Ok::<_, ()>(())
        };
        self.writer.transact("test", set).await.unwrap();
    }
}

#[tokio::test]
async fn an_offer_is_posted_changed_and_taken_back() {
    let world = World::new().await;
    let posted = world.post(OPERATOR, OFFERS, offer("rack")).await;
    assert_eq!(posted.headers["etag"], "\"v1\"");
    let first = posted.expect(201);
    assert_eq!(
        (&first["state"], &first["version"], &first["owner"]),
        (&json!("active"), &json!(1), &json!("provider"))
    );
    assert_eq!(first["windows"], json!(["daily 00:00-24:00 UTC"]));
    assert_eq!((&first["residency"], &first["availability"]), (&json!("DE"), &json!("99.9 %")));
    assert_eq!((&first["machines"], &first["closed"]), (&json!(1), &json!({})));
    let path = format!("{OFFERS}/{}", first["id"].as_str().unwrap());

    let change = json!({ "rates": rates(9_000, 1_000), "capacity": { "cpu": 2, "memory": "4 GiB" } });
    world.change("PATCH", OPERATOR, &path, None, change.clone()).await.refused("E0142");
    let second = world.change("PATCH", OPERATOR, &path, Some("\"v1\""), change.clone()).await.expect(200);
    assert_eq!(second["version"], 2);
    assert_ne!(second["commitment"], first["commitment"], "it is committed to anew");
    world.change("PATCH", OPERATOR, &path, Some("\"v1\""), change.clone()).await.refused("E0141");
    let same = world.change("PATCH", OPERATOR, &path, Some("\"v2\""), change).await.expect(200);
    assert_eq!(same, second, "nothing changes, nothing is posted");

    let paused = json!({ "state": "paused", "reason": "a party", "capacity": null });
    let third = world.change("PATCH", OPERATOR, &path, Some("\"v2\""), paused).await.expect(200);
    assert_eq!((&third["state"], &third["reason"]), (&json!("paused"), &json!("a party")));
    assert!(third.get("capacity").is_none() && third["commitment"] != second["commitment"]);
    assert_eq!(third["closed"], json!({ "the offer is paused": 1 }));
    // By the name of its site too.
    let by_site = format!("{OFFERS}/rack");
    assert_eq!(world.get(OPERATOR, &by_site).await.expect(200), third);
    let active = json!({ "state": "active" });
    let fourth = world.change("PATCH", OPERATOR, &by_site, Some("\"v3\""), active.clone()).await.expect(200);
    assert_eq!((&fourth["state"], &fourth["reason"]), (&json!("active"), &json!("")));
    let withdrawn = json!({ "state": "withdrawn" });
    world.change("PATCH", OPERATOR, &path, Some("\"v4\""), withdrawn).await.expect(200);
    world.change("PATCH", OPERATOR, &path, Some("\"v5\""), active).await.refused("E0434");
    let again = world.post(OPERATOR, OFFERS, offer("rack")).await.expect(201);
    assert_ne!(again["id"], first["id"]);
    assert_eq!(world.get(OPERATOR, &by_site).await.expect(200)["id"], again["id"], "the one that stands");
    let listed = world.get(OPERATOR, &format!("{OFFERS}?site=rack&state=withdrawn")).await.expect(200);
    assert_eq!(listed["items"][0]["id"], first["id"]);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);

    let subject = first["id"].as_str().unwrap();
    let events = world.get(OPERATOR, &format!("/api/v1/events?subject={subject}")).await.expect(200);
    let told: Vec<_> = events["items"].as_array().unwrap().iter().map(|e| e["to"].as_str().unwrap()).collect();
    assert_eq!(told, ["active", "changed", "paused", "active", "withdrawn"]);
}

#[tokio::test]
async fn an_offer_ends_by_itself_when_its_time_is_over() {
    let world = World::new().await;
    let sweep = async || {
        world.writer.transact("test", |draft| Ok::<_, ()>(chandler_engine::federation::sweep(draft))).await.unwrap()
    };
    let past = with(offer("rack"), &json!({ "until": "2026-11-22T11:00:00Z" }));
    let refused = world.post(OPERATOR, OFFERS, past).await;
    assert_eq!(refused.body["errors"][0]["pointer"], "until", "{}", refused.text);
    let posted = world.post(OPERATOR, OFFERS, offer("rack")).await.expect(201);
    let path = format!("{OFFERS}/{}", posted["id"].as_str().unwrap());
    // The clock goes on by a second with each look at it.
    let soon = json!({ "until": "2026-11-22T12:00:40Z" });
    let ends = world.change("PATCH", OPERATOR, &path, Some("\"v1\""), soon.clone()).await.expect(200);
    assert_eq!(ends["until"], soon["until"]);
    assert_eq!(ends["closed"], json!({ "the offer ends soon": 1 }));
    let mut looks = 0;
    while world.get(OPERATOR, &path).await.expect(200)["state"] == "active" {
        assert!(sweep().await.is_none_or(|due| due.0 > 0) && looks < 60, "it never ends");
        looks += 1;
    }
    let over = world.get(OPERATOR, &path).await.expect(200);
    assert_eq!((&over["state"], &over["reason"]), (&json!("expired"), &json!("its time is over")));
    assert_eq!(over["commitment"], ends["commitment"], "its terms are the same");
    let active = json!({ "state": "active" });
    world.change("PATCH", OPERATOR, &path, Some("\"v2\""), active).await.refused("E0434");
    let listed = world.get(OPERATOR, &format!("{OFFERS}?state=expired")).await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let subject = posted["id"].as_str().unwrap();
    let events = world.get(OPERATOR, &format!("/api/v1/events?subject={subject}")).await.expect(200);
    let told: Vec<_> = events["items"].as_array().unwrap().iter().map(|e| e["to"].as_str().unwrap()).collect();
    assert_eq!(told, ["active", "changed", "expired"]);
}

#[tokio::test]
async fn what_no_offer_may_say_is_refused_by_its_field() {
    let world = World::new().await;
    let rows = [
        (json!({ "rates": rates(-1, 0) }), "E0111", "rates.coreHour"),
        (json!({ "rates": rates(0, 0) }), "E0111", "rates"),
        (json!({ "rates": rates(1_000_000_001, 0) }), "E0111", "rates.coreHour"),
        (json!({ "rates": rates(0, i64::MAX) }), "E0111", "rates.gibHour"),
        (json!({ "rates": gpu_hour(-1) }), "E0111", "rates.gpuHour"),
        (json!({ "rates": gpu_hour(i64::MAX) }), "E0111", "rates.gpuHour"),
        (json!({ "rates": gpu_hour("NaN") }), "E0110", "rates.gpuHour.micros"),
        (json!({ "capacity": { "cpu": 1, "memory": "1 GiB", "gpus": 1 } }), "E0111", "capacity.gpus"),
        (json!({ "capacity": { "cpu": 1, "memory": "1 GiB", "gpus": -1 } }), "E0110", "capacity.gpus"),
        (json!({ "free": true }), "E0111", "free"),
        (json!({ "rates": { "coreHour": "NaN", "gibHour": "NaN" } }), "E0110", "rates.coreHour"),
        (
            json!({ "rates": { "coreHour": { "micros": "NaN", "currency": "EUR" }, "gibHour": {} } }),
            "E0110",
            "rates.coreHour.micros",
        ),
        (
            json!({ "rates": { "coreHour": { "micros": 1, "currency": "CHF" }, "gibHour": { "micros": 1, "currency": "EUR" } } }),
            "E0111",
            "rates.coreHour.currency",
        ),
        (json!({ "capacity": { "cpu": 8.001, "memory": "1 GiB" } }), "E0111", "capacity.cpu"),
        (json!({ "capacity": { "cpu": 1, "memory": "17 GiB" } }), "E0111", "capacity.memory"),
        (json!({ "capacity": { "cpu": 1, "memory": "0 B" } }), "E0111", "capacity.memory"),
        (json!({ "capacity": { "cpu": 0, "memory": "1 GiB" } }), "E0110", "capacity.cpu"),
        (json!({ "capacity": { "cpu": "NaN", "memory": "1 GiB" } }), "E0110", "capacity.cpu"),
        (json!({ "windows": [] }), "E0111", "windows"),
        (json!({ "windows": ["at night"] }), "E0111", "windows[0]"),
        (json!({ "windows": ["Mon 08:00-12:00 UTC", "Mon,Tue 11:59-13:00 UTC"] }), "E0111", "windows"),
        (json!({ "windows": ["Sun 22:00-06:00 UTC", "Mon 05:00-07:00 UTC"] }), "E0111", "windows"),
        (json!({ "windows": ["Mon 08:00-12:00 UTC", "Tue 08:00-12:00 Asia/Tokyo"] }), "E0111", "windows"),
        (json!({ "windows": vec!["Mon 08:00-12:00 UTC"; 10_000] }), "E0111", "windows"),
        (json!({ "windows": ["daily 22:00-06:00 UTC"], "minTerm": "9 h" }), "E0111", "minTerm"),
        (json!({ "minTerm": "1 s" }), "E0111", "minTerm"),
        (json!({ "minTerm": "-1 h" }), "E0110", "minTerm"),
        (json!({ "reclaimNotice": "32 d" }), "E0111", "reclaimNotice"),
        (json!({ "priceNotice": "32 d" }), "E0111", "priceNotice"),
        (json!({ "residency": "Germany" }), "E0111", "residency"),
        (json!({ "availability": "101 %" }), "E0110", "availability"),
        (json!({ "availability": "NaN %" }), "E0110", "availability"),
        (json!({ "prize": 1 }), "E0110", "prize"),
    ];
    for (change, code, pointer) in rows {
        let response = world.post(OPERATOR, OFFERS, with(offer("rack"), &change)).await;
        assert_eq!(response.code(), code, "{change}: {}", response.text);
        assert_eq!(response.body["errors"][0]["pointer"], pointer, "{change}: {}", response.text);
    }
    assert_eq!(world.get(OPERATOR, OFFERS).await.expect(200)["items"], json!([]), "nothing of it was posted");
    // The same holds for changes.
    world.post(OPERATOR, OFFERS, offer("rack")).await.expect(201);
    for (change, pointer) in [
        (json!({ "capacity": { "cpu": 9, "memory": "1 GiB" } }), "capacity.cpu"),
        (json!({ "rates": rates(-1, 1) }), "rates.coreHour"),
        (json!({ "state": "exhausted" }), "state"),
        (json!({ "reason": "x".repeat(600) }), "reason"),
    ] {
        let response = world.change("PATCH", OPERATOR, &format!("{OFFERS}/rack"), Some("\"v1\""), change).await;
        response.refused("E0111");
        assert_eq!(response.body["errors"][0]["pointer"], pointer, "{}", response.text);
    }
}

#[tokio::test]
async fn who_may_offer_what() {
    let world = World::new().await;
    world.post(OPERATOR, OFFERS, offer("nowhere")).await.refused("E0130");
    world.post(OWNER, OFFERS, offer("rack")).await.refused("E0130");
    world.post(ACME, OFFERS, offer("acme-office")).await.refused("E0121");
    world.post(OPERATOR, OFFERS, offer("acme-office")).await.refused("E0432");
    // A remote site sells to partners through a marketplace only.
    world.post(OWNER, OFFERS, offer("home-1")).await.refused("E0431");
    world.act_as(&[PartyRole::ServiceProvider, PartyRole::Marketplace]).await;
    let posted = world.post(OWNER, OFFERS, offer("home-1")).await.expect(201);
    assert_eq!((&posted["owner"], &posted["availability"]), (&json!("home"), &json!("95 %")));
    let second = world.post(OPERATOR, OFFERS, offer("home-1")).await;
    second.refused("E0433");
    let id = posted["id"].as_str().unwrap();
    assert!(second.body["detail"].as_str().unwrap().contains(id), "it names the first: {}", second.text);
    let provider = world.post(OPERATOR, OFFERS, offer("rack")).await.expect(201);
    let foreign = format!("{OFFERS}/{}", provider["id"].as_str().unwrap());
    world.get(OWNER, &foreign).await.refused("E0130");
    world.get(OWNER, &format!("{OFFERS}/rack")).await.refused("E0130");
    world.change("PATCH", OWNER, &foreign, Some("\"v1\""), json!({ "state": "withdrawn" })).await.refused("E0130");
    let own = world.get(OWNER, OFFERS).await.expect(200);
    assert_eq!(own["items"].as_array().unwrap().len(), 1, "{own}");
    let events = world.get(OWNER, &format!("/api/v1/events?subject={id}")).await.expect(200);
    assert_eq!(events["items"][0]["noun"], "offer");
    // A controller that is no marketplace any more lets an owner stop and not go on.
    world.act_as(&[PartyRole::ServiceProvider]).await;
    let path = format!("{OFFERS}/{id}");
    world.change("PATCH", OWNER, &path, Some("\"v1\""), json!({ "state": "paused" })).await.expect(200);
    world.change("PATCH", OWNER, &path, Some("\"v2\""), json!({ "state": "active" })).await.refused("E0431");
    world.change("PATCH", OWNER, &path, Some("\"v2\""), json!({ "state": "withdrawn" })).await.expect(200);
}

#[tokio::test]
async fn a_site_without_machines_may_be_offered_whole_only() {
    let world = World::new().await;
    let site = json!({
        "name": "new", "owner": "provider", "role": "provider", "country": "DE", "rates": rates(1, 1),
    });
    world.post(OPERATOR, "/api/v1/sites", site).await.expect(201);
    let share = json!({ "capacity": { "cpu": 1, "memory": "1 GiB" } });
    let refused = world.post(OPERATOR, OFFERS, with(offer("new"), &share)).await;
    refused.refused("E0111");
    assert_eq!(refused.body["errors"][0]["pointer"], "capacity");
    assert_eq!(world.post(OPERATOR, OFFERS, offer("new")).await.expect(201)["machines"], 0);
}

#[tokio::test]
async fn a_virtual_provider_has_no_servers() {
    let world = World::new().await;
    let site = |name: &str| json!({ "name": name, "owner": "provider", "role": "provider", "country": "DE", "rates": rates(1, 1) });
    world.act_as(&[PartyRole::VirtualServiceProvider, PartyRole::Marketplace]).await;
    let refused = world.post(OPERATOR, "/api/v1/sites", site("a")).await;
    refused.refused("E0430");
    assert!(refused.text.contains("--role"), "{}", refused.text);
    assert_eq!(world.get(OPERATOR, "/api/v1/status").await.expect(200)["roles"], json!(["virtual", "marketplace"]));
    world.act_as(&[PartyRole::VirtualServiceProvider, PartyRole::ValueAddedServiceProvider]).await;
    world.post(OPERATOR, "/api/v1/sites", site("a")).await.expect(201);
    let party = json!({ "name": "other", "roles": ["marketplace"] });
    world.post(OPERATOR, "/api/v1/parties", party).await.refused("E0111");
}

/// Clears a demand of the given number against these lots and keeps its record.
async fn cleared(world: &World, number: u8, lots: Vec<LotOffer>) -> Clearing {
    let work = move |draft: &mut Draft<'_>| {
        let market: Market = draft.model.market.get(&()).unwrap().as_ref().clone();
        let demand = Demand {
            id: AssignmentId::from_random([number; 10]),
            buyer: PartyId::from_random([1; 10]),
            wanted: Capacity { cpu: MilliCpu(1_000), memory: Bytes(1 << 30), gpus: 0 },
            cap: MicroMoney(50_000),
            candidates: [2, 3].map(|n| Qualified { host: HostId::from_random([n; 10]), extra: MicroMoney(100) }).into(),
            countries: Vec::new(),
            availability_min: None,
            not_owners: Vec::new(),
            same: Vec::new(),
        };
        let at = Timestamp(i64::from(number));
        let call = Call { rule: market.rule, seed: market.seed, at, previous: market.head };
        let record = clear(&call, &demand, &Book::open(lots)).unwrap();
        draft.put(Market { head: record.hash, cleared: market.cleared + 1, ..market });
        draft.put(Change::Clearing(Arc::new(record.clone())));
        Ok::<_, ()>(record)
    };
    world.writer.transact("test", work).await.unwrap()
}

/// The lot of an offer that is there.
fn lot(world: &World, host: u8, rate: i64) -> LotOffer {
    let model = world.writer.snapshot();
    let host = model.hosts.get(&HostId::from_random([host; 10])).unwrap();
    let Posted { offer, salt, commitment } = model.offers_of(host.site).next().unwrap().clone();
    assert_eq!(
        offer.asked,
        Rates { core_hour: MicroMoney(rate), gib_hour: MicroMoney(1_000), gpu_hour: MicroMoney(0) }
    );
    LotOffer {
        host: host.id,
        offer: offer.id,
        version: offer.version,
        owner: offer.owner,
        rates: offer.asked,
        free: host.offered(),
        country: offer.residency,
        availability: Ppm(990_000),
        risk: MicroMoney(0),
        closed: None,
        salt,
        commitment,
    }
}

#[tokio::test]
async fn a_demand_tells_who_got_it_and_replays() {
    let world = World::new().await;
    world.act_as(&[PartyRole::ServiceProvider, PartyRole::Marketplace]).await;
    world.post(OPERATOR, OFFERS, offer("rack")).await.expect(201);
    world.post(OWNER, OFFERS, with(offer("home-1"), &json!({ "rates": rates(6_000, 1_000) }))).await.expect(201);
    let (dear, cheap) = (lot(&world, 2, 8_000), lot(&world, 3, 6_000));
    let both = cleared(&world, 1, vec![dear.clone(), cheap.clone()]).await;
    cleared(&world, 2, vec![dear.clone()]).await;
    // One whose owner says afterwards that it had asked for less is refused.
    let false_rate = LotOffer { rates: Rates::default(), ..cheap };
    cleared(&world, 3, vec![dear, false_rate]).await;

    let market = world.get(OWNER, "/api/v1/market").await.expect(200);
    assert_eq!(
        (&market["rule"], &market["cleared"], &market["activeOffers"]),
        (&json!("postedRate"), &json!(3), &json!(2))
    );
    let page = world.get(OPERATOR, "/api/v1/market/demands?limit=2").await.expect(200);
    let next = page["nextPageToken"].as_str().unwrap();
    let last = world.get(OPERATOR, &format!("/api/v1/market/demands?limit=2&pageToken={next}")).await.expect(200);
    let ids = |page: &Value| page["items"].as_array().unwrap().iter().map(|d| d["id"].clone()).collect::<Vec<_>>();
    let id = |n: u8| json!(AssignmentId::from_random([n; 10]).to_string());
    assert_eq!((ids(&page), ids(&last)), (vec![id(3), id(2)], vec![id(1)]), "newest first");
    assert!(last.get("nextPageToken").is_none());
    assert_eq!(last["items"][0]["winner"]["host"], "pc-1");

    let path = |n: u8| format!("/api/v1/market/demands/{}", AssignmentId::from_random([n; 10]));
    let record = world.get(OWNER, &path(1)).await.expect(200);
    assert_eq!((&record["replays"], &record["whole"]), (&json!(true), &json!(true)));
    assert_eq!(record["explain"], both.explain());
    assert_eq!(record["hash"], both.hash.to_string());
    let ranked = record["ranked"].as_array().unwrap();
    assert_eq!((&ranked[0]["lot"]["host"], &ranked[1]["lot"]["host"]), (&json!("pc-1"), &json!("server-1")));
    assert_eq!((&ranked[0]["rank"], &ranked[0]["score"]["micros"]), (&json!(1), &json!(7_100)));
    assert_eq!(record["winner"]["paid"]["micros"], 7_000);
    assert_eq!(record["runnerUp"]["rank"], 2);
    let third = world.get(OPERATOR, &path(3)).await.expect(200);
    assert_eq!((&third["refused"][0]["rule"], &third["winner"]["host"]), (&json!("commitment"), &json!("server-1")));
    assert_eq!(third["replays"], true, "a refusal replays too");
    // An owner sees what it took part in.
    world.get(OWNER, &path(2)).await.refused("E0130");
    world.get(OWNER, &path(9)).await.refused("E0130");
    world.get(OWNER, "/api/v1/market/demands/x").await.refused("E0130");
    // A record that somebody has tampered with does not replay, and says where.
    let mut lie = both;
    lie.demand.id = AssignmentId::from_random([8; 10]);
    let keep = move |draft: &mut Draft<'_>| {
        draft.put(Change::Clearing(Arc::new(lie)));
        Ok::<_, ()>(())
    };
    world.writer.transact("test", keep).await.unwrap();
    let lie = world.get(OPERATOR, &path(8)).await.expect(200);
    assert_eq!((&lie["replays"], &lie["difference"]), (&json!(false), &json!("hash: is not what the rules say")));
}

#[tokio::test]
async fn leases_of_both_sides_are_listed() {
    let world = World::new().await;
    let put = |draft: &mut Draft<'_>| {
        for (n, side, site, state) in [
            (1, Side::Sold, 2, LeaseState::Active),
            (2, Side::Sold, 3, LeaseState::Closed),
            (3, Side::Bought, 3, LeaseState::Reserved),
        ] {
            let lease = Lease {
                id: AssignmentId::from_random([n; 10]),
                side,
                partner: PartyId::from_random([2; 10]),
                host: HostId::from_random([site; 10]),
                site: SiteId::from_random([site; 10]),
                service: ServiceId::from_random([n; 10]),
                label: "notes".to_owned(),
                capacity: Capacity { cpu: MilliCpu(2_000_000), memory: Bytes(1 << 30), gpus: 0 },
                rates: Rates::default(),
                demand: [0; 32],
                state,
                since: draft.now,
                made_at: draft.now,
                ends_at: None,
                touched_at: draft.now,
                reason: String::new(),
                closed: None,
                idle: false,
                metered: Micros::ZERO,
                watch: chandler_engine::federation::Watch::default(),
            };
            draft.put(lease);
        }
        Ok::<_, ()>(())
    };
    world.writer.transact("test", put).await.unwrap();
    let count = async |token: &str, query: &str| {
        let page = world.get(token, &format!("/api/v1/market/leases{query}")).await.expect(200);
        page["items"].as_array().unwrap().len()
    };
    assert_eq!(count(OPERATOR, "").await, 3);
    assert_eq!(count(OPERATOR, "?side=sold").await, 2);
    assert_eq!(count(OPERATOR, "?state=open").await, 2);
    assert_eq!(count(OPERATOR, "?side=sold&state=closed").await, 1);
    assert_eq!(count(OWNER, "").await, 1, "an owner sees what was sold of its own");
    world.get(OPERATOR, "/api/v1/market/leases?state=lost").await.refused("E0110");
    world.get(OPERATOR, "/api/v1/market/leases?side=left").await.refused("E0110");
    world.get(OPERATOR, "/api/v1/market/leases?partner=nobody").await.refused("E0130");
    let page = world.get(OPERATOR, "/api/v1/market/leases?limit=1").await.expect(200);
    // More than an offer may say: what others sell is shown as it is.
    let typed: chandler_api::page::Page<chandler_api::market::Lease> = serde_json::from_value(page).unwrap();
    assert_eq!((typed.items[0].partner.as_str(), typed.items[0].host.as_str()), ("globex", "server-1"));
}

/// The market of a new world.
pub(super) const fn market() -> Market {
    Market { domain: String::new(), rule: Rule::PostedRate, seed: Digest([7; 32]), head: Digest([0; 32]), cleared: 0 }
}
