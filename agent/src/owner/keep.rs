//! Keeps what the owner allows current: looks at the owner's files when they change and at the signs of use while they
//! matter, and tells those who start and stop software.

use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chandler_protocol::Micros;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::rules::{FILE_MAX, Rules, Sense};
use super::{Activity, OwnerFiles, Stand, Verdict, judge, pause};
use crate::agent::Shared;
use crate::platform::Signs;
use crate::sync::lock;

/// How often the signs of use are looked at while they matter.
const LOOK: Micros = Micros::from_millis(500);
/// The longest time between two looks while a rule depends on the time: a computer sleeps, and clocks are set.
const TIMED: Micros = Micros::from_secs(1);
/// The longest time between two looks otherwise, and when changes of files cannot be watched.
const IDLE: Micros = Micros::from_secs(60);
const UNWATCHED: Micros = Micros::from_millis(500);
/// A file of rules must have stayed as it is for this long: an editor may be at work.
const SETTLED: Micros = Micros::from_millis(100);

/// Which file it was that was read.
type Stamp = Option<(i64, i64, u64, u64)>;

/// Looks, and remembers what it saw.
pub(crate) struct Keeper {
    files: OwnerFiles,
    rules: Rules,
    /// Why the rules that are there are not those that hold.
    problem: Option<String>,
    /// There were rules that could be read, or none at all.
    is_known: bool,
    read: Option<Stamp>,
    /// Another file than the one that was read, and since when it is there.
    found: Option<(Stamp, Micros)>,
    signs: Signs,
    looked: Micros,
    /// Since when others leave the processors alone, and since when nothing was typed.
    calm: Option<Micros>,
    quiet: Option<Micros>,
    /// Processor time of the fleet's own software, the last time.
    fleet: Option<Micros>,
}

impl Keeper {
    /// Nothing was looked at yet.
    pub(crate) fn new(files: OwnerFiles) -> Self {
        Self {
            files,
            rules: Rules::default(),
            problem: None,
            is_known: false,
            read: None,
            found: None,
            signs: Signs::new(),
            looked: Micros(i64::MIN / 2),
            calm: None,
            quiet: None,
            fleet: None,
        }
    }

    /// Looks at everything, and tells what is so. Gives how long nothing can change by itself.
    pub(crate) fn look(&mut self, shared: &Arc<Shared>) -> Micros {
        let (boot, now) = (shared.world.clock.boot(), shared.world.clock.now());
        let settling = self.read_rules(boot);
        let pause = pause::read(&self.files.pause);
        let seen = self.activity(shared, boot);
        let verdict = if self.is_known {
            judge(&self.rules, pause.as_ref(), &seen, now)
        } else {
            Verdict::nothing("its owner's rules cannot be read".to_owned(), None)
        };
        let until = verdict.until.map_or(IDLE, |at| Micros(at.since(now).0.clamp(1_000, TIMED.0)));
        let needs_looks = self.rules.heed_use() || self.rules.battery_least.is_some();
        let often = if needs_looks { LOOK } else { IDLE };
        shared.heed_owner(Stand {
            verdict,
            problem: self.problem.clone(),
            grace: self.rules.grace,
            pause: pause.map(|p| p.said.0),
            ..Stand::default()
        });
        until.min(often).min(settling.unwrap_or(IDLE))
    }

    /// Reads the rules if they changed and the change is over; else how long to wait.
    fn read_rules(&mut self, boot: Micros) -> Option<Micros> {
        let stamp = stamp(&self.files.rules);
        if self.read == Some(stamp) {
            self.found = None;
            return None;
        }
        let since = match self.found {
            Some((found, since)) if found == stamp => since,
            _ => boot,
        };
        self.found = Some((stamp, since));
        let left = since.0.saturating_add(SETTLED.0).saturating_sub(boot.0);
        // The first time there is nothing to go on with meanwhile.
        if self.read.is_some() && left > 0 {
            return Some(Micros(left));
        }
        self.read = Some(stamp);
        match read(&self.files.rules) {
            Ok(rules) => (self.rules, self.problem, self.is_known) = (rules, None, true),
            Err(why) => {
                let path = self.files.rules.display();
                let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
                tracing::error!("the owner's rules are not taken: {path}: {why}");
                let holds = if self.is_known { "the ones before hold" } else { "nothing runs until they can be read" };
                self.problem = Some(format!("{path}: {why}; {holds}"));
            }
        }
        None
    }

    /// What is seen of the owner, as far as the rules ask for it.
    fn activity(&mut self, shared: &Shared, boot: Micros) -> Activity {
        let mut seen = Activity::default();
        if self.rules.battery_least.is_some() {
            seen.power = self.signs.power();
        }
        if !self.rules.heed_use() {
            (self.calm, self.quiet, self.fleet) = (None, None, None);
            return seen;
        }
        // Shares of too short a time tell nothing.
        if boot.0.saturating_sub(self.looked.0) >= LOOK.0 / 2 {
            self.looked = boot;
            if self.rules.senses.contains(&Sense::Processor) {
                self.look_at_processors(shared, boot);
            }
            if self.rules.senses.contains(&Sense::Input) {
                match self.signs.input() {
                    Some(true) => self.quiet = Some(boot),
                    Some(false) => self.quiet = self.quiet.or(Some(boot)),
                    None => {}
                }
            }
        }
        let ago = |since: Option<Micros>| since.map(|at| Micros(boot.0.saturating_sub(at.0)));
        seen.calm = ago(self.calm);
        // A terminal is no less used than a keyboard; but where no keyboard is seen, terminals alone tell nothing.
        let typed = self.signs.terminals().map_or(Micros(i64::MAX), Micros::from_std);
        seen.input = ago(self.quiet).map(|quiet| quiet.min(typed));
        seen.sessions = self.signs.sessions();
        seen
    }

    /// What of the processors' time others used than the fleet.
    fn look_at_processors(&mut self, shared: &Shared, boot: Micros) {
        let fleet = shared.fleet_cpu();
        let before = self.fleet.replace(fleet);
        let Some(((busy, all), before)) = self.signs.busy().zip(before) else { return };
        let own = u64::try_from(fleet.0.saturating_sub(before.0).max(0)).unwrap_or(0).saturating_mul(1_000);
        let own = own / u64::try_from(all.0).unwrap_or(1).max(1);
        let is_busy = busy.saturating_sub(own) >= u64::from(self.rules.processor).saturating_mul(10);
        if is_busy || self.calm.is_none() {
            self.calm = Some(boot);
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.mtime(), meta.mtime_nsec(), meta.size(), meta.ino()))
}

/// The rules; no file is no rules.
fn read(path: &Path) -> Result<Rules, String> {
    let mut text = String::new();
    match std::fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Rules::default()),
        file => file.and_then(|f| f.take(FILE_MAX).read_to_string(&mut text)).map_err(|e| e.to_string())?,
    };
    Rules::parse(&text)
}

/// Looks whenever a file changes, and as often as the rules need it.
pub(crate) async fn keep(shared: Arc<Shared>, keeper: Option<Keeper>) {
    let Some(mut keeper) = keeper else { return std::future::pending().await };
    let changed = Arc::new(Notify::new());
    let watcher = watch(&keeper.files, changed.clone());
    if let Err(error) = &watcher {
        tracing::info!(%error, "the owner's files cannot be watched; they are looked at twice a second");
    }
    loop {
        let nap = keeper.look(&shared).min(if watcher.is_ok() { IDLE } else { UNWATCHED });
        // Changed or due, whichever is first.
        let _ = tokio::time::timeout(Duration::max(nap.to_std(), Duration::from_millis(1)), changed.notified()).await;
    }
}

/// Tells whenever one of the owner's files changes. Their directories are watched: the files come and go.
fn watch(files: &OwnerFiles, changed: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let names = [files.rules.clone(), files.pause.clone()];
    let is_ours = move |event: &Event| {
        // Looking at a file is an event too: it must not lead to another look.
        let is_look = matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
        let is_named = || event.paths.iter().any(|p| names.iter().any(|n| n.file_name() == p.file_name()));
        event.need_rescan() || (!is_look && is_named())
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.as_ref().map_or(true, &is_ours) {
            changed.notify_one();
        }
    })?;
    let mut dirs: Vec<_> = [&files.rules, &files.pause].into_iter().filter_map(|f| f.parent()).collect();
    dirs.dedup();
    for dir in dirs {
        watcher.watch(dir, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

impl Shared {
    /// Heeds what was decided: all who supervise software look anew.
    fn heed_owner(&self, stand: Stand) {
        let (why, may_run) = (stand.verdict.why.clone(), stand.verdict.may_run());
        let changed = self.tell_owner(stand);
        if changed {
            tracing::info!(may_run, why, "what the owner allows has changed");
            self.wake.notify_one();
            self.status_wanted.notify_one();
        }
    }

    /// Processor time of all software of the fleet that runs here.
    fn fleet_cpu(&self) -> Micros {
        let running = lock(&self.journal).running();
        let used = running.into_iter().filter_map(|id| self.world.driver.measure(id)).map(|m| m.cpu.0);
        Micros(used.fold(0, i64::saturating_add))
    }
}
