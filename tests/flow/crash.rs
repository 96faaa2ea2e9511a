//! kill -9: of the controller among orders, of an agent, of a whole machine. Nothing acknowledged is lost, nothing is
//! done twice, and software runs on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use chandler_api::client::{Client, all};
use chandler_api::host::HostState;
use chandler_api::order::{Order, OrderRequest};
use chandler_harness::wait::{eventually, eventually_ok};
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE};
use chandler_tests::{http, orders, process};
use tokio::task::JoinSet;

use crate::ground::{balanced, birth, cellar, delete, gone, notes};

/// How often the controller is killed.
const KILLS: usize = 20;
/// Orders around each kill, and how many are submitted at a time.
const ORDERS: usize = 200;
const SUBMITTERS: usize = 8;
/// A submitter that was not answered tries again for so long.
const AGAIN: Duration = Duration::from_secs(60);

/// An order that nobody can serve, as there is no computer: quickly decided, and an order all the same.
fn small(name: &str) -> Result<OrderRequest> {
    orders::order(&format!(
        "customer = \"acme\"\nname = \"{name}\"\n[software]\ninstalled = {{ name = \"true\", path = \"/bin/true\" }}\ncommand = [\"true\"]\n"
    ))
}

/// Submits every `SUBMITTERS`th order, each until it is acknowledged, each with a key of its own.
async fn submit(client: Client, round: usize, first: usize, done: &'static AtomicUsize) -> Result<Vec<Order>> {
    let mut acknowledged = Vec::new();
    for number in (first..ORDERS).step_by(SUBMITTERS) {
        let name = format!("order-{round}-{number}");
        let order = small(&name)?;
        let answer = eventually_ok(&name, AGAIN, || client.order_submit_with_key(&order, &name)).await?;
        done.fetch_add(1, Ordering::Relaxed);
        acknowledged.push(answer);
    }
    Ok(acknowledged)
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_survive_a_controller_that_is_killed_among_them() -> Result<()> {
    static DONE: AtomicUsize = AtomicUsize::new(0);
    let mut fleet = Fleet::start().await?;
    fleet.customer("acme").await?;
    let mut acknowledged = BTreeMap::new();
    for round in 0..KILLS {
        DONE.store(0, Ordering::Relaxed);
        let mut submitters = JoinSet::new();
        for first in 0..SUBMITTERS {
            submitters.spawn(submit(
                Client::new(&format!("http://{}", fleet.http), Some(&fleet.token))?,
                round,
                first,
                &DONE,
            ));
        }
        // Somewhere in the middle, elsewhere each time.
        let moment = 10 + (round * 67) % (ORDERS - 30);
        eventually("some orders to be acknowledged", PATIENCE, || async {
            (DONE.load(Ordering::Relaxed) >= moment).then_some(())
        })
        .await?;
        fleet.kill_controller()?;
        ensure!(DONE.load(Ordering::Relaxed) < ORDERS, "it was killed too late in round {round}");
        fleet.restart_controller().await?;
        while let Some(orders) = submitters.join_next().await {
            acknowledged.extend(orders??.into_iter().map(|o| (o.name, o.id)));
        }
    }
    ensure!(acknowledged.len() == KILLS * ORDERS);
    let kept = all(|page| fleet.client.orders(page)).await?;
    ensure!(kept.len() == KILLS * ORDERS, "{} orders are there, {} were placed", kept.len(), KILLS * ORDERS);
    let kept: BTreeMap<_, _> = kept.into_iter().map(|o| (o.name, o.id)).collect();
    ensure!(kept == acknowledged, "the orders that are there are not those that were acknowledged");
    Ok(())
}

/// Its software is the very same process before and after, and the new agent has it in hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_takes_its_software_up_again() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let acme = cellar(&mut fleet, 1, &AgentOptions::default()).await?;
    let (service, before) = notes(&fleet, &orders::notes("acme", "notes", "")?).await?;
    let (url, began) = (Fleet::url(&service)?, birth(before)?);
    for _ in 0..3 {
        fleet.agent_named("cellar-1")?.kill()?;
        ensure!(process::of_notes(&url).await? == before, "it ended with its agent");
        let agent = fleet.agent_named("cellar-1")?;
        agent.restart()?;
        agent.daemon.wait_for_line("ready ", PATIENCE).await?;
        fleet.host_in_state("cellar-1", HostState::Active).await?;
        let seen = fleet.running_where("notes", |s| s.placements.len() == 1).await?;
        ensure!(seen.placements[0].starts == 1 && seen.replacements.is_empty(), "{seen:#?}");
        ensure!(process::of_notes(&url).await? == before && birth(before)? == began, "it was started again");
    }
    // Only an agent that has it in hand can end it.
    delete(&acme, "notes").await?;
    gone(before).await?;
    balanced(&fleet).await
}

/// A machine that was switched off and on again runs what it ran, on the same port with the same state, though no
/// controller tells it to.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_restarts_needs_no_controller() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    cellar(&mut fleet, 1, &AgentOptions::default()).await?;
    let (service, before) = notes(&fleet, &orders::notes("acme", "notes", "")?).await?;
    let url = Fleet::url(&service)?;
    http::post(&format!("{url}/notes"), "remember me").await?;
    fleet.kill_controller()?;
    let agent = fleet.agent_named("cellar-1")?;
    agent.kill_machine()?;
    ensure!(!before.is_alive(), "the machine is off");
    agent.restart()?;
    let after = eventually_ok("notes to answer again", PATIENCE, || process::of_notes(&url)).await?;
    ensure!(after != before);
    ensure!(http::body_of(&format!("{url}/notes"), PATIENCE).await? == "remember me\n");
    let began = birth(after)?;
    fleet.restart_controller().await?;
    let seen = fleet.running_where("notes", |s| s.placements.iter().all(|p| p.starts == 2)).await?;
    ensure!(seen.replacements.is_empty() && Fleet::url(&seen)? == url, "{seen:#?}");
    ensure!(process::of_notes(&url).await? == after && birth(after)? == began, "the controller started it again");
    Ok(())
}
