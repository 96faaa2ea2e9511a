//! What a simulated computer says of itself.

use async_trait::async_trait;
use chandler_agent::world::Probe;
use chandler_protocol::inventory::{self, HostInventory, Offered};
use chandler_protocol::telemetry::Readings;
use chandler_protocol::workload::DriverKind;
use chandler_protocol::{Bytes, MilliCpu};

use super::Machine;

#[async_trait]
impl Probe for Machine {
    fn boot_id(&self) -> [u8; 16] {
        let mut id = [self.number; 16];
        id[0] = self.inside().boots;
        id
    }

    fn readings(&self) -> Readings {
        Readings {
            cpu_permille: 20,
            memory_used_mib: 700,
            temperature_c: -1,
            battery_percent: -1,
            ..Readings::default()
        }
    }

    async fn inventory(&self) -> HostInventory {
        HostInventory {
            host_name: self.name.clone(),
            cpu: inventory::Cpu { model: "simulated".to_owned(), cores: 4, mhz: 2_000 },
            memory: Bytes(8 << 30),
            os: std::env::consts::OS.to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            boot_id: self.boot_id(),
            drivers: vec![inventory::Driver {
                kind: DriverKind::Process,
                limits_cpu: true,
                limits_memory: true,
                limits_pids: true,
                note: String::new(),
            }],
            offered: Offered { cpu: MilliCpu(4_000), memory: Bytes(8 << 30), disk: Bytes(64 << 30) },
            ..HostInventory::default()
        }
    }
}
