//! Receipts, disputes, statements and months with a partner, as operators and owners of sites see them.

use std::sync::Arc;

use chandler_engine::draft::Draft;
use chandler_engine::federation::{Chain, Side};
use chandler_engine::finance::dispute::{self, Dispute, DisputeId, Hold};
use chandler_engine::finance::receipt::{Head, LeasedUse, Parties, append};
use chandler_engine::finance::settlement::Reason;
use chandler_engine::finance::{UsageRow, rate};
use chandler_engine::fleet::Capacity;
use chandler_engine::model::Change;
use chandler_engine::partner::{Partner, PartnerState};
use chandler_engine::party::{Party, PartyRole};
use chandler_engine::service::PriceTerms;
use chandler_engine::site::Rates;
use chandler_protocol::{AssignmentId, HostId, MicroMoney, Micros, MilliCpu, PartyId, ServiceId, SiteId, Timestamp};
use serde_json::{Value, json};

use super::{ACME, OPERATOR, OWNER, World};

const PARTNER: PartyId = PartyId::from_random([9; 10]);
/// 2026-10-15 and 2026-11-15.
const OCTOBER: i64 = 1_792_022_400_000_000;
const NOVEMBER: i64 = 1_794_700_800_000_000;

fn money(micros: i64) -> Value {
    json!({ "micros": micros, "currency": "EUR" })
}

fn used(sequence: u64, at: i64) -> UsageRow {
    let reserved = Capacity { cpu: MilliCpu(1_000), ..Capacity::default() };
    let rates = Rates { core_hour: MicroMoney(3_600), gib_hour: MicroMoney(0), gpu_hour: MicroMoney(0) };
    let price = PriceTerms { offering: ("lease".to_owned(), 1), margin_percent: 0, management_hour: MicroMoney(0) };
    let running = Micros::from_secs(1_000);
    UsageRow {
        host: HostId::from_random([3; 10]),
        sequence,
        assignment: AssignmentId::from_random([3; 10]),
        service: ServiceId::from_random([4; 10]),
        service_name: "notes".to_owned(),
        customer: PARTNER,
        site: SiteId::from_random([3; 10]),
        owner: PartyId::from_random([3; 10]),
        at: Timestamp(at),
        running,
        cpu: running,
        reserved,
        rates,
        price: price.clone(),
        charge: rate(running, reserved, rates, &price),
    }
}

/// A partner that bought two stretches of 1,000 each, in October and November; of the first, 400 are contested.
async fn world() -> World {
    let world = World::new().await;
    let put = |draft: &mut Draft<'_>| {
        draft.put(Party { id: PARTNER, name: "nova".to_owned(), roles: vec![PartyRole::Partner] });
        draft.put(Partner {
            party: PARTNER,
            name: "nova".to_owned(),
            state: PartnerState::Active,
            since: draft.now,
            reason: String::new(),
            may_buy: true,
            may_sell: false,
            address: None,
            trust_domain: "nova.example".to_owned(),
            trust: Vec::new(),
            retired: Vec::new(),
            version: 1,
        });
        let parties = Parties { seller: "here.example".to_owned(), buyer: "nova.example".to_owned() };
        let mut chain = Chain::new(PARTNER, Side::Sold, parties.clone());
        for (sequence, at) in [(1, OCTOBER), (2, NOVEMBER)] {
            let row = used(sequence, at);
            let leased = LeasedUse {
                lease: row.assignment,
                host: row.host,
                sequence,
                epoch: 1,
                before: Micros::ZERO,
                running: row.running,
                cpu: row.cpu,
                at: row.at,
                reserved: row.reserved,
                rates: row.rates,
                amount: row.charge.cost,
            };
            let link = append(&parties, chain.head, leased).unwrap();
            let head = Head { number: link.number, hash: link.hash };
            chain = Chain { head, sums: chain.sums.with(leased.amount), ..chain };
            draft.put(Change::Receipt(PARTNER, Side::Sold, Arc::new(link)));
            draft.put(Change::Usage(row));
        }
        let hold = Hold {
            side: dispute::Side::Seller { owner: PartyId::from_random([3; 10]) },
            partner: PARTNER,
            contested: MicroMoney(400),
        };
        let id = DisputeId { partner: PARTNER, ours: true, receipt: 1 };
        draft.put(Dispute::open(id, used(1, 0).assignment, hold, Reason::Unseen, Timestamp(OCTOBER)));
        let (signed, sums) = (Some((chain.head, vec![1])), chain.sums.disputed(MicroMoney(400)));
        draft.put(Chain { signed, sums, ..chain });
        Ok::<_, ()>(())
    };
    world.writer.transact("test", put).await.unwrap();
    world
}

fn id() -> String {
    DisputeId { partner: PARTNER, ours: true, receipt: 1 }.to_string()
}

#[tokio::test]
async fn the_receipts_with_a_partner_are_summed() {
    let world = world().await;
    let chains = world.get(OPERATOR, "/api/v1/partners/nova/receipts").await.expect(200);
    let sold = &chains[0];
    assert_eq!(
        (&sold["side"], &sold["seller"], &sold["buyer"]),
        (&json!("sold"), &json!("here.example"), &json!("nova.example"))
    );
    assert_eq!((&sold["receipts"], &sold["countersigned"]), (&json!(2), &json!(2)));
    for (field, sum) in [("amount", 2_000), ("agreed", 1_600), ("contested", 400), ("held", 400), ("decided", 0)] {
        assert_eq!(sold[field], money(sum), "{field}");
    }
    let typed: Vec<chandler_api::settlement::ReceiptChain> = serde_json::from_value(chains).unwrap();
    assert_eq!(typed.len(), 1, "nothing was bought");
    world.get(OPERATOR, "/api/v1/partners/nobody/receipts").await.refused("E0130");
    world.get(OWNER, "/api/v1/partners/nova/receipts").await.refused("E0121");
}

#[tokio::test]
async fn a_dispute_is_talked_about_and_decided() {
    let world = world().await;
    let path = format!("/api/v1/disputes/{}", id());
    let shown = world.get(OPERATOR, &path).await.expect(200);
    assert_eq!((&shown["contested"], &shown["asked"], &shown["offered"]), (&money(400), &money(400), &money(0)));
    assert_eq!(
        (&shown["state"], &shown["reason"], &shown["partner"]),
        (&json!("open"), &json!("unseen"), &json!("nova"))
    );

    world.post(OPERATOR, &format!("{path}/say"), json!({ "text": " \u{7} " })).await.refused("E0111");
    let said = world.post(OPERATOR, &format!("{path}/say"), json!({ "text": "the meter says so" })).await.expect(200);
    assert_eq!((&said["state"], &said["evidence"][0]["text"]), (&json!("evidence"), &json!("the meter says so")));
    let decide =
        async |amount: i64| world.post(OPERATOR, &format!("{path}/decide"), json!({ "toSeller": money(amount) })).await;
    decide(401).await.refused("E0111");
    decide(-1).await.refused("E0111");
    let asks = decide(250).await.expect(200);
    assert_eq!(
        (&asks["state"], &asks["asked"]),
        (&json!("evidence"), &money(250)),
        "it would cost the buyer: it is proposed"
    );
    decide(300).await.refused("E0111");
    let foreign = json!({ "toSeller": { "micros": 0, "currency": "CHF" } });
    world.post(OPERATOR, &format!("{path}/decide"), foreign).await.refused("E0111");
    let waived = decide(0).await.expect(200);
    assert_eq!(
        (&waived["state"], &waived["decided"]["toSeller"]),
        (&json!("decided"), &money(0)),
        "it costs this side only"
    );
    decide(0).await.refused("E0440");
    world.post(OPERATOR, &format!("{path}/say"), json!({ "text": "but" })).await.refused("E0440");

    let check = world.get(OPERATOR, "/api/v1/ledger/check").await.expect(200);
    assert_eq!((&check["balanced"], &check["held"]), (&json!(true), &money(0)));
    assert_eq!(check["receivable"], money(1_600), "what was waived is not owed");
    let list = async |query: &str| world.get(OPERATOR, &format!("/api/v1/disputes{query}")).await;
    assert_eq!(list("?partner=nova&state=decided").await.expect(200)["items"].as_array().unwrap().len(), 1);
    assert_eq!(list("?state=open").await.expect(200)["items"], json!([]));
    list("?state=lost").await.refused("E0110");
    world.get(OPERATOR, "/api/v1/disputes/1").await.refused("E0130");
    world.get(ACME, &path).await.refused("E0121");
}

/// Out of memory it is still on every page on which it was.
#[tokio::test]
async fn a_dispute_that_was_settled_long_ago_is_still_shown_and_counted() {
    let world = world().await;
    let waive = json!({ "toSeller": money(0) });
    world.post(OPERATOR, &format!("/api/v1/disputes/{}/decide", id()), waive).await.expect(200);
    let id = id();
    world
        .writer
        .transact("timer", |draft| {
            let known = draft.model.disputes.values().next().unwrap().close(draft.now).unwrap();
            draft.put(known);
            Ok::<_, ()>(())
        })
        .await
        .unwrap();
    let pages = [
        format!("/api/v1/disputes/{id}"),
        "/api/v1/disputes".to_owned(),
        "/api/v1/disputes?partner=nova&state=closed&limit=1".to_owned(),
        "/api/v1/disputes?state=open".to_owned(),
        "/api/v1/partners/nova/settlements/2026-10".to_owned(),
        "/api/v1/statements?month=2026-10&payee=home".to_owned(),
        "/api/v1/ledger/check".to_owned(),
    ];
    let read = async || {
        let mut all = Vec::new();
        for page in &pages {
            let mut shown = world.get(OPERATOR, page).await.expect(200);
            if let Some(item) = shown.pointer_mut("/items/0").and_then(Value::as_object_mut) {
                item.remove("madeAt");
            }
            shown.as_object_mut().unwrap().remove("madeAt");
            all.push(shown);
        }
        all
    };
    let before = read().await;
    assert_eq!((&before[1]["items"][0]["state"], &before[3]["items"]), (&json!("closed"), &json!([])));
    let forget = |draft: &mut Draft<'_>| {
        let id = *draft.model.disputes.keys().next().unwrap();
        draft.put(Change::ForgetDispute(id));
        Ok::<_, ()>(())
    };
    world.writer.transact("timer", forget).await.unwrap();
    assert!(world.writer.snapshot().disputes.is_empty());
    assert_eq!(read().await, before);
    let other = id.replace(".sold.1", ".sold.2");
    world.get(OPERATOR, &format!("/api/v1/disputes/{other}")).await.refused("E0130");
}

#[tokio::test]
async fn an_owner_sees_its_own_statement() {
    let world = world().await;
    let list = async |token: &str, query: &str| world.get(token, &format!("/api/v1/statements{query}")).await;
    let october = list(OWNER, "?month=2026-10").await.expect(200);
    let typed: chandler_api::page::Page<chandler_api::settlement::Statement> = serde_json::from_value(october).unwrap();
    let [statement] = &typed.items[..] else { panic!("one owner earned something: {typed:?}") };
    assert_eq!((statement.payee.as_str(), statement.state.as_str(), statement.total.micros), ("home", "sent", 600));
    assert_eq!((statement.lines[0].amount.micros, statement.corrections[0].amount.micros), (1_000, -400));
    assert_eq!(
        list(OWNER, "").await.expect(200)["items"][0]["total"],
        money(1_000),
        "this month, nothing is contested"
    );
    assert_eq!(list(OPERATOR, "?month=2026-10&payee=home").await.expect(200)["items"][0]["total"], money(600));
    assert_eq!(list(OPERATOR, "?month=2026-10&payee=provider").await.expect(200)["items"][0]["total"], money(0));
    list(OWNER, "?payee=provider").await.refused("E0130");
    list(OPERATOR, "?month=2027-01").await.refused("E0111");
    list(OPERATOR, "?month=soon").await.refused("E0111");
    list(ACME, "").await.refused("E0121");
}

#[tokio::test]
async fn a_month_is_settled_once_nothing_is_held() {
    let world = world().await;
    let month = |month: &str| format!("/api/v1/partners/nova/settlements/{month}");
    let settle = async |which: &str| world.post(OPERATOR, &format!("{}/settle", month(which)), Value::Null).await;
    let held = world.get(OPERATOR, &month("2026-10")).await.expect(200);
    assert_eq!((&held["state"], &held["sold"]["held"], &held["net"]), (&json!("disputed"), &money(400), &money(600)));
    settle("2026-10").await.refused("E0442");
    let running = world.get(OPERATOR, &month("2026-11")).await.expect(200);
    assert_eq!((&running["state"], &running["net"]), (&json!("open"), &money(1_000)));
    settle("2026-11").await.refused("E0442");

    let waive = json!({ "toSeller": money(0) });
    world.post(OPERATOR, &format!("/api/v1/disputes/{}/decide", id()), waive).await.expect(200);
    assert_eq!(world.get(OPERATOR, &month("2026-10")).await.expect(200)["state"], "matched");
    let settled = settle("2026-10").await.expect(200);
    assert_eq!((&settled["state"], &settled["net"]), (&json!("settled"), &money(600)));
    assert_eq!(settle("2026-10").await.expect(200), settled, "once");
    assert_eq!(world.get(OPERATOR, &month("2026-10")).await.expect(200), settled);
    world.get(OPERATOR, &month("october")).await.refused("E0130");
}
