//! The regular chores: telemetry and usage, the inventory, and files that nobody needs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chandler_protocol::frame::{CONTROL_MAX, FrameDecoder, encode};
use chandler_protocol::inventory::HostInventory;
use chandler_protocol::message::AgentMessage;
use chandler_protocol::workload::Software;
use chandler_protocol::{Digest, Micros};

use super::Shared;
use crate::sync::lock;

/// How often the computer is looked at thoroughly.
const INVENTORY_EVERY: Duration = Duration::from_secs(3_600);
/// Shortest time between two thorough looks, however often one is asked for.
const INVENTORY_GAP: Duration = Duration::from_secs(2);
/// How long to wait before a desired state that the disk did not take is tried again.
const UNSAVED_AGAIN: Duration = Duration::from_secs(5);
/// How often files that nobody needs are looked for.
const JANITOR_EVERY: Duration = Duration::from_secs(600);

/// Takes what the disk did not take again and again, until it does or something newer comes.
pub(super) async fn orders(shared: Arc<Shared>) {
    loop {
        shared.unsaved.notified().await;
        tokio::time::sleep(UNSAVED_AGAIN).await;
        shared.accept_again();
    }
}

/// Takes telemetry and usage at each interval.
pub(super) async fn meter(shared: Arc<Shared>) {
    let mut before: Option<(Micros, Micros)> = None;
    loop {
        let now = shared.world.clock.boot();
        let mut readings = shared.world.probe.readings();
        let (cpu, memory) = record_usage(&shared, now);
        readings.workload_memory_mib = i64::try_from(memory >> 20).unwrap_or(i64::MAX);
        if let Some((then, cpu_then)) = before {
            let cores = i64::from(shared.cores.load(Ordering::Relaxed)).max(1);
            let all = (now.0 - then.0).max(1).saturating_mul(cores);
            readings.workload_cpu_permille = ((cpu.0 - cpu_then.0).max(0)).saturating_mul(1_000) / all;
        }
        before = Some((now, cpu));
        lock(&shared.telemetry).push(now, readings);
        shared.board.report_health();
        shared.wake.notify_one();
        tokio::select! {
            biased;
            () = tokio::time::sleep(shared.interval().to_std()) => {}
            () = shared.interval_changed.notified() => {}
        }
    }
}

/// Notes what runs and what it used; one write for all. Gives their processor time and memory in all.
fn record_usage(shared: &Shared, now: Micros) -> (Micros, u64) {
    let (mut cpu, mut memory) = (Micros::ZERO, 0_u64);
    let mut journal = lock(&shared.journal);
    for id in journal.running() {
        let measure = shared.world.driver.measure(id);
        if let Some(measure) = measure {
            cpu = Micros(cpu.0.saturating_add(measure.cpu.0));
            memory = memory.saturating_add(measure.memory.0);
        }
        let health = shared.board.get(id).map(|o| o.health).unwrap_or_default();
        journal.advance(id, now, measure.map(|m| m.cpu), health);
    }
    if shared.link().is_connected() {
        journal.will_send_all();
    }
    drop(journal);
    shared.save_journal();
    (cpu, memory)
}

/// Keeps the inventory ready to be sent.
pub(super) async fn inventory(shared: Arc<Shared>) {
    let mut owner = shared.owner.subscribe();
    loop {
        let host = shared.world.probe.inventory().await;
        shared.cores.store(host.cpu.cores.max(1), Ordering::Relaxed);
        let whole = Arc::new(frame(host));
        let mut due = std::pin::pin!(inventory_due(&shared));
        loop {
            owner.mark_unchanged();
            let frame = capped(&shared, &whole);
            {
                let mut kept = lock(&shared.inventory);
                if kept.1 != frame {
                    *kept = (kept.0 + 1, frame);
                }
            }
            shared.wake.notify_one();
            tokio::select! {
                biased;
                () = &mut due => break,
                // What is offered changes at once, without another look.
                changed = owner.changed() => if changed.is_err() { break },
            }
        }
    }
}

/// Waits until the computer is to be looked at again: told or due, whichever is first.
async fn inventory_due(shared: &Shared) {
    tokio::time::sleep(INVENTORY_GAP).await;
    let _ = tokio::time::timeout(INVENTORY_EVERY, shared.inventory_wanted.notified()).await;
}

/// The inventory with what the owner gives of it now.
fn capped(shared: &Shared, whole: &Arc<Vec<u8>>) -> Arc<Vec<u8>> {
    let mut decoder = FrameDecoder::new(CONTROL_MAX);
    decoder.push(whole);
    match decoder.decode() {
        Ok(Some(AgentMessage::Inventory(mut host))) => {
            let before = host.offered;
            shared.owner.cap(&mut host);
            if host.offered == before { whole.clone() } else { Arc::new(frame(host)) }
        }
        _ => whole.clone(),
    }
}

/// The inventory as a frame. When there is too much software for one, programs and then packages are left out:
/// a computer that has too much installed can still be used.
fn frame(mut host: HostInventory) -> Vec<u8> {
    for attempt in 0..3 {
        match attempt {
            0 => {}
            1 => host.software.iter_mut().for_each(|s| s.programs.clear()),
            _ => host.software.clear(),
        }
        if let Ok(frame) = encode(&AgentMessage::Inventory(host.clone()), CONTROL_MAX) {
            return frame;
        }
    }
    Vec::new()
}

/// Deletes fetched files that no assignment has needed for a while.
pub(super) async fn janitor(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(JANITOR_EVERY).await;
        let accepted = shared.accepted();
        let mut needed: BTreeSet<Digest> = BTreeSet::new();
        for known in accepted.assignments.values() {
            if known.assignment.target == chandler_protocol::state::Target::Wiped {
                continue;
            }
            if let Software::Artifact { digest, .. } = known.assignment.spec.software {
                needed.insert(digest);
            }
            needed.extend(known.assignment.spec.inputs.iter().map(|i| i.digest));
        }
        // What still runs may be an older version than the one that is ordered.
        needed.extend(shared.supervised_digests());
        shared.world.depot.keep(&needed).await;
    }
}
