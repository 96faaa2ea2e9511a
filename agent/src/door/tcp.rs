//! Ports that speak anything: a new connection waits at the gate, one that stands stays on its copy until that ends it.

use std::sync::Arc;

use chandler_protocol::tunnel::TunnelRefusal;
use tokio::sync::watch;

use super::front::Caller;
use super::gate::{Gate, Pass};
use super::opener::{OpenError, Opener};
use super::relay::{self, End};
use chandler_protocol::Micros;

/// What a connection takes up while it waits; nothing of it is read.
const CHARGE: u64 = 4 << 10;

/// One port of a door that carries bytes.
pub(crate) struct Port {
    pub(crate) gate: Arc<Gate>,
    pub(crate) opener: Arc<dyn Opener>,
    /// The workload's name for the port.
    pub(crate) name: String,
    pub(crate) closing: watch::Receiver<bool>,
}

/// Serves one caller until a side ends it, its copy moves, or the door is closed.
pub(crate) async fn serve(port: Arc<Port>, caller: Caller) {
    let gate = &port.gate;
    let mut closing = port.closing.clone();
    let mut ticket = gate.enter(CHARGE);
    loop {
        // A caller that sends no more may still listen: only a broken connection has left.
        let pass = tokio::select! {
            biased;
            pass = ticket.pass() => pass,
            () = async { caller.line.broken().await } => return,
        };
        let Ok(Pass { backend, mut under_way, permit }) = pass else { return };
        let from = gate.now();
        let copy = match port.opener.open(&backend, &port.name).await {
            Ok(copy) => copy,
            Err(why) => {
                tracing::debug!(copy = %backend.assignment, %why, "not reached");
                match why {
                    OpenError::Refused { why: TunnelRefusal::Sealed, .. } => gate.serves_no_more(&backend),
                    OpenError::Refused { epoch, .. } if epoch > backend.epoch => gate.serves_no_more(&backend),
                    _ => gate.unreachable(&backend),
                }
                continue;
            }
        };
        gate.connected(Micros(gate.now().0.saturating_sub(from.0)));
        gate.did_well(&backend);
        under_way.lasts();
        drop(permit);
        let end = {
            let moved = async {
                tokio::select! {
                    biased;
                    () = under_way.moved() => {}
                    _ = closing.wait_for(|c| *c) => {}
                }
            };
            relay::bytes(caller.io, copy, moved).await
        };
        if end == End::Moved || end == End::Copy && under_way.is_moving() {
            under_way.count_cut();
        }
        return;
    }
}
