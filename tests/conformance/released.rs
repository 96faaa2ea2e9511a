//! B09: given back.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use chandler_api::host::{AllocationStatus, Capacity};
use chandler_api::order::OrderState;
use chandler_api::service::{OperatingStatus, ServiceQuery, ServiceState};
use chandler_harness::wait::eventually_ok;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE, order_completed, settled};
use chandler_tests::orders::notes;
use chandler_tests::{http, process};

use crate::seen::place;

/// A service that is deleted is stopped, its files are gone from its host, its user has it no more, and another order
/// gets its room.
#[tokio::test(flavor = "multi_thread")]
async fn b09_a_resource_is_stopped_wiped_taken_away_and_back() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let acme = fleet.customer("acme").await?;
    fleet.publish_notes().await?;
    fleet.provider_site("hall", (10_000, 1_000)).await?;
    let one = AgentOptions { milli_cpu: 500, memory: "128 MiB".to_owned(), ..AgentOptions::default() };
    let agent = fleet.agent("hall", "only", one).await?;
    let service = order_completed(&acme, &notes("acme", "notes", "")?).await?;
    let url = Fleet::url(&service)?;
    ensure!(http::post(&format!("{url}/notes"), "top secret of acme").await?.status == 201);
    let process = process::of_notes(&url).await?;
    let state = process.directory()?;
    let assignment = place(&service)?.assignment.to_string();
    let data = fleet.agents[agent].dir.join("data");
    ensure!(files(&data)?.iter().any(|f| names(f, &assignment)), "its files are in {}", data.display());
    ensure!(fleet.client.host("only").await?.allocation_status == AllocationStatus::Allocated);

    let deleted = acme.service_delete("notes").await?;
    let deleted = settled(&acme, &deleted.id.to_string()).await?;
    ensure!(deleted.state == OrderState::Completed, "{deleted:#?}");
    ensure!(!process.is_alive(), "its program still runs");
    ensure!(http::get(&url).await.is_err(), "it still answers");
    ensure!(!state.exists(), "its state is still in {}", state.display());
    // The agent keeps a note that it has wiped it until it knows that the controller has heard so.
    let forgotten = eventually_ok("everything to be gone", PATIENCE, || async {
        let left: Vec<_> = files(&data)?.into_iter().filter(|f| names(f, &assignment)).collect();
        ensure!(left.is_empty(), "left behind: {left:?}");
        Ok::<_, anyhow::Error>(())
    });
    forgotten.await?;
    for file in files(&data)? {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let secret = b"top secret of acme";
        let is_there = bytes.windows(secret.len()).any(|w| w == secret);
        ensure!(!is_there, "its state is still in {}", file.display());
    }

    ensure!(acme.services(&ServiceQuery::default()).await?.items.is_empty(), "its user still sees it");
    // What was there is remembered, but nobody has it.
    let ended = acme.service("notes").await?;
    ensure!(ended.id == service.id, "{ended:#?}");
    let is_over = (ended.state, ended.operating_status) == (ServiceState::Terminated, OperatingStatus::Stopped);
    ensure!(is_over && ended.placements.is_empty(), "{ended:#?}");

    ensure!(acme.sla("notes").await?.value.state == "terminated", "its agreement goes on");
    ensure!(acme.service_delete("notes").await.is_err(), "what is gone can be deleted");

    let back = eventually_ok("the room to be back", PATIENCE, || async {
        let host = fleet.client.host("only").await?;
        let is_free = host.allocation_status == AllocationStatus::Available && host.assignments == 0;
        ensure!(is_free && host.reserved == Capacity::default(), "{host:#?}");
        Ok::<_, anyhow::Error>(())
    });
    back.await?;
    let next = order_completed(&acme, &notes("acme", "notes", "")?).await?;
    ensure!(next.id != service.id, "it is a new service");
    let notes = http::body_of(&format!("{}/notes", Fleet::url(&next)?), PATIENCE).await?;
    ensure!(notes.is_empty(), "the next user sees {notes:?}");
    Ok(())
}

/// Whether a path lies in what belongs to an assignment.
fn names(path: &std::path::Path, assignment: &str) -> bool {
    path.to_string_lossy().contains(assignment)
}

/// Every file and directory below a directory; one that goes meanwhile is left out.
fn files(directory: &std::path::Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![directory.to_path_buf()]);
    while let Some(next) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else { continue };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    Ok(found)
}
