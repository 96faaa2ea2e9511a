//! Where this computer may be reached.

use std::net::IpAddr;

use sysinfo::Networks;

/// Interfaces that programs make for themselves: others reach something else at their addresses, if anything.
const INNER: [&str; 7] = ["docker", "br-", "veth", "virbr", "cni", "flannel", "podman"];

/// Addresses that others may reach this computer at, best first: IPv4 before IPv6, real networks only.
pub fn addresses() -> Vec<IpAddr> {
    let networks = Networks::new_with_refreshed_list();
    let outer = networks.iter().filter(|(name, _)| !INNER.iter().any(|inner| name.starts_with(inner)));
    let all = outer.flat_map(|(_, network)| network.ip_networks().iter().map(|n| n.addr));
    let mut addresses: Vec<IpAddr> = all.filter(is_reachable).collect();
    // The order of interfaces is chance.
    addresses.sort();
    addresses.dedup();
    addresses
}

fn is_reachable(address: &IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(a) => a.is_link_local() || a.is_broadcast(),
        IpAddr::V6(a) => a.is_unicast_link_local(),
    };
    !(is_link_local || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_can_reach_is_said() {
        for (address, expect) in [
            ("192.168.1.7", true),
            ("2001:db8::7", true),
            ("127.0.0.1", false),
            ("169.254.3.4", false),
            ("fe80::1", false),
            ("::1", false),
        ] {
            assert_eq!(is_reachable(&address.parse().unwrap()), expect, "{address}");
        }
        assert!(addresses().iter().all(is_reachable));
    }
}
