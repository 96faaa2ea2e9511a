//! What several tests look at: the one place of a service, its objectives, who refused it and why.

use anyhow::{Context, Result, ensure};
use chandler_api::client::Client;
use chandler_api::order::{Order, OrderRequest, OrderState};
use chandler_api::quote::Alternative;
use chandler_api::service::{Placement, Service};
use chandler_api::sla::{Sla, SlaObjective, SlaStatus};
use chandler_api::value::MonthlyCost;
use chandler_harness::wait::eventually_ok;
use chandler_tests::fleet::{PATIENCE, order};

/// The one place of a service that has one copy. Where it left, its old state may be kept for a while; that serves nobody.
pub(crate) fn place(service: &Service) -> Result<&Placement> {
    let mut staying = service.placements.iter().filter(|p| p.state != "releasing");
    let first = staying.next().context("it has a place")?;
    ensure!(staying.next().is_none(), "{} has several places", service.name);
    Ok(first)
}

/// The hosts of a service's copies, sorted.
pub(crate) fn hosts(service: &Service) -> Vec<&str> {
    let mut hosts: Vec<_> = service.placements.iter().map(|p| p.host.as_str()).collect();
    hosts.sort_unstable();
    hosts
}

/// One objective of a service's SLA.
pub(crate) fn objective<'s>(sla: &'s Sla, name: &str) -> Result<&'s SlaObjective> {
    sla.objectives.iter().find(|o| o.name == name).with_context(|| format!("{sla:#?} has no objective {name}"))
}

/// The SLA of a service, once `judge` is content with it.
pub(crate) async fn sla_when(client: &Client, service: &str, judge: impl Fn(&Sla) -> Result<()>) -> Result<Sla> {
    let what = format!("the SLA of {service}");
    let seen = eventually_ok(&what, PATIENCE, || async {
        let sla = client.sla(service).await?.value;
        judge(&sla).with_context(|| format!("{sla:#?}")).map_err(|e| anyhow::anyhow!("{e:#}"))?;
        anyhow::Ok(sla)
    });
    Ok(seen.await?)
}

/// The SLA of a service, once it has this status.
pub(crate) async fn sla_is(client: &Client, service: &str, status: SlaStatus) -> Result<Sla> {
    sla_when(client, service, |sla| {
        ensure!(sla.status == status, "it is not {status:?}");
        Ok(())
    })
    .await
}

/// Submits an order that must be rejected with this code.
pub(crate) async fn rejected(client: &Client, request: &OrderRequest, code: &str) -> Result<Order> {
    let order = order(client, request).await?;
    ensure!(order.state == OrderState::Rejected && order.code == code, "shall be rejected with {code}: {order:#?}");
    ensure!(!order.reason.is_empty(), "a rejection says why: {order:#?}");
    Ok(order)
}

/// The alternative that changes this one term.
pub(crate) fn nearest<'o>(order: &'o Order, term: &str) -> Result<&'o Alternative> {
    order.nearest.iter().find(|a| a.term == term).with_context(|| format!("nothing proposed for {term}: {order:#?}"))
}

/// A cost one millionth below this one.
pub(crate) fn just_below(cost: &MonthlyCost) -> MonthlyCost {
    MonthlyCost { amount: chandler_protocol::MicroMoney(cost.amount.0 - 1), currency: cost.currency.clone() }
}
