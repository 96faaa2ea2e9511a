//! Several controllers that trade: who is whose partner, and what each offers.

use anyhow::{Context, Result, ensure};
use chandler_api::host::HostState;
use chandler_api::market::OfferPost;
use chandler_api::partner::{PartnerAccept, PartnerInvite, Scope};
use chandler_api::site::Rates;
use chandler_api::value::{Money, Span};
use chandler_harness::wait::eventually_ok;
use chandler_protocol::Micros;

use crate::fleet::{Fleet, PATIENCE};

/// `buyer` may buy from `seller` from now on. Each calls the other by these names.
///
/// # Errors
/// One of them refuses.
pub async fn may_buy(buyer: (&Fleet, &str), seller: (&Fleet, &str)) -> Result<()> {
    let hour = Span(Micros::from_secs(3_600));
    let invite = PartnerInvite { name: buyer.1.to_owned(), may: vec![Scope::Buy], expires: hour };
    let invited = seller.0.client.partner_invite(&invite).await?;
    let accept = PartnerAccept { invitation: invited.invitation, name: seller.1.to_owned(), may: vec![Scope::Sell] };
    buyer.0.client.partner_accept(&accept).await?;
    Ok(())
}

/// Offers all machines of a site to partners, at these rates in millionths of a euro per core-hour and GiB-hour.
///
/// # Errors
/// The controller refuses it.
pub async fn offer(seller: &Fleet, site: &str, rates: (i64, i64)) -> Result<chandler_api::market::Offer> {
    Ok(seller.client.offer_post(&posted(site, rates)).await?)
}

/// What [`offer`] posts.
pub fn posted(site: &str, rates: (i64, i64)) -> OfferPost {
    let money = |micros| Money { micros, currency: "EUR".to_owned() };
    OfferPost {
        site: site.to_owned(),
        rates: Rates { core_hour: money(rates.0), gib_hour: money(rates.1), gpu_hour: None },
        free: false,
        capacity: None,
        windows: vec!["daily 00:00-24:00 UTC".to_owned()],
        min_term: Span(Micros::from_secs(60)),
        reclaim_notice: Span(Micros::from_secs(10)),
        residency: None,
        availability: None,
        price_notice: Span(Micros::from_secs(10)),
        until: None,
    }
}

/// Waits until the buyer knows a host of the seller's as one that it can use.
///
/// # Errors
/// It does not in time.
pub async fn sees(buyer: &Fleet, host: &str) -> Result<()> {
    let what = format!("{host} to be known to its buyer");
    let seen = eventually_ok(&what, PATIENCE, || async {
        let known = buyer.client.host(host).await.context("the host is not known")?;
        ensure!(known.state == HostState::Active, "{known:#?}");
        anyhow::Ok(())
    });
    Ok(seen.await?)
}

/// Waits until both ledgers say the same of what the buyer owes the seller, and both balance; gives the sum in micro-units.
///
/// # Errors
/// They do not in time.
pub async fn agree(buyer: (&Fleet, &str), seller: (&Fleet, &str)) -> Result<i64> {
    let equal = eventually_ok("both ledgers to say the same", PATIENCE, || async {
        let (bought, sold) = (owed(buyer.0, seller.1, "bought").await?, owed(seller.0, buyer.1, "sold").await?);
        ensure!(bought == sold, "the buyer has {bought:?}, the seller {sold:?}");
        for fleet in [buyer.0, seller.0] {
            let check = fleet.client.ledger_check().await?;
            ensure!(check.balanced, "{check:#?}");
        }
        ensure!(sold.0 > 0, "nothing was receipted yet");
        anyhow::Ok(sold)
    });
    Ok(equal.await?.1)
}

/// How many receipts there are with a partner, what is owed for them, and what is held.
async fn owed(fleet: &Fleet, partner: &str, side: &str) -> Result<(u64, i64, i64)> {
    let all = fleet.client.receipts(partner).await?;
    let of = all.iter().find(|c| c.side.as_str() == side).with_context(|| format!("no receipts: {all:#?}"))?;
    Ok((of.receipts, of.agreed.micros + of.decided.micros, of.held.micros))
}
