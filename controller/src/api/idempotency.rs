//! POSTs that are safe to repeat: the answer is kept with the change it acknowledges, in one transaction, so that a
//! crash can neither lose nor double it. A refusal is not kept: repeating asks again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use chandler_api::problem::{KEY_MISSING, KEY_REUSED, Problem};
use chandler_engine::draft::Draft;
use chandler_engine::model::{Answer as Kept, Change};
use serde::de::DeserializeOwned;

use super::access::Caller;
use super::error::{Failure, conflict, internal};
use super::reply::{Answer, Reply};
use super::{Shared, body};

/// The header that makes a POST safe to repeat.
pub(super) const HEADER: &str = "idempotency-key";
/// Longest key.
const KEY_MAX: usize = 255;

/// Keys of requests that are being worked on. Bounded by the number of connections.
pub(super) type InFlight = Arc<Mutex<BTreeSet<(String, String)>>>;

/// One key while its request is being worked on.
#[derive(Debug)]
struct Guard {
    all: InFlight,
    key: (String, String),
}

impl Guard {
    fn take(all: &InFlight, key: (String, String)) -> Option<Self> {
        let is_free = all.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        is_free.then(|| Self { all: all.clone(), key })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// What a POST turns out to be.
#[derive(Debug)]
pub(super) enum Begun {
    /// It was answered before.
    Before(Reply),
    /// It is new.
    New(Post),
}

/// A POST that is being worked on.
#[derive(Debug)]
pub(super) struct Post {
    headers: HeaderMap,
    bytes: Vec<u8>,
    fingerprint: [u8; 32],
    guard: Guard,
}

/// Begins a POST whose body is a document of at most `max` bytes.
pub(super) async fn begin(
    api: &Shared,
    caller: Caller,
    parts: &Parts,
    body: Body,
    max: usize,
) -> Result<Begun, Failure> {
    let key = key_of(&parts.headers)?;
    let bytes = body::read(&parts.headers, body, max).await?;
    begin_with(api, caller, parts, key, bytes).await
}

/// Begins a POST whose body is not looked at here: its query says which it is.
pub(super) async fn begin_bodiless(api: &Shared, caller: Caller, parts: &Parts) -> Result<Begun, Failure> {
    begin_with(api, caller, parts, key_of(&parts.headers)?, Vec::new()).await
}

/// Whether a request that may carry a key does.
pub(super) fn has_key(headers: &HeaderMap) -> bool {
    headers.contains_key(HEADER)
}

fn key_of(headers: &HeaderMap) -> Result<String, Failure> {
    let missing = |detail: &str| Failure::from(Problem::new(KEY_MISSING, detail));
    let value = headers.get(HEADER).ok_or_else(|| missing("send an Idempotency-Key, such as a random number"))?;
    let key = value.as_bytes();
    if !(1..=KEY_MAX).contains(&key.len()) || !key.iter().all(u8::is_ascii_graphic) {
        return Err(missing("the Idempotency-Key must be 1 to 255 visible ASCII characters"));
    }
    Ok(String::from_utf8_lossy(key).into_owned())
}

async fn begin_with(
    api: &Shared,
    caller: Caller,
    parts: &Parts,
    key: String,
    bytes: Vec<u8>,
) -> Result<Begun, Failure> {
    let fingerprint = fingerprint(parts, &bytes);
    let key = (caller.by(), key);
    let busy = || conflict("a request with this Idempotency-Key is still being worked on: wait and repeat it");
    // Taken before the answer is looked up: whoever held it before has stored its answer by now.
    let guard = Guard::take(&api.in_flight, key.clone()).ok_or_else(busy)?;
    match api.writer.store().answer(&key.0, &key.1).await? {
        Some(kept) if kept.fingerprint == fingerprint => Ok(Begun::Before(Reply::again(kept.status, kept.body))),
        Some(_) => Err(Problem::new(KEY_REUSED, "this Idempotency-Key was used for another request").into()),
        None => Ok(Begun::New(Post { headers: parts.headers.clone(), bytes, fingerprint, guard })),
    }
}

fn fingerprint(parts: &Parts, body: &[u8]) -> [u8; 32] {
    let mut hash = blake3::Hasher::new();
    let fields = [parts.method.as_str(), parts.uri.path(), parts.uri.query().unwrap_or_default()];
    for field in fields.map(str::as_bytes).into_iter().chain([body]) {
        // The length stands before each field, so that no two requests run together to the same bytes.
        hash.update(&(field.len() as u64).to_le_bytes()).update(field);
    }
    *hash.finalize().as_bytes()
}

impl Post {
    /// Reads the document.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        body::parse(&self.headers, &self.bytes)
    }

    /// Does the work and keeps its answer, together.
    pub(super) async fn commit(
        self,
        api: &Shared,
        work: impl FnOnce(&mut Draft<'_>) -> Answer + Send + 'static,
    ) -> Answer {
        let Self { guard, fingerprint, .. } = self;
        let (caller, key) = guard.key.clone();
        run(api, guard, move |draft| {
            let reply = work(draft)?;
            let (status, body) = (reply.status, reply.body.clone());
            draft.put(Change::Answer(Kept { caller, key, fingerprint, status, body, at: draft.now }));
            Ok(reply)
        })
        .await
    }

    /// Does the work without keeping its answer, because it holds a secret that must not lie in the store in clear.
    /// Repeating it makes another secret; the one that was lost on the way can be revoked.
    pub(super) async fn commit_secret(
        self,
        api: &Shared,
        work: impl FnOnce(&mut Draft<'_>) -> Answer + Send + 'static,
    ) -> Answer {
        run(api, self.guard, work).await
    }
}

/// Runs the work apart from the connection: when the caller hangs up, its key stays taken until the work is done, so
/// that a repetition cannot run beside it.
async fn run(api: &Shared, guard: Guard, work: impl FnOnce(&mut Draft<'_>) -> Answer + Send + 'static) -> Answer {
    let writer = api.writer.clone();
    let running = tokio::spawn(async move {
        let result = writer.transact(&guard.key.0, work).await;
        drop(guard);
        result
    });
    Ok(running.await.map_err(internal)??)
}
