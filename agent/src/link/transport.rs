//! QUIC's knobs, one place each for the kinds of connection to a controller.

use std::time::Duration;

use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

/// Streams a peer may open at once: quinn allocates for each allowed one.
const STREAMS: u32 = 8;
/// How often an otherwise silent control connection says that it lives: routers forget it after about 30 s.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// A control connection that is silent for this long is gone.
const CONTROL_IDLE: u32 = 90_000;
/// A bulk connection that carries nothing for this long is dropped; the next transfer opens a new one.
const BULK_IDLE: u32 = 30_000;
/// A relay that is silent for this long is gone; it is asked this often.
const RELAY_IDLE: u32 = 10_000;
const RELAY_KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Bytes of datagrams that wait at either end of the relay's connection.
const RELAY_BUFFER: usize = 512 << 10;

/// The control connection: small messages, many agents, little memory on both sides.
pub fn control() -> TransportConfig {
    let mut config = base(64 << 10, 256 << 10, CONTROL_IDLE);
    config.keep_alive_interval(Some(KEEP_ALIVE)).mtu_discovery_config(None).send_window(256 << 10);
    config
}

/// The bulk connection: few, short-lived, fast.
pub fn bulk() -> TransportConfig {
    let mut config = base(2 << 20, 4 << 20, BULK_IDLE);
    config.mtu_discovery_config(Some(MtuDiscoveryConfig::default())).send_window(2 << 20);
    config
}

/// The connection to the relay: datagrams only. What they carry begins with packets of 1,200 bytes, so that the path must
/// take a little more than that; how much it takes is found out.
pub fn relay() -> TransportConfig {
    let mut config = base(64 << 10, 64 << 10, RELAY_IDLE);
    config
        .keep_alive_interval(Some(RELAY_KEEP_ALIVE))
        .mtu_discovery_config(Some(MtuDiscoveryConfig::default()))
        .datagram_receive_buffer_size(Some(RELAY_BUFFER))
        .datagram_send_buffer_size(RELAY_BUFFER);
    config
}

fn base(stream_window: u32, window: u32, idle_ms: u32) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS))
        .stream_receive_window(VarInt::from_u32(stream_window))
        .receive_window(VarInt::from_u32(window))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle_ms))))
        // Network cards of ordinary computers fail in the middle of a connection with it.
        .enable_segmentation_offload(false);
    config
}
