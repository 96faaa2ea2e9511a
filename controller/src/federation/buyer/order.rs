//! What the partner's hosts shall do: first a lease for each assignment, then the orders for each host.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chandler_api::problem::{CONFLICT, Problem};
use chandler_engine::federation::{self, Demand, LeaseWord, Orders, Taken};
use chandler_protocol::text::{TEXT_MAX, clean};
use chandler_protocol::{AssignmentId, HostId};
use tokio::time::Instant;

use super::Talk;
use crate::federation::CallError;

/// How often orders are said again though nothing has changed: the partner may have lost them, and a lease that nobody
/// speaks of for long is closed.
const AGAIN: Duration = Duration::from_secs(600);
/// How long to wait before what could not be said is said again.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long to wait before what was refused is said again: what the partner had forgotten, it may know by then.
const REFUSED: Duration = Duration::from_secs(2);

/// Reasons of one answer that are logged.
const WHY_MAX: usize = 16;

/// What was said last about each host, which generation holds there, and after what time it is said again.
type Said = BTreeMap<HostId, (Orders, Instant, Duration)>;

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
            let wait = match &done {
                Ok(true) => AGAIN,
                Ok(false) => REFUSED,
                Err(_) => PATIENCE,
            };
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

    /// Says everything that there is to say, and whether all of it was taken. What fails for one lease or host holds up no
    /// other; the first error is given when all were tried.
    async fn order_once(&self, said: &Mutex<Said>) -> Result<bool, CallError> {
        let model = self.writer.snapshot();
        let mut failed = Ok(());
        for id in federation::unleased(&model, self.partner) {
            failed = failed.and(self.lease(said, id).await);
        }
        failed = failed.and(self.sizes().await);
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
            failed = failed.and(self.end(id).await);
        }
        let model = self.writer.snapshot();
        let mut all = true;
        for (host, orders) in federation::wanted(&model, self.partner) {
            match self.order(said, host, orders, model.generation).await {
                Ok(taken) => all &= taken,
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed.map(|()| all)
    }

    /// Asks for capacity. What is not given cannot run there: the service is told so, as if its agent had said it.
    async fn lease(&self, said: &Mutex<Said>, id: AssignmentId) -> Result<(), CallError> {
        let model = self.writer.snapshot();
        let Some(assignment) = model.assignments.get(&id) else { return Ok(()) };
        let decided = self.writer.store().decision(assignment.decision).await.ok().flatten();
        let Some(demand) = federation::demand(&model, assignment, decided.as_ref()) else { return Ok(()) };
        let answer: Result<LeaseWord, CallError> = self.client()?.put(&format!("leases/{id}"), &demand).await;
        let (partner, by) = (self.partner, self.by());
        let refused = match answer {
            Ok(word) => {
                let answers = federation::answers(id, &demand, &word);
                // A seller that has just sold it knows no orders for it, or has forgotten them.
                lock(said).remove(&word.host);
                let taken = self
                    .writer
                    .transact(&by, move |draft| answers.and_then(|()| federation::bought(draft, partner, &word)));
                match taken.await {
                    Ok(()) | Err(crate::store::Refused::Store(_)) => return Ok(()),
                    Err(crate::store::Refused::By(why)) => {
                        tracing::warn!(%partner, %why, "what a partner gave is not taken");
                        why
                    }
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

    /// Asks for the sizes that leases shall have. What is not given is decided anew, or stays as it is.
    async fn sizes(&self) -> Result<(), CallError> {
        let (partner, by) = (self.partner, self.by());
        if !federation::is_resized(&self.writer.snapshot(), partner) {
            let noted = self.writer.transact(&by, move |draft| {
                federation::resize_all(draft, partner);
                Ok::<_, ()>(())
            });
            let _ = noted.await;
        }
        let mut failed = Ok(());
        for (id, demand) in federation::resizing(&self.writer.snapshot(), partner) {
            failed = failed.and(self.size(id, demand).await);
        }
        failed
    }

    async fn size(&self, id: AssignmentId, demand: Demand) -> Result<(), CallError> {
        let answer: Result<LeaseWord, CallError> = self.client()?.put(&format!("leases/{id}"), &demand).await;
        let (partner, by, turn) = (self.partner, self.by(), demand.turn);
        match answer {
            Ok(word) => {
                let taken = self.writer.transact(&by, move |draft| federation::bought(draft, partner, &word));
                if let Err(crate::store::Refused::By(why)) = taken.await {
                    tracing::warn!(%partner, %why, "what a partner says of a lease is not believed");
                    return Err(CallError::Refused(Box::new(Problem::new(CONFLICT, why))));
                }
                Ok(())
            }
            // What it has forgotten is asked for again first.
            Err(CallError::Refused(problem)) if problem.status < 500 && problem.status != 404 => {
                let told = self.writer.transact(&by, move |draft| {
                    federation::not_sized(draft, id, turn, &problem.detail);
                    Ok::<_, ()>(())
                });
                let _ = told.await;
                Ok(())
            }
            Err(error) => Err(error),
        }
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

    /// Says what a host shall do, unless that was said. Says whether all of it is taken.
    async fn order(&self, said: &Mutex<Said>, host: HostId, orders: Orders, model: u64) -> Result<bool, CallError> {
        let last = lock(said).get(&host).cloned();
        let is_same = |before: &Orders| before.assignments == orders.assignments && before.ways == orders.ways;
        if let Some((before, at, again)) = &last
            && is_same(before)
            && at.elapsed() < *again
        {
            return Ok(*again == AGAIN);
        }
        self.send_content(&orders).await?;
        let mut generation = model.max(last.map_or(0, |(before, ..)| before.generation.saturating_add(1)));
        // Twice: the partner may know a later generation than this controller remembers, after a restored backup.
        for _ in 0..2 {
            let now = self.signed(host, Orders { generation, ..orders.clone() });
            let taken: Taken = self.client()?.put(&format!("hosts/{host}/orders"), &now).await?;
            if taken.generation == generation {
                let again = if taken.refused.is_empty() { AGAIN } else { REFUSED };
                lock(said).insert(host, (now, Instant::now(), again));
                self.not_taken(host, taken).await;
                return Ok(again == AGAIN);
            }
            generation = taken.generation.saturating_add(1);
        }
        Ok(false)
    }

    /// What the partner refused cannot run there: the service is told so.
    async fn not_taken(&self, host: HostId, taken: Taken) {
        for why in taken.ways.iter().take(WHY_MAX) {
            tracing::warn!(partner = %self.partner, %host, why = clean(why, TEXT_MAX), "a partner did not take a way");
        }
        if taken.refused.is_empty() {
            return;
        }
        for one in taken.refused.iter().take(WHY_MAX) {
            let why = clean(&one.why, TEXT_MAX);
            tracing::warn!(partner = %self.partner, %host, assignment = %one.id, why, "a partner did not take orders");
        }
        let (partner, by) = (self.partner, self.by());
        let told = self.writer.transact(&by, move |draft| {
            federation::not_taken(draft, partner, host, &taken.refused);
            Ok::<_, ()>(())
        });
        let _ = told.await;
    }
}
