//! A38: sites may be personal computers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chandler_api::host::HostState;
use chandler_api::service::Service;
use chandler_api::site::SiteRole;
use chandler_harness::process::signal_all_under;
use chandler_harness::wait::{eventually, eventually_ok};
use chandler_tests::fleet::{AgentOptions, ControllerOptions, Fleet, PATIENCE, order_completed, program};
use chandler_tests::load::{Demand, Load, Record};
use chandler_tests::orders::notes;
use chandler_tests::partners::{may_buy, sees};
use chandler_tests::process::notes_under;
use rustix::process::Signal;

use crate::providers::marketplace;
use crate::seen::place;

/// Only PCs of strangers; requests may wait while another is found; what a vanished PC had is not waited for.
const POLICY: &str = "[policy]\nowners = [\"remote\"]\nonLoss = \"startEmpty\"\nmove = { hold = \"10 s\" }\ncriteria = { cheaper = false }";
/// Longer than the grace after which a machine that is silent counts as lost.
const ASLEEP: Duration = Duration::from_secs(6);
/// How long the owner of a PC waits for it.
const YIELDS: Duration = Duration::from_secs(1);

/// A virtual provider that looks after its services four times a second.
async fn virtual_provider() -> Result<(Fleet, chandler_api::client::Client)> {
    let args = ["--role", "virtual", "--relocation-period", "250 ms"].map(str::to_owned).to_vec();
    let mut alpha = Fleet::with(ControllerOptions { federation: true, args, ..ControllerOptions::default() }).await?;
    let acme = alpha.customer("acme").await?;
    alpha.publish_notes().await?;
    alpha.site("office", "acme", SiteRole::Customer, "DE", (0, 0)).await?;
    alpha.agent("office", "laptop", AgentOptions { milli_cpu: 100, ..AgentOptions::default() }).await?;
    Ok((alpha, acme))
}

/// What a PC's owner types there; gives what the PC answered.
async fn on(dir: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program("chandler-agent")?);
    command.args(arguments).arg("--data-dir").arg(dir.join("data"));
    let ended = tokio::task::spawn_blocking(move || command.output()).await??;
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    ensure!(ended.status.success(), "{arguments:?}: {ended:?}");
    Ok(text)
}

/// Waits until the service runs on a PC, and there alone.
async fn is_on(alpha: &Fleet, pc: &str) -> Result<Service> {
    let there = |s: &Service| {
        let stays: Vec<_> = s.placements.iter().filter(|p| p.state != "releasing").collect();
        stays.len() == 1 && stays.iter().all(|p| p.host == pc)
    };
    alpha.running_where("notes", there).await.with_context(|| format!("on {pc}"))
}

/// Waits until a PC can be bought again.
async fn is_offered(alpha: &Fleet, pc: &str) -> Result<()> {
    let what = format!("{pc} to be offered again");
    let offered = eventually_ok(&what, PATIENCE, || async {
        let host = alpha.client.host(pc).await?;
        ensure!(host.state == HostState::Active && host.offered.milli_cpu.0 == 2_000, "{host:#?}");
        anyhow::Ok(())
    });
    Ok(offered.await?)
}

/// A service of a virtual provider's customer stays available through its one address while the PCs that it runs on do
/// what PCs do.
#[tokio::test(flavor = "multi_thread")]
async fn a38_sites_may_be_personal_computers() -> Result<()> {
    let mut market = marketplace(&[("attic", 10_000), ("cellar", 20_000)]).await?;
    let (alpha, acme) = virtual_provider().await?;
    may_buy((&alpha, "alpha"), (&market, "market")).await?;
    for pc in ["market.attic", "market.cellar"] {
        sees(&alpha, pc).await?;
    }
    let dir = |market: &mut Fleet, pc: &str| market.agent_named(pc).map(|a| a.dir.clone());
    let (attic, cellar) = (dir(&mut market, "attic")?, dir(&mut market, "cellar")?);
    let service = order_completed(&acme, &notes("acme", "notes", POLICY)?).await?;
    ensure!(place(&service)?.host == "market.attic", "the cheaper one: {service:#?}");
    let door = alpha.door("notes", "laptop").await?;
    let load = || Load::start(door, "a38", Demand { clients: 2, pace: Duration::from_millis(50), writes: false });

    let user = load();
    owner_needs_it(&alpha, &attic).await?;
    is_on(&alpha, "market.cellar").await?;
    on(&attic, &["resume"]).await?;
    is_offered(&alpha, "market.attic").await?;
    nothing_failed("the owner needed the PC", &user.stop().await?)?;

    let user = load();
    market.agent_named("cellar")?.kill_machine()?;
    is_on(&alpha, "market.attic").await?;
    market.agent_named("cellar")?.restart()?;
    is_offered(&alpha, "market.cellar").await?;
    nothing_failed("the PC vanished", &user.stop().await?)?;

    let user = load();
    sleeps(&alpha, &attic).await?;
    nothing_failed("the PC slept", &user.stop().await?)?;
    runs_once(&[attic, cellar.clone()], &cellar).await?;

    let user = load();
    let before = notes_under(&cellar)?;
    moves_house(&alpha, &mut market).await?;
    is_on(&alpha, "market.cellar").await?;
    ensure!(notes_under(&cellar)? == before, "another address is no reason to start anything anew");
    nothing_failed("the PC came back from another address", &user.stop().await?)?;
    Ok(())
}

/// The owner pauses the PC: nobody's software runs there a second later, and the owner sees how long that took.
async fn owner_needs_it(alpha: &Fleet, pc: &Path) -> Result<()> {
    ensure!(notes_under(pc)?.len() == 1, "it runs there");
    let began = Instant::now();
    let paused = on(pc, &["pause", "2h", "--reason", "a game"]);
    let gone = eventually("the PC to be the owner's", PATIENCE, || async {
        notes_under(pc).ok().filter(Vec::is_empty).map(|_| began.elapsed())
    });
    let (paused, gone) = tokio::join!(paused, gone);
    let (paused, gone) = (paused?, gone?);
    eprintln!("A38: software made way for the PC's owner within {} ms; the PC says: {paused}", gone.as_millis());
    ensure!(gone < YIELDS, "it took {gone:?}");
    ensure!(paused.contains("1 made way in"), "{paused}");
    let status = on(pc, &["status"]).await?;
    ensure!(status.contains("a game"), "{status}");
    let offered = eventually("nothing of the PC to be offered", PATIENCE, || async {
        alpha.client.host("market.attic").await.ok().filter(|h| h.offered.milli_cpu.0 == 0 || !h.note.is_empty())
    });
    offered.await?;
    Ok(())
}

/// The PC sleeps for longer than it is waited for, and wakes up.
async fn sleeps(alpha: &Fleet, pc: &Path) -> Result<()> {
    ensure!(signal_all_under(pc, Signal::STOP)? > 0, "there is nothing that sleeps");
    let asleep = Instant::now();
    is_on(alpha, "market.cellar").await?;
    tokio::time::sleep(ASLEEP.saturating_sub(asleep.elapsed())).await;
    ensure!(signal_all_under(pc, Signal::CONT)? > 0, "there is nothing that wakes up");
    is_offered(alpha, "market.attic").await
}

/// Of the service one copy runs, on this PC: what woke up has ended.
async fn runs_once(pcs: &[PathBuf], here: &Path) -> Result<()> {
    let once = eventually_ok("one copy to run", PATIENCE, || async {
        let mut all = Vec::new();
        for pc in pcs {
            all.extend(notes_under(pc)?);
        }
        ensure!(all.len() == 1 && notes_under(here)? == all, "{all:?}");
        anyhow::Ok(())
    });
    Ok(once.await?)
}

/// The marketplace hears of the PC from its new address for longer than it would wait for it, and its buyer too.
async fn moves_house(alpha: &Fleet, market: &mut Fleet) -> Result<()> {
    let seen = |host: chandler_api::host::Host| host.seen_at.map(|at| at.0).context("it was never heard of");
    let before = seen(market.client.host("cellar").await?)?;
    market.agent_named("cellar")?.proxy.rebind();
    let heard = eventually_ok("the PC to be heard of from its new address", PATIENCE, || async {
        let now = seen(market.host_in_state("cellar", HostState::Active).await?)?;
        ensure!(now.since(before).to_std() > ASLEEP, "heard {} after it", now.since(before));
        anyhow::Ok(())
    });
    heard.await?;
    is_offered(alpha, "market.cellar").await
}

fn nothing_failed(when: &str, record: &Record) -> Result<()> {
    let longest = record.answered.iter().map(|(_, took)| *took).max().unwrap_or_default();
    eprintln!(
        "A38: {when}: {} requests, {} failed, the longest took {longest:?}",
        record.answered.len(),
        record.failed.len()
    );
    ensure!(record.failed.is_empty(), "when {when}: {:?}", record.failed);
    Ok(())
}
