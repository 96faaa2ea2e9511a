//! Partners that fail: killed in the middle of a move, away for a while, cut off by a new CA. There is never a second
//! copy, no acknowledged write is lost, and afterwards both ledgers say the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use chandler_api::movement::{MovePhase, MoveTo};
use chandler_api::partner::PartnerTrust;
use chandler_api::site::SiteRole;
use chandler_harness::wait::{eventually, eventually_ok};
use chandler_tests::fleet::{AgentOptions, ControllerOptions, Fleet, PATIENCE};
use chandler_tests::load::{Demand, Load, check_notes};
use chandler_tests::partners::{agree, may_buy, offer, sees};
use chandler_tests::{http, orders, process};

/// How soon a move has ended after what happened to it has been mended.
const BOUND: Duration = Duration::from_secs(60);
/// Of the phases, one in so many is tried unless all are asked for.
const SHARE: usize = 3;
const LOOK: Duration = Duration::from_millis(2);
const WRITES: Demand = Demand { clients: 2, pace: Duration::from_millis(20), writes: true };

const PHASES: [MovePhase; 9] = [
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
struct Ground {
    alpha: Fleet,
    beta: Fleet,
}

impl Ground {
    async fn new() -> Result<Self> {
        let listening = || ControllerOptions { federation: true, ..ControllerOptions::default() };
        let mut beta = Fleet::with(listening()).await?;
        beta.provider_site("rack", (600_000, 0)).await?;
        beta.agent("rack", "far", AgentOptions::default()).await?;
        offer(&beta, "rack", (600_000, 0)).await?;
        let mut alpha = Fleet::with(listening()).await?;
        alpha.customer("acme").await?;
        alpha.publish_notes().await?;
        alpha.site("office", "acme", SiteRole::Customer, "DE", (0, 0)).await?;
        alpha.agent("office", "laptop", AgentOptions { milli_cpu: 100, ..AgentOptions::default() }).await?;
        alpha.provider_site("hall", (600_000, 0)).await?;
        alpha.agent("hall", "near", AgentOptions::default()).await?;
        may_buy((&alpha, "alpha"), (&beta, "beta")).await?;
        sees(&alpha, "beta.far").await?;
        Ok(Self { alpha, beta })
    }

    /// Orders the notes, with a state of one owner or without one.
    async fn order(&self, exclusive: bool, policy: &str) -> Result<std::net::SocketAddr> {
        let mut order = orders::notes("acme", "ledger", policy)?;
        order.software.state.as_mut().context("the notes have a state")?.exclusive = exclusive;
        self.alpha.order_completed(&order).await?;
        let door = self.alpha.door("ledger", "laptop").await?;
        http::body_of(&format!("http://{door}/"), PATIENCE).await?;
        Ok(door)
    }

    async fn owner(&self) -> Result<String> {
        let one =
            |s: &chandler_api::service::Service| s.placements.iter().filter(|p| p.state == "allocated").count() == 1;
        let service = self.alpha.running_where("ledger", one).await?;
        let owner = service.placements.into_iter().find(|p| p.state == "allocated");
        Ok(owner.context("it is somewhere")?.host)
    }

    async fn reached(&self, id: &str, phase: MovePhase) -> Result<MovePhase> {
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

    fn agree(&self) -> impl Future<Output = Result<i64>> {
        agree((&self.alpha, "alpha"), (&self.beta, "beta"))
    }
}

/// Counts the copies at both, all the time.
struct Copies {
    stop: Arc<AtomicBool>,
    counting: JoinHandle<Result<u64>>,
}

impl Copies {
    fn count(ground: &Ground) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, dirs) = (stop.clone(), [ground.alpha.dir().to_owned(), ground.beta.dir().to_owned()]);
        let counting = std::thread::spawn(move || {
            let mut times = 0;
            while !seen.load(Ordering::Relaxed) {
                let mut here = Vec::new();
                for dir in &dirs {
                    here.extend(process::notes_under(dir)?);
                }
                let at_once: Vec<_> = here.iter().filter(|p| p.is_alive()).collect();
                ensure!(at_once.len() <= 1, "two copies run at once: {at_once:?}");
                times += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(times)
        });
        Self { stop, counting }
    }

    fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.counting.join().map_err(|_| anyhow::anyhow!("counting failed"))?
    }
}

/// Hazard 56: to the partner and back, and its controller is killed at each phase: one copy, every write, one sum.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_killed_at_any_phase_of_a_move_leaves_one_owner_and_every_write() -> Result<()> {
    let all = std::env::var("CHANDLER_CHAOS").is_ok_and(|v| v == "all");
    let mut ground = Ground::new().await?;
    let policy = "[policy]\nowners = [\"provider\", \"partner\"]\nmove = { hold = \"10 s\", keep = \"1 s\" }";
    let door = ground.order(true, policy).await?;
    let copies = Copies::count(&ground);
    let load = Load::start(door, "ledger", WRITES);
    for phase in PHASES.into_iter().step_by(if all { 1 } else { SHARE }) {
        let from = ground.owner().await?;
        let to = if from == "near" { "beta.far" } else { "near" };
        let ordered = eventually_ok("the move to be accepted", PATIENCE, || {
            ground.alpha.order_move("ledger", MoveTo::Host(to.to_owned()))
        });
        let id = ordered.await?.id.to_string();
        let now = ground.reached(&id, phase).await?;
        eprintln!("the partner's controller killed at {now:?} (wanted {phase:?}), {from} to {to}");
        ground.beta.kill_controller()?;
        ground.beta.restart_controller().await?;
        let what = format!("the move to end that was struck at {phase:?}");
        let ended = eventually(&what, BOUND, || async {
            ground.alpha.client.move_by_id(&id).await.ok().filter(|m| m.phase.is_final())
        });
        let ended = match ended.await {
            Ok(ended) => ended,
            Err(error) => {
                let service = ground.alpha.client.service("ledger").await;
                return Err(anyhow::Error::from(error).context(format!("{service:#?}")));
            }
        };
        let expected = if ended.phase == MovePhase::Done { &ended.to.host } else { &ended.from.host };
        let owner = ground.owner().await?;
        ensure!(owner == *expected, "{owner} owns it after {ended:#?}");
        http::body_of(&format!("http://{door}/"), PATIENCE).await?;
        eprintln!("    {:?}: {}", ended.phase, ended.reason);
    }
    let record = load.stop().await?;
    check_notes(door, &record.written).await?;
    ensure!(record.written.len() > 50, "only {} writes went through", record.written.len());
    let counted = copies.stop()?;
    eprintln!("{} written, {} failed, counted {counted} times", record.written.len(), record.failed.len());
    Ok(())
}

/// A partner's controller that is away for less than the grace stops nothing and moves nothing: its machine serves on.
/// What it metered is receipted when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partners_controller_that_is_away_for_a_while_stops_nothing() -> Result<()> {
    let mut ground = Ground::new().await?;
    let door = ground.order(false, "[policy]\nowners = [\"partner\"]").await?;
    let before = process::notes_under(ground.beta.dir())?;
    let load = Load::start(door, "ledger", Demand { clients: 2, pace: Duration::from_millis(20), writes: false });
    ground.beta.kill_controller()?;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    ground.beta.restart_controller().await?;
    ground.agree().await?;
    let record = load.stop().await?;
    ensure!(record.failed.is_empty(), "{} of {}: {:?}", record.failed.len(), record.answered.len(), record.failed);
    let after = process::notes_under(ground.beta.dir())?;
    ensure!(before == after && after.len() == 1, "it is the same process: {before:?}, {after:?}");
    ensure!(ground.alpha.client.service("ledger").await?.replacements.is_empty());
    Ok(())
}

/// Hazard 57: a partner with a new CA is cut off until an operator pins it; what runs there runs on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_with_a_new_ca_is_cut_off_until_it_is_trusted_and_its_machine_runs_on() -> Result<()> {
    let ground = Ground::new().await?;
    let door = ground.order(false, "[policy]\nowners = [\"partner\"]").await?;
    ground.agree().await?;
    let rotated = ground.beta.client.federation_rotate().await?;
    let url = format!("http://{door}/");
    for _ in 0..20 {
        ensure!(http::get(&url).await?.status == 200, "what runs there runs on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ground.alpha.client.partner_trust("beta", &PartnerTrust { bundle: rotated.bundle, add: false }).await?;
    sees(&ground.alpha, "beta.far").await?;
    let before = ground.agree().await?;
    let more = eventually_ok("new receipts", PATIENCE, || async {
        let now = ground.agree().await?;
        ensure!(now > before, "nothing was receipted since");
        anyhow::Ok(())
    });
    Ok(more.await?)
}
