//! QUIC's knobs for tunnels, and where their socket is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

/// Streams that a peer may have open at once. quinn allocates for each that is allowed; further ones wait at the door.
const STREAMS: u32 = 256;
/// How often a connection says that it lives. It is closed when nobody uses it, so that this costs only while it is used.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// A peer that is silent for this long is dead: its requests are to fail over, not to hang.
const SILENCE_MS: u32 = 3_000;

/// Straight to another host: few, long-lived, fast.
pub(super) fn direct(offload: bool) -> TransportConfig {
    let mut config = base(4 << 20, 16 << 20);
    config.mtu_discovery_config(Some(MtuDiscoveryConfig::default())).enable_segmentation_offload(offload);
    config
}

/// Through the relay, which carries packets of the size that QUIC begins with and promises no larger one.
pub(super) fn relayed() -> TransportConfig {
    let mut config = base(1 << 20, 4 << 20);
    config.mtu_discovery_config(None).enable_segmentation_offload(false);
    config
}

fn base(stream_window: u32, window: u32) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(stream_window))
        .receive_window(VarInt::from_u32(window))
        .send_window(u64::from(window))
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(SILENCE_MS))));
    config
}

/// Addresses to bind to, best first: loopback when everybody is on this computer, else every network.
pub(super) fn anywhere(is_local: bool, port: u16) -> Vec<SocketAddr> {
    let addresses: &[IpAddr] = if is_local {
        &[IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
    } else {
        &[IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)]
    };
    addresses.iter().map(|a| SocketAddr::new(*a, port)).collect()
}
