//! A03, A04: what the customer and the provider would rather have moves services, within the SLA and under their users.

use anyhow::{Context, Result, ensure};
use chandler_api::criteria::ProviderCriteria;
use chandler_api::drain::{DrainRequest, Going};
use chandler_api::site::{Maintenance, SiteRole, SiteUpdate};
use chandler_api::value::Time;
use chandler_harness::wait::eventually_ok;
use chandler_protocol::{Micros, Timestamp};
use chandler_tests::fleet::PATIENCE;
use chandler_tests::orders::notes;

use crate::used::{Ground, here};

/// One service goes where it is cheaper now, and not where it would be cheaper still but not within its SLA. One goes to
/// the customer's own premises as soon as there is a computer, though that is dearer, as far as it may be. One would
/// go where it is cheaper too, but its customer wants no move at these hours.
#[tokio::test(flavor = "multi_thread")]
async fn a03_a_customer_criterion_moves_within_the_sla() -> Result<()> {
    let mut ground = Ground::start().await?;
    ground.site("rack", SiteRole::Provider, "DE", 40_000).await?;
    ground.site("barn", SiteRole::Provider, "DE", 60_000).await?;
    ground.site("attic", SiteRole::Remote, "AT", 60_000).await?;
    let order = |name: &str, policy: &str| {
        let sla =
            "[sla]\nresidency = [\"DE\"]\ncost = { max = \"30 EUR/month\" }\n[policy]\nmove = { hold = \"10 s\" }\n";
        notes("acme", name, &format!("{sla}{policy}"))
    };
    let thrifty = order("thrifty", "owners = [\"provider\", \"remote\"]\ncriteria = { cheaper = true }")?;
    let homely = "criteria = { cheaper = false, prefer = [\"customer\"], premiumPercent = 50 }";
    let homely = order("homely", homely)?;
    let quiet = "owners = [\"provider\", \"remote\"]\n\
                 criteria = { cheaper = true, at = [{ when = \"daily 00:00-24:00 UTC\", blackout = true }] }";
    let quiet = order("quiet", quiet)?;
    let thrifty = ground.used(&thrifty, "rack", &["rack", "barn"]).await?;
    let homely = ground.used(&homely, "rack", &["rack", "desk"]).await?;
    let quiet = ground.used(&quiet, "rack", &["rack"]).await?;

    ground.price("attic", 1_000).await?;
    ground.price("barn", 10_000).await?;
    let cheaper = thrifty.moves(&ground, "customerCriterion", "rack", "barn").await?;
    ensure!(cheaper.predicted.gain.micros > cheaper.predicted.cost.micros, "it pays: {:#?}", cheaper.predicted);
    quiet.declines(&ground, "customerCriterion", "the customer wants no move").await?;

    ground.site("desk", SiteRole::Customer, "DE", 45_000).await?;
    homely.moves(&ground, "customerCriterion", "rack", "desk").await?;
    ensure!(here(&ground.acme.service("quiet").await?) == ["rack"], "{:#?}", quiet.all(&ground).await?);
    for used in [thrifty, homely, quiet] {
        used.ends().await?;
    }
    Ok(())
}

/// The provider puts its own computers first, drains a host, works on a site, and drains another one. What fits elsewhere
/// goes; what does not stays within its SLA, and the provider is told why.
#[tokio::test(flavor = "multi_thread")]
async fn a04_a_provider_criterion_moves_within_the_sla() -> Result<()> {
    let mut ground = Ground::start().await?;
    ground.site("hall", SiteRole::Provider, "DE", 10_000).await?;
    ground.site("yard", SiteRole::Provider, "DE", 12_000).await?;
    ground.site("attic", SiteRole::Remote, "AT", 5_000).await?;
    let policy = "[policy]\nmove = { hold = \"10 s\" }\ncriteria = { cheaper = false }";
    let bound = notes("acme", "bound", &format!("[sla]\nresidency = [\"DE\"]\n{policy}"))?;
    let free = notes("acme", "free", policy)?;
    let bound = ground.used(&bound, "hall", &["hall", "yard"]).await?;
    let free = ground.used(&free, "attic", &["attic", "hall", "yard"]).await?;
    let provider = &ground.fleet.client;

    let own_first = ProviderCriteria { own_first_percent: Some(200), ..ProviderCriteria::default() };
    provider.criteria_put(&own_first).await?;
    free.moves(&ground, "providerCriterion", "attic", "hall").await?;

    let why = DrainRequest { reason: "new fans".to_owned() };
    provider.host_drain("hall", &why).await?;
    for used in [&bound, &free] {
        let moved = used.moves(&ground, "providerCriterion", "hall", "yard").await?;
        ensure!(moved.evidence.contains("new fans"), "the provider's reason is told: {}", moved.evidence);
    }
    let drained = eventually_ok("the host to be left", PATIENCE, || async {
        let report = provider.host_drain_report("hall").await?;
        ensure!(report.done, "{report:#?}");
        anyhow::Ok(report)
    });
    ensure!(drained.await?.services.iter().all(|s| s.going == Going::Moved), "all have gone");

    provider.host_undrain("hall").await?;
    provider.criteria_put(&ProviderCriteria::default()).await?;
    maintained(&ground, "yard").await?;
    bound.moves(&ground, "providerCriterion", "yard", "hall").await?;
    provider.site_drain("hall", &why).await?;
    // By way of the hall, or at once.
    ground.fleet.running_where("free", |s| here(s) == ["attic"]).await?;
    let stuck = eventually_ok("the provider to be told what cannot go", PATIENCE, || async {
        let report = provider.site_drain_report("hall").await?;
        let stuck = report.services.iter().find(|s| s.service == "bound" && s.going == Going::Cannot);
        stuck.cloned().with_context(|| format!("{report:#?}"))
    });
    let stuck = stuck.await?;
    ensure!(!stuck.why.is_empty(), "{stuck:#?}");
    eprintln!("bound stays: {}", stuck.why);
    ensure!(here(&ground.acme.service("bound").await?) == ["hall"], "it stays within its SLA");
    for used in [bound, free] {
        used.ends().await?;
    }
    Ok(())
}

/// From now on, and for an hour, a site is worked on.
async fn maintained(ground: &Ground, site: &str) -> Result<()> {
    let agreed = ground.fleet.client.site(site).await?;
    let now = ground.fleet.client.status().await?.at.0;
    let window = Maintenance {
        from: Time(now),
        to: Time(Timestamp(now.0 + Micros::from_secs(3_600).0)),
        reason: "new cables".to_owned(),
    };
    let change = SiteUpdate { maintenance: Some(vec![window]), ..SiteUpdate::default() };
    ground.fleet.client.site_update(site, &change, &agreed.etag).await?;
    Ok(())
}
