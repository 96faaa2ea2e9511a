//! What a simulated computer keeps: records, fetched files, and what software leaves behind.

use std::collections::BTreeSet;
use std::io;

use async_trait::async_trait;
use chandler_agent::artifact::{Depot, DepotError, Kind};
use chandler_agent::disk::{Disk, DiskError, Loaded};
use chandler_agent::driver::{Collected, LogPart, Workspace};
use chandler_protocol::artifact::Manifest;
use chandler_protocol::command::LogStream;
use chandler_protocol::{AssignmentId, Digest};

use super::{Machine, Wiped};
use crate::air::now;

impl Disk for Machine {
    fn read(&self, key: &str) -> Result<Option<Loaded>, DiskError> {
        Ok(self.inside().records.get(key).map(|bytes| Loaded { bytes: bytes.clone(), previous: false }))
    }

    fn write(&self, key: &str, bytes: &[u8]) -> Result<(), DiskError> {
        self.inside().records.insert(key.to_owned(), bytes.to_owned());
        Ok(())
    }

    fn remove(&self, key: &str) -> Result<(), DiskError> {
        self.inside().records.remove(key);
        Ok(())
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>, DiskError> {
        Ok(self.inside().records.keys().filter(|k| k.starts_with(prefix)).cloned().collect())
    }
}

#[async_trait]
impl Depot for Machine {
    fn ready(&self, digest: Digest, _: Kind) -> bool {
        self.inside().files.contains_key(&digest)
    }

    fn room(&self, _: u64, _: Kind) -> Result<(), DepotError> {
        Ok(())
    }

    async fn chunks(&self, manifest: &Manifest) -> Result<Vec<bool>, DepotError> {
        let inside = self.inside();
        let here = inside.chunks.get(&manifest.digest);
        Ok((0..manifest.chunks.len()).map(|i| here.is_some_and(|h| h.contains_key(&i))).collect())
    }

    async fn put(&self, manifest: &Manifest, index: usize, bytes: Vec<u8>) -> Result<(), DepotError> {
        self.inside().chunks.entry(manifest.digest).or_default().insert(index, bytes);
        Ok(())
    }

    async fn finish(&self, manifest: &Manifest, _: Kind) -> Result<(), DepotError> {
        let mut inside = self.inside();
        let chunks = inside.chunks.remove(&manifest.digest).unwrap_or_default();
        let whole: Vec<u8> = chunks.into_values().flatten().collect();
        if *blake3::hash(&whole).as_bytes() != manifest.digest.0 {
            return Err(DepotError::Refused("what was fetched is not what was promised".to_owned()));
        }
        inside.files.insert(manifest.digest, whole);
        Ok(())
    }

    async fn keep(&self, needed: &BTreeSet<Digest>) {
        self.inside().files.retain(|digest, _| needed.contains(digest));
    }
}

#[async_trait]
impl Workspace for Machine {
    async fn collect(&self, _: AssignmentId, _: &[String]) -> Collected {
        Collected::default()
    }

    async fn read_output(&self, _: AssignmentId, _: &str, _: u64, _: usize) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    async fn read_log(&self, _: AssignmentId, _: LogStream, _: Option<u64>, _: usize) -> io::Result<LogPart> {
        Ok(LogPart::default())
    }

    async fn wipe(&self, assignment: AssignmentId) -> io::Result<()> {
        self.thawed().await;
        let mut inside = self.inside();
        inside.forget_run(assignment);
        if let Some(state) = inside.states.remove(&assignment) {
            inside.wiped.push(Wiped { at: now(), assignment, state });
        }
        Ok(())
    }
}
