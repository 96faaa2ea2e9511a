//! The software on a simulated computer, as its agent starts, watches and ends it.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use chandler_agent::driver::{Adopted, Driver, Ended, Found, Launch, Measure, Signal, StartError, Started};
use chandler_protocol::workload;
use chandler_protocol::{AssignmentId, Bytes, Micros};

use super::{Act, Machine, Running, WARM_UP, used};
use crate::air::now;

/// How long to wait at once where nothing is due.
const LONG: Micros = Micros::from_secs(3_600);

/// Ports that simulated software is given, from here on.
const FIRST_PORT: u16 = 40_000;

#[async_trait]
impl Driver for Machine {
    async fn start(&self, launch: &Launch) -> Result<Started, StartError> {
        self.thawed().await;
        let at = now();
        let mut inside = self.inside();
        let runs_already = inside.running.get_mut(&launch.assignment).is_some_and(|r| r.ended_by(at).is_none());
        if runs_already {
            inside.wrongs.push(format!("{} is started while it runs", launch.assignment));
        }
        let mut next = FIRST_PORT + u16::try_from(inside.starts.len()).unwrap_or(0) * 8;
        let ports: Vec<_> = launch
            .spec
            .ports
            .iter()
            .map(|port| {
                next += 1;
                let kept = launch.ports.iter().find(|(name, _)| *name == port.name);
                (port.name.clone(), kept.map_or(next, |(_, number)| *number))
            })
            .collect();
        inside.starts.push((at, launch.assignment));
        let guarded = inside.guards.get(&launch.assignment).copied();
        inside.forget_run(launch.assignment);
        let run = Running {
            launch: launch.clone(),
            at,
            ports: ports.clone(),
            ended: None,
            is_over: Arc::default(),
            guarded,
            stops: None,
        };
        inside.running.insert(launch.assignment, run);
        Ok(Started { ports, at, note: String::new() })
    }

    async fn adopt(&self, assignment: AssignmentId) -> Found {
        self.thawed().await;
        let now = now();
        let mut inside = self.inside();
        let Some(run) = inside.running.get_mut(&assignment) else { return Found::Nothing };
        match run.ended_by(now) {
            Some(ended) => Found::Ended(ended),
            None => Found::Running(Box::new(Adopted {
                launch: run.launch.clone(),
                ports: run.ports.clone(),
                at: run.at,
                guarded: run.guarded,
            })),
        }
    }

    async fn wait(&self, assignment: AssignmentId) -> Ended {
        loop {
            self.thawed().await;
            let now = now();
            let (is_over, ends_at) = match self.inside().running.get_mut(&assignment) {
                Some(run) => match run.ended_by(now) {
                    Some(ended) => return ended,
                    None => (run.is_over.clone(), run.ends_at()),
                },
                None => (Arc::default(), None),
            };
            let left = ends_at.map_or(LONG, |at| Micros(at.0 - now.0));
            // Ended, or its guard is due: whichever is first.
            let _ = tokio::time::timeout(left.to_std(), is_over.notified()).await;
        }
    }

    fn signal(&self, assignment: AssignmentId, signal: Signal) {
        self.do_unfrozen(Act::Signal(assignment, signal));
    }

    fn guard(&self, assignment: AssignmentId, until: Option<Micros>) -> io::Result<()> {
        self.do_unfrozen(Act::Guard(assignment, until));
        Ok(())
    }

    async fn check(&self, assignment: AssignmentId, _: &workload::Probe) -> bool {
        self.thawed().await;
        let now = now();
        let mut inside = self.inside();
        let is_sick = inside.is_sick;
        let run = inside.running.get_mut(&assignment).filter(|_| !is_sick);
        run.is_some_and(|r| r.ended_by(now).is_none() && now.0 - r.at.0 >= WARM_UP.0)
    }

    fn measure(&self, assignment: AssignmentId) -> Option<Measure> {
        let now = now();
        let mut inside = self.inside();
        let run = inside.running.get_mut(&assignment)?;
        run.ended_by(now).is_none().then(|| Measure { cpu: used(run.at, now), memory: Bytes(32 << 20) })
    }
}
