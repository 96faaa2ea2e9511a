//! Computers that are a burden: a name of 64 KiB with control characters, and a full disk.

use anyhow::{Context, Result, ensure};
use chandler_api::client::all;
use chandler_api::host::HostState;
use chandler_api::order::OrderRequest;
use chandler_harness::process::Launch;
use chandler_harness::wait::eventually_ok;
use chandler_protocol::text::NAME_MAX;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE, program};
use chandler_tests::orders;

use crate::ground::cellar;
use crate::small_disk::Disk;

/// Room on the small disk, and the least that the artifact needs.
const DISK: &str = "4m";
const LARGE: usize = 6 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_monstrous_name_is_cut_and_cleaned() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    cellar(&mut fleet, 0, &AgentOptions::default()).await?;
    let dir = fleet.dir().join("monster");
    let monster = "\u{1b}[31mred\r\n\u{7}\u{202e}x".repeat(64 << 10);
    let name =
        monster.get(..(64 << 10)).or_else(|| monster.get(..(64 << 10) - 1)).or_else(|| monster.get(..(64 << 10) - 2));
    let mut agent = Launch::new(program("chandler-agent")?, "monster", &dir)
        .args(["run", "--data-dir"])
        .arg(dir.join("data"))
        .args(["--name", name.context("a boundary")?])
        .env("CHANDLER_JOIN", fleet.join_string("cellar").await?)
        .spawn()?;
    agent.wait_for_line("ready ", PATIENCE).await?;
    let host = eventually_ok("the host to be active", PATIENCE, || async {
        let hosts = all(|page| fleet.client.hosts(page)).await?;
        let active = hosts.into_iter().find(|h| h.state == HostState::Active);
        active.context("none is active")
    });
    let host = host.await?;
    ensure!(host.name.len() <= NAME_MAX && host.name.contains("red"), "{:?}", host.name);
    ensure!(!host.name.chars().any(|c| c.is_control() || c == '\u{202e}'), "{:?}", host.name);
    ensure!(fleet.client.host(&host.name).await?.id == host.id, "it can be asked for by that name");
    Ok(())
}

/// An archive that does not fit on the disk, though it is a good one.
fn archive(fleet: &Fleet) -> Result<Vec<u8>> {
    let dir = fleet.dir().join("large");
    chandler_harness::write_notes(&dir)?;
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(LARGE)
    .collect();
    std::fs::write(dir.join("noise"), noise)?;
    Ok(std::fs::read(chandler::pack::pack(&dir)?.path())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_with_what_it_needs_and_recovers() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let disk = Disk::mount(&fleet.dir().join("cellar-1/data"), DISK)?;
    cellar(&mut fleet, 1, &AgentOptions::default()).await?;
    let packed = archive(&fleet)?;
    fleet.publish("large", "1.0.0", packed).await?;
    let mut order: OrderRequest = orders::notes("acme", "large", "")?;
    order.software.artifact = Some("large@1.0.0".to_owned());
    let order = fleet.client.order_submit(&order).await?;
    let said = eventually_ok("the full disk to be named", PATIENCE, || async {
        let service = fleet.client.service("large").await?;
        let texts: Vec<_> =
            service.placements.iter().map(|p| p.message.as_str()).chain([service.reason.as_str()]).collect();
        let found = texts.iter().find(|t| t.contains("no space on ")).map(|t| (*t).to_owned());
        found.with_context(|| format!("{service:#?}"))
    });
    let said = said.await?;
    ensure!(said.contains("cellar-1/data") && said.contains("need ") && said.contains("MiB"), "{said}");
    fleet.host_in_state("cellar-1", HostState::Active).await?;
    disk.grow()?;
    fleet.running_where("large", |_| true).await?;
    fleet.settled(&order.id.to_string()).await?;
    fleet.agent_named("cellar-1")?.kill_machine()?;
    Ok(())
}
