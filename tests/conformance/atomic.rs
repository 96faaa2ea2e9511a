//! B04: one atomic life cycle, also for the last unit.

use anyhow::{Context, Result, ensure};
use chandler_api::client::random_key;
use chandler_api::host::{AllocationStatus, Host};
use chandler_api::order::{Order, OrderState};
use chandler_harness::wait::eventually_ok;
use chandler_protocol::MilliCpu;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE, order, order_completed, settled};
use chandler_tests::http;
use chandler_tests::orders::notes;

use crate::seen::nearest;

/// Customers who want the last unit at the same time.
const RIVALS: usize = 50;

/// The inventory once it shows this.
async fn inventory(fleet: &Fleet, status: AllocationStatus, milli_cpu: u32, assignments: u32) -> Result<Host> {
    let seen = eventually_ok("the inventory", PATIENCE, || async {
        let host = fleet.client.host("only").await?;
        let reserved = host.reserved.milli_cpu;
        let is_so = (host.allocation_status, reserved, host.assignments) == (status, MilliCpu(milli_cpu), assignments);
        ensure!(is_so, "it is {host:#?}");
        Ok::<_, anyhow::Error>(host)
    });
    Ok(seen.await?)
}

/// Fifty orders at once for the last unit: one is completed, the others are told what is missing and what there is
/// room for, and there is. The inventory follows each step; what is given back can be ordered again.
#[tokio::test(flavor = "multi_thread")]
async fn b04_of_fifty_orders_for_the_last_unit_one_wins() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let acme = std::sync::Arc::new(fleet.customer("acme").await?);
    fleet.publish_notes().await?;
    fleet.provider_site("hall", (10_000, 1_000)).await?;
    // Room for one with half a core; a fifth of a core is left.
    let one = AgentOptions { milli_cpu: 700, memory: "1 GiB".to_owned(), ..AgentOptions::default() };
    fleet.agent("hall", "only", one).await?;
    inventory(&fleet, AllocationStatus::Available, 0, 0).await?;

    let mut asked = tokio::task::JoinSet::new();
    for number in 0..RIVALS {
        let (acme, request) = (acme.clone(), notes("acme", &format!("rival-{number}"), "")?);
        asked.spawn(async move {
            let submitted = acme.order_submit_with_key(&request, &random_key()?).await?;
            settled(&acme, &submitted.id.to_string()).await
        });
    }
    let orders: Vec<Order> = asked.join_all().await.into_iter().collect::<Result<_>>()?;
    let (won, lost): (Vec<_>, Vec<_>) = orders.iter().partition(|o| o.state == OrderState::Completed);
    ensure!((won.len(), lost.len()) == (1, RIVALS - 1), "{} won: {orders:#?}", won.len());
    for order in &lost {
        ensure!(order.state == OrderState::Rejected && order.code == "E0302", "{order:#?}");
        ensure!(order.reason.contains("only"), "the reason does not say where what is missing: {}", order.reason);
    }
    inventory(&fleet, AllocationStatus::PartiallyAllocated, 500, 1).await?;
    let winner = won.first().context("one has won")?;
    let service = acme.service(&winner.name).await?;
    ensure!(http::body_of(&Fleet::url(&service)?, PATIENCE).await?.starts_with("notes on "));

    let room = nearest(lost.first().context("others have lost")?, "software.limits.cpu")?;
    ensure!(room.value == "0.2", "there is room for 0.2 of a core, not {}", room.value);
    let mut small = notes("acme", "small", "")?;
    small.software.limits.cpu = MilliCpu(200);
    order_completed(&acme, &small).await?;
    inventory(&fleet, AllocationStatus::Allocated, 700, 2).await?;

    let deleted = acme.service_delete(&winner.name).await?;
    ensure!(settled(&acme, &deleted.id.to_string()).await?.state == OrderState::Completed);
    inventory(&fleet, AllocationStatus::PartiallyAllocated, 200, 1).await?;
    let next = order(&acme, &notes("acme", "next", "")?).await?;
    ensure!(next.state == OrderState::Completed, "{next:#?}");
    inventory(&fleet, AllocationStatus::Allocated, 700, 2).await?;
    Ok(())
}

/// The same request sent twice, as after a connection that broke off, is one order.
#[tokio::test(flavor = "multi_thread")]
async fn b04_a_request_that_is_repeated_is_one_order() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    fleet.customer("acme").await?;
    fleet.publish_notes().await?;
    fleet.provider_site("hall", (10_000, 1_000)).await?;
    fleet.agent("hall", "only", AgentOptions::default()).await?;
    let (request, key) = (notes("acme", "notes", "")?, random_key()?);
    let submit = || fleet.client.order_submit_with_key(&request, &key);
    let (first, second) = tokio::join!(submit(), submit());
    // Of two at the same moment one may be told that the other is being dealt with.
    let ids: Vec<_> = [first, second, submit().await].into_iter().flatten().map(|o| o.id).collect();
    ensure!(ids.len() >= 2 && ids.iter().all(|id| Some(id) == ids.first()), "{ids:?}");
    let order = fleet.settled(&ids.first().context("an order")?.to_string()).await?;
    ensure!(order.state == OrderState::Completed, "{order:#?}");
    inventory(&fleet, AllocationStatus::PartiallyAllocated, 500, 1).await?;
    let other = notes("acme", "other", "")?;
    let reused = fleet.client.order_submit_with_key(&other, &key).await;
    ensure!(reused.is_err_and(|e| e.code() == "E0143"), "one key was used for two requests");
    Ok(())
}
