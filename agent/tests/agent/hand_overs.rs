//! A state goes from one agent to another: two real agents, a real tunnel between them, and two small controllers that
//! say what a mover would say.

use std::time::{Duration, Instant};

use chandler_protocol::message::ControllerMessage;
use chandler_protocol::state::{Failure, Own, Phase, Receive, Received, Sealed, Target};
use chandler_protocol::way::{Grant, Permit, Ways};
use chandler_protocol::workload::{State, WorkloadSpec};
use chandler_protocol::{Digest, HostId};

use crate::controller::Controller;
use crate::daemon::*;

const SOURCE: u8 = 5;
const TARGET: u8 = 6;

fn host(n: u8) -> HostId {
    HostId::from_random([n; 10])
}

/// Software that goes on counting where its state ends.
fn counter() -> WorkloadSpec {
    let text = "trap 'exit 0' TERM; cd {state}; n=$(tail -n 1 log 2>/dev/null || echo 0); n=${n:-0}
        test -e ballast || head -c 8000000 /dev/urandom > ballast
        while :; do n=$((n+1)); echo $n >> log; sleep 0.01; done";
    WorkloadSpec { state: Some(State { path: "data".into(), exclusive: true }), ..shell(text) }
}

fn own(from: Option<Received>) -> Target {
    Target::Own(Own { leased: true, from })
}

struct Side {
    controller: Controller,
    dir: Cleaned,
    daemon: Daemon,
    generation: u64,
}

impl Side {
    async fn start(n: u8) -> Self {
        let controller = Controller::start().await;
        {
            let mut mood = controller.mood.lock().unwrap();
            (mood.host, mood.lease) = (n, Some(Duration::from_secs(20)));
        }
        let dir = Cleaned::new();
        let (daemon, _) = Daemon::start(dir.path(), &controller).await;
        Self { controller, dir, daemon, generation: 0 }
    }

    fn order(&mut self, epoch: u64, target: Target) {
        self.generation += 1;
        let order = order(1, epoch, target, counter());
        self.controller.desire(&desired(self.generation, vec![order]));
    }

    fn log(&self) -> Vec<u64> {
        let state = chandler_agent::driver::Layout::new(self.dir.path()).state(id(1));
        let text = std::fs::read_to_string(state.join("data/log")).unwrap_or_default();
        text.lines().filter_map(|l| l.parse().ok()).collect()
    }

    async fn receiving(&self) {
        let find = |p: Phase| matches!(p, Phase::Receiving(p) if p.in_step && p.rounds >= 2);
        phase(&self.controller, 1, |o| find(o.phase)).await;
    }

    async fn verified(&self) -> Received {
        let find = |p: Phase| if let Phase::Verified(received) = p { Some(received) } else { None };
        find(phase(&self.controller, 1, |o| find(o.phase).is_some()).await.phase).unwrap()
    }

    async fn sealed(&self) -> Sealed {
        let find = |p: Phase| if let Phase::Sealed(sealed) = p { Some(sealed) } else { None };
        find(phase(&self.controller, 1, |o| find(o.phase).is_some()).await.phase).unwrap()
    }
}

/// Lets two agents talk: the source gives its state for the attempts named.
async fn grant(source: &Side, target: &Side, generation: u64, attempts: &[u64]) {
    let (key, listens) = source
        .controller
        .until("where it listens", |h| {
            let listens = h.ways.last()?.listens.clone();
            h.key.filter(|_| !listens.is_empty()).map(|key| (key, listens))
        })
        .await;
    let other = target.controller.until("its key", |h| h.key).await;
    let permits = attempts.iter().map(|attempt| Permit::State { assignment: id(1), attempt: *attempt }).collect();
    let ways = |grant| ControllerMessage::Ways(Ways { generation, grants: vec![grant], ..Ways::default() });
    let to_target = Grant { peer: host(TARGET), key: other, addresses: Vec::new(), relay: false, permits };
    source.controller.say(ways(to_target));
    let to_source = Grant { peer: host(SOURCE), key, addresses: listens, relay: false, permits: Vec::new() };
    target.controller.say(ways(to_source));
}

fn receive(attempt: u64) -> Target {
    Target::Receive(Receive { attempt, host: host(SOURCE), source: id(1), rate_max: None })
}

#[tokio::test]
async fn a_state_is_handed_over_whole_and_nothing_that_was_written_is_lost() {
    let (mut source, mut target) = (Side::start(SOURCE).await, Side::start(TARGET).await);
    source.order(1, own(None));
    running(&source.controller, 1).await;
    grant(&source, &target, 1, &[1]).await;
    target.order(1, receive(1));
    target.receiving().await;
    assert!(source.log().len() > 2, "it runs on meanwhile");

    let began = Instant::now();
    source.order(1, Target::Seal { attempt: 1 });
    let (sealed, received) = tokio::join!(source.sealed(), target.verified());
    let here = began.elapsed();
    assert_eq!(received, Received { attempt: 1, root: sealed.root });
    target.order(2, own(Some(received)));
    let seen = running(&target.controller, 1).await;
    println!("from the order to the seal and the state at the target: {here:?}; until it runs: {:?}", began.elapsed());
    assert_eq!((seen.epoch, seen.starts), (2, 1));
    let written = source.log();
    target.controller.until("more", |_| (target.log().len() > written.len() + 2).then_some(())).await;
    let log = target.log();
    assert_eq!(log[..written.len()], written, "what was written is not there");
    assert!(log.iter().zip(1..).all(|(n, expect)| *n == expect), "it did not go on where it ended: {log:?}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(source.log(), written, "two write");
    drop((source.daemon, target.daemon));
}

#[tokio::test]
async fn an_agent_that_was_restarted_after_the_seal_still_gives_the_state() {
    let (mut source, mut target) = (Side::start(SOURCE).await, Side::start(TARGET).await);
    source.order(1, own(None));
    running(&source.controller, 1).await;
    source.order(1, Target::Seal { attempt: 1 });
    let sealed = source.sealed().await;
    let Side { controller, dir, daemon, generation } = source;
    daemon.kill();
    let (daemon, _) = Daemon::launch(dir.path(), None).ready().await;
    let source = Side { controller, dir, daemon, generation };
    source.controller.until("a second session", |h| (h.hellos.len() == 2).then_some(())).await;
    grant(&source, &target, 1, &[1]).await;
    target.order(1, receive(1));
    assert_eq!(target.verified().await.root, sealed.root);
    assert_eq!(find(&source.controller.heard.lock().unwrap(), 1).map(|o| o.message.clone()), Some(String::new()));
}

#[tokio::test]
async fn what_was_verified_outlives_the_agent_and_is_no_longer_so_once_it_is_fenced() {
    let (mut source, mut target) = (Side::start(SOURCE).await, Side::start(TARGET).await);
    source.order(1, own(None));
    running(&source.controller, 1).await;
    grant(&source, &target, 1, &[1]).await;
    target.order(1, receive(1));
    target.receiving().await;
    source.order(1, Target::Seal { attempt: 1 });
    let received = target.verified().await;
    let Side { controller, dir, daemon, generation } = target;
    daemon.kill();
    let (daemon, _) = Daemon::launch(dir.path(), None).ready().await;
    let mut target = Side { controller, dir, daemon, generation };
    target.controller.until("a second session", |h| (h.hellos.len() == 2).then_some(())).await;
    assert_eq!(target.verified().await, received);
    // It is rolled back: the source goes on, and what is here is no state to begin with any more.
    target.order(2, Target::Stopped);
    phase(&target.controller, 1, |o| o.epoch == 2 && o.phase == Phase::Stopped).await;
    source.order(2, own(None));
    phase(&source.controller, 1, |o| o.epoch == 2 && o.phase == Phase::Running).await;
    target.order(3, own(Some(received)));
    let seen = phase(&target.controller, 1, |o| o.phase == Phase::Failed(Failure::State)).await;
    assert_eq!(seen.starts, 0, "{}", seen.message);
    // The next attempt goes on with the bytes that are here.
    grant(&source, &target, 2, &[2]).await;
    target.order(4, receive(2));
    target.receiving().await;
    source.order(2, Target::Seal { attempt: 2 });
    let again = target.verified().await;
    assert_ne!(again.root, received.root);
    target.order(5, own(Some(again)));
    phase(&target.controller, 1, |o| o.epoch == 5 && o.phase == Phase::Running).await;
}

#[tokio::test]
async fn a_receiver_without_a_way_says_so_and_tries_on() {
    let mut target = Side::start(TARGET).await;
    target.order(1, receive(1));
    let seen = phase(&target.controller, 1, |o| !o.message.is_empty()).await;
    assert!(matches!(seen.phase, Phase::Receiving(_)), "{seen:?}");
    assert!(seen.message.contains("no grant"), "{}", seen.message);
    // A wrong root is never begun with.
    target.order(2, own(Some(Received { attempt: 1, root: Digest([1; 32]) })));
    phase(&target.controller, 1, |o| o.phase == Phase::Failed(Failure::State)).await;
    target.order(3, Target::Wiped);
    phase(&target.controller, 1, |o| o.phase == Phase::Wiped).await;
    assert!(!chandler_agent::driver::Layout::new(target.dir.path()).assignment(id(1)).exists());
}
