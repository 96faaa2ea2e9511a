//! A service at a partner's machine is amended to want more and less, in use: its lease, its limits and its price follow.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chandler_api::market::{LeaseQuery, LeaseState};
use chandler_api::order::{Action, OrderState};
use chandler_api::settlement::StatementQuery;
use chandler_harness::wait::eventually_ok;
use chandler_protocol::{Bytes, MilliCpu};
use chandler_tests::fleet::{Fleet, PATIENCE};
use chandler_tests::load::{Demand, Load, check_notes};
use chandler_tests::{http, orders, process};

use crate::partner_ground::Ground;

const PARTNER: &str = "[policy]\nowners = [\"partner\"]";
const DEMAND: Demand = Demand { clients: 2, pace: Duration::from_millis(20), writes: true };

/// What is leased, at both, and what is reserved on the seller's machine.
async fn is_leased(ground: &Ground, cpu: u32, memory: u64) -> Result<()> {
    let capacity = |c: &chandler_api::host::Capacity| (c.milli_cpu, c.memory.0);
    let wanted = (MilliCpu(cpu), Bytes(memory));
    let open = LeaseQuery { state: Some("open".to_owned()), ..LeaseQuery::default() };
    let same = eventually_ok("both to lease the same", PATIENCE, || async {
        for fleet in [&ground.alpha, &ground.beta] {
            let all = fleet.client.leases(&open).await?.items;
            let [lease] = all.as_slice() else { anyhow::bail!("{all:#?}") };
            ensure!(lease.state == LeaseState::Active && capacity(&lease.capacity) == wanted, "{lease:#?}");
        }
        let host = ground.beta.client.host("far").await?;
        ensure!(capacity(&host.reserved) == wanted, "what is not leased is free for others: {host:#?}");
        anyhow::Ok(())
    });
    Ok(same.await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_amended_at_a_partner_has_the_lease_the_limits_and_the_price_of_it() -> Result<()> {
    let ground = Ground::new().await?;
    let mut request = orders::notes("acme", "ledger", PARTNER)?;
    ground.alpha.order_completed(&request).await?;
    is_leased(&ground, 500, 128 << 20).await?;
    let door = ground.alpha.door("ledger", "laptop").await?;
    http::body_of(&format!("http://{door}/"), PATIENCE).await?;
    let load = Load::start(door, "ledger", DEMAND);
    load.answers(20).await?;
    request.action = Action::Modify;
    for (cpu, memory) in [(1_000, 256 << 20), (250, 64 << 20)] {
        (request.software.limits.cpu, request.software.limits.memory.0) = (MilliCpu(cpu), Bytes(memory));
        let service = ground.alpha.order_completed(&request).await?;
        ensure!(service.replacements.is_empty() && service.placements.len() == 1, "{service:#?}");
        ensure!(service.placements[0].host == "beta.far", "{service:#?}");
        is_leased(&ground, cpu, memory).await?;
        is_limited(&ground.beta, memory).await?;
        load.answers(100).await?;
    }
    // More than there is: nothing changes, and it says what would do.
    request.software.limits.memory.0 = Bytes(1 << 40);
    let refused = ground.alpha.order(&request).await?;
    let says = refused.reason.contains("nearest beta.far");
    ensure!(refused.state == OrderState::Rejected && says, "{refused:#?}");
    is_leased(&ground, 250, 64 << 20).await?;
    let record = load.stop().await?;
    ensure!(record.failed.is_empty(), "{:#?}", record.failed);
    check_notes(door, &record.written).await?;
    ground.agree().await?;
    for side in [&ground.alpha, &ground.beta] {
        ensure!(side.client.disputes(&Default::default()).await?.items.is_empty(), "they see it differently");
        let all = side.client.statements(&StatementQuery::default()).await?.items;
        let rows: u64 = all.iter().flat_map(|s| &s.lines).map(|l| l.usage_rows).sum();
        ensure!(rows >= 3, "each size has its own record: {all:#?}");
    }
    Ok(())
}

/// The process at the seller's machine has this much memory, where that can be limited.
async fn is_limited(seller: &Fleet, memory: u64) -> Result<()> {
    let inventory = seller.client.host("far").await?.inventory.context("it said what it has")?;
    if !inventory.drivers.iter().any(|d| d.limits_memory) {
        return Ok(());
    }
    let all = process::notes_under(seller.dir())?;
    let [one] = all.as_slice() else { anyhow::bail!("{all:?}") };
    let limit = one.memory_limit()?.context("its memory is not limited")?;
    ensure!(limit == memory, "its memory is limited to {limit}, not {memory}");
    Ok(())
}
