//! Giving a state up: once, for good, and kept before it is said.

use std::time::{Duration, Instant};

use chandler_protocol::Digest;
use chandler_protocol::state::{Failure, Own, Phase, Received, Sealed, Target};
use chandler_protocol::workload::{State, WorkloadSpec};

use crate::controller::Controller;
use crate::daemon::*;

fn own(from: Option<Received>) -> Target {
    Target::Own(Own { leased: true, from })
}

fn seal(attempt: u64) -> Target {
    Target::Seal { attempt }
}

/// Software with a state; a word that it writes when it is asked to stop, and a child that writes on until it is ended.
fn keeper() -> WorkloadSpec {
    let text = "trap 'echo bye >> {state}/log; exit 0' TERM; echo $$; echo begun >> {state}/log;
        (trap '' TERM; while :; do date >> {state}/child; sleep 0.005; done) & while :; do sleep 0.01; done";
    WorkloadSpec { state: Some(State { path: "data".into(), exclusive: true }), ..shell(text) }
}

async fn begin() -> (Controller, Cleaned, Daemon) {
    let controller = Controller::start().await;
    controller.mood.lock().unwrap().lease = Some(Duration::from_secs(20));
    let dir = Cleaned::new();
    let (daemon, _) = Daemon::start(dir.path(), &controller).await;
    controller.desire(&desired(1, vec![order(1, 1, own(None), keeper())]));
    running(&controller, 1).await;
    (controller, dir, daemon)
}

async fn sealed(controller: &Controller, attempt: u64) -> Sealed {
    let find = |phase: Phase| if let Phase::Sealed(sealed) = phase { Some(sealed) } else { None };
    let seen = phase(controller, 1, |o| find(o.phase).is_some_and(|s| s.attempt == attempt)).await;
    find(seen.phase).unwrap()
}

fn log(dir: &Cleaned) -> String {
    let state = chandler_agent::driver::Layout::new(dir.path()).state(id(1));
    std::fs::read_to_string(state.join("data/log")).unwrap()
}

#[tokio::test]
async fn a_sealed_state_is_measured_when_nobody_writes_any_more() {
    let (controller, dir, _daemon) = begin().await;
    let child = chandler_agent::driver::Layout::new(dir.path()).state(id(1)).join("data/child");
    let began = Instant::now();
    controller.desire(&desired(2, vec![order(1, 1, seal(1), keeper())]));
    let first = sealed(&controller, 1).await;
    let took = began.elapsed();
    let length = std::fs::metadata(&child).unwrap().len();
    assert_eq!(first.lease, 1, "the lease it last wrote under is said");
    assert_eq!(log(&dir), "begun\nbye\n", "it was not asked to stop");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(std::fs::metadata(&child).unwrap().len(), length, "something of it writes on");
    // A debug build on a busy computer; the time is printed for those who look.
    println!("from the order to the seal: {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn row_37_repeated_seals_are_no_ops_and_a_sealed_copy_never_runs_again() {
    let (controller, dir, daemon) = begin().await;
    controller.desire(&desired(2, vec![order(1, 1, seal(1), keeper())]));
    let first = sealed(&controller, 1).await;
    // The same again, under a later generation; then the order to run under the same epoch, which was on its way.
    controller.desire(&desired(3, vec![order(1, 1, seal(1), keeper())]));
    controller.until("generation 3", |h| (h.observed.generation == 3).then_some(())).await;
    assert_eq!(sealed(&controller, 1).await, first);
    controller.desire(&desired(4, vec![order(1, 1, own(None), keeper())]));
    controller.until("generation 4", |h| (h.observed.generation == 4).then_some(())).await;
    assert_eq!(sealed(&controller, 1).await, first, "it shows what it gave up");
    // Row 39: nor after the agent, and the computer, were started again.
    daemon.kill();
    let (_daemon, _) = Daemon::launch(dir.path(), None).ready().await;
    let seen =
        controller.until("the second session", |h| (h.hellos.len() == 2).then(|| find(h, 1).cloned()).flatten()).await;
    assert_eq!(seen.starts, 1);
    assert_eq!(sealed(&controller, 1).await, first);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(log(&dir), "begun\nbye\n", "it ran again");
}

#[tokio::test]
async fn a_state_that_is_given_back_runs_again_under_a_higher_epoch() {
    let (controller, dir, _daemon) = begin().await;
    controller.desire(&desired(2, vec![order(1, 1, seal(1), keeper())]));
    let first = sealed(&controller, 1).await;
    controller.desire(&desired(3, vec![order(1, 2, own(None), keeper())]));
    let seen = phase(&controller, 1, |o| o.epoch == 2 && o.phase == Phase::Running).await;
    assert_eq!(seen.starts, 2);
    assert!(log(&dir).ends_with("bye\nbegun\n"), "{}", log(&dir));
    // And can be given up once more, in another attempt, under the lease it has now.
    controller.desire(&desired(4, vec![order(1, 2, seal(2), keeper())]));
    let second = sealed(&controller, 2).await;
    assert_ne!(second.root, first.root, "what it wrote since is not in what was measured");
    assert_eq!(second.lease, 2);
}

#[tokio::test]
async fn a_stale_order_does_not_unseal() {
    let (controller, _dir, _daemon) = begin().await;
    controller.desire(&desired(2, vec![order(1, 3, own(None), keeper())]));
    phase(&controller, 1, |o| o.epoch == 3 && o.phase == Phase::Running).await;
    controller.desire(&desired(3, vec![order(1, 3, seal(1), keeper())]));
    let first = sealed(&controller, 1).await;
    controller.desire(&desired(4, vec![order(1, 2, own(None), keeper())]));
    controller.until("generation 4", |h| (h.observed.generation == 4).then_some(())).await;
    assert_eq!(sealed(&controller, 1).await, first);
}

#[tokio::test]
async fn what_was_never_received_is_not_begun_with() {
    let controller = Controller::start().await;
    controller.mood.lock().unwrap().lease = Some(Duration::from_secs(20));
    let dir = Cleaned::new();
    let (_daemon, _) = Daemon::start(dir.path(), &controller).await;
    let from = Received { attempt: 1, root: Digest([3; 32]) };
    controller.desire(&desired(1, vec![order(1, 2, own(Some(from)), keeper())]));
    let seen = phase(&controller, 1, |o| o.phase == Phase::Failed(Failure::State)).await;
    assert_eq!(seen.starts, 0);
    assert!(controller.heard.lock().unwrap().asked.is_empty(), "a lease was asked for that it cannot use");
    controller.desire(&desired(2, vec![order(1, 3, own(None), keeper())]));
    running(&controller, 1).await;
}
