//! An artifact that was damaged on the controller's disk is never run; put right again, it is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use chandler_api::client::all;
use chandler_api::service::OperatingStatus;
use chandler_harness::wait::eventually_ok;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE};
use chandler_tests::orders;

use crate::ground::cellar;

/// The largest chunk on the controller's disk.
fn largest_chunk(directory: &Path) -> Result<PathBuf> {
    let mut found: Option<(u64, PathBuf)> = None;
    for part in std::fs::read_dir(directory.join("blobs/chunks"))? {
        for chunk in std::fs::read_dir(part?.path())? {
            let chunk = chunk?;
            let size = chunk.metadata()?.len();
            if found.as_ref().is_none_or(|(largest, _)| size > *largest) {
                found = Some((size, chunk.path()));
            }
        }
    }
    Ok(found.context("there is a chunk")?.1)
}

async fn never_runs_until_restored(damage: fn(&mut Vec<u8>)) -> Result<()> {
    let mut fleet = Fleet::start().await?;
    cellar(&mut fleet, 1, &AgentOptions::default()).await?;
    fleet.publish_notes().await?;
    let chunk = largest_chunk(&fleet.data_dir())?;
    let good = std::fs::read(&chunk)?;
    let mut bad = good.clone();
    damage(&mut bad);
    std::fs::write(&chunk, bad)?;
    let order = fleet.client.order_submit(&orders::notes("acme", "notes", "")?).await?;
    let told = eventually_ok("the damage to be named", PATIENCE, || async {
        let service = fleet.client.service("notes").await?;
        ensure!(service.operating_status != OperatingStatus::Running, "it runs: {service:#?}");
        let texts = service.placements.iter().map(|p| &p.message).chain([&service.reason]);
        let named = texts.into_iter().any(|t| t.contains(" gave a chunk "));
        ensure!(named, "{service:#?}");
        anyhow::Ok(())
    });
    told.await?;
    // When it has been tried often enough, it is said for good.
    let event = eventually_ok("the failure to be an event", PATIENCE, || async {
        let events = fleet.client.events(&chandler_api::event::EventQuery::default()).await?.items;
        let found = events.into_iter().find(|e| e.reason.contains(" gave a chunk "));
        found.context("there is no such event")
    });
    let event = event.await?;
    ensure!(event.reason.contains("cellar-1"), "{event:?}");
    let starts: u32 = fleet.client.service("notes").await?.placements.iter().map(|p| p.starts).sum();
    ensure!(starts == 0, "it was started");
    std::fs::write(&chunk, good)?;
    fleet.running_where("notes", |_| true).await?;
    let orders = all(|page| fleet.client.orders(page)).await?;
    ensure!(orders.len() == 1 && orders[0].id == order.id, "{orders:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_artifact_never_runs() -> Result<()> {
    never_runs_until_restored(|bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_artifact_never_runs() -> Result<()> {
    never_runs_until_restored(|bytes| bytes.truncate(bytes.len() / 2)).await
}
