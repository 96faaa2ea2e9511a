//! A24, A36, A37, A39, A40: sites register their capacity with a marketplace, and virtual providers serve their customers
//! from it.

use anyhow::{Context, Result, ensure};
use chandler_api::market::{LeaseQuery, LeaseState, OfferChange};
use chandler_api::order::OrderState;
use chandler_api::site::{Rates, SiteRole};
use chandler_api::token::{Role, TokenCreate};
use chandler_api::value::Money;
use chandler_harness::wait::eventually_ok;
use chandler_tests::cli::Person;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE, order, order_completed};
use chandler_tests::http;
use chandler_tests::orders::{notes, notes_file};
use chandler_tests::partners::{agree, may_buy, sees};

use crate::bought::buyer;
use crate::providers::marketplace;
use crate::seen::{place, rejected};

const REMOTE: &str = "[policy]\nowners = [\"remote\"]";

/// A virtual provider with a customer, at a marketplace with these PCs.
async fn virtual_at(market: &Fleet, name: &str) -> Result<(Fleet, chandler_api::client::Client)> {
    let (alpha, acme) = buyer(&["virtual"]).await?;
    may_buy((&alpha, name), (market, "market")).await?;
    Ok((alpha, acme))
}

/// The service runs on a stranger's PC and answers at the customer's own front door; the owner earns what was asked.
#[tokio::test(flavor = "multi_thread")]
async fn a24_a_virtual_provider_serves_from_remote_sites() -> Result<()> {
    let market = marketplace(&[("attic", 600_000)]).await?;
    let (alpha, acme) = virtual_at(&market, "alpha").await?;
    sees(&alpha, "market.attic").await?;
    let service = order_completed(&acme, &notes("acme", "notes", REMOTE)?).await?;
    let there = place(&service)?;
    ensure!((there.host.as_str(), there.site_role) == ("market.attic", SiteRole::Remote), "{there:?}");
    let door = alpha.door("notes", "laptop").await?;
    ensure!(http::body_of(&format!("http://{door}/"), PATIENCE).await?.starts_with("notes on "));
    let owed = agree((&alpha, "alpha"), (&market, "market")).await?;
    let ledger = market.client.ledger_check().await?;
    ensure!(ledger.balanced && ledger.payable.micros >= owed, "the owner earns what the buyer owes: {ledger:#?}");
    Ok(())
}

/// What the agent of a site offers is what can be bought: no more when it is full, and more when another PC has joined.
#[tokio::test(flavor = "multi_thread")]
async fn a36_sites_register_their_capacity_and_a_virtual_provider_allocates_from_it() -> Result<()> {
    let mut market = marketplace(&[]).await?;
    market.party("hobbyist", chandler_api::party::PartyRole::SiteOwner).await?;
    market.site("home", "hobbyist", SiteRole::Remote, "AT", (10_000, 0)).await?;
    let one = AgentOptions { milli_cpu: 500, memory: "128 MiB".to_owned(), ..AgentOptions::default() };
    market.agent("home", "attic", one.clone()).await?;
    chandler_tests::partners::offer(&market, "home", (10_000, 0)).await?;
    let (alpha, acme) = virtual_at(&market, "alpha").await?;
    sees(&alpha, "market.attic").await?;
    let seen = alpha.client.host("market.attic").await?;
    let own = market.client.host("attic").await?;
    ensure!(seen.id == own.id && seen.site == "market.home", "{seen:#?}");

    order_completed(&acme, &notes("acme", "first", REMOTE)?).await?;
    rejected(&acme, &notes("acme", "second", REMOTE)?, "E0302").await?;
    market.agent("home", "cellar", one).await?;
    sees(&alpha, "market.cellar").await?;
    let second = order_completed(&acme, &notes("acme", "third", REMOTE)?).await?;
    ensure!(place(&second)?.host == "market.cellar", "{second:#?}");
    Ok(())
}

/// The virtual provider's customer has the same command line and API as any: order, look, explain, bill.
#[tokio::test(flavor = "multi_thread")]
async fn a37_the_virtual_provider_has_the_customer_interface() -> Result<()> {
    let market = marketplace(&[("attic", 10_000)]).await?;
    let (alpha, acme) = virtual_at(&market, "alpha").await?;
    sees(&alpha, "market.attic").await?;
    let wanted = TokenCreate { role: Role::Customer, party: Some("acme".to_owned()) };
    let token = alpha.client.token_create(&wanted).await?.secret;
    let person = Person::new(&alpha, "acme", &token)?;
    std::fs::write(person.home().join("notes.toml"), notes_file("notes", REMOTE))?;
    for (arguments, shows) in [
        (&["quote", "-f", "notes.toml"][..], ""),
        (&["order", "submit", "-f", "notes.toml", "--wait"], "completed"),
        (&["service", "show", "notes"], "market.attic"),
        (&["service", "explain", "notes"], "market.attic"),
        (&["sla", "show", "notes"], ""),
    ] {
        let ended = person.run(arguments)?;
        ensure!(ended.exit == Some(0) && ended.stdout.contains(shows), "{arguments:?}: {ended:#?}");
    }
    ensure!(acme.service("notes").await?.placements.len() == 1);
    Ok(())
}

/// Two virtual providers buy from one marketplace. For the last place both ask at once: exactly one gets it.
#[tokio::test(flavor = "multi_thread")]
async fn a39_any_number_of_virtual_providers_buy_at_one_marketplace() -> Result<()> {
    let mut market = marketplace(&[("attic", 10_000)]).await?;
    let (alpha, acme) = virtual_at(&market, "alpha").await?;
    let (gamma, other) = virtual_at(&market, "gamma").await?;
    for fleet in [&alpha, &gamma] {
        sees(fleet, "market.attic").await?;
    }
    let request = notes("acme", "notes", REMOTE)?;
    let (one, two) = tokio::try_join!(order_completed(&acme, &request), order_completed(&other, &request))?;
    ensure!(place(&one)?.host == "market.attic" && place(&two)?.host == "market.attic");
    let leases = market.client.leases(&LeaseQuery::default()).await?.items;
    let buyers: Vec<_> = leases.iter().map(|l| l.partner.as_str()).collect();
    ensure!(buyers.contains(&"alpha") && buyers.contains(&"gamma"), "{leases:#?}");

    // 2 cores are there, half a core is used by each: of six more orders of half a core, two fit.
    let mut ordered = tokio::task::JoinSet::new();
    for n in 0..3 {
        for fleet in [&alpha, &gamma] {
            let client = fleet.client_of(Role::Customer, "acme").await?;
            let request = notes("acme", &format!("more-{n}"), REMOTE)?;
            ordered.spawn(async move { order(&client, &request).await });
        }
    }
    let mut completed = 0;
    while let Some(done) = ordered.join_next().await {
        completed += usize::from(done??.state == OrderState::Completed);
    }
    let open = |l: &&chandler_api::market::Lease| l.state == LeaseState::Active || l.state == LeaseState::Reserved;
    let leases = market.client.leases(&LeaseQuery::default()).await?.items;
    ensure!(leases.iter().filter(open).count() == 2 + completed, "{completed} were completed: {leases:#?}");
    ensure!(completed == 2, "{completed} of six orders got one of the last two places");
    market.agents.clear();
    Ok(())
}

/// Of two PCs the cheaper is bought; of two at one price the one that is there more often, where that is wanted. When the
/// owner asks for more, new leases go elsewhere; those that run keep their price. Both owners are paid what they asked.
#[tokio::test(flavor = "multi_thread")]
async fn a40_the_desired_rate_decides_with_quality_and_is_what_the_site_is_paid_by() -> Result<()> {
    let market = marketplace(&[("attic", 300_000), ("cellar", 600_000)]).await?;
    market.history("cellar", 999_900).await?;
    let (alpha, acme) = virtual_at(&market, "alpha").await?;
    for pc in ["market.attic", "market.cellar"] {
        sees(&alpha, pc).await?;
    }
    let first = order_completed(&acme, &notes("acme", "cheap", REMOTE)?).await?;
    ensure!(place(&first)?.host == "market.attic", "the rate decides: {first:#?}");
    let sturdy = format!("[sla]\navailability = {{ min = \"99.5 %\" }}\n{REMOTE}");
    let second = order_completed(&acme, &notes("acme", "sturdy", &sturdy)?).await?;
    ensure!(place(&second)?.host == "market.cellar", "quality decides: {second:#?}");

    let money = |micros| Money { micros, currency: "EUR".to_owned() };
    let offers = market.client.offers(&Default::default()).await?.items;
    let attic = offers.iter().find(|o| o.site == "attic-home").context("the offer")?;
    let etag = market.client.offer(&attic.id.to_string()).await?.etag;
    let rates = Some(Rates { core_hour: money(900_000), gib_hour: money(0), gpu_hour: None });
    let change = OfferChange { rates, ..OfferChange::default() };
    market.client.offer_change(&attic.id.to_string(), &change, &etag).await?;
    let third = eventually_ok("the new rate to be known", PATIENCE, || async {
        let site = alpha.client.site("market.attic-home").await?.value;
        ensure!(site.rates.core_hour.micros == 900_000, "{site:#?}");
        anyhow::Ok(())
    });
    third.await?;
    let third = order_completed(&acme, &notes("acme", "later", REMOTE)?).await?;
    ensure!(place(&third)?.host == "market.cellar", "the new rate decides: {third:#?}");
    agree((&alpha, "alpha"), (&market, "market")).await?;
    for lease in market.client.leases(&LeaseQuery::default()).await?.items {
        let asked = if lease.host == "attic" { 300_000 } else { 600_000 };
        ensure!(lease.rates.core_hour.micros == asked, "paid as it was posted when it was bought: {lease:#?}");
    }
    Ok(())
}
