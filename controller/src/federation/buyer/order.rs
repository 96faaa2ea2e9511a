//! What the partner's hosts shall do: first a lease for each assignment, then the orders for each host.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chandler_engine::federation::{self, LeaseWord, Orders};
use chandler_protocol::{AssignmentId, HostId};
use tokio::time::Instant;

use super::super::seller::Holds;
use super::Talk;
use crate::federation::CallError;

/// How often orders are said again though nothing has changed: the partner may have lost them, and a lease that nobody
/// speaks of for long is closed.
const AGAIN: Duration = Duration::from_secs(600);
/// How long to wait before what could not be said is said again.
const PATIENCE: Duration = Duration::from_millis(500);

/// What was said last about each host, and which generation holds there.
type Said = BTreeMap<HostId, (Orders, Instant)>;

fn lock(said: &Mutex<Said>) -> MutexGuard<'_, Said> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Talk {
    /// Says what has changed, whenever something has.
    pub(super) async fn orders(&self) {
        let said = Mutex::new(Said::new());
        let mut models = self.writer.watch();
        loop {
            models.borrow_and_update();
            let done = self.order_once(&said).await;
            if let Err(error) = &done {
                tracing::debug!(partner = %self.partner, %error, "orders wait");
            }
            let wait = if done.is_ok() { AGAIN } else { PATIENCE };
            tokio::select! {
                biased;
                () = self.again.notified() => lock(&said).clear(),
                changed = models.changed(), if done.is_ok() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn order_once(&self, said: &Mutex<Said>) -> Result<(), CallError> {
        let model = self.writer.snapshot();
        for id in federation::unleased(&model, self.partner) {
            self.lease(id).await?;
        }
        let gone = federation::unheld(&model, self.partner);
        if !gone.is_empty() {
            let by = self.by();
            let taken = self.writer.transact(&by, move |draft| {
                for id in gone {
                    federation::refuse(draft, id, "nothing is leased for it any more");
                }
                Ok::<_, ()>(())
            });
            let _ = taken.await;
        }
        for id in federation::unused(&model, self.partner) {
            self.end(id).await?;
        }
        let model = self.writer.snapshot();
        for (host, orders) in federation::wanted(&model, self.partner) {
            self.order(said, host, orders, model.generation).await?;
        }
        Ok(())
    }

    /// Asks for capacity. What is not given cannot run there: the service is told so, as if its agent had said it.
    async fn lease(&self, id: AssignmentId) -> Result<(), CallError> {
        let model = self.writer.snapshot();
        let Some(assignment) = model.assignments.get(&id) else { return Ok(()) };
        let decided = self.writer.store().decision(assignment.decision).await.ok().flatten();
        let Some(demand) = federation::demand(&model, assignment, decided.as_ref()) else { return Ok(()) };
        let answer: Result<LeaseWord, CallError> = self.client()?.put(&format!("leases/{id}"), &demand).await;
        let (partner, by) = (self.partner, self.by());
        let refused = match answer {
            Ok(word) => {
                let taken = self.writer.transact(&by, move |draft| {
                    federation::bought(draft, partner, &word).map_err(|why| (word.id, why))
                });
                match taken.await {
                    Ok(()) | Err(crate::store::Refused::Store(_)) => return Ok(()),
                    Err(crate::store::Refused::By((_, why))) => why,
                }
            }
            Err(CallError::Refused(problem)) if problem.status < 500 => {
                format!("{}: {}", problem.title, problem.detail)
            }
            Err(error) => return Err(error),
        };
        let _ = self
            .writer
            .transact(&by, move |draft| {
                federation::refuse(draft, id, &refused);
                Ok::<_, ()>(())
            })
            .await;
        Ok(())
    }

    /// Gives capacity back that nothing runs on any more.
    async fn end(&self, id: AssignmentId) -> Result<(), CallError> {
        let answer: Result<LeaseWord, CallError> = self.client()?.delete(&format!("leases/{id}")).await;
        let gone = match answer {
            Ok(_) => "given back",
            Err(CallError::Refused(problem)) if problem.status == 404 => "its seller does not know it any more",
            Err(error) => return Err(error),
        };
        let by = self.by();
        let _ = self
            .writer
            .transact(&by, move |draft| {
                federation::given_back(draft, id, gone);
                Ok::<_, ()>(())
            })
            .await;
        Ok(())
    }

    /// Says what a host shall do, unless that was said.
    async fn order(&self, said: &Mutex<Said>, host: HostId, orders: Orders, model: u64) -> Result<(), CallError> {
        let last = lock(said).get(&host).cloned();
        let is_same = |before: &Orders| before.assignments == orders.assignments && before.ways == orders.ways;
        if last.as_ref().is_some_and(|(before, at)| is_same(before) && at.elapsed() < AGAIN) {
            return Ok(());
        }
        self.send_content(&orders).await?;
        let mut generation = model.max(last.map_or(0, |(before, _)| before.generation.saturating_add(1)));
        // Twice: the partner may know a later generation than this controller remembers, after a restored backup.
        for _ in 0..2 {
            let now = Orders { generation, ..orders.clone() };
            let holds: Holds = self.client()?.put(&format!("hosts/{host}/orders"), &now).await?;
            if holds.generation == generation {
                lock(said).insert(host, (now, Instant::now()));
                return Ok(());
            }
            generation = holds.generation.saturating_add(1);
        }
        Ok(())
    }
}
