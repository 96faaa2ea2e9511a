//! The stream of events (server-sent events): resumed by the id of the last one, ended when the token is deleted or
//! the server stops.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use chandler_api::event::{Event as Shown, EventQuery};
use chandler_engine::model::Model;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{BATCH, Visible, batch, shown};
use crate::api::access::Caller;
use crate::api::body::query;
use crate::api::error::{Failure, conflict, malformed};
use crate::api::{Api, STREAMS_MAX, Shared};

/// Time between two comments that keep the connection alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a client shall wait before it connects again.
const RETRY: Duration = Duration::from_secs(1);
/// Longest time between two looks whether the stream may go on.
const RECHECK: Duration = Duration::from_secs(30);

#[utoipa::path(get, path = "/api/v1/events/stream", tag = "events", params(EventQuery,
        ("Last-Event-ID" = Option<u64>, Header, description = "only events with a higher id; stronger than `after`")),
    description = "Server-sent events: `data` is an Event, `id` its id.",
    responses((status = 200, content_type = "text/event-stream", body = Shown)))]
pub(in crate::api) async fn follow(
    State(api): Api,
    caller: Caller,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Failure> {
    let asked: EventQuery = query(&uri)?;
    let after = match headers.get("last-event-id") {
        None => asked.after,
        Some(id) => {
            let id = id.to_str().ok().and_then(|id| id.parse().ok());
            id.ok_or_else(|| malformed("Last-Event-ID: write the number of an event"))?
        }
    };
    let permit = api.streams.clone().try_acquire_owned();
    let permit = permit.map_err(|_| conflict(format!("there are {STREAMS_MAX} streams already: close one")))?;
    let feed = Feed {
        models: api.writer.watch(),
        stopping: api.stop.subscribe(),
        api,
        caller,
        subject: asked.subject,
        after,
        waiting: VecDeque::from([Message::default().retry(RETRY)]),
        visible: None,
        _permit: permit,
    };
    let messages = futures_util::stream::unfold(feed, |mut feed| async move {
        let message = feed.next().await?;
        Some((Ok::<_, std::convert::Infallible>(message), feed))
    });
    Ok(Sse::new(messages).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// One stream.
struct Feed {
    api: Arc<Shared>,
    models: watch::Receiver<Arc<Model>>,
    stopping: watch::Receiver<bool>,
    caller: Caller,
    subject: Option<String>,
    after: u64,
    /// Messages that are ready, at most [`BATCH`].
    waiting: VecDeque<Message>,
    /// What the caller may see, and as of which generation.
    visible: Option<(u64, Visible)>,
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    /// The next message; `None` ends the stream.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Some(message);
            }
            let model = self.models.borrow_and_update().clone();
            if *self.stopping.borrow() || !model.tokens.contains_key(&self.caller.token) {
                return None;
            }
            if model.last_event > self.after {
                self.read(&model).await?;
                continue;
            }
            let wait = tokio::time::sleep(RECHECK);
            tokio::select! {
                biased;
                _ = self.stopping.wait_for(|stop| *stop) => return None,
                changed = self.models.changed() => changed.ok()?,
                () = wait => {}
            }
        }
    }

    /// Reads the next batch. `None` ends the stream: the client connects again and loses nothing.
    async fn read(&mut self, model: &Model) -> Option<()> {
        let events = match batch(&self.api, self.after).await {
            Ok(events) => events,
            Err(failure) => {
                tracing::warn!(error = %failure.0, "an event stream ends");
                return None;
            }
        };
        let is_whole = events.len() < BATCH as usize;
        let visible = self.visible.take().filter(|(generation, _)| *generation == model.generation);
        let (generation, visible) = visible.unwrap_or_else(|| (model.generation, Visible::of(model, self.caller)));
        for event in &events {
            self.after = event.id;
            let is_wanted = self.subject.as_ref().is_none_or(|s| *s == event.subject);
            if is_wanted && visible.has(event) {
                let data = serde_json::to_string(&shown(event)).ok()?;
                self.waiting.push_back(Message::default().id(event.id.to_string()).data(data));
            }
        }
        self.visible = Some((generation, visible));
        if is_whole {
            // A number that no event has would make this look for it for ever.
            self.after = self.after.max(model.last_event);
        }
        Some(())
    }
}
