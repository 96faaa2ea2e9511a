//! One request and its answer: `notSent -> delivered -> responding`, and what may be sent again in which state.
//!
//! Not sent, or refused before the workload saw it: again, whatever it is. Delivered, and not a byte of an answer: again
//! only what may be executed twice, whole, once, and within the allowance; else the caller is told that it may have been
//! executed. Answering: it is broken off, so that the caller sees that it is cut short.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use chandler_protocol::Micros;
use chandler_protocol::tunnel::TunnelRefusal;
use chandler_protocol::way::Backend;
use hyper::body::{Body, Incoming};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version, header};

use super::answer::{Answer, FromCopy, Problem};
use super::outgoing::{Original, Outgoing};
use super::upstream::{self, Reuse};
use super::{Busy, Connection, headers, upgrade};
use crate::door::gate::{Pass, Permit, Ticket};
use crate::door::opener::OpenError;

/// What a waiting request takes up beside its head, with its connection.
const OVERHEAD: u64 = 12 << 10;
/// What is already here of a body that nobody reads, at most.
const BODY_AHEAD: u64 = 64 << 10;
/// A copy that does not answer within this time does not keep the next request waiting.
const PERMIT: Duration = Duration::from_millis(100);

/// The caller left.
#[derive(Debug, thiserror::Error)]
#[error("the caller left")]
pub(super) struct Left;

/// Why a try gave no answer.
enum Fault {
    Left,
    Open(OpenError),
    /// The stream was closed before anything of the request was written. Whether it had been used before.
    Unsent(bool),
    /// The copy said that it did not execute it.
    Declined,
    /// It was written, and then the copy was lost.
    Sent(hyper::Error),
}

struct Exchange {
    connection: Arc<Connection>,
    ticket: Ticket,
    parts: Parts,
    body: Original,
    /// It may be executed twice.
    again: bool,
    /// It was sent again after it was delivered.
    repeated: bool,
    is_two: bool,
    /// What the connection is to be turned into.
    upgrade: Option<upgrade::Wanted>,
    /// When the last try began to be sent.
    sent: Micros,
}

/// Answers one request.
///
/// # Errors
/// The caller left: there is nobody to answer to.
pub(super) async fn answer(
    connection: Arc<Connection>,
    mut request: Request<Incoming>,
) -> Result<Response<Answer>, Left> {
    let gate = connection.host.gate.clone();
    let body_size = request.body().size_hint().upper().unwrap_or(BODY_AHEAD).min(BODY_AHEAD);
    let ticket = gate.enter(OVERHEAD + headers::size(request.uri(), request.headers()) + body_size);
    if request.method() == Method::CONNECT {
        gate.failed();
        return Ok(Problem::Unsupported.answer());
    }
    let is_two = request.version() == Version::HTTP_2;
    let upgrade = upgrade::Wanted::from(&mut request);
    let (mut parts, incoming) = request.into_parts();
    headers::strip(&mut parts.headers);
    if let Some(wanted) = &upgrade {
        headers::set_upgrade(&mut parts.headers, wanted.to.clone());
    }
    if !is_two {
        headers::to_origin(&mut parts.uri, &mut parts.headers);
        parts.version = Version::HTTP_11;
    }
    let again = upgrade.is_none() && headers::is_idempotent(&parts.method);
    // A copy that speaks HTTP/2 may say of anything that it did not execute it.
    let body = Original::new(incoming, again || is_two, gate.clone());
    let sent = ticket.arrived();
    let exchange = Exchange { connection, ticket, parts, body, again, repeated: false, is_two, upgrade, sent };
    exchange.run().await
}

impl Exchange {
    async fn run(mut self) -> Result<Response<Answer>, Left> {
        let gate = self.connection.host.gate.clone();
        loop {
            let pass = tokio::select! {
                biased;
                pass = self.ticket.pass() => pass,
                () = async { self.connection.line.ended().await } => return Err(Left),
            };
            let Pass { backend, under_way, permit } = match pass {
                Ok(pass) => pass,
                Err(why) => return Ok(Problem::Denied(why).answer()),
            };
            let busy = Busy::new(&self.connection);
            // Apart, so that it takes up nothing while the request waits.
            let fault = match Box::pin(self.send(&backend, permit)).await {
                Ok((response, reuse)) => {
                    self.note_answer(&backend, response.status());
                    return Ok(self.pass_on(response, reuse, under_way, busy));
                }
                Err(fault) => fault,
            };
            drop((under_way, busy));
            if let Some(problem) = self.weigh(&backend, fault)? {
                gate.failed();
                return Ok(problem.answer());
            }
        }
    }

    /// What follows from a fault: a problem to tell, or one more try.
    fn weigh(&mut self, backend: &Backend, fault: Fault) -> Result<Option<Problem>, Left> {
        let gate = &self.connection.host.gate;
        match fault {
            Fault::Left => return Err(Left),
            Fault::Open(OpenError::Refused { why, epoch }) => {
                tracing::debug!(copy = %backend.assignment, ?why, epoch, "refused");
                gate.repeated();
                if why == TunnelRefusal::Sealed || epoch > backend.epoch {
                    gate.serves_no_more(backend);
                } else {
                    gate.unreachable(backend);
                }
            }
            Fault::Open(why) => {
                tracing::debug!(copy = %backend.assignment, %why, "not reached");
                gate.unreachable(backend);
            }
            Fault::Unsent(used) => {
                gate.repeated();
                if !used {
                    gate.unreachable(backend);
                }
            }
            _ if self.body.is_broken() => return Err(Left),
            Fault::Declined => {
                gate.unreachable(backend);
                if !self.body.is_whole() {
                    return Ok(Some(Problem::NotExecuted));
                }
                gate.repeated();
            }
            Fault::Sent(error) => {
                tracing::debug!(copy = %backend.assignment, %error, "lost");
                gate.did_badly(backend);
                if error.is_parse() {
                    return Ok(Some(Problem::Unreadable));
                }
                if !self.again || self.repeated || !self.body.is_whole() || !gate.may_repeat() {
                    return Ok(Some(Problem::MaybeExecuted));
                }
                self.repeated = true;
            }
        }
        Ok(None)
    }

    /// One try: until the head of an answer is here.
    async fn send(
        &mut self,
        backend: &Backend,
        permit: Option<Permit>,
    ) -> Result<(Response<Incoming>, Option<Reuse>), Fault> {
        if self.is_two {
            let (mut stream, used) = self.or_left(upstream::two(&self.connection.host, backend)).await?;
            let sending = stream.try_send_request(self.next());
            return match with_permit(sending, permit).await {
                Ok(response) => Ok((response, None)),
                Err(e) if e.message().is_some() => Err(Fault::Unsent(used)),
                Err(e) if is_declined(e.error()) => Err(Fault::Declined),
                Err(e) => Err(Fault::Sent(e.into_error())),
            };
        }
        let idle = if self.again { self.connection.host.upstreams.take(backend) } else { None };
        let used = idle.is_some();
        let mut stream = match idle {
            Some(stream) => stream,
            None => self.or_left(upstream::one(&self.connection.host, backend)).await?,
        };
        let sending = stream.try_send_request(self.next());
        match with_permit(sending, permit).await {
            Ok(response) => Ok((response, Some(Reuse { backend: *backend, stream }))),
            Err(e) if e.message().is_some() => Err(Fault::Unsent(used)),
            Err(e) => Err(Fault::Sent(e.into_error())),
        }
    }

    async fn or_left<T>(&self, opening: impl Future<Output = Result<T, OpenError>>) -> Result<T, Fault> {
        tokio::select! {
            biased;
            result = opening => result.map_err(Fault::Open),
            () = async { self.connection.line.ended().await } => Err(Fault::Left),
        }
    }

    /// The request for one more try.
    fn next(&mut self) -> Request<Outgoing> {
        self.sent = self.connection.host.gate.now();
        Request::from_parts(self.parts.clone(), self.body.next())
    }

    fn note_answer(&self, backend: &Backend, status: StatusCode) {
        let gate = &self.connection.host.gate;
        // The time that the caller took to send its body is its own.
        let sending = self.body.ended().map_or(0, |ended| ended.0.saturating_sub(self.sent.0).max(0));
        let time = gate.now().0.saturating_sub(self.ticket.arrived().0).saturating_sub(sending);
        gate.answered(Micros(time), status.is_server_error());
        match status {
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                gate.did_badly(backend);
            }
            _ => gate.did_well(backend),
        }
    }

    fn pass_on(
        self,
        mut response: Response<Incoming>,
        reuse: Option<Reuse>,
        mut under_way: crate::door::gate::UnderWay,
        busy: Busy,
    ) -> Response<Answer> {
        let host = self.connection.host.clone();
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return match self.upgrade {
                Some(wanted) => upgrade::begin(wanted, host, response, under_way, busy),
                None => {
                    host.gate.failed();
                    Problem::Unreadable.answer()
                }
            };
        }
        let kind = response.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |v| v.as_bytes());
        if kind.starts_with(b"text/event-stream") {
            under_way.lasts();
        }
        headers::strip(response.headers_mut());
        if !self.is_two {
            *response.version_mut() = Version::HTTP_11;
        }
        let (parts, incoming) = response.into_parts();
        let copy = FromCopy { incoming, host, _under_way: under_way, _busy: busy, reuse };
        Response::from_parts(parts, Answer::Copy(Box::new(copy)))
    }
}

/// Waits for the head of an answer; gives the permit back when it is here or takes long.
async fn with_permit<T>(sending: impl Future<Output = T>, permit: Option<Permit>) -> T {
    let Some(permit) = permit else { return sending.await };
    tokio::pin!(sending);
    match tokio::time::timeout(PERMIT, &mut sending).await {
        Ok(result) => result,
        Err(_) => {
            drop(permit);
            sending.await
        }
    }
}

/// Whether the copy said that it did not execute the request: RFC 9113 8.7.
fn is_declined(error: &hyper::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            return h2.is_remote() && (h2.is_go_away() || h2.reason() == Some(h2::Reason::REFUSED_STREAM));
        }
        source = cause.source();
    }
    false
}
