//! Telling workloads of their moves: once for each attempt, in time, and only while it is wanted.

use std::time::Duration;

use async_trait::async_trait;
use chandler_protocol::workload::Probe;

use super::*;
use crate::driver::{Ended, Found, Launch, Measure, Signal, StartError, Started};

/// Software that hears notices; on port "good" it agrees, on "bad" it does not, otherwise it never answers.
#[derive(Default)]
struct Software(Mutex<Vec<(AssignmentId, Micros)>>);

#[async_trait]
impl Driver for Software {
    async fn start(&self, _: &Launch) -> Result<Started, StartError> {
        unreachable!("nothing is started")
    }
    async fn adopt(&self, _: AssignmentId) -> Found {
        Found::Nothing
    }
    async fn wait(&self, _: AssignmentId) -> Ended {
        std::future::pending().await
    }
    fn signal(&self, _: AssignmentId, _: Signal) {}
    fn guard(&self, _: AssignmentId, _: Option<Micros>) -> std::io::Result<()> {
        Ok(())
    }
    async fn check(&self, _: AssignmentId, _: &Probe) -> bool {
        false
    }
    async fn tell(&self, id: AssignmentId, probe: &Probe, within: Micros) -> bool {
        lock(&self.0).push((id, within));
        match probe {
            Probe::Tcp { port } if port == "good" => true,
            Probe::Tcp { port } if port == "bad" => false,
            _ => std::future::pending().await,
        }
    }
    fn measure(&self, _: AssignmentId) -> Option<Measure> {
        None
    }
}

fn notice(n: u8, attempt: u64, port: &str) -> Notice {
    Notice {
        assignment: AssignmentId::from_random([n; 10]),
        r#move: MoveId::from_random([7; 10]),
        attempt,
        tell: Probe::Tcp { port: port.into() },
        within: Micros::from_millis(50),
    }
}

#[tokio::test]
async fn each_is_told_once_for_each_attempt_and_its_answer_is_kept() {
    let (software, changed) = (Arc::new(Software::default()), Arc::new(Notify::new()));
    let notices = Notices::new(software.clone(), changed.clone());
    let all = [notice(1, 1, "good"), notice(2, 1, "bad"), notice(3, 1, "mute")];
    notices.update(&all);
    while notices.told().len() < 3 {
        tokio::time::timeout(Duration::from_secs(10), changed.notified()).await.expect("an answer was not told");
    }
    let ready: Vec<(u64, bool)> = notices.told().iter().map(|t| (t.attempt, t.ready)).collect();
    assert_eq!(ready, [(1, true), (1, false), (1, false)], "who does not answer in time is not at a good point");
    notices.update(&all);
    tokio::task::yield_now().await;
    assert_eq!(lock(&software.0).len(), 3, "said again, nobody is told again");

    // Another attempt is told anew; who is not named any more is forgotten.
    notices.update(&[notice(1, 2, "bad")]);
    assert!(notices.told().is_empty(), "the answer of another attempt is none of this");
    tokio::time::timeout(Duration::from_secs(10), changed.notified()).await.expect("an answer was not told");
    assert_eq!(notices.told().iter().map(|t| (t.attempt, t.ready)).collect::<Vec<_>>(), [(2, false)]);
    notices.update(&[]);
    assert!(notices.told().is_empty());
}
