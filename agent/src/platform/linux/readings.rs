//! The cheap, frequent look at the computer: a dozen small reads from `/proc` and `/sys`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use chandler_protocol::Micros;
use chandler_protocol::telemetry::Readings;

use super::boot::boot_clock;
use super::storage::free_space;
use crate::sync::lock;

/// Battery directories and temperature files do not come and go often: they are looked for once.
#[derive(Debug)]
pub(super) struct Meter {
    data_dir: PathBuf,
    temperatures: Vec<PathBuf>,
    batteries: Vec<PathBuf>,
    mains: Vec<PathBuf>,
    last: Mutex<Option<Last>>,
}

/// What rates are computed against.
#[derive(Debug, Clone, Copy)]
struct Last {
    at: Micros,
    cpu: CpuTimes,
    net: (u64, u64),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct CpuTimes {
    busy: u64,
    total: u64,
}

impl Meter {
    pub(super) fn new(data_dir: PathBuf) -> Self {
        let supplies = entries(Path::new("/sys/class/power_supply"));
        let of_kind = |kind: &str| {
            supplies.iter().filter(|p| read(&p.join("type")).is_some_and(|t| t.trim() == kind)).cloned().collect()
        };
        Self {
            data_dir,
            temperatures: sensors().into_iter().map(|(_, path)| path).collect(),
            batteries: of_kind("Battery"),
            mains: of_kind("Mains"),
            last: Mutex::new(None),
        }
    }

    pub(super) fn has_battery(&self) -> bool {
        !self.batteries.is_empty()
    }

    pub(super) fn readings(&self) -> Readings {
        let now = Last { at: boot_clock(), cpu: cpu_times(), net: network_bytes() };
        let before = lock(&self.last).replace(now);
        let mut r = Readings::default();
        if let Some(before) = before {
            let total = now.cpu.total.saturating_sub(before.cpu.total).max(1);
            r.cpu_permille = signed(now.cpu.busy.saturating_sub(before.cpu.busy) * 1_000 / total);
            let ms = u64::try_from((now.at.0 - before.at.0) / 1_000).unwrap_or(0).max(1);
            let rate = |new: u64, old: u64| signed(new.saturating_sub(old).saturating_mul(1_000) / ms / 1_024);
            r.net_rx_kib_s = rate(now.net.0, before.net.0);
            r.net_tx_kib_s = rate(now.net.1, before.net.1);
        }
        let memory = read(Path::new("/proc/meminfo")).unwrap_or_default();
        let mib = |name: &str| kib_of(&memory, name) / 1_024;
        r.memory_used_mib = mib("MemTotal:") - mib("MemAvailable:");
        r.swap_used_mib = mib("SwapTotal:") - mib("SwapFree:");
        r.load_centi = read(Path::new("/proc/loadavg")).map_or(0, |t| centi(&t));
        r.disk_free_mib = free_space(&self.data_dir).map_or(0, |b| signed(b.0 >> 20));
        r.temperature_c = self.temperatures.iter().filter_map(|p| number(p)).map(|m| m / 1_000).max().unwrap_or(-1);
        r.battery_percent = self.batteries.iter().filter_map(|p| number(&p.join("capacity"))).min().unwrap_or(-1);
        r.on_mains = self.mains.iter().filter_map(|p| number(&p.join("online"))).max().unwrap_or(-1);
        r.uptime_10s = now.at.0 / 10_000_000;
        let status = read(Path::new("/proc/self/status")).unwrap_or_default();
        r.agent_memory_kib = kib_of(&status, "VmRSS:");
        r.agent_cpu_ms = own_cpu_ms();
        r
    }
}

/// Temperature sensors: name and the file that holds thousandths of a degree.
pub(super) fn sensors() -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for device in entries(Path::new("/sys/class/hwmon")) {
        let name = read(&device.join("name")).unwrap_or_default();
        for file in entries(&device) {
            let is_input = file
                .file_name()
                .and_then(|n| n.to_str())
                .is_some_and(|n| n.starts_with("temp") && n.ends_with("_input"));
            if is_input {
                found.push((name.trim().to_owned(), file));
            }
        }
    }
    found
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir).map(|d| d.flatten().map(|e| e.path()).collect()).unwrap_or_default();
    paths.sort();
    paths
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn number(path: &Path) -> Option<i64> {
    read(path)?.trim().parse().ok()
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The first number after `name` in a file of `name: number kB` lines.
fn kib_of(text: &str, name: &str) -> i64 {
    text.lines().find_map(|l| l.strip_prefix(name)?.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The first number of `/proc/loadavg`, in hundredths.
fn centi(text: &str) -> i64 {
    let Some((whole, part)) = text.split_ascii_whitespace().next().and_then(|n| n.split_once('.')) else { return 0 };
    let (whole, part): (i64, i64) = (whole.parse().unwrap_or(0), part.parse().unwrap_or(0));
    whole * 100 + part
}

fn cpu_times() -> CpuTimes {
    parse_cpu_times(&read(Path::new("/proc/stat")).unwrap_or_default())
}

/// Processor time that was busy and all of it, in ticks, as `/proc/stat` says it.
pub(super) fn busy_and_total(stat: &str) -> (u64, u64) {
    let times = parse_cpu_times(stat);
    (times.busy, times.total)
}

fn parse_cpu_times(stat: &str) -> CpuTimes {
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line.split_ascii_whitespace().skip(1).take(8).filter_map(|f| f.parse().ok()).collect();
    let total: u64 = fields.iter().sum();
    let idle = fields.get(3).unwrap_or(&0) + fields.get(4).unwrap_or(&0);
    CpuTimes { busy: total - idle, total }
}

/// Received and sent by all interfaces but the loopback.
fn network_bytes() -> (u64, u64) {
    parse_network(&read(Path::new("/proc/self/net/dev")).unwrap_or_default())
}

fn parse_network(text: &str) -> (u64, u64) {
    let mut sum = (0_u64, 0_u64);
    for line in text.lines().skip(2) {
        let Some((name, rest)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let fields: Vec<u64> = rest.split_ascii_whitespace().filter_map(|f| f.parse().ok()).collect();
        sum.0 += fields.first().unwrap_or(&0);
        sum.1 += fields.get(8).unwrap_or(&0);
    }
    sum
}

fn own_cpu_ms() -> i64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    t.tv_sec.saturating_mul(1_000).saturating_add(t.tv_nsec / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_files_are_read_right() {
        let times = parse_cpu_times("cpu  10 0 20 60 10 0 0 0 0 0\ncpu0 1 2 3\n");
        assert_eq!(times, CpuTimes { busy: 30, total: 100 });
        assert_eq!(parse_cpu_times(""), CpuTimes::default());
        let dev = "h\nh\n  lo: 9 0 0 0 0 0 0 0 9 0\neth0:1024 1 0 0 0 0 0 0 2048 3\nbad\n";
        assert_eq!(parse_network(dev), (1_024, 2_048));
        assert_eq!(centi("1.07 0.9 0.8 1/2 3"), 107);
        assert_eq!(kib_of("A: 5 kB\nVmRSS:   812 kB\n", "VmRSS:"), 812);
    }

    #[test]
    fn this_computer_has_sane_readings() {
        let meter = Meter::new("/".into());
        let first = meter.readings();
        assert_eq!(first.cpu_permille, 0, "a rate needs two looks");
        let r = meter.readings();
        assert!(r.memory_used_mib > 0 && r.agent_memory_kib > 0 && r.uptime_10s >= 0);
        assert!((0..=1_000).contains(&r.cpu_permille));
    }
}
