//! What runs here, for those who carry connections to it: which copy, under which epoch, at which ports, and whose state
//! may be given.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chandler_protocol::AssignmentId;
use chandler_protocol::tunnel::TunnelRefusal;

use crate::driver::Ports;
use crate::states::{StateSource, States};
use crate::sync::lock;
use crate::tunnel::{Carried, Serve};

/// Why a stream is not carried, and the epoch that is known here for the copy (0: none).
type NotServed = (TunnelRefusal, u64);

/// How far a copy is, as those who want to reach it see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It was started under this epoch and has run since; connections may come.
    Runs {
        /// From routes of this epoch on: the copy that runs now has owned what it serves ever since.
        since: u64,
    },
    /// It gives its state up, or has: another copy takes over.
    Sealed,
    /// It does not run.
    Other,
}

/// One copy.
#[derive(Clone)]
struct Workload {
    epoch: u64,
    standing: Standing,
    ports: Ports,
    /// It owns a state that it may be asked to give.
    gives: bool,
}

/// The copies on this computer. Kept by their supervisors.
pub(crate) struct Workloads {
    states: Arc<dyn States>,
    known: Mutex<BTreeMap<AssignmentId, Workload>>,
    /// States that somebody receives, or that are sealed.
    sources: Mutex<BTreeMap<AssignmentId, Arc<dyn StateSource>>>,
}

impl Workloads {
    pub(crate) fn new(states: Arc<dyn States>) -> Self {
        Self { states, known: Mutex::default(), sources: Mutex::default() }
    }

    /// How a copy stands now.
    pub(crate) fn set(&self, id: AssignmentId, epoch: u64, standing: Standing, ports: &Ports, gives: bool) {
        let mut known = lock(&self.known);
        let new = || Workload { epoch, standing, ports: ports.clone(), gives };
        let copy = known.entry(id).or_insert_with(new);
        (copy.epoch, copy.standing, copy.gives) = (epoch, standing, gives);
        if copy.ports != *ports {
            copy.ports.clone_from(ports);
        }
    }

    /// It is gone for good.
    pub(crate) fn remove(&self, id: AssignmentId) {
        lock(&self.known).remove(&id);
        self.forget_source(id);
    }

    /// The state of a copy, to be given.
    pub(crate) fn source(&self, id: AssignmentId) -> Arc<dyn StateSource> {
        lock(&self.sources).entry(id).or_insert_with(|| self.states.source(id)).clone()
    }

    /// The state was given back to its copy, if it was about to be given.
    pub(crate) fn unseal(&self, id: AssignmentId) {
        if let Some(source) = lock(&self.sources).get(&id) {
            source.unseal();
        }
    }

    /// The state is not given any more; what is remembered of it is let go of.
    pub(crate) fn forget_source(&self, id: AssignmentId) {
        lock(&self.sources).remove(&id);
    }
}

#[async_trait]
impl Serve for Workloads {
    fn port(&self, assignment: AssignmentId, epoch: u64, port: &str) -> Result<SocketAddr, NotServed> {
        let known = lock(&self.known);
        let copy = known.get(&assignment).ok_or((TunnelRefusal::NotHere, 0))?;
        match copy.standing {
            // A route with a newer epoch knows more than this agent: it must learn it first. One from before this run
            // may be from before another copy's.
            Standing::Runs { since } if (since..=copy.epoch).contains(&epoch) => {
                let found = copy.ports.iter().find(|(name, _)| name == port);
                let (_, number) = found.ok_or((TunnelRefusal::NotHere, copy.epoch))?;
                Ok((Ipv4Addr::LOCALHOST, *number).into())
            }
            Standing::Runs { .. } | Standing::Other => Err((TunnelRefusal::NotHere, copy.epoch)),
            Standing::Sealed => Err((TunnelRefusal::Sealed, copy.epoch)),
        }
    }

    fn gives_state(&self, assignment: AssignmentId, _: u64) -> Result<(), NotServed> {
        match lock(&self.known).get(&assignment) {
            None => Err((TunnelRefusal::NotHere, 0)),
            // Sealed or not, it owns one.
            Some(copy) if copy.gives => Ok(()),
            Some(copy) => Err((TunnelRefusal::NotHere, copy.epoch)),
        }
    }

    async fn state(&self, assignment: AssignmentId, attempt: u64, stream: Carried) {
        if self.gives_state(assignment, attempt).is_ok() {
            self.source(assignment).serve(attempt, Box::new(stream)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use chandler_protocol::Digest;

    use super::*;
    use crate::states::{BoxedStream, StateError, StateReceiver};

    struct Nothing;

    #[async_trait]
    impl StateSource for Nothing {
        async fn seal(&self, _: u64) -> Result<Digest, StateError> {
            Err(StateError::Temporary(String::new()))
        }
        fn unseal(&self) {}
        async fn serve(&self, _: u64, _: BoxedStream) {}
    }

    impl States for Nothing {
        fn source(&self, _: AssignmentId) -> Arc<dyn StateSource> {
            Arc::new(Self)
        }
        fn receiver(&self, _: AssignmentId) -> Box<dyn StateReceiver> {
            unreachable!("nothing is received")
        }
    }

    #[test]
    fn only_a_copy_that_has_run_since_the_route_was_made_is_reached() {
        use TunnelRefusal::{NotHere, Sealed};
        let (id, ports) = (AssignmentId::from_random([1; 10]), vec![("http".to_owned(), 8_080)]);
        let workloads = Workloads::new(Arc::new(Nothing));
        let table = [
            (Standing::Runs { since: 5 }, 5, "http", Ok(8_080)),
            (Standing::Runs { since: 5 }, 7, "http", Ok(8_080)),
            (Standing::Runs { since: 5 }, 7, "admin", Err((NotHere, 7))),
            (Standing::Runs { since: 5 }, 4, "http", Err((NotHere, 7))),
            (Standing::Runs { since: 5 }, 8, "http", Err((NotHere, 7))),
            (Standing::Sealed, 7, "http", Err((Sealed, 7))),
            (Standing::Other, 7, "http", Err((NotHere, 7))),
        ];
        assert_eq!(workloads.port(id, 1, "http"), Err((NotHere, 0)), "nobody knows it");
        for (standing, epoch, port, expect) in table {
            workloads.set(id, 7, standing, &ports, true);
            let found = workloads.port(id, epoch, port).map(|a| a.port());
            assert_eq!(found, expect, "{standing:?} {epoch} {port}");
        }
    }

    #[test]
    fn a_state_is_given_only_by_a_copy_that_owns_one() {
        let (id, ports) = (AssignmentId::from_random([1; 10]), Ports::new());
        let workloads = Workloads::new(Arc::new(Nothing));
        assert!(workloads.gives_state(id, 1).is_err(), "nobody knows it");
        workloads.set(id, 3, Standing::Other, &ports, false);
        assert!(workloads.gives_state(id, 1).is_err());
        workloads.set(id, 3, Standing::Sealed, &ports, true);
        assert!(workloads.gives_state(id, 1).is_ok(), "what is sealed is what is given");
        workloads.remove(id);
        assert!(workloads.gives_state(id, 1).is_err());
    }
}
