//! What trading controllers stand on in these flows: a buyer, a seller with one server, and a count of copies.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use chandler_api::market::LeaseQuery;
use chandler_api::movement::{MovePhase, MoveTo};
use chandler_api::site::SiteRole;
use chandler_harness::wait::{eventually, eventually_ok};
use chandler_tests::fleet::{AgentOptions, ControllerOptions, Fleet, PATIENCE};
use chandler_tests::partners::{agree, may_buy, offer, sees};
use chandler_tests::{http, orders, process};

/// How soon a move has ended after what happened to it has been mended.
pub(crate) const BOUND: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(2);

pub(crate) const PHASES: [MovePhase; 9] = [
    MovePhase::Preparing,
    MovePhase::Copying,
    MovePhase::Standby,
    MovePhase::Holding,
    MovePhase::FinalCopy,
    MovePhase::Starting,
    MovePhase::Verifying,
    MovePhase::Switching,
    MovePhase::Draining,
];

/// A buyer with a server of its own and a customer with a laptop, and a seller with one server.
pub(crate) struct Ground {
    pub(crate) alpha: Fleet,
    pub(crate) beta: Fleet,
}

fn listening(grace: &'static str, args: Vec<String>) -> ControllerOptions {
    ControllerOptions { federation: true, grace, args, ..ControllerOptions::default() }
}

/// A seller with one server that it offers.
pub(crate) async fn seller(grace: &'static str, args: Vec<String>) -> Result<Fleet> {
    let mut beta = Fleet::with(listening(grace, args)).await?;
    beta.provider_site("rack", (600_000, 0)).await?;
    beta.agent("rack", "far", AgentOptions::default()).await?;
    offer(&beta, "rack", (600_000, 0)).await?;
    Ok(beta)
}

/// A buyer with a server of its own and a customer with a laptop.
pub(crate) async fn buyer(grace: &'static str) -> Result<Fleet> {
    let mut alpha = Fleet::with(listening(grace, Vec::new())).await?;
    alpha.customer("acme").await?;
    alpha.publish_notes().await?;
    alpha.site("office", "acme", SiteRole::Customer, "DE", (0, 0)).await?;
    alpha.agent("office", "laptop", AgentOptions { milli_cpu: 100, ..AgentOptions::default() }).await?;
    alpha.provider_site("hall", (600_000, 0)).await?;
    alpha.agent("hall", "near", AgentOptions::default()).await?;
    Ok(alpha)
}

impl Ground {
    pub(crate) async fn new() -> Result<Self> {
        Self::behind("3 s", Vec::new(), |_| {}).await
    }

    /// With this grace, further arguments of the seller, and what is done with its address before anybody calls it.
    pub(crate) async fn behind(
        grace: &'static str,
        seller: Vec<String>,
        listens: impl FnOnce(SocketAddr),
    ) -> Result<Self> {
        let beta = self::seller(grace, seller).await?;
        listens(beta.federation.context("it listens for partners")?);
        Self::trading(buyer(grace).await?, beta).await
    }

    /// The buyer may buy from the seller from now on, and knows its server.
    pub(crate) async fn trading(alpha: Fleet, beta: Fleet) -> Result<Self> {
        may_buy((&alpha, "alpha"), (&beta, "beta")).await?;
        sees(&alpha, "beta.far").await?;
        Ok(Self { alpha, beta })
    }

    /// Orders the notes, with a state of one owner or without one.
    pub(crate) async fn order(&self, exclusive: bool, policy: &str) -> Result<SocketAddr> {
        let mut order = orders::notes("acme", "ledger", policy)?;
        order.software.state.as_mut().context("the notes have a state")?.exclusive = exclusive;
        self.alpha.order_completed(&order).await?;
        let door = self.alpha.door("ledger", "laptop").await?;
        http::body_of(&format!("http://{door}/"), PATIENCE).await?;
        Ok(door)
    }

    pub(crate) async fn owner(&self) -> Result<String> {
        let one =
            |s: &chandler_api::service::Service| s.placements.iter().filter(|p| p.state == "allocated").count() == 1;
        let service = self.alpha.running_where("ledger", one).await?;
        let owner = service.placements.into_iter().find(|p| p.state == "allocated");
        Ok(owner.context("it is somewhere")?.host)
    }

    pub(crate) async fn reached(&self, id: &str, phase: MovePhase) -> Result<MovePhase> {
        let place = |p: MovePhase| PHASES.iter().position(|q| *q == p).map_or(PHASES.len(), |at| at);
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let now = self.alpha.client.move_by_id(id).await?.phase;
            let is_planned = !now.is_final() && !PHASES.contains(&now);
            if !is_planned && place(now) >= place(phase) {
                return Ok(now);
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("the move does not reach {phase:?}: {:#?}", self.alpha.client.move_by_id(id).await?)
    }

    /// Moves the service of this name, and waits until that has ended well.
    pub(crate) async fn moves(&self, name: &str, to: &str) -> Result<()> {
        let ordered = eventually_ok("the move to be accepted", PATIENCE, || {
            self.alpha.order_move(name, MoveTo::Host(to.to_owned()))
        });
        let id = ordered.await?.id.to_string();
        let ended = eventually("the move to end", BOUND, || async {
            self.alpha.client.move_by_id(&id).await.ok().filter(|m| m.phase.is_final())
        });
        let ended = ended.await?;
        ensure!(ended.phase == MovePhase::Done, "{ended:#?}");
        Ok(())
    }

    /// The ids of the leases that are open, by the buyer and by the seller.
    pub(crate) async fn leases(&self) -> Result<[Vec<String>; 2]> {
        let open = LeaseQuery { state: Some("open".to_owned()), ..LeaseQuery::default() };
        let mut both = [Vec::new(), Vec::new()];
        for (ids, fleet) in both.iter_mut().zip([&self.alpha, &self.beta]) {
            *ids = fleet.client.leases(&open).await?.items.iter().map(|l| l.id.to_string()).collect();
            ids.sort();
        }
        Ok(both)
    }

    /// Waits until both know the same leases: as many as there are copies at the partner.
    pub(crate) async fn one_lease_each(&self, copies: usize) -> Result<()> {
        let same = eventually_ok("both to know the same leases", PATIENCE, || async {
            let [bought, sold] = self.leases().await?;
            ensure!(bought == sold && sold.len() == copies, "bought {bought:?}, sold {sold:?}");
            anyhow::Ok(())
        });
        Ok(same.await?)
    }

    pub(crate) fn agree(&self) -> impl Future<Output = Result<i64>> {
        agree((&self.alpha, "alpha"), (&self.beta, "beta"))
    }
}

/// Counts the copies at both, all the time.
pub(crate) struct Copies {
    stop: Arc<AtomicBool>,
    counting: JoinHandle<Result<u64>>,
}

impl Copies {
    /// Those without an argument that tells others apart.
    pub(crate) fn count(ground: &Ground, not: &'static str) -> Self {
        let is_it = move |p: &process::Process| p.arguments().is_ok_and(|all| all.iter().all(|a| a != not));
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, dirs) = (stop.clone(), [ground.alpha.dir().to_owned(), ground.beta.dir().to_owned()]);
        let counting = std::thread::spawn(move || {
            let mut times = 0;
            while !seen.load(Ordering::Relaxed) {
                let mut here = Vec::new();
                for dir in &dirs {
                    here.extend(process::notes_under(dir)?);
                }
                let at_once: Vec<_> = here.iter().filter(|p| is_it(p) && p.is_alive()).collect();
                ensure!(at_once.len() <= 1, "two copies run at once: {at_once:?}");
                times += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(times)
        });
        Self { stop, counting }
    }

    pub(crate) fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.counting.join().map_err(|_| anyhow::anyhow!("counting failed"))?
    }
}
