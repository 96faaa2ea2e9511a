//! A25, A26: a service with state leaves a remote site, and a partner, and nobody who uses it notices.

use anyhow::{Context, Result, ensure};
use chandler_api::movement::{MoveKind, MoveTo};
use chandler_api::order::OwnerKind;
use chandler_api::site::SiteRole;
use chandler_tests::load::check_notes;
use chandler_tests::moves::hold_ms;
use chandler_tests::orders::notes;

use crate::used::Ground;

/// From the remote site to the customer's own computer, to the provider's, to a partner's, and back each time, with writes
/// all the time: none of the requests fails, the state has one owner and goes with it, and every write that was
/// acknowledged is there once.
#[tokio::test(flavor = "multi_thread")]
async fn a25_a_service_with_state_leaves_a_remote_site_transparently() -> Result<()> {
    let mut ground = Ground::start().await?;
    ground.site("attic", SiteRole::Remote, "AT", 5_000).await?;
    ground.site("desk", SiteRole::Customer, "DE", 20_000).await?;
    ground.site("server", SiteRole::Provider, "DE", 20_000).await?;
    ground.partner("beta", "far", 20_000).await?;
    let (customer, provider, partner) = ((OwnerKind::Customer, "desk"), (OwnerKind::Provider, "server"), FAR);
    let remote = (OwnerKind::Remote, "attic");
    goes_round(&ground, "attic", &[customer, remote, provider, remote, partner, remote]).await
}

/// From a partner's machine to the customer's own computer, to the provider's, to a remote site, and back each time.
#[tokio::test(flavor = "multi_thread")]
async fn a26_a_service_with_state_leaves_a_partner_transparently() -> Result<()> {
    let mut ground = Ground::start().await?;
    ground.site("attic", SiteRole::Remote, "AT", 20_000).await?;
    ground.site("desk", SiteRole::Customer, "DE", 20_000).await?;
    ground.site("server", SiteRole::Provider, "DE", 20_000).await?;
    ground.partner("beta", "far", 5_000).await?;
    let (customer, provider) = ((OwnerKind::Customer, "desk"), (OwnerKind::Provider, "server"));
    goes_round(&ground, "beta.far", &[customer, FAR, provider, FAR, (OwnerKind::Remote, "attic"), FAR]).await
}

/// The partner's machine.
const FAR: (OwnerKind, &str) = (OwnerKind::Partner, "beta.far");

/// Orders the notes with a state that one copy alone may write, which begins at `first`, and moves it from place to place
/// under use. Afterwards every note is there, and both ledgers say the same of the partner.
async fn goes_round(ground: &Ground, first: &str, places: &[(OwnerKind, &str)]) -> Result<()> {
    let mut order = notes("acme", "notes", "[policy]\nmove = { hold = \"10 s\" }\ncriteria = { cheaper = false }")?;
    order.software.state.as_mut().context("the notes have a state")?.exclusive = true;
    let used = ground.used(&order, first, &["attic", "desk", "server", "beta.far"]).await?;
    let mut from = first;
    for (kind, to) in places.iter().copied() {
        ground.fleet.order_move("notes", MoveTo::Owner(kind)).await?;
        let moved = used.moves(ground, "operator", from, to).await?;
        ensure!(moved.kind == MoveKind::Exclusive, "its state goes with it: {moved:#?}");
        let realised = moved.realised.as_ref().context("what came of it is told")?;
        ensure!(realised.failed == 0 && realised.cut == 0, "{realised:#?}");
        let tenure = ground.acme.service("notes").await?.tenure.context("its state has an owner")?;
        ensure!(tenure.owner.as_deref() == Some(to), "{tenure:#?}");
        eprintln!("{from} to {to}: requests waited for {:.0} ms", hold_ms(&moved));
        from = to;
    }
    let door = used.door;
    let written = used.ends().await?.written;
    ensure!(written.len() > 20, "only {} notes were written", written.len());
    check_notes(door, &written).await?;
    ground.settles().await
}
