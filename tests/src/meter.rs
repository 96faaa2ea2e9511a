//! A machine with a processor of its own, as its agent sees it. All agents of a test share one processor, and who else
//! uses it decides how full it is; here each reads how full its machine is from a file that stands in for `/proc/stat`.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How often the processor's clock goes on.
const TICK: Duration = Duration::from_millis(50);

/// The processor of one machine. It stands still when this is dropped.
#[derive(Debug)]
pub struct Meter {
    path: PathBuf,
    busy: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Meter {
    /// A processor that is used to 10 %, kept in a file of this directory.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn start(directory: &Path, name: &str) -> anyhow::Result<Self> {
        let path = directory.join(format!("{name}.stat"));
        // The rest of the file, such as the moment of the boot, is this machine's.
        let real = fs::read_to_string("/proc/stat")?;
        let rest = real.split_once('\n').map(|(_, rest)| rest).unwrap_or_default();
        fs::write(&path, format!("{}{rest}", line(0, 1)))?;
        let file = OpenOptions::new().write(true).open(&path)?;
        let meter = Self { path, busy: Arc::new(AtomicU64::new(100)), stop: Arc::default() };
        let (busy, stop) = (meter.busy.clone(), meter.stop.clone());
        std::thread::spawn(move || run(&file, &busy, &stop));
        Ok(meter)
    }

    /// What starts an agent on this machine, for `AgentOptions::starter`.
    pub fn starter(&self) -> Vec<String> {
        let script = format!("mount --bind {} /proc/stat && exec \"$@\"", self.path.display());
        ["unshare", "--mount", "/bin/sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    }

    /// From now on other software uses this much of the processor, in permille.
    pub fn uses(&self, permille: u64) {
        self.busy.store(permille.min(1_000), Ordering::Relaxed);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Always of the same length: it is written over the old one, which may be read at any time.
fn line(busy: u64, idle: u64) -> String {
    format!("cpu  {busy:020} 0 0 {idle:020} 0 0 0 0 0 0\n")
}

fn run(file: &File, share: &AtomicU64, stop: &AtomicBool) {
    let (mut busy, mut idle) = (0, 1);
    while !stop.load(Ordering::Relaxed) {
        let permille = share.load(Ordering::Relaxed);
        busy += permille;
        idle += 1_000 - permille;
        if file.write_all_at(line(busy, idle).as_bytes(), 0).is_err() {
            return;
        }
        std::thread::sleep(TICK);
    }
}
