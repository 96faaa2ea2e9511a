//! What a partner asks and promises: a raise is left before it holds, a promise that covers too little is priced and said,
//! and a seller is told why it ranks lower.

use anyhow::{Context as _, Result, ensure};
use chandler_api::market::{ClosedBy, LeaseQuery, LeaseSide, LeaseState, OfferPost};
use chandler_api::movement::MoveQuery;
use chandler_api::settlement::StatementQuery;
use chandler_api::site::SiteRole;
use chandler_api::value::{Quantity, Span};
use chandler_harness::wait::eventually_ok;
use chandler_protocol::Micros;
use chandler_protocol::unit::Ppm;
use chandler_tests::cli::Person;
use chandler_tests::fleet::{AgentOptions, ControllerOptions, Fleet, PATIENCE};
use chandler_tests::load::{Demand, Load};
use chandler_tests::partners::{agree, may_buy, posted, sees};
use chandler_tests::{http, orders};

/// What the partner asks for a core-hour at first, in millionths of a euro; the provider's own server costs half as much
/// again.
const ASKED: i64 = 300_000;
/// How long before a raise holds.
const NOTICE: Micros = Micros::from_secs(30);
const PARTNER: &str = "[policy]\nowners = [\"partner\"]";
/// Nothing is kept where it was, so that the lease ends with the move.
const GONE: &str = "[policy]\nmove = { keep = \"0 s\" }";

/// A buyer with a server of its own, and a seller whose server is cheaper and promised for 99 % of the time.
async fn ground() -> Result<(Fleet, Fleet)> {
    let listening = || ControllerOptions { federation: true, ..ControllerOptions::default() };
    let mut beta = Fleet::with(listening()).await?;
    beta.provider_site("rack", (ASKED, 0)).await?;
    beta.agent("rack", "far", AgentOptions::default()).await?;
    beta.history("far", 999_950).await?;
    let promised = Some(Quantity(Ppm(990_000)));
    let offer = OfferPost { availability: promised, price_notice: Span(NOTICE), ..posted("rack", (ASKED, 0)) };
    beta.client.offer_post(&offer).await?;
    let mut alpha = Fleet::with(listening()).await?;
    alpha.customer("acme").await?;
    alpha.publish_notes().await?;
    alpha.site("office", "acme", SiteRole::Customer, "DE", (0, 0)).await?;
    alpha.agent("office", "laptop", AgentOptions { milli_cpu: 100, ..AgentOptions::default() }).await?;
    alpha.provider_site("hall", (ASKED * 3 / 2, 0)).await?;
    alpha.agent("hall", "near", AgentOptions::default()).await?;
    alpha.history("near", 999_950).await?;
    may_buy((&alpha, "alpha"), (&beta, "beta")).await?;
    sees(&alpha, "beta.far").await?;
    Ok((alpha, beta))
}

/// The seller asks three times as much, which the customer would not pay: the service has left before that holds, under
/// load, and nothing was ever paid at the new rate.
#[tokio::test(flavor = "multi_thread")]
async fn a_raise_above_what_the_customer_pays_is_left_before_it_holds() -> Result<()> {
    let (alpha, beta) = ground().await?;
    let most = format!("[sla]\ncost = {{ max = \"250 EUR/month\" }}\n{GONE}");
    let service = alpha.order_completed(&orders::notes("acme", "ledger", &most)?).await?;
    ensure!(service.placements[0].host == "beta.far", "the cheaper one: {:#?}", service.placements);
    let door = alpha.door("ledger", "laptop").await?;
    http::body_of(&format!("http://{door}/"), PATIENCE).await?;
    let demand = Demand { clients: 1, pace: std::time::Duration::from_millis(20), writes: false };
    let load = Load::start(door, "ledger", demand);

    let seller = Person::new(&beta, "ben", &beta.token)?;
    let raised = seller.json(&["market", "set", "rack", "--core-hour", "0.9 EUR"])?;
    ensure!(raised["rates"]["coreHour"]["micros"] == 3 * ASKED, "{raised:#}");
    let told = std::time::Instant::now();
    alpha.running_where("ledger", |s| stays(s) == ["near"]).await?;
    let took = told.elapsed();
    ensure!(took < std::time::Duration::from_secs(30), "it took {took:?}: the raise holds by then");
    let record = load.stop().await?;
    ensure!(record.failed.is_empty(), "{:#?}", record.failed);

    let query = MoveQuery { service: Some("ledger".to_owned()), ..MoveQuery::default() };
    let moves = alpha.client.moves(&query).await?.items;
    let away = moves.first().context("a move")?;
    ensure!(away.trigger == "price" && away.evidence.contains("beta asks more"), "{away:#?}");
    let closed = eventually_ok("the lease to be given back", PATIENCE, || async {
        let all = beta.client.leases(&LeaseQuery { side: Some(LeaseSide::Sold), ..LeaseQuery::default() }).await?.items;
        let lease = all.into_iter().next().context("the lease")?;
        ensure!(lease.state == LeaseState::Closed, "{lease:#?}");
        anyhow::Ok(lease)
    });
    let lease = closed.await?;
    ensure!(lease.rates.core_hour.micros == ASKED, "{lease:#?}");
    agree((&alpha, "alpha"), (&beta, "beta")).await?;
    for fleet in [&alpha, &beta] {
        for statement in fleet.client.statements(&StatementQuery::default()).await?.items {
            for line in statement.lines.iter().filter(|l| l.site.ends_with("rack")) {
                ensure!(line.core_hour.micros == ASKED, "paid at another rate: {line:#?}");
            }
        }
    }
    Ok(())
}

/// The seller promises 99 %. Who was promised as much is covered; who was promised more is not, and the operator is told
/// what that has to be expected to cost.
#[tokio::test(flavor = "multi_thread")]
async fn a_promise_that_covers_too_little_is_said_in_money() -> Result<()> {
    let (alpha, _beta) = ground().await?;
    let operator = Person::new(&alpha, "ann", &alpha.token)?;
    for (name, min, is_covered) in [("lax", "99 %", true), ("strict", "99.9 %", false)] {
        let terms = format!("[sla]\navailability = {{ min = \"{min}\" }}\n{PARTNER}");
        alpha.order_completed(&orders::notes("acme", name, &terms)?).await?;
        let why = operator.json(&["service", "explain", name])?;
        let coverage = &why["coverage"];
        ensure!(coverage["covered"] == is_covered, "{name}: {coverage:#}");
        let risk = coverage["risk"]["micros"].as_i64().context("a risk")?;
        let gaps: Vec<_> = coverage["gaps"].as_array().context("gaps")?.iter().map(|g| &g["attribute"]).collect();
        let shown = operator.run(&["service", "explain", name])?.stdout;
        if is_covered {
            ensure!(risk == 0 && gaps.is_empty() && !shown.contains("at risk a month"), "{coverage:#} {shown}");
        } else {
            ensure!(risk > 0 && gaps == ["availability", "credit"], "{coverage:#}");
            ensure!(shown.contains("99.9 % are promised") && shown.contains("; at risk a month: "), "{shown}");
        }
    }
    Ok(())
}

/// A machine that work runs on is taken back. The work leaves within the agreed notice, and the seller sees that this
/// counts, why, and what it costs in the ranking.
#[tokio::test(flavor = "multi_thread")]
async fn a_seller_is_told_why_it_ranks_lower() -> Result<()> {
    let (alpha, beta) = ground().await?;
    alpha.order_completed(&orders::notes("acme", "ledger", GONE)?).await?;
    let seller = Person::new(&beta, "ben", &beta.token)?;
    let before = beta.client.standing("rack").await?;
    seller.json(&["market", "withdraw", "rack", "--reason", "it is sold", "--yes"])?;
    let lower = eventually_ok("it to count", PATIENCE, || async {
        let after = beta.client.standing("rack").await?;
        ensure!(after.loss.0 > before.loss.0 && after.risk_of_hundred.micros > before.risk_of_hundred.micros);
        anyhow::Ok(after)
    });
    let lower = lower.await?;
    ensure!(lower.observations > before.observations, "{lower:#?}");
    let all = beta.client.leases(&LeaseQuery { side: Some(LeaseSide::Sold), ..LeaseQuery::default() }).await?.items;
    let closed = all.first().and_then(|l| l.closed.as_ref()).context("the lease has ended")?;
    ensure!(closed.by == ClosedBy::Buyer, "it was not left time to go: {closed:#?}");
    let shown = seller.run(&["market", "standing", "rack"])?;
    ensure!(shown.exit == Some(0) && shown.stdout.contains("and 1 time with it"), "{shown:#?}");
    let placed = alpha.running_where("ledger", |s| stays(s) == ["near"]).await?;
    ensure!(placed.replacements.len() == 1, "{placed:#?}");
    let known = alpha.client.standing("beta.rack").await?;
    ensure!(known.partner.as_deref() == Some("beta") && known.loss.0 > before.loss.0, "{known:#?}");
    Ok(())
}

/// Where it is and stays.
fn stays(service: &chandler_api::service::Service) -> Vec<&str> {
    let there = service.placements.iter().filter(|p| p.state == "allocated");
    there.map(|p| p.host.as_str()).collect()
}
