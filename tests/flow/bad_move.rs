//! Moves that cannot be, or not as they are wanted: each is refused or given up with a sentence, and meanwhile the service
//! serves where it was, with all its state, untouched.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chandler_api::client::ClientError;
use chandler_api::drain::DrainRequest;
use chandler_api::movement::{Move, MovePhase, MoveTo};
use chandler_api::order::{OrderRequest, OrderState};
use chandler_api::site::SiteRole;
use chandler_api::sla::{SlaAmend, SlaTerms};
use chandler_harness::wait::{eventually, eventually_ok};
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE};
use chandler_tests::load::{Demand, Load, check_notes};
use chandler_tests::orders;
use chandler_tests::process::{self, Process};

use crate::ground::cellar;
use crate::small_disk::Disk;

const MIB: usize = 1 << 20;
const DEMAND: Demand = Demand { clients: 2, pace: Duration::from_millis(20), writes: true };

/// Notes with state that one copy alone may write; on the provider's computers only.
fn exclusive(rate: &str) -> Result<OrderRequest> {
    let rate = if rate.is_empty() { String::new() } else { format!("move.rate = \"{rate}\"") };
    let further = format!("[policy]\nowners = [\"provider\"]\nmove.hold = \"10 s\"\n{rate}");
    let mut order = orders::notes("acme", "notes", &further)?;
    order.software.state.as_mut().context("notes keeps state")?.exclusive = true;
    Ok(order)
}

/// Notes on `cellar-1` of as many computers, with a front door on the customer's laptop, a user, and its process.
struct Scene {
    fleet: Fleet,
    load: Load,
    door: std::net::SocketAddr,
    process: Process,
}

impl Scene {
    async fn set(mut fleet: Fleet, computers: usize, order: &OrderRequest) -> Result<Self> {
        cellar(&mut fleet, 1, &AgentOptions::default()).await?;
        fleet.site("office", "acme", SiteRole::Customer, "DE", (0, 0)).await?;
        fleet.agent("office", "laptop", AgentOptions::default()).await?;
        fleet.publish_notes().await?;
        let service = fleet.order_completed(order).await?;
        // The others join only now, so that it is known where it begins.
        for number in 2..=computers {
            fleet.agent("cellar", &format!("cellar-{number}"), AgentOptions::default()).await?;
        }
        let process = process::of_notes(&Fleet::url(&service)?).await?;
        let door = fleet.door("notes", "laptop").await?;
        let load = Load::start(door, "note", DEMAND);
        Ok(Self { fleet, load, door, process })
    }

    /// The directory with its state.
    fn state(&self) -> Result<PathBuf> {
        let arguments = self.process.arguments()?;
        let at = arguments.iter().position(|a| a == "--data").context("notes has no --data")?;
        Ok(PathBuf::from(arguments.get(at + 1).context("--data has no value")?))
    }

    /// Puts this much into its state, which cannot be made smaller.
    fn fill(&self, bytes: usize) -> Result<()> {
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        });
        Ok(std::fs::write(self.state()?.join("noise"), noise.take(bytes).collect::<Vec<_>>())?)
    }

    /// Waits until a move has given up, and gives the reason.
    async fn given_up(&self, on: &Move) -> Result<String> {
        let ended = self.fleet.ended(&on.id.to_string()).await?;
        ensure!(ended.phase == MovePhase::RolledBack, "it is {:?}: {ended:#?}", ended.phase);
        Ok(ended.reason)
    }

    /// Waits until a move copies its state.
    async fn copying(&self, on: &Move) -> Result<()> {
        let id = on.id.to_string();
        let copying = eventually_ok("the move to copy", PATIENCE, || async {
            let now = self.fleet.client.move_by_id(&id).await?;
            if now.phase == MovePhase::Copying { Ok(()) } else { bail!("{now:#?}") }
        });
        Ok(copying.await?)
    }

    /// It serves on where it always was, as the same process.
    async fn untouched(&self) -> Result<()> {
        let service = self.fleet.running_where("notes", |s| s.placements.iter().any(|p| p.host == "cellar-1")).await?;
        ensure!(process::of_notes(&Fleet::url(&service)?).await? == self.process, "it was started anew");
        Ok(())
    }

    /// Nobody noticed anything: no request failed, and everything that was written is there.
    async fn unnoticed(self) -> Result<()> {
        let record = self.load.stop().await?;
        ensure!(record.failed.is_empty(), "requests failed: {:#?}", record.failed);
        ensure!(record.written.len() > 10, "only {} notes were written", record.written.len());
        check_notes(self.door, &record.written).await?;
        Ok(())
    }
}

fn to(host: &str) -> MoveTo {
    MoveTo::Host(host.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_to_where_it_cannot_go_names_the_nearest_host() -> Result<()> {
    let mut scene = Scene::set(Fleet::start().await?, 3, &exclusive("")?).await?;
    let fleet = &mut scene.fleet;
    fleet.customer("other").await?;
    fleet.site("abroad", "other", SiteRole::Customer, "DE", (0, 0)).await?;
    fleet.agent("abroad", "foreign", AgentOptions::default()).await?;
    fleet.agent("cellar", "small", AgentOptions { milli_cpu: 100, ..AgentOptions::default() }).await?;
    fleet.client.host_drain("cellar-3", &DrainRequest::default()).await?;
    let cases = [
        ("nowhere", "E0314", vec!["nowhere"]),
        ("cellar-3", "E0310", vec!["drain", "cellar-2"]),
        ("small", "E0310", vec!["small", "0.1 of 0.5 cores", "cellar-2"]),
        ("foreign", "E0310", vec!["foreign", "cellar-2"]),
        ("cellar-1", "E0312", vec!["there already"]),
    ];
    for (host, code, words) in cases {
        match fleet.order_move("notes", to(host)).await.map_err(|e| e.downcast::<ClientError>()) {
            Err(Ok(ClientError::Problem(problem))) => {
                ensure!(problem.code == code, "{host}: {problem:#?}");
                for word in words {
                    ensure!(problem.detail.contains(word), "{host}: it does not say {word:?}: {}", problem.detail);
                }
            }
            other => bail!("{host}: {other:#?}"),
        }
    }
    ensure!(fleet.client.moves(&Default::default()).await?.items.is_empty(), "something was begun");
    scene.untouched().await?;
    scene.unnoticed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_with_a_link_out_of_it_stays_where_it_is_and_says_so() -> Result<()> {
    let scene = Scene::set(Fleet::start().await?, 2, &exclusive("")?).await?;
    let link = scene.state()?.join("passwords");
    std::os::unix::fs::symlink("/etc/passwd", &link)?;
    let on = scene.fleet.order_move("notes", to("cellar-2")).await?;
    let reason = scene.given_up(&on).await?;
    ensure!(reason.contains("passwords") && reason.contains("link"), "{reason}");
    scene.untouched().await?;
    std::fs::remove_file(link)?;
    scene.fleet.move_to("notes", "cellar-2").await?;
    scene.unnoticed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_in_mid_copy_leaves_the_source_untouched() -> Result<()> {
    let fleet = Fleet::start().await?;
    let disk = Disk::mount(&fleet.dir().join("cellar-2/data"), "32m")?;
    let scene = Scene::set(fleet, 2, &exclusive("")?).await?;
    scene.fill(48 * MIB)?;
    let on = scene.fleet.order_move("notes", to("cellar-2")).await?;
    let reason = scene.given_up(&on).await?;
    ensure!(reason.contains("space") && reason.contains("cellar-2"), "{reason}");
    scene.untouched().await?;
    disk.grow()?;
    scene.fleet.move_to("notes", "cellar-2").await?;
    scene.unnoticed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sla_amended_to_the_impossible_does_not_disturb_a_move() -> Result<()> {
    let scene = Scene::set(Fleet::start().await?, 2, &exclusive("1 MiB/s")?).await?;
    scene.fill(4 * MIB)?;
    let on = scene.fleet.order_move("notes", to("cellar-2")).await?;
    scene.copying(&on).await?;
    let client = &scene.fleet.client;
    let etag = client.sla("notes").await?.etag;
    let terms: SlaTerms = toml::from_str("cost = { max = \"0.01 EUR/month\" }")?;
    let order = client.sla_amend("notes", &SlaAmend { sla: terms }, &etag).await?;
    let order = scene.fleet.settled(&order.id.to_string()).await?;
    ensure!(order.state == OrderState::Rejected, "{order:#?}");
    ensure!(order.nearest.iter().any(|a| a.term == "sla.cost.max"), "no nearest is named: {order:#?}");
    let ended = scene.fleet.ended(&on.id.to_string()).await?;
    ensure!(ended.phase == MovePhase::Done && ended.to.host == "cellar-2", "{ended:#?}");
    ensure!(scene.fleet.client.moves(&Default::default()).await?.items.len() == 1, "another move was begun");
    scene.unnoticed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_contrary_moves_at_once_one_gives_way_and_says_so() -> Result<()> {
    let scene = Scene::set(Fleet::start().await?, 3, &exclusive("1 MiB/s")?).await?;
    scene.fill(2 * MIB)?;
    let orders =
        tokio::join!(scene.fleet.order_move("notes", to("cellar-2")), scene.fleet.order_move("notes", to("cellar-3")));
    let orders = [orders.0?, orders.1?];
    let mut ended = Vec::new();
    for order in &orders {
        ended.push(scene.fleet.ended(&order.id.to_string()).await?);
    }
    ended.sort_by_key(|m| m.started_at);
    let [first, second] = ended.as_slice() else { bail!("{ended:#?}") };
    ensure!(first.phase == MovePhase::RolledBack && first.reason.contains("ordered"), "{first:#?}");
    ensure!(second.phase == MovePhase::Done, "{second:#?}");
    let service = eventually("one copy to be left", PATIENCE, || async {
        let service = scene.fleet.client.service("notes").await.ok()?;
        let running: BTreeSet<_> =
            service.placements.iter().filter(|p| p.phase == "running").map(|p| &p.host).collect();
        (running == BTreeSet::from([&second.to.host])).then_some(service)
    });
    let tenure = service.await?.tenure.context("it has an owner")?;
    ensure!(tenure.owner.as_ref() == Some(&second.to.host) && tenure.stage == "settled", "{tenure:?}");
    scene.unnoticed().await
}
