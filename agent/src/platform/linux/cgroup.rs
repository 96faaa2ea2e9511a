//! Limits by control groups, version 2 or 1. What works is found out by trying, never by reading flags.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use chandler_protocol::inventory::Driver;
use chandler_protocol::workload::{DriverKind, Limits};
use chandler_protocol::{AssignmentId, Micros};

use super::process::kill;

/// All groups of this agent stand in one of this name, under the agent's own.
const GROUP: &str = "chandler";
/// Period of processor limits, in microseconds: the kernel's default.
const PERIOD: u64 = 100_000;
/// Least processor time in a period that the kernel takes.
const QUOTA_MIN: u64 = 1_000;
/// Processes and threads of the supervisor itself, on top of what the workload may have.
const SUPERVISOR_TASKS: u32 = 2;
/// Tries to remove a group whose last process is still being taken apart by the kernel.
const REMOVE_TRIES: u32 = 20;

/// Puts workloads into groups with limits.
#[derive(Debug, Clone, Default)]
pub struct Limiter {
    groups: Arc<Groups>,
}

#[derive(Debug, Default)]
struct Groups {
    /// Version 2: one directory for all.
    unified: Option<PathBuf>,
    /// Version 1, or the unified one again where its controller works.
    cpu: Option<PathBuf>,
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
    accounting: Option<PathBuf>,
    note: String,
}

/// Which limit is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cpu,
    Memory,
    Pids,
    Accounting,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Cpu, Self::Memory, Self::Pids, Self::Accounting];

    /// The controller's name in version 1.
    const fn controller(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Accounting => "cpuacct",
        }
    }
}

impl Limiter {
    /// Tries every controller once.
    pub fn detect() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut groups = Groups::default();
        if let Some(base) = unified_base(&mounts, &own) {
            groups.try_unified(&base);
        }
        for kind in Kind::ALL {
            if groups.get(kind).is_none()
                && let Some(base) = legacy_base(&mounts, &own, kind)
            {
                groups.try_legacy(kind, &base);
            }
        }
        let missing: Vec<&str> =
            Kind::ALL[..3].iter().filter(|k| groups.get(**k).is_none()).map(|k| k.controller()).collect();
        if !missing.is_empty() {
            groups.note = format!(
                "{} cannot be limited: no control group can be made; run as root or delegate one",
                missing.join(", ")
            );
        }
        Self { groups: Arc::new(groups) }
    }

    /// What can be enforced, as the inventory says it.
    pub fn report(&self) -> Driver {
        Driver {
            kind: DriverKind::Process,
            limits_cpu: self.groups.cpu.is_some(),
            limits_memory: self.groups.memory.is_some(),
            limits_pids: self.groups.pids.is_some(),
            note: self.groups.note.clone(),
        }
    }

    /// Makes the groups of one workload, only those that its limits need: entering one makes the kernel wait for
    /// every processor, which takes longer than starting the program. Gives the directories that its supervisor shall enter, and what a
    /// person should know.
    ///
    /// # Errors
    /// A group that should work could not be made.
    pub fn create(&self, id: AssignmentId, limits: &Limits) -> io::Result<(Vec<PathBuf>, String)> {
        let mut dirs: Vec<PathBuf> = Vec::new();
        let mut unenforced = Vec::new();
        let wanted = [
            (Kind::Cpu, limits.cpu.is_some()),
            (Kind::Memory, limits.memory.is_some()),
            (Kind::Pids, limits.pids.is_some()),
        ];
        for (kind, _) in wanted.into_iter().filter(|(_, wanted)| *wanted) {
            let Some(base) = self.groups.get(kind) else {
                unenforced.push(kind.controller());
                continue;
            };
            let dir = base.join(id.to_string());
            make(&dir)?;
            self.groups.set(kind, &dir, limits)?;
            if !dirs.contains(&dir) {
                dirs.push(dir);
            }
        }
        let note = match unenforced.is_empty() {
            true => String::new(),
            false => format!("limits on {} are not enforced on this computer", unenforced.join(", ")),
        };
        Ok((dirs, note))
    }

    /// Removes the groups of a workload that has ended.
    pub fn remove(&self, id: AssignmentId) {
        for dir in self.dirs(id) {
            for _ in 0..REMOVE_TRIES {
                match fs::remove_dir(&dir) {
                    Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {
                        std::thread::sleep(std::time::Duration::from_millis(1));
                    }
                    _ => break,
                }
            }
        }
    }

    /// Kills whatever is in the groups of a workload. Gives how many processes there were; more may have come since.
    pub(crate) fn kill(&self, id: AssignmentId) -> usize {
        let mut found = 0;
        for dir in self.dirs(id) {
            let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            let pids: Vec<i32> = text.lines().filter_map(|l| l.parse().ok()).filter(|pid| *pid > 0).collect();
            found += pids.len();
            // Version 2 kills all at once, whatever they do meanwhile.
            if !pids.is_empty() && fs::write(dir.join("cgroup.kill"), "1").is_err() {
                pids.into_iter().for_each(kill);
            }
        }
        found
    }

    /// Processor time of a workload so far, where one of its groups happens to count it.
    pub fn cpu(&self, id: AssignmentId) -> Option<Micros> {
        let dir = self.groups.accounting.as_ref()?.join(id.to_string());
        if let Ok(text) = fs::read_to_string(dir.join("cpuacct.usage")) {
            return text.trim().parse::<i64>().ok().map(|ns| Micros(ns / 1_000));
        }
        let stat = fs::read_to_string(dir.join("cpu.stat")).ok()?;
        stat.lines().find_map(|l| l.strip_prefix("usage_usec ")?.parse().ok()).map(Micros)
    }

    fn dirs(&self, id: AssignmentId) -> Vec<PathBuf> {
        let mut dirs: Vec<PathBuf> =
            Kind::ALL.iter().filter_map(|k| Some(self.groups.get(*k)?.join(id.to_string()))).collect();
        dirs.sort();
        dirs.dedup();
        dirs
    }
}

impl Groups {
    fn get(&self, kind: Kind) -> Option<&PathBuf> {
        match kind {
            Kind::Cpu => self.cpu.as_ref(),
            Kind::Memory => self.memory.as_ref(),
            Kind::Pids => self.pids.as_ref(),
            Kind::Accounting => self.accounting.as_ref(),
        }
    }

    fn put(&mut self, kind: Kind, base: PathBuf) {
        match kind {
            Kind::Cpu => self.cpu = Some(base),
            Kind::Memory => self.memory = Some(base),
            Kind::Pids => self.pids = Some(base),
            Kind::Accounting => self.accounting = Some(base),
        }
    }

    fn set(&self, kind: Kind, dir: &Path, limits: &Limits) -> io::Result<()> {
        let unified = self.unified.as_deref() == dir.parent();
        match kind {
            Kind::Cpu => {
                let Some(cpu) = limits.cpu else { return Ok(()) };
                let quota = (u64::from(cpu.0) * PERIOD / 1_000).max(QUOTA_MIN);
                if unified {
                    return fs::write(dir.join("cpu.max"), format!("{quota} {PERIOD}"));
                }
                fs::write(dir.join("cpu.cfs_period_us"), PERIOD.to_string())?;
                fs::write(dir.join("cpu.cfs_quota_us"), quota.to_string())
            }
            Kind::Memory => {
                let Some(memory) = limits.memory else { return Ok(()) };
                fs::write(dir.join(if unified { "memory.max" } else { "memory.limit_in_bytes" }), memory.0.to_string())
            }
            Kind::Pids => {
                let Some(pids) = limits.pids else { return Ok(()) };
                fs::write(dir.join("pids.max"), pids.saturating_add(SUPERVISOR_TASKS).to_string())
            }
            Kind::Accounting => Ok(()),
        }
    }

    /// Version 2: controllers must be handed down to the children of a group that has no processes of its own.
    fn try_unified(&mut self, base: &Path) {
        let root = base.join(GROUP);
        if make(&root).is_err() {
            return;
        }
        self.unified = Some(root.clone());
        for kind in [Kind::Cpu, Kind::Memory, Kind::Pids] {
            let hand_down = format!("+{}", kind.controller());
            let handed = fs::write(base.join("cgroup.subtree_control"), &hand_down).is_ok()
                && fs::write(root.join("cgroup.subtree_control"), &hand_down).is_ok();
            if handed && self.works(kind, &root) {
                self.put(kind, root.clone());
            }
        }
        if self.works(Kind::Accounting, &root) && root.join("cpu.stat").exists() {
            self.put(Kind::Accounting, root);
        } else if self.cpu.is_none() && self.memory.is_none() && self.pids.is_none() {
            self.unified = None;
        }
    }

    fn try_legacy(&mut self, kind: Kind, base: &Path) {
        let root = base.join(GROUP);
        if make(&root).is_ok() && self.works(kind, &root) {
            self.put(kind, root);
        }
    }

    /// Makes a group, limits it, enters nothing, removes it.
    fn works(&self, kind: Kind, root: &Path) -> bool {
        let trial = root.join(format!("trial-{}", std::process::id()));
        let limits = Limits {
            cpu: Some(chandler_protocol::MilliCpu(1_000)),
            memory: Some(chandler_protocol::Bytes(64 << 20)),
            pids: Some(64),
        };
        let works = make(&trial).is_ok() && self.set(kind, &trial, &limits).is_ok();
        let _ = fs::remove_dir(&trial);
        works
    }
}

fn make(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// Where version 2 is mounted, and the agent's own group in it.
fn unified_base(mounts: &str, own: &str) -> Option<PathBuf> {
    let mount = mounts.lines().map(|l| l.split(' ').collect::<Vec<_>>()).find(|f| f.get(2) == Some(&"cgroup2"))?;
    let path = own.lines().find_map(|l| l.strip_prefix("0::"))?;
    within(Path::new(mount.get(1)?), path)
}

/// Where a controller of version 1 is mounted, and the agent's own group in it.
fn legacy_base(mounts: &str, own: &str, kind: Kind) -> Option<PathBuf> {
    let controller = kind.controller();
    let mount = mounts.lines().map(|l| l.split(' ').collect::<Vec<_>>()).find(|f| {
        f.get(2) == Some(&"cgroup") && f.get(3).is_some_and(|o| o.split(',').any(|option| option == controller))
    })?;
    let path = own.lines().find_map(|l| {
        let (_, rest) = l.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|c| c == controller).then_some(path)
    })?;
    within(Path::new(mount.get(1)?), path)
}

/// `path` under `mount`; inside a container the path may be one of the host's, then the mount itself is meant.
fn within(mount: &Path, path: &str) -> Option<PathBuf> {
    let full = mount.join(path.trim_start_matches('/'));
    [full, mount.to_owned()].into_iter().find(|p| p.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_groups_are_found_in_both_versions() {
        let mounts = "tmpfs /nowhere tmpfs rw 0 0\ncgroup /proc cgroup rw,relatime,cpu,cpuacct 0 0\ncgroup2 /sys cgroup2 rw 0 0\n";
        let own = "3:memory:/m\n2:cpu,cpuacct:/self\n0::/kernel\n";
        assert_eq!(unified_base(mounts, own), Some("/sys/kernel".into()));
        assert_eq!(legacy_base(mounts, own, Kind::Cpu), Some("/proc/self".into()));
        assert_eq!(legacy_base(mounts, own, Kind::Memory), None, "no mount has it");
        assert_eq!(legacy_base(mounts, "2:cpu:/not/there\n", Kind::Cpu), Some("/proc".into()));
    }
}
