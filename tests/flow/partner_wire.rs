//! Two controllers with a bad wire between them: every word is late, and connections are cut when a request went through
//! and its answer did not come back, so that it is made again.

use std::time::Duration;

use anyhow::{Result, ensure};
use chandler_harness::wire::{TcpWire, Weather};
use chandler_tests::load::{Demand, Load, check_notes};
use chandler_tests::orders;

use crate::partner_ground::{Copies, Ground};

/// An argument of services beside the one whose copies are counted.
const OTHER: &str = "--delay-ms";
const WRITES: Demand = Demand { clients: 2, pace: Duration::from_millis(20), writes: true };
const BAD: Weather = Weather { late: Duration::from_millis(120), cut_percent: 40 };

/// Bought, moved there and back, and there again, and a second service that comes and goes: one owner at all times, one
/// lease for each copy, every write, and the same sum on both sides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_late_or_never_come_back_change_nothing() -> Result<()> {
    let wire = TcpWire::start(BAD, 7).await?;
    let seller = vec!["--federation-advertise".to_owned(), wire.address().to_string()];
    // The invitation names the wire; it leads to the seller before anybody accepts it.
    let ground = Ground::behind("6 s", seller, |federation| wire.lead_to(federation)).await?;
    let policy = "[policy]\nowners = [\"provider\", \"partner\"]\nmove = { hold = \"10 s\", keep = \"1 s\" }";
    let door = ground.order(true, policy).await?;
    let copies = Copies::count(&ground, OTHER);
    let load = Load::start(door, "ledger", WRITES);
    // Each is asked for once, as its buyer sees it, whatever became of the answers: else it would have to go elsewhere.
    for name in ["one", "two", "three"] {
        let mut order = orders::notes("acme", name, "[policy]\nowners = [\"partner\"]")?;
        order.software.command.extend([OTHER.to_owned(), "1".to_owned()]);
        let service = ground.alpha.order_completed(&order).await?;
        ensure!(service.replacements.is_empty(), "{service:#?}");
        ground.alpha.client.service_delete(name).await?;
    }
    for _ in 0..2 {
        let to = if ground.owner().await? == "near" { "beta.far" } else { "near" };
        ground.moves("ledger", to).await?;
    }
    if ground.owner().await? == "near" {
        ground.moves("ledger", "beta.far").await?;
    }
    let record = load.stop().await?;
    check_notes(door, &record.written).await?;
    ensure!(record.written.len() > 50, "only {} writes went through", record.written.len());
    let counted = copies.stop()?;
    let cuts = wire.cuts();
    ensure!(cuts >= 10, "only {cuts} connections were cut: nothing was tried");
    wire.calm();
    ground.one_lease_each(1).await?;
    ground.agree().await?;
    ground.alpha.client.service_delete("ledger").await?;
    ground.one_lease_each(0).await?;
    ground.agree().await?;
    eprintln!("{} written, {} failed, {cuts} cut, counted {counted} times", record.written.len(), record.failed.len());
    Ok(())
}
