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
    /// Tells of moves until this many have ended, counted from the beginning of the story.
    ///
    /// # Errors
    /// They have not in time.
    pub(super) async fn follow(&mut self, client: &Client, narrator: &Narrator, wanted: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + STEP;
        loop {
            let mut moves = client.moves(&Default::default()).await?.items;
            moves.sort_by_key(|m| m.started_at);
            for item in &moves {
                self.tell(narrator, item);
            }
            if self.ended.len() >= wanted {
                return Ok(());
            }
            if Instant::now() > deadline {
                anyhow::bail!("only {} of {wanted} moves have ended: {moves:#?}", self.ended.len());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn tell(&mut self, narrator: &Narrator, item: &Move) {
        let id = item.id.to_string();
        if self.begun.insert(id.clone()) {
            let (from, to) = (&item.from.host, &item.to.host);
            narrator
                .say(&format!("{} moves {from} -> {to}, because {}: {}", item.service, item.trigger, item.evidence));
        }
        let waits = item.progress.as_ref().map_or(0, |p| p.waiting);
        if waits > 0 && !item.phase.is_final() && self.held.insert(id.clone()) {
            narrator.say(&format!("  {}: {waits} requests wait at the front door", word::of(&item.phase)));
        }
        if item.phase.is_final() && self.ended.insert(id) {
            narrator.say(&format!("  {}", ended(item)));
        }
    }
}

/// How a move ended: its phases with their times, and what it did.
pub(super) fn ended(item: &Move) -> String {
    let phases: Vec<_> = item
        .steps
        .iter()
        .filter_map(|s| s.took_micros.map(|t| format!("{} {} ms", word::of(&s.phase), t.0 / 1_000)))
        .collect();
    let mut text = format!("{}: {}", word::of(&item.phase), phases.join(", "));
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
