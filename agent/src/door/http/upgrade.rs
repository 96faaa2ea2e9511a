//! Connections that stop speaking HTTP: WebSockets and others. Bytes go both ways until a side ends it or the copy moves.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::answer::Answer;
use super::{Busy, Host, headers};
use crate::door::gate::UnderWay;
use crate::door::relay::{self, End};

/// What a caller wants its connection to become.
pub(super) struct Wanted {
    pub(super) to: HeaderValue,
    caller: OnUpgrade,
}

impl Wanted {
    /// From a request that asks for it.
    pub(super) fn from(request: &mut Request<Incoming>) -> Option<Self> {
        let to = headers::upgrade(request.version(), request.headers())?;
        Some(Self { to, caller: hyper::upgrade::on(request) })
    }
}

/// The copy agreed: passes that on and carries the bytes.
pub(super) fn begin(
    wanted: Wanted,
    host: Arc<Host>,
    mut response: Response<Incoming>,
    mut under_way: UnderWay,
    busy: Busy,
) -> Response<Answer> {
    under_way.lasts();
    let copy = hyper::upgrade::on(&mut response);
    let to = response.headers().get(hyper::header::UPGRADE).unwrap_or(&wanted.to).clone();
    let is_websocket = headers::has_word(&to, "websocket");
    headers::strip(response.headers_mut());
    headers::set_upgrade(response.headers_mut(), to);
    tokio::spawn(async move {
        let (Ok(caller), Ok(copy)) = (wanted.caller.await, copy.await) else { return };
        let (caller, copy) = (TokioIo::new(caller), TokioIo::new(copy));
        let mut closing = host.closing.clone();
        let moved = async {
            tokio::select! {
                biased;
                () = under_way.moved() => {}
                _ = closing.wait_for(|c| *c) => {}
            }
        };
        let end = if is_websocket {
            relay::websocket(caller, copy, moved, || under_way.is_moving()).await
        } else {
            relay::bytes(caller, copy, moved).await
        };
        if end == End::Moved || end == End::Copy && under_way.is_moving() {
            under_way.count_cut();
        }
        drop(busy);
    });
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, Answer::Own(None))
}
