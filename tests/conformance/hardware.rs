//! B05: hardware as a resource.

use std::fs;

use anyhow::{Context, Result, ensure};
use chandler_api::client::Client;
use chandler_api::host::AllocationStatus;
use chandler_api::order::OrderState;
use chandler_api::sla::CapacityTerm;
use chandler_protocol::inventory::HostInventory;
use chandler_protocol::workload::DriverKind;
use chandler_protocol::{Bytes, MilliCpu};
use chandler_tests::fleet::{AgentOptions, Fleet, order, order_completed};
use chandler_tests::orders::notes;

use crate::seen::{nearest, place, rejected};

/// A share of a machine is ordered and reserved, what is left and no more can be had; cores and GPUs are asked of the
/// machine as it is; and the inventory says about this machine what the machine says itself.
#[tokio::test(flavor = "multi_thread")]
async fn b05_hardware_is_a_resource() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let acme = fleet.customer("acme").await?;
    fleet.publish_notes().await?;
    fleet.provider_site("hall", (10_000, 1_000)).await?;
    let offered = AgentOptions { milli_cpu: 1_500, memory: "512 MiB".to_owned(), ..AgentOptions::default() };
    fleet.agent("hall", "machine", offered).await?;
    let host = fleet.client.host("machine").await?;
    let inventory = host.inventory.context("the inventory of one host is shown")?;
    is_this_machine(&inventory)?;
    ensure!((host.offered.milli_cpu, host.offered.memory.0) == (MilliCpu(1_500), Bytes(512 << 20)));
    ensure!(inventory.offered.cpu == MilliCpu(1_500) && inventory.offered.memory == Bytes(512 << 20));

    // A share of the machine.
    let mut most = notes("acme", "most", "")?;
    most.software.limits.memory.0 = Bytes(384 << 20);
    order_completed(&acme, &most).await?;
    let host = fleet.client.host("machine").await?;
    ensure!(host.reserved.milli_cpu == MilliCpu(500) && host.reserved.memory.0 == Bytes(384 << 20), "{host:#?}");
    ensure!(host.allocation_status == AllocationStatus::PartiallyAllocated, "{host:#?}");
    let mut more = notes("acme", "more", "")?;
    more.software.limits.memory.0 = Bytes(256 << 20);
    let full = rejected(&acme, &more, "E0302").await?;
    let left: Bytes = nearest(&full, "software.limits.memory")?.value.parse()?;
    ensure!(left == Bytes(128 << 20), "128 MiB are left, not {left}");
    more.software.limits.memory.0 = left;
    order_completed(&acme, &more).await?;
    let host = fleet.client.host("machine").await?;
    ensure!(host.allocation_status == AllocationStatus::Allocated, "all its memory is taken: {host:#?}");
    // More than the machine offers at all.
    let mut huge = notes("acme", "huge", "")?;
    huge.software.limits.cpu = MilliCpu(1_501);
    let refused = rejected(&acme, &huge, "E0301").await?;
    ensure!(refused.reason.contains("1.5"), "it does not say what is offered: {}", refused.reason);

    let deleted = acme.service_delete("more").await?;
    fleet.settled(&deleted.id.to_string()).await?;
    let gpus = u32::try_from(inventory.gpus.len())?;
    machine(&acme, "cores", CapacityTerm { cores: inventory.cpu.cores, gpus }).await?;
    limits(&acme, &inventory).await
}

/// The whole machine as it is can be asked for, and not one core or GPU more.
async fn machine(acme: &Client, name: &str, there: CapacityTerm) -> Result<()> {
    let mut request = notes("acme", name, "")?;
    let CapacityTerm { cores, gpus } = there;
    for more in [CapacityTerm { cores: cores + 1, gpus }, CapacityTerm { cores, gpus: gpus + 1 }] {
        request.sla.capacity = Some(more);
        rejected(acme, &request, "E0301").await?;
    }
    request.sla.capacity = Some(there);
    let service = order_completed(acme, &request).await?;
    ensure!(place(&service)?.host == "machine", "{service:#?}");
    let deleted = acme.service_delete(name).await?;
    let deleted = chandler_tests::fleet::settled(acme, &deleted.id.to_string()).await?;
    ensure!(deleted.state == OrderState::Completed, "{deleted:#?}");
    Ok(())
}

/// Limits that shall be enforced are enforced where the machine can, and refused where it cannot.
async fn limits(acme: &Client, inventory: &HostInventory) -> Result<()> {
    let driver = inventory.drivers.iter().find(|d| d.kind == DriverKind::Process).context("programs can be run")?;
    let mut request = notes("acme", "limited", "")?;
    request.software.limits.enforce = true;
    if !(driver.limits_cpu && driver.limits_memory) {
        ensure!(!driver.note.is_empty(), "it does not say why limits cannot be enforced: {driver:?}");
        rejected(acme, &request, "E0301").await?;
        return Ok(());
    }
    let service = order(acme, &request).await?;
    ensure!(service.state == OrderState::Completed, "{service:#?}");
    let url = Fleet::url(&acme.service("limited").await?)?;
    let process = chandler_tests::process::of_notes(&url).await?;
    let limit = process.memory_limit()?;
    ensure!(limit == Some(128 << 20), "its memory is limited to {limit:?}");
    Ok(())
}

/// The inventory against what the kernel says.
fn is_this_machine(inventory: &HostInventory) -> Result<()> {
    let read = |path: &str| fs::read_to_string(path).with_context(|| path.to_owned());
    let meminfo = read("/proc/meminfo")?;
    let total = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:")).context("MemTotal")?;
    let kib: u64 = total.trim().trim_end_matches("kB").trim().parse()?;
    ensure!(inventory.memory == Bytes(kib << 10), "memory is {} of {kib} KiB", inventory.memory);
    let processors = read("/proc/cpuinfo")?.lines().filter(|l| l.starts_with("processor")).count();
    ensure!(inventory.cpu.cores as usize == processors, "{} cores of {processors}", inventory.cpu.cores);
    ensure!(inventory.cpu.cores as usize >= std::thread::available_parallelism()?.get());
    ensure!(inventory.kernel == read("/proc/sys/kernel/osrelease")?.trim(), "kernel {}", inventory.kernel);
    ensure!(inventory.os == std::env::consts::OS && inventory.architecture == std::env::consts::ARCH);
    let boot: String = inventory.boot_id.iter().map(|b| format!("{b:02x}")).collect();
    ensure!(boot == read("/proc/sys/kernel/random/boot_id")?.trim().replace('-', ""), "boot {boot}");
    ensure!(inventory.disks.iter().any(|d| d.size.0 > 0), "no disk: {:?}", inventory.disks);
    let mut networks: Vec<_> = inventory.networks.iter().map(|n| n.name.clone()).collect();
    networks.sort();
    let there = fs::read_dir("/sys/class/net")?.map(|e| Ok(e?.file_name().to_string_lossy().into_owned()));
    let there = there.collect::<Result<Vec<_>>>()?;
    ensure!(networks.iter().all(|n| there.contains(n)), "networks {networks:?} of {there:?}");
    ensure!(networks.iter().any(|n| n == "lo") || networks.len() + 1 == there.len(), "{networks:?} of {there:?}");
    Ok(())
}
