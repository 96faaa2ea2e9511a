//! Hints at what changed in a tree, from the operating system. They save looking at every name of a large tree; they
//! prove nothing, and when any may have been lost there are none.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use notify::event::{AccessKind, AccessMode};
use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::sync::lock;

/// Most paths kept between two looks.
const PATHS_MAX: usize = 16_384;

/// Watches a directory and all below it.
#[derive(Debug)]
pub(super) struct Hints {
    gathered: Arc<Mutex<Gathered>>,
    /// Absent: there are not enough watches for this user.
    watcher: Option<RecommendedWatcher>,
}

#[derive(Debug, Default)]
struct Gathered {
    paths: BTreeSet<Vec<u8>>,
    is_lost: bool,
}

impl Hints {
    /// Begins to watch.
    pub(super) fn new(dir: &Path) -> Self {
        let gathered = Arc::new(Mutex::new(Gathered { is_lost: true, ..Gathered::default() }));
        let (root, into) = (dir.to_owned(), Arc::clone(&gathered));
        let take = move |event: notify::Result<Event>| lock(&into).take(&root, event);
        let config = Config::default().with_follow_symlinks(false);
        let watcher = RecommendedWatcher::new(take, config).and_then(|mut watcher| {
            watcher.watch(dir, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        match watcher {
            Ok(watcher) => Self { gathered, watcher: Some(watcher) },
            Err(error) => {
                tracing::info!(%error, "changes of a large state cannot be watched; it is looked through each time");
                Self { gathered, watcher: None }
            }
        }
    }

    /// What changed since the last call. `None`: anything may have.
    pub(super) fn take(&self) -> Option<BTreeSet<Vec<u8>>> {
        let mut gathered = lock(&self.gathered);
        let paths = std::mem::take(&mut gathered.paths);
        let is_lost = std::mem::replace(&mut gathered.is_lost, self.watcher.is_none());
        (!is_lost).then_some(paths)
    }

    /// Forgets what it knows, as if events had been lost.
    pub(super) fn lose(&self) {
        lock(&self.gathered).is_lost = true;
    }
}

impl Gathered {
    fn take(&mut self, root: &Path, event: notify::Result<Event>) {
        let Ok(event) = event else {
            self.is_lost = true;
            return;
        };
        if event.need_rescan() {
            self.is_lost = true;
        }
        // Reading is no change; our own looks read a lot.
        if let EventKind::Access(kind) = event.kind
            && kind != AccessKind::Close(AccessMode::Write)
        {
            return;
        }
        for path in event.paths {
            match path.strip_prefix(root) {
                Ok(inner) if inner.as_os_str().is_empty() => {}
                Ok(inner) => {
                    self.paths.insert(inner.as_os_str().as_bytes().to_vec());
                }
                Err(_) => self.is_lost = true,
            }
        }
        if self.paths.len() > PATHS_MAX {
            self.paths.clear();
            self.is_lost = true;
        }
    }
}
