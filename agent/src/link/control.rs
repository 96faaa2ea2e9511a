//! Keeping the control connection: dial, introduce oneself, hold the session, come back when it is lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chandler_protocol::Micros;
use chandler_protocol::frame::CONTROL_MAX;
use chandler_protocol::handshake::{Hello, Refusal, VERSION, VERSION_MIN, Welcome};
use chandler_protocol::message::{AgentMessage, ControllerMessage};
use chandler_protocol::text::{TEXT_MAX, clean};

use super::backoff::{Backoff, LONGEST, spread};
use super::bulk::Route;
use super::framed::{self, Reader};
use crate::agent::{Notice, Shared};
use crate::session::{self, End};
use crate::sync::lock;
use crate::tls::{Dialling, SERVER_NAME};

/// How long one address may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the controller may take to welcome.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(15);
/// How long to wait after a refusal that says that trying again does not help: somebody may mend it all the same.
const HOPELESS: Micros = Micros::from_secs(60);
/// What a controller closes a connection with when the certificate may not be here. Its reason is `E0203: a sentence`.
const CLOSED_AS_REFUSED: u64 = 2;
/// Longest wait that a refusal may ask for.
const RETRY_MAX: Micros = Micros::from_secs(3_600);

/// A connection on which the controller said welcome.
pub(crate) struct Connected {
    pub(crate) connection: quinn::Connection,
    pub(crate) send: quinn::SendStream,
    pub(crate) reader: Reader,
    pub(crate) welcome: Welcome,
    endpoint: quinn::Endpoint,
    address: SocketAddr,
}

enum Failure {
    Refused(Refusal),
    Other(String),
}

/// Holds a session with a controller for ever.
pub(crate) async fn keep_connected(shared: Arc<Shared>) {
    let mut backoff = Backoff::default();
    let mut is_first = true;
    loop {
        let wait = match connect(&shared).await {
            Ok((connected, dialling)) => {
                backoff.reset();
                let window = Micros(connected.welcome.reconnect_window.0.clamp(0, LONGEST.0));
                welcome(&shared, &connected, &dialling);
                if std::mem::take(&mut is_first) {
                    let identity = lock(&shared.identity).clone();
                    let took = Micros(shared.world.clock.boot().0 - shared.started.0);
                    (shared.config.notice)(Notice::Ready { host: identity.host, site: identity.site, took });
                }
                let end = session::hold(&shared, connected).await;
                shared.bulk.set_route(None);
                match end {
                    End::Renewed => {
                        shared.change_link(|l| l.lost("the certificate was renewed"));
                        Micros::ZERO
                    }
                    End::Refused(refusal) => refused(&shared, &refusal),
                    End::Lost(why) => {
                        tracing::info!(%why, "the controller is lost; software goes on");
                        shared.change_link(|l| l.lost(&why));
                        spread(shared.world.random.as_ref(), window)
                    }
                }
            }
            Err(Failure::Refused(refusal)) => refused(&shared, &refusal),
            Err(Failure::Other(why)) => {
                if backoff.failed() == 0 {
                    tracing::info!(%why, "no controller can be reached; trying again");
                }
                shared.change_link(|l| l.lost(&why));
                backoff.next(shared.world.random.as_ref())
            }
        };
        tokio::time::sleep(wait.to_std()).await;
    }
}

/// How long to wait after a refusal.
fn refused(shared: &Shared, refusal: &Refusal) -> Micros {
    let (code, message) = (clean(&refusal.code, 16), clean(&refusal.message, TEXT_MAX));
    tracing::error!(code, message, "the controller refuses this agent");
    shared.change_link(|l| l.lost(&format!("refused: {message} [{code}]")));
    let wait = refusal.retry_after.map_or(HOPELESS, |after| Micros(after.0.clamp(0, RETRY_MAX.0)));
    // Everybody who was refused at once shall not come back at once.
    Micros(wait.0 + spread(shared.world.random.as_ref(), Micros(wait.0 / 4)).0)
}

fn welcome(shared: &Shared, connected: &Connected, dialling: &Dialling) {
    let w = &connected.welcome;
    shared.time.told(w.controller_time, shared.world.disk.as_ref());
    shared.set_interval(w.telemetry_interval);
    lock(&shared.journal).acknowledge(w.usage_acknowledged);
    lock(&shared.telemetry).connected();
    let offset = Micros(shared.world.clock.now().0.saturating_sub(w.controller_time.0));
    shared.change_link(|l| l.connected(connected.address, connected.connection.rtt(), offset));
    let route = Route {
        endpoint: connected.endpoint.clone(),
        address: connected.address,
        config: dialling.bulk.clone(),
        relay: dialling.relay.clone(),
    };
    shared.bulk.set_route(Some(route.clone()));
    // Kept when the session is lost: the relay's connection may well outlive it.
    shared.tunnels.set_controller(route);
}

/// Tries every known address once.
async fn connect(shared: &Arc<Shared>) -> Result<(Connected, Dialling), Failure> {
    let identity = lock(&shared.identity).clone();
    let mut dialling =
        Dialling::new(&identity, &shared.key, &shared.time).map_err(|e| Failure::Other(e.to_string()))?;
    shared.world.sockets.adjust(&mut dialling.control);
    shared.world.sockets.adjust(&mut dialling.bulk);
    shared.world.sockets.adjust(&mut dialling.relay);
    let mut last = Failure::Other("no controller's address is known".into());
    for address in identity.addresses {
        match attempt(shared, address, &dialling).await {
            Ok(connected) => return Ok((connected, dialling)),
            // One controller refusing says nothing about another of the same cell being down.
            Err(Failure::Other(why)) if matches!(last, Failure::Refused(_)) => drop(why),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

/// A new socket each time: the old one may belong to a network that is gone.
async fn attempt(shared: &Arc<Shared>, address: SocketAddr, dialling: &Dialling) -> Result<Connected, Failure> {
    let failed = |e: &dyn std::fmt::Display| Failure::Other(format!("{address}: {e}"));
    let endpoint = shared.world.sockets.endpoint(address).map_err(|e| failed(&e))?;
    let connecting = endpoint.connect_with(dialling.control.clone(), address, SERVER_NAME).map_err(|e| failed(&e))?;
    let connection = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected.map_err(|e| failed(&e))?,
        Err(_) => return Err(failed(&format!("no answer in {} s", CONNECT_TIMEOUT.as_secs()))),
    };
    // A controller that does not accept the certificate closes with its reason, whatever was being done just then.
    let lost = |error: &dyn std::fmt::Display| match connection.close_reason() {
        Some(reason) => refusal_in(&reason).map_or_else(|| failed(&reason), Failure::Refused),
        None => failed(error),
    };
    let (mut send, receive) = connection.open_bi().await.map_err(|e| lost(&e))?;
    let hello = AgentMessage::Hello(Hello {
        version_min: VERSION_MIN,
        version_max: VERSION,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: shared.world.probe.boot_id(),
        instance: shared.instance,
        agent_time: shared.world.clock.now(),
        starts: shared.starts,
    });
    framed::write(&mut send, &hello, CONTROL_MAX).await.map_err(|e| lost(&e))?;
    let mut reader = Reader::new(receive, CONTROL_MAX);
    match reader.expect(WELCOME_TIMEOUT, WELCOME_TIMEOUT).await {
        Ok(ControllerMessage::Welcome(welcome)) if (VERSION_MIN..=VERSION).contains(&welcome.version) => {
            Ok(Connected { connection, send, reader, welcome, endpoint, address })
        }
        Ok(ControllerMessage::Welcome(w)) => {
            Err(failed(&format!("it speaks version {}, which this agent does not", w.version)))
        }
        Ok(ControllerMessage::Refused(refusal)) => Err(Failure::Refused(refusal)),
        Ok(_) => Err(failed(&"it did not say welcome")),
        Err(error) => Err(lost(&error)),
    }
}

/// The refusal in the reason of a closed connection, if it is one.
fn refusal_in(reason: &quinn::ConnectionError) -> Option<Refusal> {
    let quinn::ConnectionError::ApplicationClosed(close) = reason else { return None };
    let text = String::from_utf8_lossy(&close.reason).into_owned();
    let (code, message) = text.split_once(": ").filter(|_| close.error_code.into_inner() == CLOSED_AS_REFUSED)?;
    Some(Refusal { code: code.to_owned(), message: message.to_owned(), retry_after: None })
}
