//! The REST server of `/api/v1`. A call validates, writes intent in one transaction, and returns; tasks do the rest.
//!
//! `access` says who may call what, `idempotency` makes POSTs safe to repeat, `error` writes problems out; every
//! noun has a file of its own. An answer is built from one snapshot, so that it is consistent as of one instant.

mod access;
mod artifact;
mod bill;
mod body;
mod criteria;
mod drain;
mod error;
mod event;
mod federation;
mod history;
mod host;
mod idempotency;
mod market;
mod movement;
mod offering;
mod openapi;
mod order;
mod page;
mod partner;
mod party;
mod quote;
mod reply;
mod service;
mod settlement;
mod site;
mod sla;
mod status;
#[cfg(test)]
pub(crate) mod tests;
mod token;
mod upload;

use std::future::{Future, IntoFuture};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::{get, post, put};
use axum::{Router, middleware};
use chandler_engine::draft::Draft;
use tokio::sync::{Semaphore, watch};

use self::access::Caller;
use self::error::{Failure, RequestIds};
use self::idempotency::InFlight;
use crate::federation::Federation;
use crate::link::identity::Authority;
use crate::link::{Relay, Sessions};
use crate::store::Writer;
use crate::store::blobs::Blobs;

/// Longest time that open requests have to end once the server shall stop.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Uploads and downloads of content at a time: each takes a thread and a few chunks of memory.
const TRANSFERS_MAX: usize = 32;
/// Event streams at a time.
const STREAMS_MAX: usize = 1_024;

/// What the server works on.
#[derive(Clone, Debug)]
pub struct ApiState {
    /// The model and the one way to change it.
    pub writer: Writer,
    /// Artifacts, inputs and results.
    pub blobs: Arc<Blobs>,
    /// Connected hosts.
    pub sessions: Arc<Sessions>,
    /// Packets between agents without a straight way.
    pub relay: Arc<Relay>,
    /// Makes join strings.
    pub authority: Arc<Authority>,
    /// This controller among others.
    pub federation: Arc<Federation>,
}

/// What all handlers share.
#[derive(Debug)]
struct Shared {
    writer: Writer,
    blobs: Arc<Blobs>,
    sessions: Arc<Sessions>,
    relay: Arc<Relay>,
    authority: Arc<Authority>,
    federation: Arc<Federation>,
    request_ids: RequestIds,
    in_flight: InFlight,
    transfers: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// Whether the server is stopping.
    stop: watch::Sender<bool>,
}

/// What every handler is given.
type Api = State<Arc<Shared>>;

impl Shared {
    fn new(state: ApiState) -> Arc<Self> {
        let request_ids = RequestIds::new(state.writer.random().as_ref());
        let ApiState { writer, blobs, sessions, relay, authority, federation } = state;
        Arc::new(Self {
            writer,
            blobs,
            sessions,
            relay,
            authority,
            federation,
            request_ids,
            in_flight: InFlight::default(),
            transfers: Arc::new(Semaphore::new(TRANSFERS_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            stop: watch::Sender::new(false),
        })
    }

    /// Does work that carries no idempotency key because doing it twice is the same as doing it once.
    async fn transact<T: Send + 'static>(
        &self,
        caller: Caller,
        work: impl FnOnce(&mut Draft<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        Ok(self.writer.transact(&caller.by(), work).await?)
    }
}

/// The server's routes.
pub fn router(state: ApiState) -> Router {
    build(Shared::new(state))
}

/// Serves until `shutdown` is done, then gives open requests a few seconds to end.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: tokio::net::TcpListener,
    state: ApiState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let api = Shared::new(state);
    let mut stopping = api.stop.subscribe();
    let stopper = api.clone();
    let served = axum::serve(listener, build(api)).with_graceful_shutdown(async move {
        shutdown.await;
        // Event streams end by themselves when they see this.
        stopper.stop.send_replace(true);
    });
    let too_long = async {
        drop(stopping.wait_for(|stop| *stop).await);
        tokio::time::sleep(DRAIN_MAX).await;
    };
    tokio::select! {
        biased;
        result = served.into_future() => result,
        () = too_long => Ok(()),
    }
}

fn build(api: Arc<Shared>) -> Router {
    Router::new()
        .merge(ground_routes())
        .merge(order_routes())
        .merge(partner_routes())
        .merge(market_routes())
        .merge(watch_routes())
        .route_layer(middleware::from_fn_with_state(api.clone(), access::check))
        .layer(middleware::from_fn_with_state(api.clone(), error::finish))
        .with_state(api)
}

/// What there is to order from, and who takes part.
fn ground_routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(status::root))
        .route("/healthz", get(status::healthz))
        .route("/api/v1/openapi.json", get(openapi::document))
        .route("/api/v1/parties", get(party::list).post(party::create))
        .route("/api/v1/parties/{reference}", get(party::show))
        .route("/api/v1/sites", get(site::list).post(site::create))
        .route("/api/v1/sites/{reference}", get(site::show).patch(site::update))
        .route("/api/v1/sites/{reference}/drain", get(drain::of_site).post(drain::site))
        .route("/api/v1/sites/{reference}/undrain", post(drain::site_end))
        .route("/api/v1/criteria", get(criteria::show).put(criteria::apply))
        .route("/api/v1/joinTokens", post(token::join_create))
        .route("/api/v1/tokens", post(token::create))
        .route("/api/v1/tokens/{id}", axum::routing::delete(token::delete))
        .route("/api/v1/hosts", get(host::list))
        .route("/api/v1/hosts/{reference}", get(host::show))
        .route("/api/v1/hosts/{reference}/revoke", post(host::revoke))
        .route("/api/v1/hosts/{reference}/history", put(history::import))
        .route("/api/v1/hosts/{reference}/drain", get(drain::of_host).post(drain::host))
        .route("/api/v1/hosts/{reference}/undrain", post(drain::host_end))
        .route("/api/v1/artifacts", get(artifact::list).post(artifact::publish))
        .route("/api/v1/artifacts/{name}/{version}", get(artifact::show))
        .route("/api/v1/blobs/{digest}", get(artifact::blob).put(artifact::blob_put))
        .route("/api/v1/offerings", get(offering::list))
        .route("/api/v1/offerings/{name}", get(offering::show).put(offering::apply))
}

/// From a quote to the bill.
fn order_routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/v1/quotes", post(quote::create))
        .route("/api/v1/orders", get(order::list).post(order::create))
        .route("/api/v1/orders/{id}", get(order::show))
        .route("/api/v1/orders/{id}/cancel", post(order::cancel))
        .route("/api/v1/services", get(service::list))
        .route("/api/v1/services/{reference}", get(service::show).delete(service::delete))
        .route("/api/v1/services/{reference}/explain", get(service::explain::show))
        .route("/api/v1/services/{reference}/logs", get(service::logs::show))
        .route("/api/v1/services/{reference}/outputs/{*path}", get(service::output::download))
        .route("/api/v1/services/{reference}/move", post(movement::order))
        .route("/api/v1/moves", get(movement::list))
        .route("/api/v1/moves/{id}", get(movement::show))
        .route("/api/v1/slas", get(sla::list))
        .route("/api/v1/slas/{reference}", get(sla::show).patch(sla::amend))
        .route("/api/v1/slas/{reference}/history", get(sla::history))
        .route("/api/v1/bills", get(bill::list).post(bill::run))
        .route("/api/v1/bills/{id}", get(bill::show))
        .route("/api/v1/ledger/check", get(bill::ledger_check))
}

/// Who else there is.
fn partner_routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/v1/federation", get(federation::show))
        .route("/api/v1/federation/announce", post(federation::announce))
        .route("/api/v1/federation/rotate", post(federation::rotate))
        .route("/api/v1/partners", get(partner::list))
        .route("/api/v1/partners/invitations", post(partner::invite))
        .route("/api/v1/partners/accept", post(partner::accept))
        .route("/api/v1/partners/{reference}", get(partner::show))
        .route("/api/v1/partners/{reference}/suspend", post(partner::suspend))
        .route("/api/v1/partners/{reference}/resume", post(partner::resume))
        .route("/api/v1/partners/{reference}/end", post(partner::end))
        .route("/api/v1/partners/{reference}/trust", put(partner::pin))
        .route("/api/v1/partners/{reference}/receipts", get(settlement::receipts))
        .route("/api/v1/partners/{reference}/settlements/{month}", get(settlement::month::show))
        .route("/api/v1/partners/{reference}/settlements/{month}/settle", post(settlement::month::settle))
        .route("/api/v1/disputes", get(settlement::dispute::list))
        .route("/api/v1/disputes/{id}", get(settlement::dispute::show))
        .route("/api/v1/disputes/{id}/say", post(settlement::dispute::say))
        .route("/api/v1/disputes/{id}/decide", post(settlement::dispute::decide))
        .route("/api/v1/statements", get(settlement::statement::list))
}

/// What is sold to and bought from them.
fn market_routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/v1/market", get(market::show))
        .route("/api/v1/market/offers", get(market::offer::list).post(market::offer::create))
        .route("/api/v1/market/offers/{reference}", get(market::offer::show).patch(market::offer::update))
        .route("/api/v1/market/demands", get(market::demand::list))
        .route("/api/v1/market/demands/{id}", get(market::demand::show))
        .route("/api/v1/market/leases", get(market::lease::list))
        .route("/api/v1/market/standing/{site}", get(market::standing::show))
}

/// What happens.
fn watch_routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/v1/events", get(event::list))
        .route("/api/v1/events/stream", get(event::stream::follow))
        .route("/api/v1/status", get(status::show))
}
