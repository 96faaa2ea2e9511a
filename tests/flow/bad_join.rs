//! Join strings that are no good, and controllers that are not the one a join string names: each is refused with its own
//! words and exit status, and no host appears.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chandler_api::client::all;
use chandler_api::host::HostState;
use chandler_api::token::JoinTokenCreate;
use chandler_api::value::Span;
use chandler_harness::wait::{eventually, eventually_ok};
use chandler_protocol::Micros;
use chandler_protocol::join::JoinString;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE, program};
use chandler_tests::{http, orders};

use crate::ground::{cellar, notes};

/// How an agent ended that could not join.
#[derive(Debug)]
struct Ended {
    exit: Option<i32>,
    said: String,
}

/// Starts an agent in a directory of its own that is expected to give up.
async fn joins(fleet: &Fleet, directory: &str, join: &str) -> Result<Ended> {
    let dir = fleet.dir().join(directory);
    std::fs::create_dir_all(&dir)?;
    let mut command = Command::new(program("chandler-agent")?);
    command.arg("run").arg("--data-dir").arg(dir.join("data")).args(["--name", directory, "--join", join]);
    command.current_dir(&dir);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    Ok(Ended { exit: output.status.code(), said: String::from_utf8_lossy(&output.stderr).into_owned() })
}

fn refused(ended: &Ended, exit: i32, words: &[&str]) -> Result<()> {
    ensure!(ended.exit == Some(exit), "it shall end with {exit}: {ended:#?}");
    for word in words {
        ensure!(ended.said.contains(word), "it does not say {word:?}: {ended:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_string_that_is_no_good_is_refused_with_its_reason() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    cellar(&mut fleet, 0, &AgentOptions::default()).await?;
    refused(&joins(&fleet, "junk", "chandler-is-nice").await?, 2, &["E0210"])?;

    let soon = JoinTokenCreate { site: "cellar".to_owned(), uses: 1, expires: Span(Micros::from_secs(1)) };
    let made = fleet.client.join_token_create(&soon).await?;
    eventually("the join string to be over", PATIENCE, || async {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
        (Micros::from_std(now).0 > made.expires_at.0.0).then_some(())
    })
    .await?;
    refused(&joins(&fleet, "late", &made.join).await?, 4, &["E0201", "has expired", "join-token create"])?;

    let join = fleet.join_string("cellar").await?;
    let dir = fleet.dir().join("first");
    let mut first = chandler_harness::process::Launch::new(program("chandler-agent")?, "first", &dir)
        .args(["run", "--data-dir"])
        .arg(dir.join("data"))
        .args(["--name", "first", "--join", &join])
        .spawn()?;
    first.wait_for_line("ready ", PATIENCE).await?;
    refused(&joins(&fleet, "second", &join).await?, 4, &["E0201", "is used up"])?;

    // A secret of another controller, presented to this one as if it were its own.
    let elsewhere = Fleet::start().await?;
    elsewhere.provider_site("attic", (1, 1)).await?;
    let foreign = elsewhere.join_string("attic").await?;
    let mut mixed: JoinString = fleet.join_string("cellar").await?.parse()?;
    mixed.secret = foreign.parse::<JoinString>()?.secret;
    refused(&joins(&fleet, "foreign", &mixed.to_text()).await?, 4, &["E0201", "not one of this controller"])?;
    // And the other way round: the right secret, but another controller answers.
    let mut astray: JoinString = fleet.join_string("cellar").await?.parse()?;
    astray.addresses = vec![elsewhere.quic];
    refused(&joins(&fleet, "astray", &astray.to_text()).await?, 4, &["E0212", "is not the controller"])?;

    let hosts = all(|page| fleet.client.hosts(page)).await?;
    ensure!(hosts.len() == 1 && hosts[0].name == "first", "{hosts:#?}");
    Ok(())
}

/// Somebody else answers at the controller's address: the agent does not obey, says so, and what it runs goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_controller_with_another_ca_is_not_obeyed() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    cellar(&mut fleet, 1, &AgentOptions::default()).await?;
    let (service, process) = notes(&fleet, &orders::notes("acme", "notes", "")?).await?;
    let unused = fleet.join_string("cellar").await?;
    fleet.kill_controller()?;
    let (data, aside) = (fleet.data_dir(), fleet.dir().join("aside"));
    std::fs::rename(&data, &aside)?;
    fleet.restart_controller().await?;
    let dir = fleet.agent_named("cellar-1")?.dir.join("data");
    let shown = eventually_ok("the agent to say why it has no controller", PATIENCE, || async {
        let ended = Command::new(program("chandler-agent")?).args(["status", "--data-dir"]).arg(&dir).output()?;
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        ensure!(ended.status.code() == Some(3) && said.contains("certificate"), "{ended:?}");
        anyhow::Ok(said)
    });
    let shown = shown.await?;
    ensure!(shown.contains("software goes on"), "{shown}");
    ensure!(process.is_alive() && http::get(&Fleet::url(&service)?).await?.status == 200);
    refused(&joins(&fleet, "new", &unused).await?, 4, &["E0212"])?;

    // The right one is back: everything is as it was.
    fleet.kill_controller()?;
    std::fs::rename(&data, fleet.dir().join("impostor"))?;
    std::fs::rename(&aside, &data)?;
    fleet.restart_controller().await?;
    fleet.host_in_state("cellar-1", HostState::Active).await?;
    let seen = fleet.running_where("notes", |_| true).await?;
    ensure!(seen.placements[0].starts == 1 && process.is_alive(), "{seen:#?}");
    Ok(())
}

/// A computer whose clock is ten years behind joins, runs software, and stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ten_years_behind_does_no_harm() -> Result<()> {
    let library =
        ["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"];
    let library = library.iter().find(|path| std::path::Path::new(path).exists());
    let library = library.context("this test needs libfaketime: install the package faketime")?;
    let mut fleet = Fleet::start().await?;
    let env = [("LD_PRELOAD", *library), ("FAKETIME", "-10y"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    let env = env.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    cellar(&mut fleet, 1, &AgentOptions { env, ..AgentOptions::default() }).await?;
    let (service, process) = notes(&fleet, &orders::notes("acme", "notes", "")?).await?;
    // It comes back after an outage too, when certificates are looked at anew.
    fleet.kill_controller()?;
    fleet.restart_controller().await?;
    fleet.host_in_state("cellar-1", HostState::Active).await?;
    let seen = fleet.running_where("notes", |s| s.id == service.id).await?;
    ensure!(process.is_alive() && seen.placements[0].starts == 1, "{seen:#?}");
    let billed = eventually_ok("its use to be billed", PATIENCE, || async {
        let time = crate::ground::billed(&fleet, "acme", "notes").await?;
        ensure!(!time.is_zero());
        anyhow::Ok(time)
    });
    ensure!(billed.await? < Duration::from_secs(600), "the clock on the wall has no say in it");
    Ok(())
}
