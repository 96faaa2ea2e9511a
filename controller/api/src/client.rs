//! The typed client of `/api/v1`: one method a route.
//!
//! Every POST carries a random `Idempotency-Key`, so that a call which found nobody listening is tried again
//! safely. HTTP only, and directly: no proxy, no redirect.

mod content;
mod error;
mod events;
mod market;
mod partner;
mod settlement;
mod transport;

use std::future::Future;

use bytes::Bytes;
use chandler_protocol::Digest;
use reqwest::Method;
use reqwest::header::ETAG;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::content::{Content, Progress};
pub use self::error::ClientError;
pub use self::events::{EventStream, Feed};
pub use self::transport::Notice;
use self::transport::{Call, Transport};
use crate::artifact::{Artifact, ArtifactPublish, Blob};
use crate::bill::{Bill, BillRun, LedgerCheck};
use crate::criteria::ProviderCriteria;
use crate::drain::{DrainReport, DrainRequest};
use crate::event::{Event, EventQuery};
use crate::host::{HistoryImport, Host};
use crate::movement::{Move, MoveQuery, MoveRequest};
use crate::offering::{Offering, OfferingApply};
use crate::order::{Order, OrderRequest};
use crate::page::{LIMIT_MAX, Page, PageQuery};
use crate::party::{Party, PartyCreate};
use crate::quote::Quote;
use crate::service::{Explanation, Log, LogQuery, Service, ServiceQuery};
use crate::site::{Site, SiteCreate, SiteUpdate};
use crate::sla::{Sla, SlaAmend, SlaVersion};
use crate::status::Status;
use crate::token::{JoinTokenCreate, JoinTokenCreated, TokenCreate, TokenCreated};

/// Most pages that [`all`] reads: 5 million items.
const PAGES_MAX: u32 = 10_000;
/// The header that makes a POST safe to repeat.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A connection to one controller.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
}

/// A thing and the version of it that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged<T> {
    /// The thing.
    pub value: T,
    /// Its `ETag`, to be given with a change.
    pub etag: String,
}

/// The content of a file on its way here.
#[derive(Debug)]
pub struct Download<'c> {
    client: &'c Client,
    response: reqwest::Response,
}

impl Download<'_> {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// The connection broke off.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        self.client.transport.piece(&mut self.response).await
    }

    /// All of it, refused when it is longer than `max`.
    ///
    /// # Errors
    /// The connection broke off, or it is too long.
    pub async fn bytes(mut self, max: usize) -> Result<Vec<u8>, ClientError> {
        let mut all = Vec::new();
        while let Some(piece) = self.piece().await? {
            if all.len() + piece.len() > max {
                return Err(self.client.transport.decode(&format!("it is longer than {max} bytes")));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }
}

/// Every item of a list, page by page: `all(|page| client.hosts(page))`.
///
/// # Errors
/// Those of the calls; also when the pages never end.
pub async fn all<T, F, Fut>(mut page_of: F) -> Result<Vec<T>, ClientError>
where
    F: FnMut(PageQuery) -> Fut,
    Fut: Future<Output = Result<Page<T>, ClientError>>,
{
    let mut items = Vec::new();
    let mut query = PageQuery { limit: Some(LIMIT_MAX), page_token: None };
    for _ in 0..PAGES_MAX {
        let page = page_of(query).await?;
        items.extend(page.items);
        match page.next_page_token {
            None => return Ok(items),
            token => query = PageQuery { limit: Some(LIMIT_MAX), page_token: token },
        }
    }
    Err(ClientError::Local(format!("the list has more than {PAGES_MAX} pages")))
}

/// A new random idempotency key: 128 bits in hexadecimal.
///
/// # Errors
/// The operating system gives no randomness.
pub fn random_key() -> Result<String, ClientError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| ClientError::Local(format!("no random numbers: {e}")))?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}

/// Each method is one route. Errors: see [`ClientError`].
#[expect(clippy::missing_errors_doc, reason = "every method fails in the same ways, told by ClientError")]
impl Client {
    /// A client of the controller at `base_url`, such as `http://127.0.0.1:7480`, signed in by `token`.
    pub fn new(base_url: &str, token: Option<&str>) -> Result<Self, ClientError> {
        Ok(Self { transport: Transport::new(base_url, token)? })
    }

    /// Tells this function each time before a call is tried again, so that nobody waits without knowing why.
    #[must_use]
    pub fn with_notice(mut self, notice: Notice) -> Self {
        self.transport.tell(notice);
        self
    }

    /// `HOST:PORT` of the controller, for messages.
    pub fn address(&self) -> String {
        self.transport.address()
    }

    const fn transport(&self) -> &Transport {
        &self.transport
    }

    fn call(&self, method: Method, parts: &[&str]) -> Result<Call, ClientError> {
        self.transport.call(method, &[&["api", "v1"], parts].concat())
    }

    async fn get<T: DeserializeOwned>(&self, parts: &[&str]) -> Result<T, ClientError> {
        self.transport.fetch(&self.call(Method::GET, parts)?).await
    }

    async fn list<T: DeserializeOwned, Q: Serialize>(&self, parts: &[&str], query: &Q) -> Result<T, ClientError> {
        self.transport.fetch(&self.call(Method::GET, parts)?.query(query)?).await
    }

    async fn post<B: Serialize, T: DeserializeOwned>(&self, parts: &[&str], body: &B) -> Result<T, ClientError> {
        self.post_with(parts, body, &random_key()?).await
    }

    async fn post_with<B: Serialize, T: DeserializeOwned>(
        &self,
        parts: &[&str],
        body: &B,
        key: &str,
    ) -> Result<T, ClientError> {
        self.transport.fetch(&self.call(Method::POST, parts)?.key(key)?.json(body)?).await
    }

    /// A POST that says everything in its path.
    async fn act<T: DeserializeOwned>(&self, parts: &[&str]) -> Result<T, ClientError> {
        self.transport.fetch(&self.call(Method::POST, parts)?.key(&random_key()?)?).await
    }

    async fn tagged<T: DeserializeOwned>(&self, parts: &[&str]) -> Result<Tagged<T>, ClientError> {
        let response = self.transport.send(&self.call(Method::GET, parts)?).await?;
        let etag = response.headers().get(ETAG).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let etag = etag.ok_or_else(|| self.transport.decode("it has no ETag"))?;
        Ok(Tagged { value: self.transport.document(response).await?, etag })
    }

    /// Lists parties.
    pub async fn parties(&self, page: PageQuery) -> Result<Page<Party>, ClientError> {
        self.list(&["parties"], &page).await
    }
    /// Makes a party.
    pub async fn party_create(&self, party: &PartyCreate) -> Result<Party, ClientError> {
        self.post(&["parties"], party).await
    }
    /// A party by name or id.
    pub async fn party(&self, reference: &str) -> Result<Party, ClientError> {
        self.get(&["parties", reference]).await
    }

    /// Lists sites.
    pub async fn sites(&self, page: PageQuery) -> Result<Page<Site>, ClientError> {
        self.list(&["sites"], &page).await
    }
    /// Makes a site.
    pub async fn site_create(&self, site: &SiteCreate) -> Result<Site, ClientError> {
        self.post(&["sites"], site).await
    }
    /// A site by name or id.
    pub async fn site(&self, reference: &str) -> Result<Tagged<Site>, ClientError> {
        self.tagged(&["sites", reference]).await
    }
    /// Changes a site, if it is still as it was read.
    pub async fn site_update(&self, reference: &str, change: &SiteUpdate, etag: &str) -> Result<Site, ClientError> {
        self.transport.fetch(&self.call(Method::PATCH, &["sites", reference])?.if_match(etag)?.json(change)?).await
    }

    /// Asks for a site to be left.
    pub async fn site_drain(&self, reference: &str, drain: &DrainRequest) -> Result<DrainReport, ClientError> {
        self.post(&["sites", reference, "drain"], drain).await
    }
    /// A site need not be left any more.
    pub async fn site_undrain(&self, reference: &str) -> Result<DrainReport, ClientError> {
        self.act(&["sites", reference, "undrain"]).await
    }
    /// How far the leaving of a site is.
    pub async fn site_drain_report(&self, reference: &str) -> Result<DrainReport, ClientError> {
        self.get(&["sites", reference, "drain"]).await
    }
    /// What the provider would rather have of the fleet.
    pub async fn criteria(&self) -> Result<ProviderCriteria, ClientError> {
        self.get(&["criteria"]).await
    }
    /// Says what the provider would rather have of the fleet, all of it.
    pub async fn criteria_put(&self, criteria: &ProviderCriteria) -> Result<ProviderCriteria, ClientError> {
        self.transport.fetch(&self.call(Method::PUT, &["criteria"])?.json(criteria)?).await
    }

    /// Makes a join string.
    pub async fn join_token_create(&self, token: &JoinTokenCreate) -> Result<JoinTokenCreated, ClientError> {
        self.post(&["joinTokens"], token).await
    }
    /// Makes an API token.
    pub async fn token_create(&self, token: &TokenCreate) -> Result<TokenCreated, ClientError> {
        self.post(&["tokens"], token).await
    }
    /// Ends an API token.
    pub async fn token_delete(&self, id: &str) -> Result<(), ClientError> {
        self.transport.send(&self.call(Method::DELETE, &["tokens", id])?).await.map(drop)
    }

    /// Lists hosts.
    pub async fn hosts(&self, page: PageQuery) -> Result<Page<Host>, ClientError> {
        self.list(&["hosts"], &page).await
    }
    /// A host by name or id, with its inventory.
    pub async fn host(&self, reference: &str) -> Result<Host, ClientError> {
        self.get(&["hosts", reference]).await
    }
    /// Ends a host's identity.
    pub async fn host_revoke(&self, reference: &str) -> Result<Host, ClientError> {
        self.act(&["hosts", reference, "revoke"]).await
    }

    /// Asks for a host to be left.
    pub async fn host_drain(&self, reference: &str, drain: &DrainRequest) -> Result<DrainReport, ClientError> {
        self.post(&["hosts", reference, "drain"], drain).await
    }
    /// A host need not be left any more.
    pub async fn host_undrain(&self, reference: &str) -> Result<DrainReport, ClientError> {
        self.act(&["hosts", reference, "undrain"]).await
    }
    /// How far the leaving of a host is.
    pub async fn host_drain_report(&self, reference: &str) -> Result<DrainReport, ClientError> {
        self.get(&["hosts", reference, "drain"]).await
    }

    /// Adds what is known from elsewhere to a host's history.
    pub async fn host_history_import(&self, reference: &str, history: &HistoryImport) -> Result<Host, ClientError> {
        let call = self.call(Method::PUT, &["hosts", reference, "history"])?;
        self.transport.fetch(&call.key(&random_key()?)?.json(history)?).await
    }

    /// Publishes software; the content is a tar archive.
    pub async fn artifact_publish(&self, what: &ArtifactPublish, archive: Content) -> Result<Artifact, ClientError> {
        let call = self.call(Method::POST, &["artifacts"])?.query(what)?.key(&random_key()?)?;
        self.transport.fetch(&call.raw(archive, "application/x-tar")).await
    }
    /// Lists published software.
    pub async fn artifacts(&self, page: PageQuery) -> Result<Page<Artifact>, ClientError> {
        self.list(&["artifacts"], &page).await
    }
    /// Published software by name and version.
    pub async fn artifact(&self, name: &str, version: &str) -> Result<Artifact, ClientError> {
        self.get(&["artifacts", name, version]).await
    }
    /// Uploads content.
    pub async fn blob_put(&self, digest: &Digest, content: Content) -> Result<Blob, ClientError> {
        let call = self.call(Method::PUT, &["blobs", &digest.to_string()])?;
        self.transport.fetch(&call.raw(content, "application/octet-stream")).await
    }
    /// What is known of uploaded content; `None` when it is not there.
    pub async fn blob(&self, digest: &Digest) -> Result<Option<Blob>, ClientError> {
        match self.get(&["blobs", &digest.to_string()]).await {
            Err(ClientError::Problem(p)) if p.status == 404 => Ok(None),
            other => other.map(Some),
        }
    }

    /// Lists what can be ordered.
    pub async fn offerings(&self, page: PageQuery) -> Result<Page<Offering>, ClientError> {
        self.list(&["offerings"], &page).await
    }
    /// An offering by name.
    pub async fn offering(&self, name: &str) -> Result<Offering, ClientError> {
        self.get(&["offerings", name]).await
    }
    /// Makes or changes an offering.
    pub async fn offering_apply(&self, offering: &OfferingApply) -> Result<Offering, ClientError> {
        self.transport.fetch(&self.call(Method::PUT, &["offerings", &offering.name])?.json(offering)?).await
    }

    /// What an order would cost and give.
    pub async fn quote(&self, order: &OrderRequest) -> Result<Quote, ClientError> {
        self.post(&["quotes"], order).await
    }
    /// Submits an order.
    pub async fn order_submit(&self, order: &OrderRequest) -> Result<Order, ClientError> {
        self.post(&["orders"], order).await
    }
    /// Submits an order under a key of the caller, who may so repeat it safely even after a crash.
    pub async fn order_submit_with_key(&self, order: &OrderRequest, key: &str) -> Result<Order, ClientError> {
        self.post_with(&["orders"], order, key).await
    }
    /// Lists orders.
    pub async fn orders(&self, page: PageQuery) -> Result<Page<Order>, ClientError> {
        self.list(&["orders"], &page).await
    }
    /// An order with its history.
    pub async fn order(&self, id: &str) -> Result<Order, ClientError> {
        self.get(&["orders", id]).await
    }
    /// Cancels an order.
    pub async fn order_cancel(&self, id: &str) -> Result<Order, ClientError> {
        self.act(&["orders", id, "cancel"]).await
    }

    /// Lists services and task items.
    pub async fn services(&self, query: &ServiceQuery) -> Result<Page<Service>, ClientError> {
        self.list(&["services"], query).await
    }
    /// A service by name or id.
    pub async fn service(&self, reference: &str) -> Result<Service, ClientError> {
        self.get(&["services", reference]).await
    }
    /// Orders a service to be stopped and wiped.
    pub async fn service_delete(&self, reference: &str) -> Result<Order, ClientError> {
        self.transport.fetch(&self.call(Method::DELETE, &["services", reference])?).await
    }
    /// Moves a copy of a service elsewhere.
    pub async fn service_move(&self, reference: &str, request: &MoveRequest) -> Result<Move, ClientError> {
        self.post(&["services", reference, "move"], request).await
    }
    /// Lists moves, newest first.
    pub async fn moves(&self, query: &MoveQuery) -> Result<Page<Move>, ClientError> {
        self.list(&["moves"], query).await
    }
    /// A move by id.
    pub async fn move_by_id(&self, id: &str) -> Result<Move, ClientError> {
        self.get(&["moves", id]).await
    }
    /// Why a service is where it is.
    pub async fn service_explain(&self, reference: &str) -> Result<Explanation, ClientError> {
        self.get(&["services", reference, "explain"]).await
    }
    /// Part of a service's log.
    pub async fn service_logs(&self, reference: &str, query: &LogQuery) -> Result<Log, ClientError> {
        self.list(&["services", reference, "logs"], query).await
    }
    /// A collected file of a task item.
    pub async fn service_output(&self, reference: &str, path: &str) -> Result<Download<'_>, ClientError> {
        let mut parts = vec!["services", reference, "outputs"];
        parts.extend(path.split('/'));
        let response = self.transport.send(&self.call(Method::GET, &parts)?.long()).await?;
        Ok(Download { client: self, response })
    }

    /// Lists SLAs.
    pub async fn slas(&self, page: PageQuery) -> Result<Page<Sla>, ClientError> {
        self.list(&["slas"], &page).await
    }
    /// An SLA by its agreement's id or its service's name.
    pub async fn sla(&self, reference: &str) -> Result<Tagged<Sla>, ClientError> {
        self.tagged(&["slas", reference]).await
    }
    /// Amends an SLA, if it is still as it was read.
    pub async fn sla_amend(&self, reference: &str, change: &SlaAmend, etag: &str) -> Result<Order, ClientError> {
        self.transport.fetch(&self.call(Method::PATCH, &["slas", reference])?.if_match(etag)?.json(change)?).await
    }
    /// The versions of an SLA.
    pub async fn sla_history(&self, reference: &str, page: PageQuery) -> Result<Page<SlaVersion>, ClientError> {
        self.list(&["slas", reference, "history"], &page).await
    }

    /// Makes bills.
    pub async fn bill_run(&self, run: &BillRun) -> Result<Page<Bill>, ClientError> {
        self.post(&["bills"], run).await
    }
    /// Lists bills.
    pub async fn bills(&self, page: PageQuery) -> Result<Page<Bill>, ClientError> {
        self.list(&["bills"], &page).await
    }
    /// A bill by id.
    pub async fn bill(&self, id: &str) -> Result<Bill, ClientError> {
        self.get(&["bills", id]).await
    }
    /// Whether the books balance.
    pub async fn ledger_check(&self) -> Result<LedgerCheck, ClientError> {
        self.get(&["ledger", "check"]).await
    }

    /// Lists events, oldest first.
    pub async fn events(&self, query: &EventQuery) -> Result<Page<Event>, ClientError> {
        self.list(&["events"], query).await
    }
    /// Events after this id as they happen. Connects at the first [`EventStream::next`].
    pub fn event_stream(&self, after: u64) -> EventStream<'_> {
        EventStream::new(self, after)
    }
    async fn event_connection(&self, last: u64) -> Result<reqwest::Response, ClientError> {
        let call = self
            .call(Method::GET, &["events", "stream"])?
            .query(&EventQuery { after: last, ..EventQuery::default() })?;
        let call = call.header("accept", "text/event-stream")?.header("last-event-id", &last.to_string())?;
        self.transport.send(&call.endless()).await
    }

    /// Everything at one glance.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get(&["status"]).await
    }
    /// The API's own description.
    pub async fn openapi(&self) -> Result<serde_json::Value, ClientError> {
        self.get(&["openapi.json"]).await
    }
    /// Succeeds when the controller is up.
    pub async fn healthz(&self) -> Result<(), ClientError> {
        self.transport.send(&self.transport.call(Method::GET, &["healthz"])?).await.map(drop)
    }
}
