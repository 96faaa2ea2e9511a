//! A controller that is restored from yesterday's backup: its data directory is put back as it was, while its machines and
//! its partner have gone on.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chandler_harness::wait::eventually_ok;
use chandler_tests::fleet::{Fleet, PATIENCE};
use chandler_tests::load::{Demand, Load, check_notes};
use chandler_tests::{http, orders, process};

use crate::partner_ground::{Copies, Ground};

const WRITES: Demand = Demand { clients: 2, pace: Duration::from_millis(50), writes: true };
/// An argument of services beside the one whose copies are counted.
const OTHER: &str = "--delay-ms";
const PARTNER: &str = "[policy]\nowners = [\"partner\"]";

/// All of a directory, as a backup at night takes it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&source, &target)?;
        } else if kind.is_file() {
            fs::copy(&source, &target).with_context(|| format!("copy {}", source.display()))?;
        }
    }
    Ok(())
}

/// Backs a controller up. It stands still for that moment, so that the files belong together, as in a snapshot of a disk.
fn back_up(fleet: &mut Fleet, to: &Path) -> Result<()> {
    fleet.controller.freeze()?;
    let copied = copy(&fleet.data_dir(), to);
    fleet.controller.thaw()?;
    copied
}

/// kill -9, and the backup instead of what was there.
async fn restore(fleet: &mut Fleet, from: &Path) -> Result<()> {
    fleet.kill_controller()?;
    fs::remove_dir_all(fleet.data_dir())?;
    copy(from, &fleet.data_dir())?;
    fleet.restart_controller().await
}

/// A service without a state beside the one that is watched, told apart by an argument.
async fn other(ground: &Ground, name: &str) -> Result<()> {
    let mut order = orders::notes("acme", name, PARTNER)?;
    order.software.state = None;
    for word in &mut order.software.command {
        *word = word.replace("{state}", "{work}");
    }
    order.software.command.extend([OTHER.to_owned(), "1".to_owned()]);
    ground.alpha.order_completed(&order).await?;
    Ok(())
}

/// Since the backup: use was metered and receipted, one lease was closed and one made. Afterwards both know the same
/// leases, all services answer, one copy runs of each, and the books say the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seller_restored_from_a_backup_has_the_same_leases_and_books_as_its_buyer() -> Result<()> {
    let mut ground = Ground::new().await?;
    let policy = "[policy]\nowners = [\"partner\", \"provider\"]\nmove = { hold = \"10 s\", keep = \"1 s\" }";
    let door = ground.order(true, policy).await?;
    if ground.owner().await? == "near" {
        ground.moves("ledger", "beta.far").await?;
    }
    other(&ground, "scrap").await?;
    let before = ground.agree().await?;
    let backup = tempfile::tempdir()?;
    back_up(&mut ground.beta, backup.path())?;

    ground.alpha.client.service_delete("scrap").await?;
    let copies = Copies::count(&ground, OTHER);
    let load = Load::start(door, "ledger", WRITES);
    other(&ground, "fresh").await?;
    ground.one_lease_each(2).await?;
    let more = eventually_ok("use to be receipted", PATIENCE, || async {
        let now = ground.agree().await?;
        ensure!(now > before, "{now} is no more than {before}");
        anyhow::Ok(now)
    });
    let more = more.await?;
    eprintln!("restored to where {before} were owed of {more}");

    restore(&mut ground.beta, backup.path()).await?;
    ground.one_lease_each(2).await?;
    let again = eventually_ok("what was owed to be known again", PATIENCE, || async {
        let now = ground.agree().await?;
        ensure!(now > more, "{now} is no more than {more}");
        anyhow::Ok(())
    });
    again.await?;
    for name in ["ledger", "fresh"] {
        let door = ground.alpha.door(name, "laptop").await?;
        http::body_of(&format!("http://{door}/"), PATIENCE).await?;
        let placed = ground.alpha.client.service(name).await?;
        ensure!(placed.placements.iter().filter(|p| p.state == "allocated").count() == 1, "{placed:#?}");
    }
    let record = load.stop().await?;
    check_notes(door, &record.written).await?;
    eprintln!("{} written, {} failed", record.written.len(), record.failed.len());
    copies.stop()?;
    let two = eventually_ok("two copies to run", PATIENCE, || async {
        let mut running = process::notes_under(ground.beta.dir())?;
        running.extend(process::notes_under(ground.alpha.dir())?);
        ensure!(running.len() == 2, "{running:?}");
        anyhow::Ok(())
    });
    two.await?;
    let events = ground.beta.client.events(&Default::default()).await?;
    ensure!(format!("{events:?}").contains("came back from alpha"), "people are told: {events:#?}");
    Ok(())
}

/// The same for the buyer. What it ordered since is not known any more: it is given back and ends. What it deleted since is
/// there again. What it signed since it is shown, and pays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buyer_restored_from_a_backup_gives_back_what_it_does_not_know_and_pays_what_it_signed() -> Result<()> {
    let mut ground = Ground::new().await?;
    let door = ground.order(false, PARTNER).await?;
    other(&ground, "scrap").await?;
    let before = ground.agree().await?;
    let backup = tempfile::tempdir()?;
    back_up(&mut ground.alpha, backup.path())?;

    ground.alpha.client.service_delete("scrap").await?;
    other(&ground, "fresh").await?;
    ground.one_lease_each(2).await?;
    let more = eventually_ok("use of what is new to be receipted", PATIENCE, || async {
        let now = ground.agree().await?;
        ensure!(now > before + 200, "{now} is no more than {before}");
        anyhow::Ok(now)
    });
    let more = more.await?;
    let unknown = ground.leases().await?[1].clone();

    restore(&mut ground.alpha, backup.path()).await?;
    let again = eventually_ok("both to know the same of what goes on", PATIENCE, || async {
        let [bought, sold] = ground.leases().await?;
        let scrap = ground.alpha.client.service("scrap").await?;
        ensure!(bought == sold && sold.len() == 2 && sold != unknown, "bought {bought:?}, sold {sold:?}: {scrap:?}");
        let running = process::notes_under(ground.beta.dir())?;
        ensure!(running.len() == 2, "{running:?}");
        let now = ground.agree().await?;
        ensure!(now >= more, "{now} is less than the {more} that were signed");
        anyhow::Ok(())
    });
    again.await?;
    ensure!(ground.alpha.client.service("fresh").await.is_err(), "it was ordered after the backup");
    for name in ["ledger", "scrap"] {
        ground
            .alpha
            .running_where(name, |s| s.placements.iter().filter(|p| p.state == "allocated").count() == 1)
            .await?;
    }
    http::body_of(&format!("http://{door}/"), PATIENCE).await?;
    Ok(())
}

/// The buyer, restored from before a move to its partner of a state that one copy at a time may write: it has forgotten
/// whom it gave a lease a moment ago, and who owns the state. No two copies run at any moment, and a person is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buyer_restored_from_before_a_move_runs_no_second_copy_and_asks_whose_state_counts() -> Result<()> {
    let mut ground = Ground::new().await?;
    let policy = "[policy]\nowners = [\"partner\", \"provider\"]\nmove = { hold = \"10 s\", keep = \"1 h\" }";
    let door = ground.order(true, policy).await?;
    if ground.owner().await? != "near" {
        ground.moves("ledger", "near").await?;
    }
    let early = Load::start(door, "early", WRITES);
    early.answers(20).await?;
    let early = early.stop().await?;
    let backup = tempfile::tempdir()?;
    back_up(&mut ground.alpha, backup.path())?;
    ground.moves("ledger", "beta.far").await?;

    let copies = Copies::count(&ground, OTHER);
    restore(&mut ground.alpha, backup.path()).await?;
    let frozen = eventually_ok("the controller to say that it does not know", PATIENCE, || async {
        let ledger = ground.alpha.client.service("ledger").await?;
        ensure!(ledger.reason.starts_with("frozen"), "{ledger:#?}");
        anyhow::Ok(())
    });
    frozen.await?;
    ground.one_lease_each(0).await?;
    ground.moves("ledger", "near").await?;
    ground.alpha.running_where("ledger", |s| s.placements.iter().any(|p| p.host == "near")).await?;
    http::body_of(&format!("http://{door}/"), PATIENCE).await?;
    check_notes(door, &early.written).await?;
    eprintln!("looked {} times: never two", copies.stop()?);
    Ok(())
}
