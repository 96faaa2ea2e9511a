//! The product under simulated time and a simulated network: the real link, tasks and agent, with stores, disks and
//! software in memory. A seed gives a schedule; the same seed gives the same schedule again, event for event.

mod air;
mod fleet;
mod machine;
mod scenario;
mod sockets;

use scenario::{Trace, run};

/// Seeds of which each is run twice. Few: what one run does not show, the next commit's run shows no better.
const SEEDS: [u64; 3] = [1, 2, 20_260_921];

#[test]
fn a_seed_gives_the_same_trace_again() {
    for seed in SEEDS {
        let (first, second) = (run(seed), run(seed));
        if let Some(at) = first.first_difference(&second) {
            panic!("two runs of seed {seed} differ at line {at}:\n{}\n{}", first.around(at), second.around(at));
        }
        assert_eq!(first.hash(), second.hash(), "seed {seed}");
    }
}

/// Else the seed would not matter, and every run would be the same run.
#[test]
fn another_seed_gives_another_schedule() {
    let traces: Vec<Trace> = SEEDS.into_iter().map(run).collect();
    assert_ne!(traces[0].hash(), traces[1].hash());
    assert_ne!(traces[1].hash(), traces[2].hash());
}
