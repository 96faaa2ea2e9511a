//! Chaos in the middle of moves: at each phase of an exclusive move the controller, the agent that gives or the agent
//! that takes is killed, frozen or cut off. There is never a second copy, no acknowledged write is lost, and it ends well.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use chandler_api::movement::{Move, MovePhase, MoveTo};
use chandler_api::site::SiteRole;
use chandler_harness::proxy::Faults;
use chandler_harness::wait::{eventually, eventually_ok};
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE};
use chandler_tests::load::{Demand, Load, check_notes};
use chandler_tests::orders;
use chandler_tests::process::notes_at;

/// How soon a move has ended, however, after what happened to it has been mended.
const BOUND: Duration = Duration::from_secs(45);
/// How often a move is looked at: its short phases take little longer.
const LOOK: Duration = Duration::from_millis(2);
/// How often the copies are counted.
const COUNT: Duration = Duration::from_millis(10);
/// Of the cells of the matrix, one in so many is tried unless all are asked for.
const SHARE: usize = 4;
/// Longer than a lease lasts, and than the controller waits: the grace of these fleets is 3 s.
const LEASE: Duration = Duration::from_secs(4);

const DEMAND: Demand = Demand { clients: 3, pace: Duration::from_millis(15), writes: true };

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

/// To whom something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Party {
    Controller,
    Source,
    Target,
}

const LEDGER: &str = r#"
customer = "acme"
name = "ledger"
[software]
artifact = "notes@1.0.0"
command = ["./notes", "--listen", "127.0.0.1:{port.http}", "--data", "{state}", "--ballast", "8", "65536", "2"]
limits = { cpu = 0.5, memory = "128 MiB" }
port = [{ name = "http", mode = "http" }]
state = { path = "data", exclusive = true }
health = { http = "/healthz", port = "http", interval = "200 ms" }
[policy]
owners = ["provider"]
move = { keep = "1 s" }
"#;

/// A fleet with one service whose state has one owner, in use through its front door.
pub(crate) struct Ground {
    pub(crate) fleet: Fleet,
    copies: Copies,
    load: Load,
    door: std::net::SocketAddr,
}

/// Counts the copies that run, all the time.
struct Copies {
    stop: Arc<AtomicBool>,
    counting: JoinHandle<Result<u64>>,
}

impl Copies {
    fn count(under: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, under) = (stop.clone(), under.to_owned());
        let counting = std::thread::spawn(move || {
            let mut times = 0;
            while !seen.load(Ordering::Relaxed) {
                let here = notes_at(&under)?;
                // They were found one after the other: only those that are all there still are there at once.
                let at_once: Vec<_> = here.iter().filter(|(p, _)| p.is_alive()).collect();
                ensure!(at_once.len() <= 1, "two copies run at once: {at_once:?}");
                times += 1;
                std::thread::sleep(COUNT);
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

impl Ground {
    async fn new() -> Result<Self> {
        Self::of(LEDGER, |_| AgentOptions::default()).await
    }

    /// With this order of a service called `ledger`, and agents that are started like this.
    pub(crate) async fn of(order: &str, agent: impl Fn(&str) -> AgentOptions) -> Result<Self> {
        let mut fleet = Fleet::start().await?;
        fleet.customer("acme").await?;
        fleet.provider_site("rack", (20_000, 3_000)).await?;
        fleet.site("office", "acme", SiteRole::Customer, "DE", (0, 0)).await?;
        for (site, name) in [("rack", "rack-a"), ("rack", "rack-b"), ("office", "laptop")] {
            fleet.agent(site, name, agent(name)).await?;
        }
        fleet.publish_notes().await?;
        let order = orders::order(order)?;
        fleet.order_completed(&order).await?;
        let door = fleet.door("ledger", "laptop").await?;
        answers(door).await?;
        let copies = Copies::count(fleet.dir());
        let load = Load::start(door, "ledger", DEMAND);
        Ok(Self { fleet, copies, load, door })
    }

    /// The host that owns the state, once exactly one does and the service runs there.
    async fn owner(&self) -> Result<String> {
        let service = self
            .fleet
            .running_where("ledger", |s| s.placements.iter().filter(|p| p.state == "allocated").count() == 1)
            .await?;
        let owner = service.placements.into_iter().find(|p| p.state == "allocated");
        Ok(owner.context("it is somewhere")?.host)
    }

    /// Orders a move to the other server, once it is accepted. Gives its id, where it leaves and where it goes.
    pub(crate) async fn begin(&self) -> Result<(String, String, String)> {
        let from = self.owner().await?;
        let to = if from == "rack-a" { "rack-b" } else { "rack-a" };
        let ordered = eventually_ok("the move to be accepted", PATIENCE, || {
            self.fleet.order_move("ledger", MoveTo::Host(to.to_owned()))
        });
        Ok((ordered.await?.id.to_string(), from, to.to_owned()))
    }

    /// Waits until a move is in a phase, or behind it; gives the one it is in.
    async fn reached(&self, id: &str, phase: MovePhase) -> Result<MovePhase> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let now = self.fleet.client.move_by_id(id).await?.phase;
            if order(now) >= order(phase) {
                return Ok(now);
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("the move does not reach {phase:?}: {:#?}", self.fleet.client.move_by_id(id).await?)
    }

    /// What must be so when all is mended: the move has ended, one host owns the state, one copy runs and answers.
    pub(crate) async fn converged(&self, id: &str) -> Result<Move> {
        let began = Instant::now();
        let what = format!("move {id} to end");
        let ended = eventually(&what, BOUND, || async {
            self.fleet.client.move_by_id(id).await.ok().filter(|m| m.phase.is_final())
        })
        .await;
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => {
                let (now, service) =
                    (self.fleet.client.move_by_id(id).await, self.fleet.client.service("ledger").await);
                return Err(anyhow::Error::from(error).context(format!("it is {now:#?}\nof {service:#?}")));
            }
        };
        let owner = self.owner().await?;
        let expected = if ended.phase == MovePhase::Done { &ended.to.host } else { &ended.from.host };
        ensure!(owner == *expected, "{owner} owns it after {ended:#?}");
        answers(self.door).await?;
        let here = notes_at(self.fleet.dir())?;
        ensure!(here.len() == 1, "{} copies run: {here:?}", here.len());
        eprintln!("    {:?} after {:.1} s: {}", ended.phase, began.elapsed().as_secs_f64(), ended.reason);
        Ok(ended)
    }

    /// Ends the load after some more requests. Everything that was acknowledged is there, once.
    pub(crate) async fn finish(self) -> Result<()> {
        self.load.answers(100).await?;
        let record = self.load.stop().await?;
        let there = check_notes(self.door, &record.written).await?;
        let counted = self.copies.stop()?;
        eprintln!(
            "{} answered, {} failed, {} written, {there} there; counted {counted} times",
            record.answered.len(),
            record.failed.len(),
            record.written.len()
        );
        ensure!(record.written.len() > 100, "only {} writes went through", record.written.len());
        Ok(())
    }
}

/// Waits until the service answers through its door.
async fn answers(door: std::net::SocketAddr) -> Result<()> {
    let url = format!("http://{door}/");
    eventually_ok("the service to answer", PATIENCE, || chandler_tests::http::get(&url)).await?;
    Ok(())
}

/// The place of a phase among all.
fn order(phase: MovePhase) -> usize {
    PHASES.iter().position(|p| *p == phase).map_or(if phase.is_final() { PHASES.len() + 1 } else { 0 }, |at| at + 1)
}

impl Party {
    fn host<'a>(self, from: &'a str, to: &'a str) -> &'a str {
        match self {
            Self::Controller => "",
            Self::Source => from,
            Self::Target => to,
        }
    }
}

/// kill -9 and a start on what is on disk.
async fn kill(fleet: &mut Fleet, party: Party, from: &str, to: &str) -> Result<()> {
    if party == Party::Controller {
        fleet.kill_controller()?;
        return fleet.restart_controller().await;
    }
    let agent = fleet.agent_named(party.host(from, to))?;
    agent.kill()?;
    agent.restart()?;
    agent.daemon.wait_for_line("ready ", PATIENCE).await?;
    Ok(())
}

/// Must show 5, and row 36 with real processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_36_any_party_killed_at_any_phase_leaves_one_owner_and_every_write() -> Result<()> {
    let all = std::env::var("CHANDLER_CHAOS").is_ok_and(|v| v == "all");
    let mut ground = Ground::new().await?;
    let parties = [Party::Controller, Party::Source, Party::Target];
    let cells = PHASES.into_iter().flat_map(|phase| parties.map(|party| (phase, party)));
    let mut hit = 0;
    let mut tried = 0;
    for (phase, party) in cells.step_by(if all { 1 } else { SHARE }) {
        let (id, from, to) = ground.begin().await?;
        let now = ground.reached(&id, phase).await?;
        eprintln!("{party:?} killed at {now:?} (wanted {phase:?}), {from} to {to}");
        (tried, hit) = (tried + 1, hit + usize::from(now == phase));
        kill(&mut ground.fleet, party, &from, &to).await.with_context(|| format!("{party:?} at {phase:?}"))?;
        ground.converged(&id).await.with_context(|| format!("{party:?} was killed at {phase:?}"))?;
    }
    eprintln!("{hit} of {tried} were killed in the very phase");
    ensure!(hit * 2 >= tried, "only {hit} of {tried} were killed in the phase that was meant");
    ground.finish().await
}

/// An agent that is frozen cannot end its software: its guard does. Nobody else runs it before that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_38_a_source_that_freezes_during_a_move_loses_its_software_in_time() -> Result<()> {
    let mut ground = Ground::new().await?;
    for phase in [MovePhase::Copying, MovePhase::Starting] {
        let (id, from, _) = ground.begin().await?;
        let now = ground.reached(&id, phase).await?;
        eprintln!("the source frozen at {now:?}");
        ground.fleet.agent_named(&from)?.daemon.freeze()?;
        tokio::time::sleep(LEASE).await;
        let source = ground.fleet.agent_named(&from)?.dir.clone();
        ensure!(notes_at(&source)?.is_empty(), "it still runs at the frozen agent");
        ground.fleet.agent_named(&from)?.daemon.thaw()?;
        ground.converged(&id).await.with_context(|| format!("frozen at {phase:?}"))?;
    }
    ground.finish().await
}

/// The controller hears nothing from one side for a while, shorter and longer than a lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_36_a_cut_line_to_the_controller_leaves_one_owner_and_every_write() -> Result<()> {
    let mut ground = Ground::new().await?;
    let cells = [
        (MovePhase::Copying, Party::Source, Duration::from_secs(2)),
        (MovePhase::FinalCopy, Party::Target, Duration::from_secs(2)),
        (MovePhase::Holding, Party::Source, LEASE),
        (MovePhase::Starting, Party::Target, LEASE),
    ];
    for (phase, party, long) in cells {
        let (id, from, to) = ground.begin().await?;
        let now = ground.reached(&id, phase).await?;
        eprintln!("{party:?} cut off at {now:?} for {long:?}");
        let proxy = &ground.fleet.agent_named(party.host(&from, &to))?.proxy;
        proxy.set(Faults { to_upstream_blocked: true, to_client_blocked: true, ..Faults::default() });
        tokio::time::sleep(long).await;
        ground.fleet.agent_named(party.host(&from, &to))?.proxy.set(Faults::default());
        ground.converged(&id).await.with_context(|| format!("{party:?} was cut off at {phase:?}"))?;
    }
    ground.finish().await
}
