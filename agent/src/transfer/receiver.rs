//! Receiving a state: rounds while the source runs, and one last round when it is sealed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chandler_protocol::state::{Progress, Receive, Received};
use chandler_protocol::transfer::{Ask, Say};
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Limits;
use super::error::ReceiveError;
use super::fetch::{heard, unreachable};
use super::intake::lie;
use super::local::{BUSY_MAX, Ground};
use super::round::Rounds;
use super::wire::Wire;

/// How long a receiver waits for another one that was dropped, and how often it looks.
const BUSY: Duration = Duration::from_secs(30);
const BUSY_LOOK: Duration = Duration::from_millis(5);

/// Receives a state into a directory, in which nobody else writes.
#[derive(Debug)]
pub struct Receiver {
    dir: PathBuf,
    journal: PathBuf,
    limits: Limits,
    ground: Option<Arc<Ground>>,
}

impl Receiver {
    /// A receiver into `dir`, which is made if it is not there. In `journal`, a file beside it, it notes what it has, so
    /// that a receiver that takes over after this one need not read all of it again.
    pub fn new(dir: PathBuf, journal: PathBuf) -> Self {
        Self::with(dir, journal, Limits::default())
    }

    /// Like [`Self::new`], with other limits.
    pub const fn with(dir: PathBuf, journal: PathBuf, limits: Limits) -> Self {
        Self { dir, journal, limits, ground: None }
    }

    /// Receives until the source is sealed and all of it is here, compared and written out.
    ///
    /// `open` opens a stream to the source, for this attempt; about six are open at one time. `tell` hears how far it is,
    /// often. Dropping the future ends it at any point, and a later call goes on with what is here; call
    /// [`Self::settled`] before the directory is used or removed after that.
    ///
    /// # Errors
    /// See [`ReceiveError`]. What is here stays, and the source is untouched.
    pub async fn run<S, O, F>(
        &mut self,
        order: &Receive,
        open: O,
        tell: impl Fn(Progress),
    ) -> Result<Received, ReceiveError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
        O: Fn() -> F,
        F: Future<Output = io::Result<S>>,
    {
        self.settled().await;
        let ground = self.ground().await?;
        let (seal, sealing) = watch::channel(false);
        let rounds = Rounds::new(ground, *order, sealing).run(&open, &tell);
        let received = tokio::select! {
            biased;
            received = rounds => received,
            error = sealed(&open, &seal) => Err(error),
        };
        match &received {
            // Whoever runs on it now may write there.
            Ok(_) => self.ground = None,
            Err(ReceiveError::Differs) => {
                // Whatever is wrong with the account of what is here, the files can be measured: next time they are.
                self.ground = None;
                let journal = self.journal.clone();
                let _ = tokio::task::spawn_blocking(move || std::fs::remove_file(journal)).await;
            }
            Err(_) => {}
        }
        received
    }

    /// The directory, once nobody else writes there any more: a receiver that was dropped may for a moment.
    async fn ground(&mut self) -> Result<Arc<Ground>, ReceiveError> {
        if let Some(ground) = &self.ground {
            return Ok(Arc::clone(ground));
        }
        let began = Instant::now();
        loop {
            let (dir, journal, limits) = (self.dir.clone(), self.journal.clone(), self.limits);
            let opened = tokio::task::spawn_blocking(move || Ground::open(dir, journal, limits));
            if let Some(ground) = opened.await.map_err(|_| ended())?? {
                return Ok(Arc::clone(self.ground.insert(Arc::new(ground))));
            }
            if began.elapsed() > BUSY {
                let (path, why) = (self.dir.display().to_string(), "somebody else receives into it".into());
                return Err(ReceiveError::Io { path, why });
            }
            sleep(BUSY_LOOK).await;
        }
    }

    /// Waits until nothing of a run that was dropped still writes.
    pub async fn settled(&self) {
        if let Some(ground) = &self.ground {
            // The semaphore is never closed.
            let _ = ground.busy.acquire_many(BUSY_MAX).await;
        }
    }
}

/// Waits for the source to be sealed and passes that on. Ends only when the source cannot be heard any more.
async fn sealed<S, O, F>(open: &O, seal: &watch::Sender<bool>) -> ReceiveError
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    O: Fn() -> F,
    F: Future<Output = io::Result<S>>,
{
    let heard = async {
        let mut wire = Wire::new(open().await.map_err(|e| unreachable(&e))?);
        wire.send(&Ask::Await).await.map_err(|e| unreachable(&e))?;
        match heard(wire.next().await)? {
            Say::Sealing => Ok(()),
            _ => Err(lie("answers what was not asked")),
        }
    };
    match heard.await {
        Ok(()) => {
            seal.send_replace(true);
            std::future::pending().await
        }
        Err(error) => error,
    }
}

/// Does work on a blocking thread. It goes on to its end also when the caller is dropped.
pub(super) async fn blocking<T: Send + 'static>(
    ground: &Arc<Ground>,
    work: impl FnOnce(&Ground) -> Result<T, ReceiveError> + Send + 'static,
) -> Result<T, ReceiveError> {
    let permit = Arc::clone(&ground.busy).acquire_owned().await;
    let ground = Arc::clone(ground);
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work(&ground)
    });
    done.await.unwrap_or_else(|_| Err(ended()))
}

fn ended() -> ReceiveError {
    ReceiveError::Io { path: String::new(), why: "the agent is ending".into() }
}

/// How often progress is told while bytes arrive.
pub(super) const TELL: Duration = Duration::from_millis(100);
