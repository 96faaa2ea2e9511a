//! Joining: the one exchange with a computer that nobody knows yet.

use std::sync::Arc;
use std::time::Duration;

use chandler_api::problem;
use chandler_engine::availability::History;
use chandler_engine::draft::Draft;
use chandler_engine::event::Noun;
use chandler_engine::fleet::{Host, HostState};
use chandler_engine::identity::burn;
use chandler_protocol::frame::JOIN_MAX;
use chandler_protocol::join::{JoinRequest, JoinResponse};
use chandler_protocol::text::{NAME_MAX, clean};
use chandler_protocol::{HostId, SiteId};

use super::identity::IdentityError;
use super::listener::Shared;
use super::session::{self, receive, send};
use crate::store::Refused;

/// A computer that takes longer to say its word is cut off.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn serve(connection: quinn::Connection, shared: Arc<Shared>) {
    let exchange = async {
        let (mut tx, mut rx) = connection.accept_bi().await.ok()?;
        let mut frames = receive(JOIN_MAX);
        let request: JoinRequest = frames.next(&mut rx).await.ok()??;
        let response = admit(request, &shared).await;
        send(&mut tx, &response, JOIN_MAX).await.ok()?;
        tx.finish().ok()?;
        // The other side closes once it has read the answer.
        connection.closed().await;
        Some(())
    };
    if tokio::time::timeout(PATIENCE, exchange).await.is_err() {
        connection.close(session::CLOSE_PROTOCOL, b"too slow");
    }
}

fn refused(code: problem::Code, message: impl std::fmt::Display) -> JoinResponse {
    JoinResponse::Refused { code: code.code.to_owned(), message: message.to_string() }
}

async fn admit(request: JoinRequest, shared: &Arc<Shared>) -> JoinResponse {
    let now = shared.writer.clock().now();
    let host = HostId::from_random(chandler_protocol::world::id_bytes(shared.writer.random().as_ref()));
    let issued = match shared.authority.issue_agent(host, &request.csr, now) {
        Ok(issued) => issued,
        Err(e @ IdentityError::BadRequest) => return refused(problem::JOIN_BAD_REQUEST, e),
        Err(error) => {
            tracing::error!(%error, "a certificate could not be issued");
            return refused(problem::INTERNAL, "the controller cannot issue certificates; see its log");
        }
    };
    let secret_hash = *blake3::hash(&request.secret).as_bytes();
    let name = clean(request.host_name.trim(), NAME_MAX);
    let key_fingerprint = issued.key_fingerprint;
    // One transaction burns the secret and makes the host: of two computers with the same secret, one wins.
    let admitted = shared
        .writer
        .transact("join", move |draft| {
            let token = draft.model.join_tokens.get(&secret_hash).cloned();
            let burnt = burn(token.as_deref(), draft.now)?;
            let site = burnt.site;
            draft.put(burnt);
            Ok::<_, chandler_engine::identity::JoinRefused>(enter(draft, host, site, &name, key_fingerprint))
        })
        .await;
    match admitted {
        Ok(site) => JoinResponse::Admitted {
            host,
            site,
            certificate: issued.certificate,
            ca: shared.authority.ca().to_vec(),
            controller_time: now,
        },
        Err(Refused::By(why)) => {
            tracing::warn!(%why, "a computer was not admitted");
            refused(problem::JOIN_UNKNOWN, why)
        }
        Err(Refused::Store(_)) => refused(problem::UNAVAILABLE, "the controller's store takes no writes; try again"),
    }
}

/// Puts the host into the inventory; gives the name of its site.
fn enter(draft: &mut Draft<'_>, id: HostId, site: SiteId, wanted: &str, key_fingerprint: [u8; 32]) -> String {
    let name = free_name(draft, wanted, id);
    let site_name = draft.model.sites.get(&site).map_or_else(|| site.to_string(), |s| s.name.clone());
    draft.event(
        (Noun::Host, id.to_string(), &name),
        "",
        HostState::Registered.as_str(),
        format!("joined site {site_name}"),
    );
    draft.put(Host {
        id,
        site,
        name,
        state: HostState::Registered,
        note: "has not connected yet".to_owned(),
        since: draft.now,
        key_fingerprint,
        agent_version: String::new(),
        starts: 0,
        inventory: None,
        history: History::default(),
        rtt: None,
        failures: Vec::new(),
        protocol: 0,
        listens: Vec::new(),
        drain: None,
        terms: None,
    });
    site_name
}

/// The wanted name, or one with a number behind it: names are for people, and must not be confused.
fn free_name(draft: &Draft<'_>, wanted: &str, id: HostId) -> String {
    let base = if wanted.is_empty() { id.to_string() } else { wanted.to_owned() };
    if draft.model.host_named(&base).is_none() {
        return base;
    }
    let numbered = (2..10_000).map(|n| format!("{base}-{n}")).find(|name| draft.model.host_named(name).is_none());
    numbered.unwrap_or_else(|| id.to_string())
}
