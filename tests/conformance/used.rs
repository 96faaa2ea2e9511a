//! A service in use: somebody asks at its front door all the time, and somebody else watches where it is and whether its
//! SLA holds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chandler_api::client::Client;
use chandler_api::movement::{Move, MovePhase};
use chandler_api::order::OrderRequest;
use chandler_api::party::PartyRole;
use chandler_api::service::Service;
use chandler_api::site::{Rates, SiteRole, SiteUpdate};
use chandler_api::sla::SlaStatus;
use chandler_api::token::Role;
use chandler_api::value::Money;
use chandler_harness::wait::eventually_ok;
use chandler_tests::fleet::{AgentOptions, ControllerOptions, Fleet, PATIENCE};
use chandler_tests::http;
use chandler_tests::load::{Demand, Load, Record};
use chandler_tests::meter::Meter;
use chandler_tests::partners::{agree, may_buy, offer, sees};
use tokio::task::JoinHandle;

/// The customer's computer with the front doors. It is too small for the software itself.
const LAPTOP: &str = "laptop";

/// A fleet in which whether a move pays is decided in seconds, and a customer who uses services from a laptop.
pub(crate) struct Ground {
    pub(crate) fleet: Fleet,
    pub(crate) acme: Client,
    meters: Vec<Meter>,
    /// The controllers that it buys from, by name.
    pub(crate) partners: Vec<(String, Fleet)>,
}

impl Ground {
    pub(crate) async fn start() -> Result<Self> {
        let args = ["--relocation-period", "250 ms", "--relocation-haste", "3600"].map(str::to_owned).to_vec();
        let fleet = Fleet::with(ControllerOptions { args, ..ControllerOptions::default() }).await?;
        let acme = fleet.customer("acme").await?;
        fleet.publish_notes().await?;
        fleet.party("hobbyist", PartyRole::SiteOwner).await?;
        fleet.site("office", "acme", SiteRole::Customer, "DE", (0, 0)).await?;
        let mut ground = Self { fleet, acme, meters: Vec::new(), partners: Vec::new() };
        ground.computer("office", LAPTOP, 100).await?;
        Ok(ground)
    }

    /// A site of this kind with one computer of the same name, which was nearly always up so far. A core-hour costs
    /// this many millionths of a euro.
    pub(crate) async fn site(&mut self, name: &str, role: SiteRole, country: &str, core_hour: i64) -> Result<()> {
        let owner = match role {
            SiteRole::Customer => "acme",
            SiteRole::Provider => "provider",
            SiteRole::Remote | SiteRole::Partner => "hobbyist",
        };
        self.fleet.site(name, owner, role, country, (core_hour, 0)).await?;
        self.computer(name, name, 2_000).await?;
        self.fleet.history(name, 999_900).await?;
        Ok(())
    }

    /// Another provider with one server, which it offers for this many millionths of a euro a core-hour. Here the server is
    /// known as `PARTNER.SERVER`.
    pub(crate) async fn partner(&mut self, partner: &str, server: &str, core_hour: i64) -> Result<()> {
        let mut seller = Fleet::with(ControllerOptions { federation: true, ..ControllerOptions::default() }).await?;
        seller.provider_site("rack", (core_hour, 0)).await?;
        let meter = Meter::start(seller.dir(), server)?;
        let options = AgentOptions { starter: meter.starter(), ..AgentOptions::default() };
        seller.agent("rack", server, options).await?;
        seller.history(server, 999_900).await?;
        offer(&seller, "rack", (core_hour, 0)).await?;
        may_buy((&self.fleet, "alpha"), (&seller, partner)).await?;
        sees(&self.fleet, &format!("{partner}.{server}")).await?;
        self.meters.push(meter);
        self.partners.push((partner.to_owned(), seller));
        Ok(())
    }

    /// Both ledgers say the same of what is owed to each partner; none owes nothing.
    pub(crate) async fn settles(&self) -> Result<()> {
        for (name, seller) in &self.partners {
            let owed = agree((&self.fleet, "alpha"), (seller, name)).await?;
            eprintln!("{name} is owed {owed} millionths, by both ledgers");
        }
        Ok(())
    }

    /// Its processor is its own: how busy the machine of the test is changes no decision.
    async fn computer(&mut self, site: &str, name: &str, milli_cpu: u32) -> Result<()> {
        let meter = Meter::start(self.fleet.dir(), name)?;
        let options = AgentOptions { starter: meter.starter(), milli_cpu, ..AgentOptions::default() };
        self.fleet.agent(site, name, options).await?;
        self.meters.push(meter);
        Ok(())
    }

    /// From now on a core-hour at a site costs this many millionths of a euro.
    pub(crate) async fn price(&self, site: &str, core_hour: i64) -> Result<()> {
        let money = |micros| Money { micros, currency: "EUR".to_owned() };
        let rates = Some(Rates { core_hour: money(core_hour), gib_hour: money(0), gpu_hour: None });
        let etag = self.fleet.client.site(site).await?.etag;
        self.fleet.client.site_update(site, &SiteUpdate { rates, ..SiteUpdate::default() }, &etag).await?;
        Ok(())
    }

    /// Orders a service, which must begin at `first`, and uses it from then on. It may be at `allowed` and nowhere else.
    pub(crate) async fn used(&self, order: &OrderRequest, first: &str, allowed: &[&str]) -> Result<Used> {
        let service = chandler_tests::fleet::order_completed(&self.acme, order).await?;
        ensure!(here(&service) == [first], "{} shall begin at {first}: {:#?}", order.name, service.placements);
        let door = self.fleet.door(&order.name, LAPTOP).await?;
        http::body_of(&format!("http://{door}/"), PATIENCE).await?;
        let writes = order.software.state.as_ref().is_some_and(|s| s.exclusive);
        let demand = Demand { clients: 2, pace: Duration::from_millis(20), writes };
        let load = Load::start(door, &order.name, demand);
        let stop = Arc::new(AtomicBool::new(false));
        let allowed = allowed.iter().map(|host| (*host).to_owned()).collect();
        let watcher = self.fleet.client_of(Role::Customer, "acme").await?;
        let watch = tokio::spawn(watch(watcher, order.name.clone(), allowed, stop.clone()));
        Ok(Used { name: order.name.clone(), door, load, watch, stop })
    }
}

/// One service in use.
pub(crate) struct Used {
    pub(crate) name: String,
    pub(crate) door: SocketAddr,
    load: Load,
    watch: JoinHandle<Result<usize>>,
    stop: Arc<AtomicBool>,
}

impl Used {
    /// Waits until it was moved there for this reason, runs there alone, and answers.
    pub(crate) async fn moves(&self, ground: &Ground, trigger: &str, from: &str, to: &str) -> Result<Move> {
        let what = format!("{} to move from {from} to {to} because of {trigger}", self.name);
        let moved = eventually_ok(&what, PATIENCE, || async {
            let done = ground.fleet.moves_done(&self.name).await?;
            let last = done.last().with_context(|| format!("{} has not moved", self.name))?.clone();
            ensure!((last.from.host.as_str(), last.to.host.as_str()) == (from, to), "the last move is {last:#?}");
            anyhow::Ok(last)
        });
        let moved = match moved.await {
            Ok(moved) => moved,
            Err(error) => return Err(anyhow::Error::from(error).context(format!("{:#?}", self.all(ground).await))),
        };
        ensure!(moved.trigger == trigger && !moved.evidence.is_empty(), "not because of {trigger}: {moved:#?}");
        ground.fleet.running_where(&self.name, |s| here(s) == [to]).await?;
        http::body_of(&format!("http://{}/", self.door), PATIENCE).await?;
        eprintln!("{}: {from} to {to}, {trigger}: {}", self.name, moved.evidence);
        Ok(moved)
    }

    /// All its moves, those included that were considered and not begun.
    pub(crate) async fn all(&self, ground: &Ground) -> Result<Vec<Move>> {
        let query = chandler_api::movement::MoveQuery {
            service: Some(self.name.clone()),
            declined: true,
            ..Default::default()
        };
        Ok(ground.fleet.client.moves(&query).await?.items)
    }

    /// Waits until a move was considered and not begun, for a reason that says this.
    pub(crate) async fn declines(&self, ground: &Ground, trigger: &str, reason: &str) -> Result<()> {
        let what = format!("{} not to move although {trigger}", self.name);
        let declined = eventually_ok(&what, PATIENCE, || async {
            let all = self.all(ground).await?;
            let is_so = |m: &Move| m.phase == MovePhase::Declined && m.trigger == trigger && m.reason.contains(reason);
            ensure!(all.iter().any(is_so), "its moves: {all:#?}");
            anyhow::Ok(())
        });
        Ok(declined.await?)
    }

    /// Ends the use. No request may have failed, and it may never have been where it must not be, nor its SLA broken.
    pub(crate) async fn ends(self) -> Result<Record> {
        self.stop.store(true, Ordering::Relaxed);
        let looks = self.watch.await?.with_context(|| format!("watching {}", self.name))?;
        let record = self.load.stop().await?;
        let (answered, failed) = (record.answered.len(), record.failed.len());
        eprintln!("{}: {answered} requests answered, {failed} failed, {looks} looks", self.name);
        ensure!(failed == 0, "of {answered} requests at {} {failed} failed: {:#?}", self.name, record.failed);
        ensure!(answered > 50 && looks > 5, "{} was hardly used: {answered} requests, {looks} looks", self.name);
        Ok(record)
    }
}

/// The hosts of those copies that stay.
pub(crate) fn here(service: &Service) -> Vec<&str> {
    service.placements.iter().filter(|p| p.state != "releasing").map(|p| p.host.as_str()).collect()
}

/// Looks at a service again and again; an error when it is where it must not be, or its SLA does not hold.
async fn watch(client: Client, name: String, allowed: Vec<String>, stop: Arc<AtomicBool>) -> Result<usize> {
    let mut looks = 0;
    while !stop.load(Ordering::Relaxed) {
        let service = client.service(&name).await?;
        let wrong: Vec<_> = service.placements.iter().filter(|p| !allowed.contains(&p.host)).collect();
        ensure!(wrong.is_empty(), "{name} may be at {allowed:?} only: {wrong:#?}");
        if is_violated(&client, &name).await? {
            // Who amends an SLA has not got what the new one says before the move for it is over, and all is gone
            // from the old place.
            let service = client.service(&name).await?;
            let was_amended = service.replacements.iter().any(|r| r.trigger == "slaAmended");
            let is_left = was_amended && service.placements.iter().any(|p| p.state == "releasing");
            let is_amended = is_left || service.moves.iter().any(|m| m.trigger == "slaAmended");
            ensure!(is_amended || !is_violated(&client, &name).await?, "the SLA does not hold: {service:#?}");
        }
        looks += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(looks)
}

async fn is_violated(client: &Client, name: &str) -> Result<bool> {
    Ok(client.sla(name).await?.value.status == SlaStatus::Violated)
}
