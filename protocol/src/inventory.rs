//! What a computer is: hardware and software, reported at connect and when it changes.

use serde::{Deserialize, Serialize};

use crate::workload::DriverKind;
use crate::{Bytes, MilliCpu};

/// Most packages that are reported. A full Debian desktop has about 3,000.
pub const PACKAGES_MAX: usize = 8_192;

/// What one computer is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostInventory {
    /// What it calls itself. Display only.
    pub host_name: String,
    /// Processor.
    pub cpu: Cpu,
    /// Installed memory.
    pub memory: Bytes,
    /// Disks with a file system.
    pub disks: Vec<Disk>,
    /// Network interfaces.
    pub networks: Vec<NetworkInterface>,
    /// Graphics processors that are visible to the agent.
    pub gpus: Vec<Gpu>,
    /// Operating system, for instance `linux`.
    pub os: String,
    /// Its name and version for people, for instance `Debian GNU/Linux 12`.
    pub os_version: String,
    /// Kernel version.
    pub kernel: String,
    /// Processor architecture, for instance `x86_64`.
    pub architecture: String,
    /// Identifies this boot.
    pub boot_id: [u8; 16],
    /// Whether it has a battery.
    pub has_battery: bool,
    /// Names of temperature sensors.
    pub sensors: Vec<String>,
    /// Drivers that work here and the limits that each can enforce.
    pub drivers: Vec<Driver>,
    /// Installed software: packages and named programs.
    pub software: Vec<InstalledSoftware>,
    /// What the owner gives to the fleet; the rest stays the owner's.
    pub offered: Offered,
}

/// A processor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// Maker's model name.
    pub model: String,
    /// Logical processors.
    pub cores: u32,
    /// Nominal speed.
    pub mhz: u32,
}

/// The part of a computer that the fleet may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// Processor time.
    pub cpu: MilliCpu,
    /// Memory.
    pub memory: Bytes,
    /// Disk.
    pub disk: Bytes,
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Where it is mounted.
    pub mount: String,
    /// Kind of file system.
    pub file_system: String,
    /// Size.
    pub size: Bytes,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInterface {
    /// Its name.
    pub name: String,
    /// Its hardware address, as text.
    pub mac: String,
}

/// A graphics processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Maker's model name, or the PCI id where no driver tells.
    pub model: String,
    /// Its memory, where known.
    pub memory: Option<Bytes>,
}

/// A driver and the limits it can enforce on this computer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driver {
    /// Which.
    pub kind: DriverKind,
    /// Whether it can hold processor time to a limit.
    pub limits_cpu: bool,
    /// Whether it can hold memory to a limit.
    pub limits_memory: bool,
    /// Whether it can hold the number of processes to a limit.
    pub limits_pids: bool,
    /// Why a limit cannot be enforced, for people; empty when all can.
    pub note: String,
}

/// One installed package or named program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InstalledSoftware {
    /// Package or program name.
    pub name: String,
    /// Version, where known.
    pub version: String,
    /// Programs in it (absolute paths), where the agent was told to look or found them.
    pub programs: Vec<String>,
}
