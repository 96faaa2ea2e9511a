//! The fencing protocol, checked by trying everything: every order of messages, crashes and lost disks up to a bound.
//!
//! What decides is the product's own: the controller's `Tenure` and the agent's `Custody`. The glue around them is here:
//! it delivers their messages late, twice, in any order or never, ends leases whenever it likes, and lets machines crash,
//! burn and wake up with an old disk. Then each thing that the glue must do right is done wrong, one at a time
//! ([`Fault`]), and the check must notice: a check that finds nothing in anything proves nothing.
//!
//! `cargo test -p chandler-tests --test model` tries a bounded part. The whole, with the number of states printed:
//!
//! ```text
//! CHANDLER_MODEL=full cargo test --release -p chandler-tests --test model -- --nocapture
//! ```
//!
//! **Not in the model.** Clocks are as good as promised: a lease ends at its agent before the controller may conclude
//! that it has (a `LeaseEnds` is both), so an error in rate beyond the margin is not seen. A disk that was written out
//! keeps what was written or forgets the custody of a copy as a whole; one that keeps the custody and silently loses
//! data, or lies about a sync, is a lost disk that nobody can notice. The controller's database is never set back. Agents
//! do what they say. What the software does to the world outside its state is not undone. Front doors appear as the set of
//! epochs that customers may reach. A partition is that messages do not arrive.
#![expect(clippy::unwrap_used, reason = "this is a test: what must not fail ends it")]
#![expect(clippy::print_stdout, reason = "the number of states is what somebody wants to see")]

mod agent;
mod air;
mod controller;
mod fault;
mod message;
mod promise;
mod step;
mod world;

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use fault::Fault;
use step::Protocol;
use world::Bounds;

/// Set to `full`, it tries all that the bounds of the full check allow.
const HOW: &str = "CHANDLER_MODEL";

fn is_full() -> bool {
    std::env::var(HOW).is_ok_and(|how| how == "full")
}

/// Tries everything within `bounds` and asserts that every promise holds, and that what should be possible was seen.
fn holds(name: &str, bounds: Bounds) {
    let began = Instant::now();
    let checked = Protocol { bounds, fault: None }.checker().spawn_bfs().join();
    println!(
        "{name}: {} states, {} steps, deepest {}, {:.1} s",
        checked.unique_state_count(),
        checked.state_count(),
        checked.max_depth(),
        began.elapsed().as_secs_f64()
    );
    let found: BTreeSet<&str> = checked.discoveries().into_keys().collect();
    for broken in promise::ALWAYS {
        if let Some(path) = checked.discovery(broken.0) {
            panic!("{}: {}", broken.0, step::story(path));
        }
    }
    for possible in promise::SOMETIMES.iter().filter(|p| (p.2)(&bounds)) {
        assert!(found.contains(possible.0), "never happens: {}", possible.0);
    }
}

/// Tries everything within `bounds` with one thing done wrong, until a promise is broken. It must be.
fn is_noticed(fault: Fault, bounds: Bounds) {
    let began = Instant::now();
    let broken = promise::ALWAYS.iter().map(|p| p.0).collect();
    let found = HasDiscoveries::AnyOf(broken);
    let checked = Protocol { bounds, fault: Some(fault) }.checker().finish_when(found).spawn_bfs().join();
    let seconds = began.elapsed().as_secs_f64();
    let states = checked.unique_state_count();
    let Some((name, path)) = promise::ALWAYS.iter().find_map(|p| Some((p.0, checked.discovery(p.0)?))) else {
        panic!("{fault:?} is not noticed in {states} states");
    };
    println!("{fault:?}: \"{name}\" is broken, {states} states, {seconds:.1} s:{}", step::story(path));
}

/// Within the first bounds, or in the full check within the second.
fn holds_within(name: &str, bounded: Bounds, full: Bounds) {
    holds(name, if is_full() { full } else { bounded });
}

#[test]
fn a_hand_over_survives_what_happens_to_its_machines() {
    let once = Bounds { writes: 2, attempts: 1, generations: 1, machines: 2, forgotten: 0, failovers: 1 };
    let full = Bounds { writes: 3, attempts: 2, generations: 2, ..once };
    holds_within("crashes, burnt machines, failover", once, full);
}

#[test]
fn a_second_attempt_is_not_mistaken_for_the_first() {
    let twice = Bounds { writes: 1, attempts: 2, generations: 1, machines: 0, forgotten: 0, failovers: 0 };
    let full = Bounds { writes: 2, attempts: 3, ..twice };
    holds_within("several attempts, back and forth", twice, full);
}

#[test]
fn row_39_an_old_disk_never_runs_a_sealed_state() {
    let once = Bounds { writes: 1, attempts: 1, generations: 2, machines: 0, forgotten: 1, failovers: 0 };
    let full = Bounds { writes: 2, machines: 1, failovers: 1, ..once };
    holds_within("a disk that forgets", once, full);
}

#[test]
fn lease_ignored_is_noticed() {
    is_noticed(Fault::LeaseIgnored, Fault::LeaseIgnored.bounds());
}

#[test]
fn concluded_early_is_noticed() {
    is_noticed(Fault::ConcludedEarly, Fault::ConcludedEarly.bounds());
}

#[test]
fn sealed_while_running_is_noticed() {
    is_noticed(Fault::SealedWhileRunning, Fault::SealedWhileRunning.bounds());
}

#[test]
fn unfenced_return_is_noticed() {
    is_noticed(Fault::UnfencedReturn, Fault::UnfencedReturn.bounds());
}

#[test]
fn deleted_at_verify_is_noticed() {
    is_noticed(Fault::DeletedAtVerify, Fault::DeletedAtVerify.bounds());
}

#[test]
fn deleted_at_commit_is_noticed() {
    is_noticed(Fault::DeletedAtCommit, Fault::DeletedAtCommit.bounds());
}

#[test]
fn verified_unwritten_is_noticed() {
    is_noticed(Fault::VerifiedUnwritten, Fault::VerifiedUnwritten.bounds());
}

#[test]
fn commit_not_durable_is_noticed() {
    is_noticed(Fault::CommitNotDurable, Fault::CommitNotDurable.bounds());
}

#[test]
fn started_unleased_is_noticed() {
    is_noticed(Fault::StartedUnleased, Fault::StartedUnleased.bounds());
}

#[test]
fn stale_start_is_noticed() {
    is_noticed(Fault::StaleStart, Fault::StaleStart.bounds());
}

#[test]
fn early_traffic_is_noticed() {
    is_noticed(Fault::EarlyTraffic, Fault::EarlyTraffic.bounds());
}

#[test]
fn generation_unchecked_is_noticed() {
    is_noticed(Fault::GenerationUnchecked, Fault::GenerationUnchecked.bounds());
}

#[test]
fn root_unchecked_is_noticed() {
    is_noticed(Fault::RootUnchecked, Fault::RootUnchecked.bounds());
}

#[test]
fn leased_after_seal_is_noticed() {
    is_noticed(Fault::LeasedAfterSeal, Fault::LeasedAfterSeal.bounds());
}

#[test]
fn answer_taken_late_is_noticed() {
    is_noticed(Fault::AnswerTakenLate, Fault::AnswerTakenLate.bounds());
}

#[test]
fn receive_resumed_is_noticed() {
    is_noticed(Fault::ReceiveResumed, Fault::ReceiveResumed.bounds());
}
