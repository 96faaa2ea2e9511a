//! `chandler service outputs`: fetches the collected files of task items, checked against their digests.

use std::io::Write;
use std::path::{Path, PathBuf};

use chandler_api::service::{Output, Service, ServiceQuery};
use chandler_protocol::Bytes;
use chandler_protocol::text::{clean, is_inner_path};
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;

use crate::problem::Failure;
use crate::session::Session;
use crate::show::{Table, count};

/// Files fetched at once.
const AT_ONCE: usize = 8;

/// A file that was fetched.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Fetched {
    service: String,
    path: String,
    file: String,
    length: u64,
}

pub(super) async fn of_service(session: &Session, service: &str, to: &Path) -> Result<(), Failure> {
    let service = session.client()?.service(service).await?;
    fetch(session, vec![(service, to.to_path_buf())]).await
}

pub(super) async fn of_order(session: &Session, order: &str, to: &Path) -> Result<(), Failure> {
    let client = session.client()?;
    let query = ServiceQuery { order: Some(order.to_owned()), all: true, ..ServiceQuery::default() };
    let mut items = Vec::new();
    for service in super::list_all(client, &query).await? {
        let name = service.item.clone().unwrap_or_else(|| service.name.clone());
        if !is_inner_path(&name) || name.contains('/') || name == "." {
            return Err(Failure::local(format!("an item is called {name:?}, which is no name of a directory")));
        }
        // A list may be brief; an item that has ended has at least its logs.
        let service = if service.outputs.is_empty() { client.service(&service.id.to_string()).await? } else { service };
        items.push((service, to.join(name)));
    }
    fetch(session, items).await
}

async fn fetch(session: &Session, items: Vec<(Service, PathBuf)>) -> Result<(), Failure> {
    let unfinished = items.iter().filter(|(service, _)| service.outputs.is_empty()).count();
    let files = items.iter().flat_map(|(service, to)| service.outputs.iter().map(move |output| (service, output, to)));
    let mut fetched: Vec<Fetched> = futures_util::stream::iter(files)
        .map(|(service, output, to)| one(session, service, output, to))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    fetched.sort_by(|a, b| a.file.cmp(&b.file));
    session.out.list(&fetched, "nothing was collected yet", || {
        let mut table = Table::new(&["FILE", ">SIZE"]);
        fetched.iter().for_each(|f| table.row([f.file.clone(), Bytes(f.length).to_string()]));
        table
    })?;
    if unfinished > 0 {
        session.out.talk(&format!("{} without results so far", count(unfinished, "item")));
    }
    Ok(())
}

async fn one(session: &Session, service: &Service, output: &Output, to: &Path) -> Result<Fetched, Failure> {
    let shown = clean(&output.path, 1_024);
    // A path comes from the task's own machine and may try to leave the directory.
    if !is_inner_path(&output.path) || output.path.split('/').any(|part| part == ".") {
        return Err(Failure::local(format!("an output of {} is called {shown:?}, which is refused", service.name)));
    }
    let target = to.join(&output.path);
    let directory = target.parent().unwrap_or(to);
    let cannot = |e: std::io::Error| Failure::local(format!("cannot write {}: {e}", target.display()));
    std::fs::create_dir_all(directory).map_err(cannot)?;
    let (root, real) = (std::fs::canonicalize(to).map_err(cannot)?, std::fs::canonicalize(directory).map_err(cannot)?);
    if !real.starts_with(root) {
        return Err(Failure::local(format!("{} is reached through a link that leads elsewhere", target.display())));
    }
    // Whole or not at all: a broken download leaves what was there.
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(cannot)?;
    let mut download = session.client()?.service_output(&service.id.to_string(), &output.path).await?;
    let (mut hasher, mut length) = (blake3::Hasher::new(), 0_u64);
    while let Some(piece) = download.piece().await? {
        length += piece.len() as u64;
        if length > output.length {
            break;
        }
        hasher.update(&piece);
        file.write_all(&piece).map_err(cannot)?;
    }
    if length != output.length || *hasher.finalize().as_bytes() != output.digest.0 {
        return Err(Failure::local(format!(
            "output {shown} of {} was damaged on the way; fetch it again",
            service.name
        )));
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode).map_err(cannot)?;
    file.persist(&target).map_err(|e| cannot(e.error))?;
    let file = target.display().to_string();
    Ok(Fetched { service: service.id.to_string(), path: output.path.clone(), file, length })
}
