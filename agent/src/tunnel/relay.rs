//! Keeping the controller's relay in reach, as long as some grant may need it.

use std::sync::Arc;
use std::time::Duration;

use chandler_protocol::HostId;
use chandler_protocol::way::Path;
use tokio::sync::watch;

use super::line::Line;
use super::{Tunnels, accept, transport};
use crate::link::bulk::Route;
use crate::tls::SERVER_NAME;

/// How long connecting to the relay may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long somebody who wants to dial waits for the relay.
const READY: Duration = Duration::from_secs(3);
/// How often it is looked whether the line carries whole packets by now.
const LOOK: Duration = Duration::from_millis(20);
/// How long to wait before the relay is tried again; twice as long each time, up to the longest.
const AGAIN: Duration = Duration::from_millis(500);
const AGAIN_LONGEST: Duration = Duration::from_secs(30);

/// The way to the relay.
pub(super) struct Relay {
    line: Arc<Line>,
    controller: watch::Sender<Option<Route>>,
    wanted: watch::Sender<bool>,
    endpoint: watch::Sender<Option<quinn::Endpoint>>,
}

impl Relay {
    pub(super) fn new(me: HostId) -> Self {
        Self {
            line: Line::new(me),
            controller: watch::Sender::new(None),
            wanted: watch::Sender::new(false),
            endpoint: watch::Sender::new(None),
        }
    }

    pub(super) fn set_controller(&self, route: Route) {
        self.controller.send_replace(Some(route));
    }

    pub(super) fn want(&self, is_wanted: bool) {
        self.wanted.send_if_modified(|wanted| std::mem::replace(wanted, is_wanted) != is_wanted);
    }

    pub(super) fn endpoint(&self) -> Option<quinn::Endpoint> {
        self.endpoint.borrow().clone()
    }

    /// The endpoint whose packets go through the relay, once they can.
    pub(super) async fn ready(&self) -> Result<quinn::Endpoint, String> {
        let ready = async {
            loop {
                if let (true, Some(endpoint)) = (self.line.is_ready(), self.endpoint()) {
                    return endpoint;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(READY, ready).await.map_err(|_| "the relay cannot be reached".to_owned())
    }

    /// How to reach the relay, once that is wanted and known.
    async fn route(&self) -> Route {
        let (mut wanted, mut controller) = (self.wanted.subscribe(), self.controller.subscribe());
        loop {
            let _ = wanted.wait_for(|w| *w).await;
            let route = controller.borrow_and_update().clone();
            if let Some(route) = route {
                return route;
            }
            let _ = controller.changed().await;
        }
    }

    async fn unwanted(&self) {
        let _ = self.wanted.subscribe().wait_for(|w| !*w).await;
    }
}

/// Keeps a connection to the relay while it is wanted, and accepts tunnels through it. Ends with the agent only.
pub(super) async fn keep(tunnels: &Arc<Tunnels>) {
    let relay = &tunnels.relay;
    let mut again = AGAIN;
    loop {
        let route = relay.route().await;
        if let Err(error) = open(tunnels) {
            tracing::error!(%error, "no tunnel can go through the relay");
            return std::future::pending().await;
        }
        match connect(&route).await {
            Ok(connection) => {
                again = AGAIN;
                relay.line.set(Some(connection.clone()));
                tokio::select! {
                    biased;
                    () = relay.unwanted() => connection.close(0_u32.into(), b"no grant needs the relay"),
                    error = pump(&relay.line, &connection) => tracing::info!(%error, "the relay is lost"),
                }
                relay.line.set(None);
            }
            Err(why) => {
                tracing::debug!(why, "the relay cannot be reached");
                again = (again * 2).min(AGAIN_LONGEST);
            }
        }
        tokio::time::sleep(again).await;
    }
}

/// Opens the endpoint over the line, once.
fn open(tunnels: &Arc<Tunnels>) -> Result<(), crate::AgentError> {
    let relay = &tunnels.relay;
    if relay.endpoint().is_some() {
        return Ok(());
    }
    let server = tunnels.credentials.accepting(transport::relayed())?;
    let endpoint = tunnels
        .sockets
        .over(relay.line.clone(), server, &tunnels.credentials.reset_key())
        .map_err(|e| crate::AgentError::Setting(format!("relay: {e}")))?;
    relay.endpoint.send_replace(Some(endpoint.clone()));
    let tunnels = tunnels.clone();
    tokio::spawn(async move { accept::accept(&tunnels, &endpoint, Path::Relayed).await });
    Ok(())
}

async fn connect(route: &Route) -> Result<quinn::Connection, String> {
    let connecting = route
        .endpoint
        .connect_with(route.relay.clone(), route.address, SERVER_NAME)
        .map_err(|e| format!("{}: {e}", route.address))?;
    match tokio::time::timeout(CONNECT, connecting).await {
        Ok(connected) => connected.map_err(|e| format!("{}: {e}", route.address)),
        Err(_) => Err(format!("{}: no answer in {} s", route.address, CONNECT.as_secs())),
    }
}

/// Takes what comes until the connection is lost.
async fn pump(line: &Line, connection: &quinn::Connection) -> quinn::ConnectionError {
    loop {
        match connection.read_datagram().await {
            Ok(datagram) => line.take(datagram),
            Err(error) => return error,
        }
    }
}
