//! A13: cost, from the choice to the bill.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use chandler_api::bill::{Bill, BillLine, BillRun, LedgerCheck};
use chandler_api::sla::SlaStatus;
use chandler_api::value::MonthlyCost;
use chandler_harness::wait::eventually_ok;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE, order, order_completed};
use chandler_tests::orders::notes;

use crate::seen::{just_below, nearest, objective, place, rejected, sla_is};

/// Rates of the cheap and of the dear site, for a core-hour and a GiB-hour: high, so that seconds cost something.
const CHEAP: (i64, i64) = (3_600_000, 720_000);
const DEAR: (i64, i64) = (7_200_000, 720_000);
/// How long it shall run at least before it is billed, in microseconds.
const RUN_LEAST: i64 = 2_000_000;

/// A cost below the cheapest is refused with one that is enough; with that, the cheapest host is chosen, what it costs
/// is watched, and the bill follows from the time it ran.
#[tokio::test(flavor = "multi_thread")]
async fn a13_cost_is_chosen_enforced_measured_and_billed() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let acme = fleet.customer("acme").await?;
    fleet.publish_notes().await?;
    for (site, host, rates) in [("palace", "dear", DEAR), ("barn", "cheap", CHEAP)] {
        fleet.provider_site(site, rates).await?;
        fleet.agent(site, host, AgentOptions::default()).await?;
    }

    let mut request = notes("acme", "notes", "[sla]\ncost = { max = \"1 EUR/month\" }")?;
    let refused = rejected(&acme, &request, "E0301").await?;
    let enough: MonthlyCost = nearest(&refused, "sla.cost.max")?.value.parse()?;
    request.sla.cost.as_mut().context("the order has a cost")?.max = enough.clone();

    let ordered = Instant::now();
    let service = order_completed(&acme, &request).await?;
    let runs = Instant::now();
    ensure!(place(&service)?.host == "cheap", "the cheapest is {:?}", service.placements);
    let predicted = service.predicted.clone().context("a price was promised")?.monthly_cost;
    // 730 hours of half a core and 128 MiB, 20 % on top, and the provider's work.
    let expected = 730 * ((CHEAP.0 / 2 + CHEAP.1 / 8) * 12 / 10 + 1_000);
    ensure!(predicted.micros == expected, "promised {predicted}, not {expected} millionths");
    ensure!(predicted.micros <= enough.amount.0, "{predicted} is more than was allowed");

    let exact = MonthlyCost { amount: predicted.amount(), currency: predicted.currency.clone() };
    for (max, feasible) in [(exact.clone(), true), (just_below(&exact), false)] {
        request.sla.cost.as_mut().context("the order has a cost")?.max = max.clone();
        let quote = acme.quote(&request).await?;
        ensure!(quote.feasible == feasible, "at most {max}: {quote:#?}");
    }
    let sla = sla_is(&acme, "notes", SlaStatus::Met).await?;
    let cost = objective(&sla, "cost")?;
    let measured: MonthlyCost = cost.measured.split(" at ").next().unwrap_or_default().parse()?;
    ensure!(measured.amount.0 == expected, "measured {}", cost.measured);

    billed(&fleet, RUN_LEAST).await?;
    let stopping = Instant::now();
    let stopped = acme.service_delete("notes").await?;
    chandler_tests::fleet::settled(&acme, &stopped.id.to_string()).await?;
    let (least, most) = (stopping - runs, ordered.elapsed());

    let (bill, books) = closed(&fleet, i64::try_from(least.as_micros())?).await?;
    let line = check(&bill, &service.id.to_string())?;
    ensure!(line.running_micros <= i64::try_from(most.as_micros())?, "billed {line:#?} for at most {most:?}");
    let own = acme.bills(Default::default()).await?.items;
    ensure!(own == [bill.clone()], "the customer sees another bill: {own:#?}");
    let foreign = fleet.customer("rival").await?.bills(Default::default()).await?.items;
    ensure!(foreign.is_empty(), "another customer sees the bill: {foreign:#?}");

    ensure!(books.payable.micros + books.earnings.micros == books.receivable.micros, "{books:#?}");
    let payable = hours(line.core_hours_micros, CHEAP.0) + hours(line.gib_hours_micros, CHEAP.1);
    close("payable", books.payable.micros, payable, line.usage_rows)?;

    // An order without a cost goes to the cheapest too.
    let mut free = request;
    (free.name, free.sla.cost) = ("any".to_owned(), None);
    let order = order(&acme, &free).await?;
    ensure!(place(&acme.service("any").await?)?.host == "cheap", "{order:#?}");
    Ok(())
}

/// The bill of the customer, made anew until its one line has run for at least this long.
async fn billed(fleet: &Fleet, least: i64) -> Result<Bill> {
    let run = BillRun { customer: Some("acme".to_owned()), month: None };
    let bill = eventually_ok("the bill to tell the whole run", PATIENCE, || async {
        let bill = fleet.client.bill_run(&run).await?.items.pop().context("no bill")?;
        let running: i64 = bill.lines.iter().map(|l| l.running_micros).sum();
        ensure!(running >= least, "{running} of {least} us are billed");
        Ok::<_, anyhow::Error>(bill)
    });
    Ok(bill.await?)
}

/// The last bill and the books, which say the same: what an agent measured last comes in after the software ended.
async fn closed(fleet: &Fleet, least: i64) -> Result<(Bill, LedgerCheck)> {
    let closed = eventually_ok("the books to say what the bill says", PATIENCE, || async {
        let bill = billed(fleet, least).await?;
        let books = fleet.client.ledger_check().await?;
        ensure!(books.balanced && books.unposted == 0 && books.unbalanced == 0, "{books:#?}");
        ensure!(books.receivable == bill.total, "the customer owes {}, the books say {}", bill.total, books.receivable);
        Ok::<_, anyhow::Error>((bill, books))
    });
    Ok(closed.await?)
}

/// Recomputes the bill from its line; gives the line.
fn check<'b>(bill: &'b Bill, service: &str) -> Result<&'b BillLine> {
    let [line] = bill.lines.as_slice() else { anyhow::bail!("one service at one site is one line: {bill:#?}") };
    ensure!(line.service_id.to_string() == service && line.service == "notes" && line.site == "barn", "{line:#?}");
    ensure!(line.core_hour.micros == CHEAP.0 * 12 / 10, "{line:#?}");
    ensure!(line.gib_hour.micros == CHEAP.1 * 12 / 10, "{line:#?}");
    let rows = line.usage_rows;
    close("core-hours", line.core_hours_micros, line.running_micros / 7_200, rows)?;
    close("GiB-hours", line.gib_hours_micros, line.running_micros / 28_800, rows)?;
    let management = i128::from(line.running_micros) * i128::from(line.management_hour.micros) / 3_600_000_000;
    let amount = hours(line.core_hours_micros, line.core_hour.micros)
        + hours(line.gib_hours_micros, line.gib_hour.micros)
        + i64::try_from(management)?;
    close("amount", line.amount.micros, amount, rows)?;
    ensure!(bill.total == line.amount && bill.currency == "EUR" && bill.total.micros > 0, "{bill:#?}");
    Ok(line)
}

/// Millionths of an hour at a price for an hour.
fn hours(micros: i64, price: i64) -> i64 {
    i64::try_from(i128::from(micros) * i128::from(price) / 1_000_000).unwrap_or(i64::MAX)
}

/// Each usage row is rounded by itself, at most three times, and this test cuts three times.
fn close(what: &str, found: i64, expected: i64, rows: u64) -> Result<()> {
    let most = 3 * rows + 3;
    ensure!(found.abs_diff(expected) <= most, "{what} is {found}, not {expected} give or take {most}");
    Ok(())
}
