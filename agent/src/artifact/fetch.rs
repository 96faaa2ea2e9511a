//! Fetching a file: ask for its chunks, take those that are missing, verify each, verify the whole.
//!
//! A file that several assignments want is fetched once; a fetch that breaks off goes on where it stopped.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use chandler_protocol::Digest;
use chandler_protocol::artifact::{BulkRequest, BulkResponse, CHUNK, CHUNKS_PER_REQUEST, Manifest};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;

use super::{Depot, DepotError, Kind};
use crate::link::bulk::{Bulk, BulkError};
use crate::sync::lock;

/// Files that are fetched at the same time.
const FETCHES_MAX: usize = 3;
/// Requests for chunks of one file that are under way at the same time.
const PIPELINE: usize = 2;
/// A fetched share of everything, in parts per million.
const ALL: u64 = 1_000_000;

/// What is to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// BLAKE3 of its content.
    pub digest: Digest,
    /// Its length.
    pub length: u64,
    /// What for.
    pub kind: Kind,
}

/// Why it was not fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The disk has no room or does not work.
    #[error(transparent)]
    Depot(#[from] DepotError),
    /// The source did not give it.
    #[error(transparent)]
    Bulk(#[from] BulkError),
}

/// Fetches files into a depot.
pub struct Fetcher {
    depot: Arc<dyn Depot>,
    bulk: Arc<Bulk>,
    jobs: Mutex<BTreeMap<Wanted, Arc<Job>>>,
    slots: Semaphore,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

/// One file under way: whoever holds the lock fetches it, the others find it there afterwards.
#[derive(Debug, Default)]
struct Job {
    turn: tokio::sync::Mutex<()>,
    ppm: AtomicU32,
}

impl Fetcher {
    /// A fetcher that takes from `bulk` into `depot`.
    pub fn new(depot: Arc<dyn Depot>, bulk: Arc<Bulk>) -> Self {
        Self { depot, bulk, jobs: Mutex::new(BTreeMap::new()), slots: Semaphore::new(FETCHES_MAX) }
    }

    /// How much of a file is here, in parts per million.
    pub fn progress(&self, wanted: &Wanted) -> u32 {
        lock(&self.jobs).get(wanted).map_or(0, |job| job.ppm.load(Ordering::Relaxed))
    }

    /// Makes sure that a file is in the depot. May be dropped at any time; what was fetched stays.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn get(&self, wanted: &Wanted) -> Result<(), FetchError> {
        let job = lock(&self.jobs).entry(*wanted).or_default().clone();
        let result = {
            let _turn = job.turn.lock().await;
            match self.depot.ready(wanted.digest, wanted.kind) {
                true => Ok(()),
                false => self.fetch(wanted, &job.ppm).await,
            }
        };
        let mut jobs = lock(&self.jobs);
        // The map and this call hold it; anybody else would be a third.
        if jobs.get(wanted).is_some_and(|kept| Arc::ptr_eq(kept, &job)) && Arc::strong_count(&job) <= 2 {
            jobs.remove(wanted);
        }
        result
    }

    async fn fetch(&self, wanted: &Wanted, ppm: &AtomicU32) -> Result<(), FetchError> {
        let Ok(_slot) = self.slots.acquire().await else { return Err(BulkError::Offline.into()) };
        self.depot.room(wanted.length, wanted.kind)?;
        let (_, manifest) = self.bulk.manifest(wanted.digest, wanted.length).await?;
        let here = self.depot.chunks(&manifest).await?;
        let missing: Vec<usize> = (0..here.len()).filter(|i| !here[*i]).collect();
        let got = AtomicUsize::new(here.len() - missing.len());
        let tell = || {
            let share = (got.load(Ordering::Relaxed) as u64 * ALL).checked_div(here.len() as u64).unwrap_or(ALL);
            ppm.store(u32::try_from(share).unwrap_or(0), Ordering::Relaxed);
        };
        tell();
        let mut waiting: VecDeque<&[usize]> = missing.chunks(CHUNKS_PER_REQUEST).collect();
        let count = || {
            got.fetch_add(1, Ordering::Relaxed);
            tell();
        };
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < PIPELINE
                && let Some(batch) = waiting.pop_front()
            {
                running.push(self.batch(&manifest, batch, &count));
            }
            match running.next().await {
                Some(result) => result?,
                None => break,
            }
        }
        self.depot.finish(&manifest, wanted.kind).await?;
        Ok(())
    }

    /// Fetches some chunks over one stream.
    async fn batch(
        &self,
        manifest: &Manifest,
        indices: &[usize],
        count: &(impl Fn() + Sync),
    ) -> Result<(), FetchError> {
        let chunks: Vec<Digest> = indices.iter().map(|i| manifest.chunks[*i]).collect();
        let mut exchange = self.bulk.request(&BulkRequest::Chunks { digest: manifest.digest, chunks }).await?;
        exchange.finish();
        for index in indices {
            let answer = exchange.next().await?;
            let plain = verified(answer, manifest.chunks[*index], manifest.chunk_length(*index))
                .map_err(|what| exchange.wrong(what))?;
            self.depot.put(manifest, *index, plain).await?;
            count();
        }
        Ok(())
    }
}

/// The plain bytes of a chunk, if they are the ones asked for.
fn verified(answer: BulkResponse, digest: Digest, length: usize) -> Result<Vec<u8>, &'static str> {
    let BulkResponse::Chunk { zstd, .. } = answer else { return Err("something else than a chunk") };
    // The capacity bounds what a bomb can unfold to.
    let plain = zstd::bulk::decompress(&zstd, CHUNK).map_err(|_| "a chunk that cannot be decompressed")?;
    if plain.len() != length {
        return Err("a chunk of the wrong length");
    }
    match blake3::hash(&plain).as_bytes() == &digest.0 {
        true => Ok(plain),
        false => Err("a chunk whose content is not what was promised"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(plain: &[u8]) -> BulkResponse {
        BulkResponse::Chunk { digest: Digest([0; 32]), length: 0, zstd: zstd::bulk::compress(plain, 1).unwrap() }
    }

    #[test]
    fn only_the_promised_bytes_are_taken() {
        let digest = Digest(*blake3::hash(b"good").as_bytes());
        assert_eq!(verified(chunk(b"good"), digest, 4), Ok(b"good".to_vec()));
        assert_eq!(verified(chunk(b"evil"), digest, 4), Err("a chunk whose content is not what was promised"));
        assert_eq!(verified(chunk(b"goo"), digest, 4), Err("a chunk of the wrong length"));
        assert_eq!(verified(BulkResponse::Stored, digest, 4), Err("something else than a chunk"));
        let bomb = chunk(&vec![0; CHUNK * 40]);
        assert_eq!(verified(bomb, digest, CHUNK), Err("a chunk that cannot be decompressed"));
        let junk = BulkResponse::Chunk { digest, length: 4, zstd: vec![1, 2, 3] };
        assert_eq!(verified(junk, digest, 4), Err("a chunk that cannot be decompressed"));
    }
}
