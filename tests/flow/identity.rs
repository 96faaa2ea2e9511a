//! Who an agent is, over time: certificates are renewed, revoked, and never good in two places.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use chandler_agent::identity::validity;
use chandler_api::client::all;
use chandler_api::event::EventQuery;
use chandler_api::host::HostState;
use chandler_api::order::OrderState;
use chandler_harness::process::{Daemon, Launch};
use chandler_harness::wait::{eventually, eventually_ok};
use chandler_protocol::Micros;
use chandler_tests::fleet::{AgentOptions, ControllerOptions, Fleet, PATIENCE, order, order_completed, program};
use chandler_tests::{http, orders};

use crate::ground::{birth, cellar, notes};
use crate::outsider::{self, Outsider};

/// How long certificates are good for where they are renewed all the time.
const LIFE: Duration = Duration::from_secs(6);
/// How long renewing is watched: the first certificate is over three times by then.
const WATCHED: Duration = Duration::from_secs(20);
/// Within this time a revoked host must have no connection any more.
const AT_ONCE: Duration = Duration::from_secs(5);
/// Times that computers race for a join string, and computers in each race.
const RACES: usize = 4;
const RACERS: usize = 3;

/// Where the library is that lets a program see another time.
const FAKETIME: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"];
/// A year of 366 days in microseconds.
const YEAR: i64 = 366 * 86_400 * 1_000_000;

/// A controller whose certificates are good for [`LIFE`].
fn short_lived() -> ControllerOptions {
    let args = vec!["--certificate-life".to_owned(), format!("{} s", LIFE.as_secs())];
    ControllerOptions { args, ..ControllerOptions::default() }
}

/// What a daemon has said on standard error.
fn said(daemon: &Daemon) -> Result<String> {
    Ok(std::fs::read_to_string(daemon.stderr())?)
}

async fn says(daemon: &Daemon, word: &str, within: Duration) -> Result<()> {
    let what = format!("an agent to say {word}");
    let heard = eventually_ok(&what, within, || async {
        let all = said(daemon)?;
        ensure!(all.contains(word), "it says {all}");
        anyhow::Ok(())
    });
    Ok(heard.await?)
}

/// An agent as somebody starts it by hand, with no proxy in between.
fn by_hand(fleet: &Fleet, name: &str) -> Result<Launch> {
    let dir = fleet.dir().join(name);
    let launch = Launch::new(program("chandler-agent")?, name, &dir).args(["run", "--name", name]);
    Ok(launch.args(["--offer-cpu", "1000", "--offer-memory", "1 GiB", "--data-dir"]).arg(dir.join("data")))
}

/// Certificates of a few seconds follow each other; the software, the host's state and transfers do not notice.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_and_nobody_notices() -> Result<()> {
    let mut fleet = Fleet::with(short_lived()).await?;
    let acme = cellar(&mut fleet, 1, &AgentOptions::default()).await?;
    let (service, process) = notes(&fleet, &orders::notes("acme", "notes", "")?).await?;
    let born = birth(process)?;
    let records = fleet.agent_named("cellar-1")?.dir.join("data/records");
    certificates(&records, WATCHED).await?;

    ensure!(process.is_alive() && birth(process)? == born, "the software was touched");
    ensure!(http::get(&Fleet::url(&service)?).await?.status == 200);
    was_always_there(&fleet, "cellar-1").await?;
    let texts = [("one", "a b c\n"), ("two", "d\n")];
    let task = order(&acme, &orders::word_count(&acme, "count", &texts, "").await?).await?;
    ensure!(task.state == OrderState::Completed, "{task:#?}");
    Ok(())
}

/// A computer that was off when its certificate ended comes back with the same key, and renews it.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_slept_beyond_its_certificate_comes_back() -> Result<()> {
    let mut fleet = Fleet::with(short_lived()).await?;
    cellar(&mut fleet, 1, &AgentOptions::default()).await?;
    let agent = fleet.agent_named("cellar-1")?;
    agent.kill()?;
    let records = agent.dir.join("data/records");
    let old = outsider::identity(&records)?.certificate;
    let (_, end) = validity(&old).context("it has a certificate")?;
    eventually("its certificate to be over", PATIENCE, || {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(Micros::from_std);
        std::future::ready(now.ok().filter(|now| now.0 > end.0 + 1_000_000))
    })
    .await?;
    fleet.host_in_state("cellar-1", HostState::Lost).await?;
    fleet.agent_named("cellar-1")?.restart()?;
    fleet.host_in_state("cellar-1", HostState::Active).await?;
    let renewed = eventually_ok("a new certificate", PATIENCE, || async {
        let now = outsider::identity(&records)?;
        ensure!(now.certificate != old, "it is the old one");
        anyhow::Ok(now)
    });
    ensure!(renewed.await?.host == fleet.client.host("cellar-1").await?.id, "it is another host");
    Ok(())
}

/// Watches for `within` how the certificates on a host's disk follow each other.
async fn certificates(records: &Path, within: Duration) -> Result<()> {
    let (begin, mut seen) = (Instant::now(), BTreeSet::new());
    eventually("the watch to be over", within + PATIENCE, || {
        // While a record is being replaced there is nothing to be read.
        if let Ok(now) = outsider::identity(records) {
            seen.insert(now.certificate);
        }
        std::future::ready((begin.elapsed() > within).then_some(()))
    })
    .await?;
    // Each at half of its life, of which a second or two are lost: certificates are dated in whole seconds.
    let most = usize::try_from(begin.elapsed().as_secs() / (LIFE.as_secs() / 3))? + 2;
    let least = usize::try_from(begin.elapsed().as_secs() / LIFE.as_secs())?;
    ensure!((least..=most).contains(&seen.len()), "{} certificates in {:?}", seen.len(), begin.elapsed());
    Ok(())
}

/// A host became active once and was never anything else.
async fn was_always_there(fleet: &Fleet, name: &str) -> Result<()> {
    let host = fleet.client.host(name).await?;
    ensure!(host.state == HostState::Active, "{host:?}");
    let query = EventQuery { subject: Some(host.id.to_string()), ..EventQuery::default() };
    let events = fleet.client.events(&query).await?.items;
    let states: Vec<_> = events.iter().map(|e| e.to.as_str()).collect();
    ensure!(states == ["registered", "active"], "{events:#?}");
    Ok(())
}

/// A clock on the wall that is ten years ahead says that every certificate is over: it is not asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ten_years_ahead_does_not_end_certificates() -> Result<()> {
    let library = FAKETIME.iter().find(|path| Path::new(path).exists());
    let library = library.context("this test needs libfaketime: install the package faketime")?;
    let mut fleet = Fleet::with(short_lived()).await?;
    let env = [("LD_PRELOAD", *library), ("FAKETIME", "+10y"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    let env = env.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    cellar(&mut fleet, 1, &AgentOptions { env, ..AgentOptions::default() }).await?;
    let agent = fleet.agent_named("cellar-1")?;
    let (records, status) = (agent.dir.join("data/records"), agent.dir.join("data/status.json"));
    certificates(&records, 2 * LIFE).await?;
    was_always_there(&fleet, "cellar-1").await?;
    let shown: serde_json::Value = serde_json::from_slice(&std::fs::read(status)?)?;
    let years = shown["link"]["clockOffsetMicros"].as_i64().context("the offset is shown")? / YEAR;
    ensure!(years == 9 || years == 10, "the clock is shown as {years} years ahead");
    Ok(())
}

/// A revoked host is cut off at once and finds no way back; what ran there runs elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_host_is_cut_off_and_its_work_goes_elsewhere() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    cellar(&mut fleet, 2, &AgentOptions::default()).await?;
    let (service, _) = notes(&fleet, &orders::notes("acme", "notes", "")?).await?;
    let here = service.placements.first().context("it has a place")?.host.clone();
    let outsider = Outsider::with_identity_of(&fleet.agent_named(&here)?.dir.join("data/records"), fleet.dir())?;

    let before = Instant::now();
    let revoked = fleet.client.host_revoke(&here).await?;
    ensure!(revoked.state == HostState::Revoked, "{revoked:?}");
    let agent = fleet.agent_named(&here)?;
    says(&agent.daemon, "revoked", AT_ONCE).await?;
    ensure!(before.elapsed() < AT_ONCE, "it took {:?}", before.elapsed());
    says(&agent.daemon, "E0203", PATIENCE).await?;
    let dir = agent.dir.join("data");
    let shown = eventually_ok("the agent to show why it has no controller", PATIENCE, || async {
        let status = Command::new(program("chandler-agent")?).args(["status", "--data-dir"]).arg(&dir).output()?;
        let text = String::from_utf8_lossy(&status.stdout);
        ensure!(status.status.code() == Some(3) && text.contains("E0203"), "{text}");
        anyhow::Ok(())
    });
    shown.await?;

    let moved = fleet.running_where("notes", |s| s.placements.iter().any(|p| p.host != here)).await?;
    ensure!(moved.id == service.id && moved.placements.iter().all(|p| p.host != here), "{moved:#?}");
    // It is kept once the move is over, a moment after the new copy runs.
    let kept = eventually_ok("the change of place to be kept", PATIENCE, || async {
        fleet.client.service("notes").await?.replacements.last().cloned().context("its change of place is kept")
    });
    let step = kept.await?;
    ensure!(step.from == here && step.reason.contains("revoked"), "{step:?}");
    ensure!(http::body_of(&Fleet::url(&moved)?, PATIENCE).await?.starts_with("notes on "));

    // Neither listener knows that key any more, also not after a restart of either side.
    ensure!(outsider.refusal(fleet.quic).await?.contains("E0203"));
    fleet.kill_controller()?;
    fleet.restart_controller().await?;
    ensure!(outsider.refusal(fleet.quic).await?.contains("E0203"));
    let agent = fleet.agent_named(&here)?;
    agent.kill()?;
    agent.restart()?;
    says(&agent.daemon, "E0203", PATIENCE).await?;
    ensure!(fleet.client.host(&here).await?.state == HostState::Revoked);
    Ok(())
}

/// Of computers that come with the same join string at the same time, one is admitted.
#[tokio::test(flavor = "multi_thread")]
async fn a_join_string_is_used_up_by_the_first() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    cellar(&mut fleet, 0, &AgentOptions::default()).await?;
    for race in 0..RACES {
        let join = fleet.join_string("cellar").await?;
        let names = (0..RACERS).map(|racer| format!("racer-{race}-{racer}"));
        let launches = names.map(|name| Ok(by_hand(&fleet, &name)?.env("CHANDLER_JOIN", &join)));
        let launches = launches.collect::<Result<Vec<_>>>()?;
        let mut agents = launches.iter().map(Launch::spawn).collect::<Result<Vec<_>, _>>()?;
        let mut admitted = 0;
        for agent in &mut agents {
            // The line, or an end without it, whichever comes first.
            if agent.wait_for_line("ready ", PATIENCE).await.is_ok() {
                admitted += 1;
                continue;
            }
            let ended = agent.wait_for_end(PATIENCE).await?;
            ensure!(ended.code() == Some(4), "{ended}: {}", agent.tail());
            ensure!(said(agent)?.contains("E0201"), "{}", agent.tail());
        }
        ensure!(admitted == 1, "{admitted} of {RACERS} were admitted");
        let hosts = all(|page| fleet.client.hosts(page)).await?;
        ensure!(hosts.len() == race + 1, "{hosts:#?}");
    }
    Ok(())
}

/// The copy of a disk is refused while the original is there; the original goes on, and its host says what happened.
#[tokio::test(flavor = "multi_thread")]
async fn a_copied_disk_is_refused() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let acme = cellar(&mut fleet, 1, &AgentOptions::default()).await?;
    fleet.publish_notes().await?;
    let copy = by_hand(&fleet, "copy")?;
    let to = fleet.dir().join("copy");
    std::fs::create_dir_all(&to)?;
    let from = fleet.agent_named("cellar-1")?.dir.join("data");
    let copied = Command::new("cp").arg("-a").arg(&from).arg(to.join("data")).status()?;
    ensure!(copied.success(), "{copied}");
    let copy = copy.spawn()?;
    says(&copy, "E0205", PATIENCE).await?;
    let host = fleet.client.host("cellar-1").await?;
    ensure!(host.state == HostState::Active && host.note.contains("a disk was copied"), "{host:?}");
    ensure!(!said(&copy)?.contains("ready "), "{}", copy.tail());

    let original = fleet.agent_named("cellar-1")?;
    ensure!(original.daemon.is_running() && !said(&original.daemon)?.contains("E0205"), "{}", original.daemon.tail());
    let service = order_completed(&acme, &orders::notes("acme", "notes", "")?).await?;
    let page = http::body_of(&Fleet::url(&service)?, PATIENCE).await?;
    ensure!(page.starts_with("notes on "), "{page}");
    let work = |dir: &Path| std::fs::read_dir(dir.join("work")).map_or(0, Iterator::count);
    ensure!((work(&from), work(&to.join("data"))) == (1, 0), "the copy was told to run something");
    let query = EventQuery { subject: Some(host.id.to_string()), ..EventQuery::default() };
    let events = fleet.client.events(&query).await?.items;
    let told = events.iter().filter(|e| e.reason.contains("a disk was copied")).count();
    ensure!(told == 1, "it is told once: {events:#?}");
    ensure!(fleet.client.host("cellar-1").await?.state == HostState::Active);

    // The original, started anew after a crash, is itself and nobody's copy.
    drop(copy);
    let original = fleet.agent_named("cellar-1")?;
    original.kill()?;
    original.restart()?;
    original.daemon.wait_for_line("ready ", PATIENCE).await?;
    fleet.running_where("notes", |s| s.id == service.id && s.placements.iter().all(|p| p.starts == 1)).await?;
    Ok(())
}

/// A host gets the content of its own work, and nobody else's; nor may it answer for another.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_gets_and_gives_nothing_for_another() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    cellar(&mut fleet, 2, &AgentOptions::default()).await?;
    let artifact = fleet.publish_notes().await?;
    let service = fleet.order_completed(&orders::notes("acme", "notes", "")?).await?;
    let place = service.placements.first().context("it has a place")?;
    let other = if place.host == "cellar-1" { "cellar-2" } else { "cellar-1" };
    for (name, may) in [(place.host.as_str(), true), (other, false)] {
        let records = fleet.agent_named(name)?.dir.join("data/records");
        let host = Outsider::with_identity_of(&records, fleet.dir())?;
        let fetched = host.manifest(fleet.quic, artifact.digest).await?;
        ensure!(fetched == if may { Ok(()) } else { Err("E0121".to_owned()) }, "{name} fetched: {fetched:?}");
        let put = host.put_output(fleet.quic, place.assignment, place.epoch, "stdout", b"said").await?;
        ensure!(put == if may { Ok(()) } else { Err("E0121".to_owned()) }, "{name} put: {put:?}");
        for path in ["../stdout", "/etc/passwd", "never-ordered"] {
            let put = host.put_output(fleet.quic, place.assignment, place.epoch, path, b"forged").await?;
            ensure!(put == Err("E0121".to_owned()), "{name} put {path}: {put:?}");
        }
    }
    ensure!(fleet.client.service("notes").await?.outputs.is_empty());
    Ok(())
}
