//! A partner that lies about its own: about what was used of its machine, and about the epoch of a copy there. It is a
//! process with the real partner's keys that answers in its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chandler_api::event::EventQuery;
use chandler_api::settlement::{ChainSide, Dispute, DisputeQuery, ReceiptChain, Statement, StatementQuery};
use chandler_engine::finance::receipt::Receipt;
use chandler_harness::wait::eventually_ok;
use chandler_protocol::{AssignmentId, Micros};
use chandler_tests::cli::Person;
use chandler_tests::fleet::{Fleet, PATIENCE};
use chandler_tests::load::{Demand, Load, check_notes};
use chandler_tests::{orders, process};
use serde_json::{Value, json};

use crate::liar::{Answer, Asked, Books, Liar, Lie, Tongue, Words};
use crate::partner_ground::{Copies, Ground};

const PARTNER: &str = "[policy]\nowners = [\"partner\"]";
const READS: Demand = Demand { clients: 2, pace: Duration::from_millis(20), writes: false };
const WRITES: Demand = Demand { clients: 2, pace: Duration::from_millis(20), writes: true };
/// What two clocks may differ in, for the whole of a lease ([`chandler_engine::finance::settlement::Tolerance`]).
const CLOCKS: i64 = 60_000_000;
const HOUR: Micros = Micros::from_secs(3_600);

async fn chain(fleet: &Fleet, partner: &str, side: ChainSide) -> Result<ReceiptChain> {
    let all = fleet.client.receipts(partner).await?;
    let found = all.into_iter().find(|c| c.side == side);
    found.context("there are receipts")
}

/// Waits until so many more receipts were taken by the buyer and signed, and it has nothing to say to any of them; gives
/// how its chain is then.
async fn taken(ground: &Ground, books: &Books, more: u64) -> Result<ReceiptChain> {
    let until = books.length().0 + more;
    let disputes = ground.alpha.client.disputes(&DisputeQuery::default()).await?.items.len();
    let all = eventually_ok("honest receipts to be taken", PATIENCE, || async {
        let bought = chain(&ground.alpha, "beta", ChainSide::Bought).await?;
        let (length, signed) = books.length();
        ensure!(bought.receipts >= until && bought.receipts == length, "{} of {length}: {bought:#?}", bought.receipts);
        ensure!(signed == length, "{signed} of {length} are signed");
        anyhow::Ok(bought)
    });
    let bought = all.await?;
    let now = ground.alpha.client.disputes(&DisputeQuery::default()).await?.items;
    ensure!(now.len() == disputes, "an honest receipt is contested: {now:#?}");
    Ok(bought)
}

/// Has the seller lie about the next receipt of a lease; gives what it made of it, and the dispute about that.
async fn contested(ground: &Ground, books: &Books, lease: AssignmentId, lie: Lie) -> Result<(Receipt, Dispute)> {
    let before = books.lies().len();
    books.lie(lease, lie);
    let found = eventually_ok("the lie to be contested", PATIENCE, || async {
        let told = books.lies().get(before).cloned().context("it has not lied yet")?;
        let all = ground.alpha.client.disputes(&DisputeQuery::default()).await?.items;
        let about = all.iter().find(|d| d.receipt == told.number).cloned();
        let about = about.with_context(|| format!("{lie:?} is believed: {:#?} {all:#?}", told.used))?;
        anyhow::Ok((told, about))
    });
    let (told, about) = found.await?;
    ensure!(about.side == ChainSide::Bought && about.partner == "beta", "{about:#?}");
    Ok((told, about))
}

async fn lease_of(ground: &Ground, name: &str) -> Result<AssignmentId> {
    let service = ground.alpha.client.service(name).await?;
    Ok(service.placements.first().context("it is somewhere")?.assignment)
}

/// A second service at the partner, beside the one that is watched.
async fn other(ground: &Ground, name: &str) -> Result<AssignmentId> {
    let mut order = orders::notes("acme", name, PARTNER)?;
    order.software.command.extend(["--delay-ms".to_owned(), "1".to_owned()]);
    ground.alpha.order_completed(&order).await?;
    lease_of(ground, name).await
}

async fn statement(fleet: &Fleet) -> Result<Statement> {
    let query = StatementQuery { payee: Some("beta".to_owned()), ..StatementQuery::default() };
    let all = fleet.client.statements(&query).await?.items;
    all.into_iter().next().context("there is a statement")
}

/// How it looks to the operator who was lied to: what is contested is held and not paid, and no more time is on the statement
/// than there was.
async fn listed(ground: &Ground, operator: &Person, (scrap, never): (AssignmentId, AssignmentId)) -> Result<()> {
    let listed = operator.json(&["dispute", "list"])?;
    let listed: Vec<Dispute> = serde_json::from_value(listed["items"].clone())?;
    let reasons: Vec<_> = listed.iter().map(|d| d.reason.as_str()).collect();
    ensure!(["capacity", "unknownLease", "life"].iter().all(|r| reasons.contains(r)), "{reasons:?}");
    // It has said that all of them were decided in its favour.
    ensure!(listed.iter().all(|d| d.decided.is_none() && d.offered.micros == 0), "{listed:#?}");
    let held: i64 = listed.iter().map(|d| d.contested.micros).sum();
    let receipts: Vec<ReceiptChain> =
        serde_json::from_value(operator.json(&["receipt", "list", "beta"])?).or_else(|_| {
            serde_json::from_value(operator.json(&["receipt", "list", "beta"])?["items"].clone())
                .map_err(anyhow::Error::from)
        })?;
    let bought = receipts.iter().find(|c| c.side == ChainSide::Bought).context("it bought")?;
    ensure!(bought.held.micros >= held && bought.decided.micros == 0, "{bought:#?}, {held} held");
    ensure!(ground.alpha.client.ledger_check().await?.balanced, "the ledger does not balance");
    let since = lease_made(ground, scrap).await?;
    let owed = statement(&ground.alpha).await?;
    let line = owed.lines.iter().find(|l| l.lease == scrap).context("the lease is on the statement")?;
    ensure!(line.running_micros <= since + CLOCKS, "{} of {since}: {line:#?}", line.running_micros);
    ensure!(owed.lines.iter().all(|l| l.lease != never), "{owed:#?}");
    Ok(())
}

/// More than was reserved, a lease that there never was, an hour that nothing ran: each is contested, and what is contested
/// is held. All else is agreed, to the micro-unit. What the seller itself says about the disputes decides nothing, until it
/// decides against itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seller_that_lies_about_use_is_paid_for_what_was_used() -> Result<()> {
    let books = tokio::sync::OnceCell::new();
    let (ground, _liar) = Liar::ground("3 s", |beta| {
        let made = Arc::new(Books::of(beta)?);
        let _ = books.set(made.clone());
        Ok(made as Arc<dyn Tongue>)
    })
    .await?;
    let books: &Arc<Books> = books.get().context("it has books")?;
    let operator = Person::new(&ground.alpha, "ann", &ground.alpha.token)?;
    let door = ground.order(false, PARTNER).await?;
    let load = Load::start(door, "ledger", READS);
    let (ledger, scrap) = (lease_of(&ground, "ledger").await?, other(&ground, "scrap").await?);

    // While it is honest, nobody can tell it from the real one.
    taken(&ground, books, 2).await?;
    ground.agree().await?;

    let (told, about) = contested(&ground, books, ledger, Lie::Reserved).await?;
    ensure!(about.reason == "capacity" && about.lease == ledger, "{about:#?}");
    ensure!(about.contested.micros > 0 && about.contested.micros < told.used.amount.0, "{about:#?} of {told:#?}");
    taken(&ground, books, 2).await?;
    let equal = eventually_ok("all but the lie to be agreed to", PATIENCE, || async {
        let bought = chain(&ground.alpha, "beta", ChainSide::Bought).await?;
        let real = chain(&ground.beta, "alpha", ChainSide::Sold).await?;
        ensure!(bought.receipts == real.receipts, "{} of {}", bought.receipts, real.receipts);
        ensure!(bought.agreed == real.amount, "agreed {:?}, used {:?}", bought.agreed, real.amount);
        ensure!(bought.held == about.contested, "held {:?}: {about:#?}", bought.held);
        anyhow::Ok(())
    });
    equal.await?;

    let never = AssignmentId::from_random([77; 10]);
    let (told, about) = contested(&ground, books, ledger, Lie::Lease(never)).await?;
    ensure!(about.reason == "unknownLease" && about.contested.micros == told.used.amount.0, "{about:#?} of {told:#?}");
    taken(&ground, books, 2).await?;

    // From here on the other service's receipts wait until there is as much time as was believed: 60 s more than there were.
    let (told, about) = contested(&ground, books, scrap, Lie::Longer(HOUR)).await?;
    ensure!(about.reason == "life" && about.lease == scrap, "{about:#?}");
    let paid = told.used.amount.0 - about.contested.micros;
    ensure!(paid * 10 < told.used.amount.0, "{paid} of {} is paid", told.used.amount.0);

    listed(&ground, &operator, (scrap, never)).await?;
    books.give_in();
    let settled = eventually_ok("the disputes to be over", PATIENCE, || async {
        let all = ground.alpha.client.disputes(&DisputeQuery::default()).await?.items;
        let lost = |d: &Dispute| d.decided.as_ref().is_some_and(|decided| decided.to_seller.micros == 0);
        ensure!(all.iter().all(|d| d.state == "closed" && lost(d)), "{all:#?}");
        let bought = chain(&ground.alpha, "beta", ChainSide::Bought).await?;
        ensure!(bought.held.micros == 0 && bought.decided.micros == 0, "{bought:#?}");
        ensure!(statement(&ground.alpha).await?.total == bought.agreed, "the statement says something else");
        anyhow::Ok(())
    });
    settled.await?;
    ensure!(ground.alpha.client.ledger_check().await?.balanced, "the ledger does not balance");
    let record = load.stop().await?;
    ensure!(record.failed.is_empty(), "{} of {}: {:?}", record.failed.len(), record.answered.len(), record.failed);
    for name in ["ledger", "scrap"] {
        let service = ground.alpha.client.service(name).await?;
        ensure!(service.replacements.is_empty(), "{service:#?}");
    }
    eprintln!(
        "{} requests, 0 failed; {} receipts, {} lies",
        record.answered.len(),
        books.length().0,
        books.lies().len()
    );
    Ok(())
}

/// For how long a lease has been there, in microseconds.
async fn lease_made(ground: &Ground, id: AssignmentId) -> Result<i64> {
    let all = ground.alpha.client.leases(&Default::default()).await?.items;
    let lease = all.iter().find(|l| l.id == id).context("the lease is known")?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(i64::try_from(now.as_micros())? - lease.made_at.0.0)
}

/// Makes the epochs of everything that runs there later ones.
fn later(asked: &Asked, answer: &mut Answer, lies: &AtomicBool) {
    if !lies.load(Ordering::Relaxed) || asked.path != "news" {
        return;
    }
    for host in answer.body["hosts"].as_array_mut().into_iter().flatten() {
        for seen in host["observed"].as_array_mut().into_iter().flatten() {
            let epoch = seen["epoch"].as_u64().unwrap_or(0);
            seen["epoch"] = json!(epoch + 5);
        }
        // Its buyer's own signature is all it has to show.
        host["said"]["epochs"] = raised(&host["said"]["epochs"]);
    }
}

fn raised(epochs: &Value) -> Value {
    let all = epochs.as_array().into_iter().flatten();
    all.map(|pair| json!([pair[0], pair[1].as_u64().unwrap_or(0) + 5])).collect()
}

/// The epoch is not believed, since its buyer never signed it: the service goes on with its state, an event says who claims
/// what, it counts against the seller, and the service can be moved away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seller_that_makes_up_an_epoch_freezes_nothing_and_is_written_down() -> Result<()> {
    let lies = Arc::new(AtomicBool::new(false));
    let told = lies.clone();
    let words = Words(move |asked: &Asked, answer: &mut Answer| later(asked, answer, &told));
    let (ground, _liar) = Liar::ground("3 s", |_| Ok(Arc::new(words) as Arc<dyn Tongue>)).await?;
    let policy = "[policy]\nowners = [\"provider\", \"partner\"]\nmove = { hold = \"10 s\", keep = \"1 s\" }";
    let door = ground.order(true, policy).await?;
    if ground.owner().await? == "near" {
        ground.moves("ledger", "beta.far").await?;
    }
    let copies = Copies::count(&ground, "--delay-ms");
    let before = ground.alpha.client.service("ledger").await?;
    let lease = before.placements.iter().find(|p| p.host == "beta.far").context("it is there")?.clone();
    let process = process::notes_under(ground.beta.dir())?;
    let counted = ground.alpha.client.standing("beta.rack").await?;
    let load = Load::start(door, "ledger", WRITES);
    load.answers(20).await?;

    lies.store(true, Ordering::Relaxed);
    let query = EventQuery { subject: Some(lease.assignment.to_string()), ..EventQuery::default() };
    let written = eventually_ok("the claim to be written down", PATIENCE, || async {
        let all = ground.alpha.client.events(&query).await?.items;
        let said = all.iter().filter(|e| e.noun == "lease" && e.reason.contains("claims epoch"));
        let said: Vec<_> = said.collect();
        ensure!(said.len() == 1 && said[0].reason.contains(&(lease.epoch + 5).to_string()), "{all:#?}");
        anyhow::Ok(())
    });
    written.await?;
    let standing = ground.alpha.client.standing("beta.rack").await?;
    ensure!(standing.loss > counted.loss && standing.observations > counted.observations, "{counted:#?} {standing:#?}");
    // As long as three times the grace, under load.
    let end = tokio::time::Instant::now() + Duration::from_secs(9);
    while tokio::time::Instant::now() < end {
        load.answers(50).await?;
        let now = ground.alpha.client.service("ledger").await?;
        let here = now.placements.iter().find(|p| p.state == "allocated").context("it is somewhere")?;
        ensure!((here.epoch, &here.host) == (lease.epoch, &lease.host), "{now:#?}");
        ensure!(now.replacements == before.replacements && now.operating_status == before.operating_status, "{now:#?}");
    }
    ensure!(process == process::notes_under(ground.beta.dir())?, "it is not the same process any more");
    lies.store(false, Ordering::Relaxed);

    // It stands still for nobody: its owner can take it away from there.
    ground.moves("ledger", "near").await?;
    let record = load.stop().await?;
    ensure!(record.failed.is_empty(), "{} of {}: {:?}", record.failed.len(), record.answered.len(), record.failed);
    check_notes(door, &record.written).await?;
    let counted = copies.stop()?;
    ground.one_lease_each(0).await?;
    ground.agree().await?;
    eprintln!("{} requests, 0 failed, counted {counted} times", record.answered.len());
    Ok(())
}
