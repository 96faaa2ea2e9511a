//! The product under simulated time and a simulated network: the real link, tasks and agent, with stores, disks and
//! software in memory. A seed gives a schedule; the same seed gives the same schedule again, event for event.
//!
//! `CHANDLER_SEEDS=200` tries so many seeds of moves, `CHANDLER_SEED=7` only that one.
#![expect(clippy::unwrap_used, reason = "this is a test: what must not fail ends it")]
#![expect(clippy::print_stdout, reason = "how much was tried is what somebody wants to see")]
#![expect(clippy::print_stderr, reason = "a run that fails says which it was")]

mod air;
mod fleet;
mod machine;
mod moves;
mod scenario;
mod sockets;
mod state;
mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use moves::Outcome;
use scenario::run;

/// Each is run twice. Few: what these do not show, the next run of them shows no better.
const SEEDS: [u64; 2] = [1, 20_260_921];
/// Seeds of moves that every run of the tests tries.
const MOVES: u64 = 10;
/// How many seeds of moves are tried at a time.
const AT_ONCE: usize = 2;

#[test]
fn a_seed_gives_the_same_trace_again_and_another_seed_another() {
    let traces = SEEDS.map(|seed| {
        let (first, second) = (run(seed), run(seed));
        if let Some(at) = first.first_difference(&second) {
            panic!("two runs of seed {seed} differ at line {at}:\n{}\n{}", first.around(at), second.around(at));
        }
        first
    });
    // Else the seed would not matter, and every run would be the same run.
    assert_ne!(traces[0].hash(), traces[1].hash());
}

#[test]
fn moves_keep_one_owner_and_every_write_whatever_fails_in_whichever_phase() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds: Vec<u64> = match number("CHANDLER_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("CHANDLER_SEEDS").unwrap_or(MOVES)).collect(),
    };
    let (began, next) = (Instant::now(), AtomicUsize::new(0));
    let outcomes: Mutex<BTreeMap<u64, Outcome>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(seeds.len()) {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // The others go on: it is worth knowing how many fail.
                    if let Ok(outcome) = catch_unwind(|| moves::run(*seed)) {
                        outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(*seed, outcome);
                    }
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    tell(&outcomes, began);
    let failed: Vec<_> = seeds.iter().filter(|s| !outcomes.contains_key(s)).collect();
    assert!(failed.is_empty(), "these seeds failed, see above: {failed:?}");
    // The first one again: what a seed found is found again.
    let (seed, first) = outcomes.first_key_value().unwrap();
    let second = moves::run(*seed);
    if let Some(at) = first.trace.first_difference(&second.trace) {
        panic!("two runs of seed {seed} differ at line {at}:\n{}\n{}", first.trace.around(at), second.trace.around(at));
    }
}

fn tell(outcomes: &BTreeMap<u64, Outcome>, began: Instant) {
    let all = || outcomes.values();
    println!(
        "{} runs in {:.1} s: {} s simulated, {} faults, {} writes kept, well again within {}",
        outcomes.len(),
        began.elapsed().as_secs_f64(),
        all().map(|o| o.lasted.0).sum::<i64>() / 1_000_000,
        all().map(|o| o.strikes.len()).sum::<usize>(),
        all().map(|o| o.kept).sum::<usize>(),
        all().map(|o| o.well_after).max().unwrap_or_default(),
    );
    count("moves", all().flat_map(|o| o.ends.iter().map(|e| format!("{e:?}"))));
    let phases: BTreeSet<&String> = all().flat_map(|o| o.strikes.iter().map(|(phase, _)| phase)).collect();
    for phase in phases {
        let in_it = all().flat_map(|o| o.strikes.iter().filter(|(p, _)| p == phase));
        count(phase, in_it.map(|(_, fault)| fault.clone()));
    }
}

fn count(what: &str, items: impl Iterator<Item = String>) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    println!("{what}: {counts:?}");
}
