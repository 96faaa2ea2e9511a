//! The computer as the agent reports it: hardware, software, what is offered, and the frequent readings.

use std::path::PathBuf;

use async_trait::async_trait;
use chandler_protocol::inventory::{HostInventory, InstalledSoftware, Offered, PACKAGES_MAX};
use chandler_protocol::telemetry::Readings;
use chandler_protocol::text::{NAME_MAX, TEXT_MAX, clean};
use chandler_protocol::{Bytes, MilliCpu};

use super::boot::boot_id;
use super::cgroup::Limiter;
use super::readings::Meter;
use super::storage::free_space;
use super::{hardware, packages};
use crate::world::Probe;

/// Share of memory and free disk that is offered unless the owner says otherwise, in percent.
const OFFER_PERCENT: u64 = 90;

/// What the owner gives to the fleet. `None`: all processors, or the default share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offer {
    /// Processor time.
    pub cpu: Option<MilliCpu>,
    /// Memory.
    pub memory: Option<Bytes>,
    /// Disk.
    pub disk: Option<Bytes>,
}

/// Looks at this computer.
#[derive(Debug)]
pub struct HostProbe {
    data_dir: PathBuf,
    host_name: String,
    offer: Offer,
    programs: Vec<(String, String)>,
    limiter: Limiter,
    meter: Meter,
}

impl HostProbe {
    /// A probe for the computer whose agent keeps its data in `data_dir`.
    pub fn new(
        data_dir: PathBuf,
        host_name: String,
        offer: Offer,
        programs: Vec<(String, String)>,
        limiter: Limiter,
    ) -> Self {
        let meter = Meter::new(data_dir.clone());
        Self { data_dir, host_name, offer, programs, limiter, meter }
    }
}

#[async_trait]
impl Probe for HostProbe {
    fn boot_id(&self) -> [u8; 16] {
        boot_id()
    }

    fn readings(&self) -> Readings {
        self.meter.readings()
    }

    async fn inventory(&self) -> HostInventory {
        let named = self.programs.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let mut host = hardware::look();
            host.software = software(named);
            host
        });
        let mut host = looked.await.unwrap_or_default();
        let share = |all: u64| Bytes(all / 100 * OFFER_PERCENT);
        host.host_name = clean(&self.host_name, NAME_MAX);
        host.boot_id = boot_id();
        host.has_battery = self.meter.has_battery();
        host.drivers = vec![self.limiter.report()];
        host.offered = Offered {
            cpu: self.offer.cpu.unwrap_or(MilliCpu(host.cpu.cores.saturating_mul(1_000))),
            memory: self.offer.memory.unwrap_or(share(host.memory.0)),
            disk: self.offer.disk.unwrap_or_else(|| share(free_space(&self.data_dir).unwrap_or_default().0)),
        };
        host
    }
}

/// Packages, then the programs that the owner named.
fn software(named: Vec<(String, String)>) -> Vec<InstalledSoftware> {
    let mut software = packages::dpkg(std::path::Path::new("/"));
    software.truncate(PACKAGES_MAX.saturating_sub(named.len()));
    software.extend(named.into_iter().take(PACKAGES_MAX).map(|(name, path)| InstalledSoftware {
        name: clean(&name, NAME_MAX),
        version: String::new(),
        programs: vec![clean(&path, TEXT_MAX)],
    }));
    software.sort();
    software
}
