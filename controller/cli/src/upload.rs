//! Local input files of a task: hashed, and uploaded unless the controller has them already.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chandler_api::client::{Client, Content};
use chandler_api::order::{Input, OrderRequest};
use chandler_protocol::{Bytes, Digest};
use futures_util::{StreamExt, TryStreamExt};

use crate::pack::CONTENT_MAX;
use crate::problem::Failure;
use crate::session::Session;

/// Files hashed or uploaded at once.
const AT_ONCE: usize = 8;

/// Uploads every local file that the order names, and names their digests instead.
pub(crate) async fn inputs(session: &Session, request: &mut OrderRequest, base: &Path) -> Result<(), Failure> {
    let local: BTreeSet<PathBuf> = local_inputs(request).map(|(file, _)| base.join(file)).collect();
    if local.is_empty() {
        return Ok(());
    }
    let known: BTreeMap<PathBuf, (Digest, u64)> =
        futures_util::stream::iter(local).map(hashed).buffer_unordered(AT_ONCE).try_collect().await?;
    for (file, input) in local_inputs(request) {
        let Some((digest, _)) = known.get(&base.join(&file)) else { continue };
        if input.digest.is_some_and(|d| d != *digest) {
            return Err(Failure::document(format!(
                "input {}: the content of {file} is not that of its digest",
                input.path
            )));
        }
        input.digest = Some(*digest);
        input.file = None;
    }
    // Equal content is uploaded once.
    let distinct: BTreeMap<Digest, (PathBuf, u64)> =
        known.into_iter().map(|(path, (digest, length))| (digest, (path, length))).collect();
    let (files, bytes) = (distinct.len(), distinct.values().map(|(_, length)| length).sum());
    session.out.talk(&format!("inputs     {}, {}", crate::show::count(files, "file"), Bytes(bytes)));
    let client = session.client()?;
    let sent: Vec<bool> = futures_util::stream::iter(distinct)
        .map(|(digest, (path, _))| upload(client, digest, path))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let new = sent.iter().filter(|new| **new).count();
    session.out.talk(&format!("inputs     {new} uploaded, {} there already", files - new));
    Ok(())
}

fn local_inputs(request: &mut OrderRequest) -> impl Iterator<Item = (String, &mut Input)> {
    request.items.iter_mut().flat_map(|i| &mut i.inputs).filter_map(|i| i.file.clone().map(|file| (file, i)))
}

async fn hashed(path: PathBuf) -> Result<(PathBuf, (Digest, u64)), Failure> {
    let work = tokio::task::spawn_blocking(move || {
        let cannot = |e: std::io::Error| Failure::local(format!("cannot read the input {}: {e}", path.display()));
        let mut file = std::fs::File::open(&path).map_err(cannot)?;
        let length = file.metadata().map_err(cannot)?.len();
        if length > CONTENT_MAX {
            return Err(Failure::local(format!("{} is longer than {}", path.display(), Bytes(CONTENT_MAX))));
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(&mut file).map_err(cannot)?;
        Ok((path, (Digest(*hasher.finalize().as_bytes()), length)))
    });
    work.await.map_err(|e| Failure::local(format!("cannot hash an input: {e}")))?
}

/// Whether it had to be sent.
async fn upload(client: &Client, digest: Digest, path: PathBuf) -> Result<bool, Failure> {
    if client.blob(&digest).await?.is_some() {
        return Ok(false);
    }
    client.blob_put(&digest, Content::file(path)).await?;
    Ok(true)
}
