//! The thorough, rare look at the computer: `sysinfo` for what it knows, `/sys` and `/proc` for the rest.

use std::fs;
use std::path::Path;

use chandler_protocol::Bytes;
use chandler_protocol::inventory::{Cpu, Disk, Gpu, HostInventory, NetworkInterface};
use chandler_protocol::text::{NAME_MAX, TEXT_MAX, clean};
use sysinfo::{CpuRefreshKind, DiskRefreshKind, Disks, MemoryRefreshKind, Networks, RefreshKind, System};

use super::readings::sensors;

/// Most disks, interfaces, graphics processors and sensors that are reported, each.
const PARTS_MAX: usize = 64;
/// PCI class of display controllers, as `/sys` writes its first byte.
const PCI_DISPLAY: &str = "0x03";

/// Everything about the machine itself; software, drivers and the offer are the caller's.
pub(super) fn look() -> HostInventory {
    let kinds = RefreshKind::nothing()
        .with_cpu(CpuRefreshKind::nothing().with_frequency())
        .with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(kinds);
    let first = system.cpus().first();
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    HostInventory {
        cpu: Cpu {
            model: clean(first.map_or("", |c| c.brand()).trim(), TEXT_MAX),
            cores: u32::try_from(system.cpus().len()).unwrap_or(u32::MAX),
            mhz: first.map_or(0, |c| number(c.frequency())),
        },
        memory: Bytes(system.total_memory()),
        disks: disks(),
        networks: networks(),
        gpus: gpus(Path::new("/")),
        os: std::env::consts::OS.to_owned(),
        os_version: clean(&System::long_os_version().unwrap_or_default(), TEXT_MAX),
        kernel: clean(&System::kernel_version().unwrap_or_default(), TEXT_MAX),
        architecture: std::env::consts::ARCH.to_owned(),
        sensors: sensors().into_iter().map(|(name, _)| clean(&name, NAME_MAX)).take(PARTS_MAX).collect(),
        ..HostInventory::default()
    }
}

fn disks() -> Vec<Disk> {
    let disks = Disks::new_with_refreshed_list_specifics(DiskRefreshKind::nothing().with_storage());
    let mut found: Vec<Disk> = disks
        .list()
        .iter()
        .map(|d| Disk {
            mount: clean(&d.mount_point().to_string_lossy(), TEXT_MAX),
            file_system: clean(&d.file_system().to_string_lossy(), NAME_MAX),
            size: Bytes(d.total_space()),
        })
        .take(PARTS_MAX)
        .collect();
    found.sort_by(|a, b| a.mount.cmp(&b.mount));
    found
}

fn networks() -> Vec<NetworkInterface> {
    let networks = Networks::new_with_refreshed_list();
    let mut found: Vec<NetworkInterface> = networks
        .iter()
        .map(|(name, data)| NetworkInterface { name: clean(name, NAME_MAX), mac: data.mac_address().to_string() })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.truncate(PARTS_MAX);
    found
}

/// Display controllers on the PCI bus; a driver that tells the model is believed, else the ids stand for it.
fn gpus(root: &Path) -> Vec<Gpu> {
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let mut found = Vec::new();
    let Ok(devices) = fs::read_dir(root.join("sys/bus/pci/devices")) else { return found };
    for device in devices.flatten() {
        let path = device.path();
        if !read(&path.join("class")).starts_with(PCI_DISPLAY) {
            continue;
        }
        let slot = device.file_name().to_string_lossy().into_owned();
        let driver = read(&root.join("proc/driver/nvidia/gpus").join(&slot).join("information"));
        let model = driver.lines().find_map(|l| l.strip_prefix("Model:")).map(str::trim).map(str::to_owned);
        let ids = || format!("pci {}:{}", read(&path.join("vendor")), read(&path.join("device")));
        let memory = read(&path.join("mem_info_vram_total")).parse().ok().map(Bytes);
        found.push(Gpu { model: clean(&model.unwrap_or_else(ids), TEXT_MAX), memory });
        if found.len() >= PARTS_MAX {
            break;
        }
    }
    found.sort_by(|a, b| a.model.cmp(&b.model));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphics_processors_are_found_on_the_bus() {
        let dir = tempfile::tempdir().unwrap();
        for (slot, class) in [("0000:01:00.0", "0x030000"), ("0000:02:00.0", "0x030200"), ("0000:03:00.0", "0x020000")]
        {
            let device = dir.path().join("sys/bus/pci/devices").join(slot);
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join("class"), class).unwrap();
            fs::write(device.join("vendor"), "0x1002\n").unwrap();
            fs::write(device.join("device"), "0x73bf\n").unwrap();
        }
        fs::write(dir.path().join("sys/bus/pci/devices/0000:01:00.0/mem_info_vram_total"), "1024\n").unwrap();
        let nvidia = dir.path().join("proc/driver/nvidia/gpus/0000:02:00.0");
        fs::create_dir_all(&nvidia).unwrap();
        fs::write(nvidia.join("information"), "Model: \t\t Tesla V100\nIRQ: 5\n").unwrap();
        let found = gpus(dir.path());
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], Gpu { model: "Tesla V100".into(), memory: None });
        assert_eq!(found[1], Gpu { model: "pci 0x1002:0x73bf".into(), memory: Some(Bytes(1_024)) });
    }

    #[test]
    fn this_computer_is_described() {
        let host = look();
        assert!(host.cpu.cores > 0 && host.memory.0 > 0 && !host.kernel.is_empty());
    }
}
