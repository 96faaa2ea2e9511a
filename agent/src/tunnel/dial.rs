//! Reaching another host: every address a little after the one before, the relay last, and whoever answers first.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chandler_protocol::way::Path;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesUnordered;

use super::link::Link;
use super::peer::Peer;
use super::pinned::NAME;
use super::{Tunnels, accept, line, transport};

/// How much later than the one before an address is tried.
const STAGGER: Duration = Duration::from_millis(100);
/// How much later than the last address the relay is tried: straight is better, where it works at all.
const RELAY_AFTER: Duration = Duration::from_millis(200);
/// How long one address may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How soon, and then how often, a host that is reached through the relay is tried straight.
const STRAIGHT_SOON: Duration = Duration::from_secs(1);
const STRAIGHT_EVERY: Duration = Duration::from_secs(30);

type Attempt<'a> = BoxFuture<'a, Result<Arc<Link>, String>>;

/// Connects to a host in the best way there is.
pub(super) async fn dial(tunnels: &Arc<Tunnels>, peer: &Arc<Peer>) -> Result<Arc<Link>, String> {
    let mut attempts = straight(tunnels, peer);
    if peer.grant().relay {
        let after = if attempts.is_empty() { Duration::ZERO } else { stagger(attempts.len()) + RELAY_AFTER };
        attempts.push(through_relay(tunnels, peer, after).boxed());
    }
    first(attempts).await
}

fn stagger(nth: usize) -> Duration {
    STAGGER * u32::try_from(nth).unwrap_or(0)
}

/// One attempt for each address.
fn straight<'a>(tunnels: &'a Arc<Tunnels>, peer: &'a Arc<Peer>) -> Vec<Attempt<'a>> {
    let attempt = |(nth, address)| {
        async move {
            tokio::time::sleep(stagger(nth)).await;
            let endpoint = endpoint(tunnels).await?;
            connect(tunnels, peer, &endpoint, address, Path::Direct).await
        }
        .boxed()
    };
    peer.candidates().into_iter().enumerate().map(attempt).collect()
}

async fn through_relay(tunnels: &Arc<Tunnels>, peer: &Arc<Peer>, after: Duration) -> Result<Arc<Link>, String> {
    tokio::time::sleep(after).await;
    let endpoint = tunnels.relay.ready().await?;
    connect(tunnels, peer, &endpoint, line::address_of(peer.id), Path::Relayed).await
}

/// The first that succeeds; else why the last one did not.
async fn first(attempts: Vec<Attempt<'_>>) -> Result<Arc<Link>, String> {
    let mut last = "no address of it is known".to_owned();
    let mut attempts: FuturesUnordered<_> = attempts.into_iter().collect();
    while let Some(result) = attempts.next().await {
        match result {
            Ok(link) => return Ok(link),
            Err(why) => last = why,
        }
    }
    Err(last)
}

/// The socket, once it is open.
async fn endpoint(tunnels: &Tunnels) -> Result<quinn::Endpoint, String> {
    let mut endpoint = tunnels.endpoint.subscribe();
    let open = tokio::time::timeout(CONNECT, endpoint.wait_for(Option::is_some)).await;
    open.ok().and_then(Result::ok).and_then(|e| e.clone()).ok_or_else(|| "no socket is open".to_owned())
}

async fn connect(
    tunnels: &Arc<Tunnels>,
    peer: &Arc<Peer>,
    endpoint: &quinn::Endpoint,
    address: SocketAddr,
    path: Path,
) -> Result<Arc<Link>, String> {
    let key = peer.grant().key;
    let failed = |error: &dyn std::fmt::Display| match path {
        Path::Relayed => format!("through the relay: {error}"),
        Path::Direct | Path::None => format!("{address}: {error}"),
    };
    let transport =
        if path == Path::Direct { transport::direct(tunnels.settings.offload) } else { transport::relayed() };
    let mut config = tunnels.credentials.dialling(key, transport).map_err(|e| failed(&e))?;
    tunnels.sockets.adjust(&mut config);
    let connecting = endpoint.connect_with(config, address, NAME).map_err(|e| failed(&e))?;
    let connection = match tokio::time::timeout(CONNECT, connecting).await {
        Ok(connected) => connected.map_err(|e| failed(&e))?,
        Err(_) => return Err(failed(&format!("no answer in {} s", CONNECT.as_secs()))),
    };
    let link = Link::new(connection, path, true, key);
    accept::keep(tunnels, peer, &link);
    if path == Path::Relayed {
        tokio::spawn(straighten(tunnels.clone(), peer.clone(), link.clone()));
    }
    Ok(link)
}

/// As long as a host is reached through the relay, it is tried straight now and then: new streams then go there.
async fn straighten(tunnels: Arc<Tunnels>, peer: Arc<Peer>, relayed: Arc<Link>) {
    let mut wait = STRAIGHT_SOON;
    loop {
        tokio::select! {
            biased;
            _ = relayed.connection.closed() => return,
            () = peer.retry.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
        wait = STRAIGHT_EVERY;
        if !peer.is_direct() {
            // What fails is tried again; the relay goes on meanwhile.
            let _ = first(straight(&tunnels, &peer)).await;
        }
    }
}
