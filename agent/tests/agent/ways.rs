//! Ways: what the agent is told of them is acted upon, reported and kept.

use std::time::Duration;

use chandler_protocol::HostId;
use chandler_protocol::message::ControllerMessage;
use chandler_protocol::way::{Grant, Ways};

use crate::controller::Controller;
use crate::daemon::*;

fn ways(generation: u64) -> Ways {
    let grant = Grant {
        peer: HostId::from_random([8; 10]),
        key: [3; 32],
        addresses: Vec::new(),
        relay: false,
        permits: Vec::new(),
    };
    Ways { generation, grants: vec![grant], ..Ways::default() }
}

#[tokio::test]
async fn ways_are_acted_upon_reported_and_known_again_after_a_crash() {
    let controller = Controller::start().await;
    let dir = Cleaned::new();
    let (daemon, _) = Daemon::start(dir.path(), &controller).await;
    let first = controller.until("a first report", |h| h.ways.iter().find(|w| !w.listens.is_empty()).cloned()).await;
    assert_eq!(first.generation, 0);
    assert!(first.listens[0].ip().is_loopback(), "its controller is on this computer: {:?}", first.listens);
    controller.say(ControllerMessage::Ways(ways(7)));
    controller.until("the report", |h| h.ways.last().filter(|w| w.generation == 7).map(|_| ())).await;
    // An older one changes nothing.
    controller.say(ControllerMessage::Ways(ways(6)));
    let kept = dir.path().join("records/ways");
    for _ in 0..2_000 {
        if kept.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    daemon.kill();
    let before = controller.heard.lock().unwrap().ways.len();
    let (_daemon, _) = Daemon::start(dir.path(), &controller).await;
    let again = controller.until("a report after the crash", |h| h.ways.get(before).cloned()).await;
    assert_eq!(again.generation, 7);
    let port = controller.until("its port", |h| h.ways[before..].iter().find_map(|w| w.listens.first().copied())).await;
    assert_eq!(port, first.listens[0], "the port is the same after a restart");
}

#[tokio::test]
async fn a_controller_that_does_not_know_ways_hears_nothing_of_them() {
    let controller = Controller::start().await;
    controller.mood.lock().unwrap().version = Some(1);
    let dir = Cleaned::new();
    let (_daemon, _) = Daemon::start(dir.path(), &controller).await;
    controller.until("a while", |h| (h.readings.len() >= 5).then_some(())).await;
    assert!(controller.heard.lock().unwrap().ways.is_empty());
}
