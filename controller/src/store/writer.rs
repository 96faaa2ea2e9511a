//! The one writer: takes work in, applies it to the model in order, commits it in groups, and tells who waits.
//!
//! Work is a function of a [`Draft`]: it sees everything that was decided before it, so two requests for the last
//! unit cannot both win. A group of up to [`GROUP`] pieces of work shares one commit (and one fsync). Nothing is
//! acknowledged, shown or sent to an agent before its commit has succeeded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use chandler_engine::draft::Draft;
use chandler_engine::fleet::HostState;
use chandler_engine::model::{Change, Model, Record};
use chandler_engine::order::OrderState;
use chandler_engine::way;
use chandler_protocol::HostId;
use chandler_protocol::world::{Clock, Random, id_bytes};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::{Store, StoreError};

/// Most pieces of work that share a commit. More would only delay the first of them.
const GROUP: usize = 256;
/// Pieces of work that may wait. A caller beyond that waits for room: this is the back-pressure.
const QUEUE: usize = 1_024;

/// Why work was not done.
#[derive(Debug, Clone)]
pub enum Refused<E> {
    /// The work itself said no. Nothing was written.
    By(E),
    /// The store could not keep it. Nothing was written.
    Store(StoreError),
}

type Finish = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// Gives the changes to keep and what to do once they are kept.
type Work = Box<dyn FnOnce(&mut Draft<'_>) -> Option<Finish> + Send>;

struct Job {
    by: String,
    work: Work,
}

/// Who is woken when something was committed that concerns them.
#[derive(Debug, Default)]
pub struct Wakes {
    /// An order was acknowledged.
    pub orders: Notify,
    /// A service waits for a place, or there is room again.
    pub placement: Notify,
    /// A place shall be left, or costs something else: what runs there may be better off elsewhere.
    pub relocation: Notify,
}

/// A handle on the one writer. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
    model: watch::Receiver<Arc<Model>>,
    wakes: Arc<Wakes>,
    hosts: Arc<Mutex<BTreeMap<HostId, Arc<Notify>>>>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    store: Arc<dyn Store>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("generation", &self.snapshot().generation).finish_non_exhaustive()
    }
}

impl Writer {
    /// Loads the store and starts the writer. It ends when the last handle is dropped.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        currency: &str,
    ) -> Result<Self, StoreError> {
        let mut model = store.load().await?;
        model.observable_since = clock.now();
        model.leasing_since = clock.boot();
        model.ordered_before = model.last_order;
        if model.currency.is_empty() {
            store.keep_currency(currency).await?;
            model.currency = currency.to_owned();
        } else if model.currency != currency {
            return Err(StoreError::Currency { kept: model.currency, wanted: currency.to_owned() });
        }
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (publish, published) = watch::channel(Arc::new(model));
        let writer = Self {
            jobs,
            model: published,
            wakes: Arc::default(),
            hosts: Arc::default(),
            clock: clock.clone(),
            random: random.clone(),
            store: store.clone(),
        };
        let run = Run { store, clock, random, publish, wakes: writer.wakes.clone(), hosts: writer.hosts.clone() };
        tokio::spawn(run.run(queue));
        Ok(writer)
    }

    /// Everything as of the last commit.
    pub fn snapshot(&self) -> Arc<Model> {
        self.model.borrow().clone()
    }

    /// Sees each committed model; several commits may be seen as one.
    pub fn watch(&self) -> watch::Receiver<Arc<Model>> {
        self.model.clone()
    }

    /// The store behind the writer, for reading what is not in the model.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// Who is woken by commits.
    pub fn wakes(&self) -> &Wakes {
        &self.wakes
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The source of chance.
    pub fn random(&self) -> &Arc<dyn Random> {
        &self.random
    }

    /// Is notified when what a host shall run has changed.
    pub fn wake_of_host(&self, host: HostId) -> Arc<Notify> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).entry(host).or_default().clone()
    }

    /// Does a piece of work: when this returns `Ok`, its changes are on disk. `by` stands in its events.
    ///
    /// # Errors
    /// The work's own refusal, or the store's failure; nothing was written then.
    pub async fn transact<T, E>(
        &self,
        by: &str,
        work: impl FnOnce(&mut Draft<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Refused<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let work: Work = Box::new(move |draft| match work(draft) {
            Ok(value) => Some(Box::new(move |kept: Result<(), StoreError>| {
                // Nobody may be waiting any more; the work is done all the same.
                let _ = tell.send(kept.map(|()| value).map_err(Refused::Store));
            }) as Finish),
            Err(refusal) => {
                let _ = tell.send(Err(Refused::By(refusal)));
                None
            }
        });
        let gone = || Refused::Store(StoreError::Io("the controller is stopping".to_owned()));
        self.jobs.send(Job { by: by.to_owned(), work }).await.map_err(|_| gone())?;
        told.await.map_err(|_| gone())?
    }
}

struct Run {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    publish: watch::Sender<Arc<Model>>,
    wakes: Arc<Wakes>,
    hosts: Arc<Mutex<BTreeMap<HostId, Arc<Notify>>>>,
}

impl Run {
    async fn run(self, mut queue: mpsc::Receiver<Job>) {
        let mut group = Vec::new();
        while queue.recv_many(&mut group, GROUP).await > 0 {
            let mut model = self.publish.borrow().as_ref().clone();
            let mut changes = Vec::new();
            let mut finishes = Vec::new();
            for job in group.drain(..) {
                if let Some((finish, new)) = self.prepare(&mut model, job) {
                    finishes.push(finish);
                    changes.extend(new);
                }
            }
            let kept = if changes.is_empty() {
                Ok(())
            } else {
                model.generation += 1;
                self.store.commit(model.generation, &changes).await
            };
            match &kept {
                Ok(()) => {
                    let model = Arc::new(model);
                    self.publish.send_replace(model.clone());
                    self.wake(&model, &changes);
                }
                Err(error) => tracing::error!(%error, "a commit failed; nothing of it is acknowledged"),
            }
            for finish in finishes {
                finish(kept.clone());
            }
        }
    }

    /// Runs one piece of work on the model of this group.
    fn prepare(&self, model: &mut Model, job: Job) -> Option<(Finish, Vec<Change>)> {
        let mut ids = || id_bytes(self.random.as_ref());
        let mut draft = Draft::new(model, self.clock.now(), &job.by, &mut ids).at_boot(self.clock.boot());
        // Work that panics writes nothing and takes nobody with it: its caller sees its reply dropped.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (job.work)(&mut draft)));
        let Ok(finish) = done else {
            tracing::error!(by = %job.by, "a piece of work panicked; nothing of it was kept");
            return None;
        };
        let finish = finish?;
        let (mut after, mut changes) = (draft.model, draft.changes);
        for change in &mut changes {
            if let Change::Event(event) = change {
                after.last_event += 1;
                event.id = after.last_event;
            }
        }
        *model = after;
        Some((finish, changes))
    }

    /// Wakes whoever these changes concern.
    fn wake(&self, model: &Model, changes: &[Change]) {
        let mut hosts = BTreeSet::new();
        let mut services = BTreeSet::new();
        for change in changes {
            match change {
                Change::Put(Record::Order(o)) if o.state == OrderState::Acknowledged => self.wakes.orders.notify_one(),
                Change::Put(Record::Service(s)) => {
                    services.insert(s.id);
                    self.wakes.placement.notify_one();
                }
                Change::RemoveAssignment(_) => self.wakes.placement.notify_one(),
                Change::Put(Record::Assignment(a)) => {
                    hosts.insert(a.host);
                    services.insert(a.service);
                }
                Change::Put(Record::Move(m)) => {
                    services.insert(m.service);
                    // It may be given up sooner than anything that was waited for so far.
                    self.wakes.placement.notify_one();
                }
                Change::Put(Record::Host(h)) => {
                    hosts.insert(h.id);
                    services.extend(model.assignments_of_host(h.id).map(|a| a.service));
                    services.extend(way::services_at(model, h.id));
                    if h.state == HostState::Active {
                        self.wakes.placement.notify_one();
                    }
                    if h.drain.is_some() {
                        self.wakes.relocation.notify_one();
                    }
                    // An order that waited to know whether this host is there can be decided now.
                    self.wakes.orders.notify_one();
                }
                Change::Put(Record::Site(_) | Record::ProviderCriteria(_)) => self.wakes.relocation.notify_one(),
                _ => {}
            }
        }
        // Who keeps a front door of a service, serves it, or takes it over.
        hosts.extend(services.into_iter().flat_map(|service| way::hosts_concerned(model, service)));
        let sessions = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        for notify in hosts.iter().filter_map(|host| sessions.get(host)) {
            notify.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
