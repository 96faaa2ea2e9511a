//! What most flows begin with: a customer, a site, computers, the notes application; and what they look at.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chandler_api::client::Client;
use chandler_api::order::OrderRequest;
use chandler_api::service::{Service, ServiceState};
use chandler_harness::wait::eventually;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE};
use chandler_tests::process::{self, Process};

/// What a site's computers cost: millionths of a euro per core-hour and GiB-hour.
const RATES: (i64, i64) = (10_000, 2_000);

/// A customer with their client, and a site with this many computers, called `cellar-1` and so on.
pub(crate) async fn cellar(fleet: &mut Fleet, computers: usize, options: &AgentOptions) -> Result<Client> {
    let acme = fleet.customer("acme").await?;
    fleet.provider_site("cellar", RATES).await?;
    for number in 1..=computers {
        fleet.agent("cellar", &format!("cellar-{number}"), options.clone()).await?;
    }
    Ok(acme)
}

/// The notes application as a service that runs; gives it with its process.
pub(crate) async fn notes(fleet: &Fleet, order: &OrderRequest) -> Result<(Service, Process)> {
    fleet.publish_notes().await?;
    let service = fleet.order_completed(order).await?;
    let process = process::of_notes(&Fleet::url(&service)?).await?;
    Ok((service, process))
}

/// When a process began, in the kernel's ticks since boot: with its id it tells one process from every other.
pub(crate) fn birth(process: Process) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id))?;
    let (_, fields) = stat.rsplit_once(") ").context("no fields")?;
    // The 22nd field; the two before the bracket are not among these.
    let start = fields.split(' ').nth(19).context("no start time")?;
    Ok(start.parse()?)
}

/// Waits until a process has ended.
pub(crate) async fn gone(process: Process) -> Result<()> {
    let what = format!("{process:?} to end");
    Ok(eventually(&what, PATIENCE, || async { (!process.is_alive()).then_some(()) }).await?)
}

/// Ends a service, and waits until it is back in the inventory.
pub(crate) async fn delete(client: &Client, service: &str) -> Result<()> {
    client.service_delete(service).await?;
    let what = format!("{service} to be gone");
    let gone = eventually(&what, PATIENCE, || async {
        client.service(service).await.ok().filter(|s| s.state == ServiceState::Terminated).map(drop)
    });
    Ok(gone.await?)
}

/// How long a service has run according to its customer's bill.
pub(crate) async fn billed(fleet: &Fleet, customer: &str, service: &str) -> Result<Duration> {
    let run = chandler_api::bill::BillRun { customer: Some(customer.to_owned()), month: None };
    let bills = fleet.client.bill_run(&run).await?;
    let lines = bills.items.iter().flat_map(|b| &b.lines).filter(|l| l.service == service);
    let micros: i64 = lines.map(|l| l.running_micros).sum();
    Ok(Duration::from_micros(micros.try_into()?))
}

/// The books must balance, with something in them.
pub(crate) async fn balanced(fleet: &Fleet) -> Result<()> {
    let check = fleet.client.ledger_check().await?;
    ensure!(check.balanced && check.unbalanced == 0 && check.unposted == 0 && check.postings > 0, "{check:?}");
    Ok(())
}
