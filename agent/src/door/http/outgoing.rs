//! The body of a request on its way to a copy. The first part of it is kept, so that it can be sent again.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use chandler_protocol::Micros;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::HeaderMap;

use crate::door::gate::Gate;
use crate::sync::lock;

/// How much of a body is kept.
const KEEP: usize = 64 << 10;

/// A body that came in. It can be sent again while all that was read of it is kept.
pub(super) struct Original(Arc<Mutex<Shared>>);

struct Shared {
    gate: Arc<Gate>,
    incoming: Incoming,
    kept: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    size: usize,
    /// Nothing is kept: it is not to be sent twice, or more was read than is kept.
    lost: bool,
    begun: bool,
    ended: Option<Micros>,
    /// The caller broke off.
    broken: bool,
    /// Only the latest try reads.
    turn: u32,
}

impl Original {
    /// A body; `keep`: it may be wanted twice.
    pub(super) fn new(incoming: Incoming, keep: bool, gate: Arc<Gate>) -> Self {
        let is_empty = incoming.is_end_stream();
        Self(Arc::new(Mutex::new(Shared {
            gate,
            incoming,
            kept: Vec::new(),
            trailers: None,
            size: 0,
            lost: !keep && !is_empty,
            begun: false,
            ended: None,
            broken: false,
            turn: 0,
        })))
    }

    /// The body for one more try.
    pub(super) fn next(&self) -> Outgoing {
        let mut shared = lock(&self.0);
        shared.turn += 1;
        Outgoing { shared: self.0.clone(), turn: shared.turn, at: 0, trailers_sent: false }
    }

    /// Whether one more try would send the whole body.
    pub(super) fn is_whole(&self) -> bool {
        let shared = lock(&self.0);
        !shared.broken && (!shared.begun || !shared.lost)
    }

    /// Whether the caller broke off in the middle of it.
    pub(super) fn is_broken(&self) -> bool {
        lock(&self.0).broken
    }

    /// When its end was read, if there was anything to read.
    pub(super) fn ended(&self) -> Option<Micros> {
        lock(&self.0).ended
    }
}

/// The body of one try.
pub(crate) struct Outgoing {
    shared: Arc<Mutex<Shared>>,
    turn: u32,
    /// The next piece of what is kept.
    at: usize,
    trailers_sent: bool,
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing").field("turn", &self.turn).finish_non_exhaustive()
    }
}

/// Why a body does not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stopped {
    /// The caller broke off.
    #[error("the caller broke off: {0}")]
    Caller(hyper::Error),
    /// It is sent elsewhere now.
    #[error("it is sent elsewhere now")]
    Elsewhere,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        let this = &mut *self;
        let mut shared = lock(&this.shared);
        if shared.turn != this.turn {
            return Poll::Ready(Some(Err(Stopped::Elsewhere)));
        }
        if let Some(piece) = shared.kept.get(this.at) {
            this.at += 1;
            return Poll::Ready(Some(Ok(Frame::data(piece.clone()))));
        }
        if shared.ended.is_some() {
            let trailers = shared.trailers.clone().filter(|_| !std::mem::replace(&mut this.trailers_sent, true));
            return Poll::Ready(trailers.map(|t| Ok(Frame::trailers(t))));
        }
        shared.begun = true;
        let frame = match ready!(Pin::new(&mut shared.incoming).poll_frame(cx)) {
            None => {
                shared.ended = Some(shared.gate.now());
                return Poll::Ready(None);
            }
            Some(Err(error)) => {
                shared.broken = true;
                return Poll::Ready(Some(Err(Stopped::Caller(error))));
            }
            Some(Ok(frame)) => frame,
        };
        let frame = match frame.into_data() {
            Ok(data) => {
                shared.keep(&data);
                if !shared.lost {
                    this.at = shared.kept.len();
                }
                Frame::data(data)
            }
            Err(other) => {
                if let Some(trailers) = other.trailers_ref() {
                    shared.trailers = Some(trailers.clone());
                    this.trailers_sent = true;
                }
                other
            }
        };
        if shared.incoming.is_end_stream() {
            shared.ended = Some(shared.gate.now());
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        let shared = lock(&self.shared);
        let trailers = shared.trailers.is_some() && !self.trailers_sent;
        self.at >= shared.kept.len() && shared.incoming.is_end_stream() && !trailers
    }

    fn size_hint(&self) -> SizeHint {
        let shared = lock(&self.shared);
        let kept: usize = shared.kept.iter().skip(self.at).map(Bytes::len).sum();
        let rest = shared.incoming.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(kept as u64));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(kept as u64));
        }
        hint
    }
}

impl Shared {
    fn keep(&mut self, data: &Bytes) {
        self.size = self.size.saturating_add(data.len());
        if self.size > KEEP {
            self.lost = true;
            self.kept = Vec::new();
        } else if !self.lost {
            self.kept.push(data.clone());
        }
    }
}
