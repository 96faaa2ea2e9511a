//! The accepting side: who may come in, and what becomes of each stream.

use std::sync::Arc;
use std::time::Duration;

use chandler_protocol::tunnel::{FRAME_MAX, TunnelAnswer, TunnelRefusal, TunnelRequest};
use chandler_protocol::way::{Path, Permit};
use rustls::pki_types::CertificateDer;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use super::carried::{Carried, Stream};
use super::link::{self, Link};
use super::peer::Peer;
use super::{CLOSE_NO_GRANT, Tunnels, carry};
use crate::link::framed;
use crate::tls::key_of;

/// Handshakes under way at once: a stranger shall not keep this computer busy.
const HANDSHAKES: usize = 32;
/// A handshake that takes longer is given up.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// A stream that has not said what it is for by then is given up.
const REQUEST: Duration = Duration::from_secs(5);
/// How often idle connections are looked for.
const LOOK: Duration = Duration::from_secs(5);

/// Accepts connections until the endpoint is gone.
pub(super) async fn accept(tunnels: &Arc<Tunnels>, endpoint: &quinn::Endpoint, path: Path) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    while let Some(incoming) = endpoint.accept().await {
        let Ok(permit) = handshakes.clone().acquire_owned().await else { return };
        let tunnels = tunnels.clone();
        tokio::spawn(async move {
            let connected = tokio::time::timeout(HANDSHAKE, async move { incoming.accept()?.await }).await;
            drop(permit);
            match connected {
                Ok(Ok(connection)) => admit(&tunnels, connection, path),
                Ok(Err(error)) => tracing::debug!(%error, "a tunnel was not accepted"),
                Err(_) => tracing::debug!("the handshake of a tunnel took too long"),
            }
        });
    }
}

/// Who has come in is known by the key that was proved in the handshake.
fn admit(tunnels: &Arc<Tunnels>, connection: quinn::Connection, path: Path) {
    let chain = connection.peer_identity().and_then(|i| i.downcast::<Vec<CertificateDer<'static>>>().ok());
    let certificate = chain.and_then(|c| c.first().cloned());
    let known = certificate.and_then(|c| {
        let peer = tunnels.peer(tunnels.credentials.host_of(&c)?)?;
        key_of(&c).filter(|key| *key == peer.grant().key).map(|key| (peer, key))
    });
    match known {
        Some((peer, key)) => keep(tunnels, &peer, &Link::new(connection, path, false, key)),
        // The grant went away during the handshake.
        None => connection.close(CLOSE_NO_GRANT.into(), b"no grant"),
    }
}

/// Serves a connection, whoever opened it, until it ends.
pub(super) fn keep(tunnels: &Arc<Tunnels>, peer: &Arc<Peer>, link: &Arc<Link>) {
    peer.enter(link, tunnels);
    let (tunnels, peer, link) = (tunnels.clone(), peer.clone(), link.clone());
    tokio::spawn(async move {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The grant may have changed between the handshake and now.
        if tunnels.peer(peer.id).is_none_or(|p| p.grant().key != link.key) {
            link.connection.close(CLOSE_NO_GRANT.into(), b"no grant");
        }
        loop {
            tokio::select! {
                biased;
                _ = look.tick() => link.close_if_idle(),
                opened = link.connection.accept_bi() => match opened {
                    Ok((send, receive)) => {
                        let stream = Stream::new(send, receive, link.in_use());
                        tokio::spawn(answer(tunnels.clone(), peer.clone(), stream));
                    }
                    Err(error) => {
                        tracing::debug!(peer = %peer.id, %error, "a tunnel ended");
                        break;
                    }
                }
            }
        }
        peer.leave(&link, &tunnels);
    });
}

/// Serves one stream. quinn bounds how many there are of one connection; the semaphore bounds all of them.
async fn answer(tunnels: Arc<Tunnels>, peer: Arc<Peer>, mut stream: Stream) {
    let request = match tokio::time::timeout(REQUEST, link::read_frame(&mut stream.receive)).await {
        Ok(Ok(request)) => request,
        Ok(Err(error)) => return tracing::debug!(peer = %peer.id, %error, "a stream asked for nothing"),
        Err(_) => return,
    };
    let Ok(_permit) = tunnels.streams.clone().try_acquire_owned() else {
        return refuse(stream, TunnelRefusal::Busy, 0).await;
    };
    // A grant that was taken back and given anew is another one.
    let peer = tunnels.peer(peer.id).unwrap_or(peer);
    match request {
        TunnelRequest::Ping => {
            if say(&mut stream, &TunnelAnswer::Open).await {
                let _ = stream.finish();
            }
        }
        TunnelRequest::Port { assignment, epoch, port } => {
            if !peer.permits(Permit::Port(assignment)) {
                return refuse(stream, TunnelRefusal::NotGranted, 0).await;
            }
            let connected = match tunnels.serve.port(assignment, epoch, &port) {
                Ok(address) => carry::connect(address).await.map_err(|_| (TunnelRefusal::Unreachable, epoch)),
                Err(refusal) => Err(refusal),
            };
            match connected {
                Ok(workload) if say(&mut stream, &TunnelAnswer::Open).await => carry::between(stream, workload).await,
                Ok(_) => {}
                Err((why, epoch)) => refuse(stream, why, epoch).await,
            }
        }
        TunnelRequest::State { assignment, attempt } => {
            if !peer.permits(Permit::State { assignment, attempt }) {
                return refuse(stream, TunnelRefusal::NotGranted, 0).await;
            }
            if let Err((why, epoch)) = tunnels.serve.gives_state(assignment, attempt) {
                return refuse(stream, why, epoch).await;
            }
            if say(&mut stream, &TunnelAnswer::Open).await {
                tunnels.serve.state(assignment, attempt, Carried::Tunnel(stream)).await;
            }
        }
    }
}

/// Says whether it could be said.
async fn say(stream: &mut Stream, answer: &TunnelAnswer) -> bool {
    framed::write(&mut stream.send, answer, FRAME_MAX).await.is_ok()
}

async fn refuse(mut stream: Stream, why: TunnelRefusal, epoch: u64) {
    if say(&mut stream, &TunnelAnswer::Refused { why, epoch }).await {
        stream.is_finished = true;
        link::abandon(&mut stream.send, &mut stream.receive);
    }
}
