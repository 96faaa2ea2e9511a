//! The answer on its way to the caller, and the answers that a door gives by itself.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

use super::upstream::{Reuse, Upstreams};
use super::{Busy, Host};
use crate::door::gate::{Denied, UnderWay};

/// The body of an answer.
pub(super) enum Answer {
    /// What the door says.
    Own(Option<Bytes>),
    /// What the copy says.
    Copy(Box<FromCopy>),
}

/// The body of a copy's answer, with what ends when it ends.
pub(super) struct FromCopy {
    pub(super) incoming: Incoming,
    pub(super) host: Arc<Host>,
    pub(super) _under_way: UnderWay,
    pub(super) _busy: Busy,
    /// The stream it comes from, to be used again when it ended well.
    pub(super) reuse: Option<Reuse>,
}

impl Drop for FromCopy {
    fn drop(&mut self) {
        if let Some(reuse) = self.reuse.take()
            && self.incoming.is_end_stream()
        {
            Upstreams::put(&self.host, reuse);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Own(text) => Poll::Ready(text.take().map(|t| Ok(Frame::data(t)))),
            Self::Copy(copy) => {
                let frame = Pin::new(&mut copy.incoming).poll_frame(cx);
                // The caller sees that it was cut short: the connection, or its part of it, is broken off.
                if let Poll::Ready(Some(Err(_))) = &frame {
                    copy.reuse = None;
                    copy.host.gate.failed();
                }
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(text) => text.is_none(),
            Self::Copy(copy) => copy.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, |t| t.len() as u64)),
            Self::Copy(copy) => copy.incoming.size_hint(),
        }
    }
}

/// Why the door answers by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    /// It waited too long, or there is nobody to wait for.
    Denied(Denied),
    /// It was sent and the copy was lost before it answered: it may have been executed.
    MaybeExecuted,
    /// It was not executed, and cannot be sent again because its body is not here any more.
    NotExecuted,
    /// The copy did not speak HTTP.
    Unreadable,
    /// The door does not carry that.
    Unsupported,
}

impl Problem {
    /// Status, stable reason, sentence.
    fn says(self) -> (StatusCode, &'static str, &'static str) {
        let busy = StatusCode::SERVICE_UNAVAILABLE;
        match self {
            Self::Denied(Denied::HeldTooLong) => (busy, "heldTooLong", "the service is moving and took too long"),
            Self::Denied(Denied::NoCopy) => (busy, "noCopy", "no copy of the service can be reached"),
            Self::Denied(Denied::Closed) => (busy, "closed", "this front door is closed"),
            Self::NotExecuted => (busy, "notExecuted", "the copy did not take the request; send it again"),
            Self::MaybeExecuted => {
                (StatusCode::BAD_GATEWAY, "maybeExecuted", "the copy was lost; the request may have been executed")
            }
            Self::Unreadable => (StatusCode::BAD_GATEWAY, "unreadable", "the copy's answer is not HTTP"),
            Self::Unsupported => (StatusCode::NOT_IMPLEMENTED, "unsupported", "a front door does not carry that"),
        }
    }

    /// The answer: RFC 9457, with the reason in a header too.
    pub(super) fn answer(self) -> Response<Answer> {
        let (status, reason, sentence) = self.says();
        let code = status.as_u16();
        let text = format!(r#"{{"status":{code},"title":"{sentence}","reason":"{reason}"}}"#);
        let mut response = Response::new(Answer::Own(Some(text.into())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert("chandler-door", HeaderValue::from_static(reason));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
