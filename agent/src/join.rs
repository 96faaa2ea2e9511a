//! Joining a controller for the first time: prove the controller, prove the right, receive an identity.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chandler_protocol::Micros;
use chandler_protocol::frame::JOIN_MAX;
use chandler_protocol::join::{JoinRequest, JoinResponse, JoinString};
use chandler_protocol::text::{NAME_MAX, TEXT_MAX, clean};

use crate::agent::Notice;
use crate::identity::{HostKey, Identity, is_for};
use crate::link::backoff::Backoff;
use crate::link::framed::{self, Reader};
use crate::time::TrustedTime;
use crate::tls::{self, SERVER_NAME};
use crate::world::World;
use crate::{AgentError, Config};

/// How long a first join may take in all.
pub const JOIN_DEADLINE: Micros = Micros::from_secs(30);
/// How long one address may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the controller may take to decide.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Addresses of a join string that are tried.
const ADDRESSES_MAX: usize = 8;

/// Joins, and keeps what came of it.
///
/// # Errors
/// Nobody answered, the wrong one answered, or the controller refused.
pub async fn join(
    text: &JoinString,
    key: &HostKey,
    config: &Config,
    world: &World,
    time: &Arc<TrustedTime>,
) -> Result<Identity, AgentError> {
    // The controller's clock at issue is the earliest it can be now; a wrong wall clock cannot stop a join.
    time.told(text.issued_at, world.disk.as_ref());
    let start = world.clock.boot();
    let mut backoff = Backoff::default();
    loop {
        let mut last = None;
        for address in text.addresses.iter().take(ADDRESSES_MAX) {
            match attempt(*address, text, key, config, world, time).await {
                Ok(identity) => {
                    identity.save(world.disk.as_ref())?;
                    return Ok(identity);
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::NoAnswer(why)) => last = Some(format!("{address}: {why}")),
            }
        }
        let waited = Micros(world.clock.boot().0 - start.0);
        let wait = backoff.next(world.random.as_ref());
        if waited.0 + wait.0 >= JOIN_DEADLINE.0 {
            let cause = last.unwrap_or_else(|| "the join string names no address".into());
            return Err(AgentError::Unreachable(format!("{cause} ({} tries, {waited})", backoff.failed())));
        }
        if let Some(why) = last.filter(|_| backoff.failed() == 1) {
            (config.notice)(Notice::Waiting { why, deadline: JOIN_DEADLINE });
        }
        tokio::time::sleep(wait.to_std()).await;
    }
}

enum Failure {
    NoAnswer(String),
    Final(AgentError),
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        Self::Final(error)
    }
}

async fn attempt(
    address: SocketAddr,
    text: &JoinString,
    key: &HostKey,
    config: &Config,
    world: &World,
    time: &Arc<TrustedTime>,
) -> Result<Identity, Failure> {
    let no_answer = |e: &dyn std::fmt::Display| Failure::NoAnswer(e.to_string());
    let start = world.clock.boot();
    let (mut dial, verifier) = tls::joining(text.ca_fingerprint, time)?;
    world.sockets.adjust(&mut dial);
    let endpoint = world.sockets.endpoint(address).map_err(|e| no_answer(&e))?;
    let connecting = endpoint.connect_with(dial, address, SERVER_NAME).map_err(|e| no_answer(&e))?;
    let connection = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(_)) if verifier.saw_wrong_ca() => return Err(AgentError::WrongCa(address.to_string()).into()),
        Ok(Err(e)) => return Err(no_answer(&e)),
        Err(_) => return Err(no_answer(&format!("no answer in {} s", CONNECT_TIMEOUT.as_secs()))),
    };
    let reached = world.clock.boot();
    (config.notice)(Notice::Reached { address, took: Micros(reached.0 - start.0) });
    let (mut send, receive) = connection.open_bi().await.map_err(|e| no_answer(&e))?;
    let request =
        JoinRequest { secret: text.secret, csr: key.request()?, host_name: clean(&config.host_name, NAME_MAX) };
    framed::write(&mut send, &request, JOIN_MAX).await.map_err(|e| no_answer(&e))?;
    let _ = send.finish();
    let mut reader = Reader::new(receive, JOIN_MAX);
    let answer = reader.expect(ANSWER_TIMEOUT, ANSWER_TIMEOUT).await.map_err(|e| no_answer(&e))?;
    connection.close(0_u32.into(), b"");
    // The close is on its way only while somebody drives the endpoint.
    let _ = tokio::time::timeout(Duration::from_millis(100), endpoint.wait_idle()).await;
    match answer {
        JoinResponse::Refused { code, message } => {
            Err(AgentError::Refused { code: clean(&code, 16), message: clean(&message, TEXT_MAX) }.into())
        }
        JoinResponse::Admitted { host, site, certificate, ca, controller_time } => {
            if !is_for(&certificate, key) {
                return Err(AgentError::Identity("the controller's certificate is for another key".into()).into());
            }
            if tls::fingerprint(&ca) != Some(text.ca_fingerprint) {
                return Err(AgentError::WrongCa(address.to_string()).into());
            }
            time.told(controller_time, world.disk.as_ref());
            let site = clean(&site, NAME_MAX);
            (config.notice)(Notice::Admitted {
                host,
                site: site.clone(),
                waited: Micros(world.clock.boot().0 - reached.0),
            });
            Ok(Identity { host, site, certificate, ca, addresses: text.addresses.clone() })
        }
    }
}
