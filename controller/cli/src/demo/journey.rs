//! Moves as they happen, in a few lines each: why it goes where, what goes on, and what it did to those who asked.

use std::collections::BTreeSet;
use std::time::Duration;

use chandler_api::client::Client;
use chandler_api::movement::{Move, MoveKind, MovePhase};
use chandler_protocol::Bytes;
use tokio::time::Instant;

use super::report::Narrator;
use super::story::STEP;
use crate::word;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Which moves were told so far.
#[derive(Debug, Default)]
pub(super) struct Journeys {
    begun: BTreeSet<String>,
    held: BTreeSet<String>,
    ended: BTreeSet<String>,
}

impl Journeys {
    /// Tells of moves at these controllers until each of these services has moved because of that.
    ///
    /// # Errors
    /// They have not in time.
    pub(super) async fn follow(
        &mut self,
        clients: &[&Client],
        narrator: &Narrator,
        wanted: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let names: Vec<_> = wanted.iter().map(|(service, trigger)| format!("{service} to move ({trigger})")).collect();
        narrator.patiently(&names.join(" and "), self.watch(clients, narrator, wanted)).await
    }

    async fn watch(&mut self, clients: &[&Client], narrator: &Narrator, wanted: &[(&str, &str)]) -> anyhow::Result<()> {
        let deadline = Instant::now() + STEP;
        loop {
            let moves = all(clients).await?;
            for item in &moves {
                self.tell(narrator, item);
            }
            if wanted.iter().all(|(service, trigger)| has_moved(&moves, service, trigger)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let told: Vec<_> = moves.iter().map(|m| format!("{} {}: {}", m.service, m.trigger, ended(m))).collect();
                anyhow::bail!("gave up; the moves so far: {}", told.join("; "));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn tell(&mut self, narrator: &Narrator, item: &Move) {
        let id = item.id.to_string();
        if self.begun.insert(id.clone()) {
            let (from, to) = (&item.from.host, &item.to.host);
            narrator.say(&format!("  {} moves {from} -> {to} ({}): {}", item.service, item.trigger, item.evidence));
        }
        let waits = item.progress.as_ref().map_or(0, |p| p.waiting);
        if waits > 0 && !item.phase.is_final() && self.held.insert(id.clone()) {
            let (service, phase) = (&item.service, word::of(&item.phase));
            narrator.say(&format!("    {service}, {phase}: {waits} requests wait at the front door"));
        }
        if item.phase.is_final() && self.ended.insert(id) {
            narrator.say(&format!("    {}, {}", item.service, ended(item).replace('\n', "\n    ")));
        }
    }
}

/// All moves at these controllers, the oldest first.
///
/// # Errors
/// One does not answer.
pub(super) async fn all(clients: &[&Client]) -> anyhow::Result<Vec<Move>> {
    let mut moves = Vec::new();
    for client in clients {
        moves.extend(client.moves(&Default::default()).await?.items);
    }
    moves.sort_by_key(|m| m.started_at);
    Ok(moves)
}

/// Whether a service has moved because of that.
pub(super) fn has_moved(moves: &[Move], service: &str, trigger: &str) -> bool {
    moves.iter().any(|m| m.phase == MovePhase::Done && m.service == service && m.trigger == trigger)
}

/// How a move ended: its phases with their times, and what it did.
pub(super) fn ended(item: &Move) -> String {
    let phases: Vec<_> = item
        .steps
        .iter()
        .filter_map(|s| s.took_micros.map(|t| format!("{} {} ms", word::of(&s.phase), t.0 / 1_000)))
        .collect();
    let mut text = format!("{} ({}): {}", word::of(&item.phase), word::of(&item.kind), phases.join(", "));
    if item.phase != MovePhase::Done {
        return format!("{text}; {}", item.reason);
    }
    if let Some(worth) = &item.realised {
        text.push_str(&format!(
            "\n  {} requests waited, the longest {} ms; {} failed",
            worth.held,
            worth.longest_stall_micros.0 / 1_000,
            worth.failed
        ));
        if item.kind == MoveKind::Exclusive {
            text.push_str(&format!("; {} of state, {} sent", Bytes(worth.state_bytes), Bytes(worth.bytes)));
        }
    }
    text
}
