//! The proxy between real sockets.

use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::wait::eventually;

/// Far more than any of these steps needs on a busy machine.
const LONG: Duration = Duration::from_secs(20);

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// An upstream, the proxy before it, and a client that is connected to the proxy.
async fn set_up(faults: Faults, seed: u64) -> (UdpSocket, FaultProxy, UdpSocket) {
    let upstream = UdpSocket::bind(loopback()).await.unwrap();
    let proxy = FaultProxy::start(loopback(), upstream.local_addr().unwrap(), faults, seed).await.unwrap();
    let client = client_of(&proxy).await;
    (upstream, proxy, client)
}

async fn client_of(proxy: &FaultProxy) -> UdpSocket {
    let client = UdpSocket::bind(loopback()).await.unwrap();
    client.connect(proxy.address()).await.unwrap();
    client
}

async fn next(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    let (length, from) = timeout(LONG, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    buffer.truncate(length);
    (buffer, from)
}

#[tokio::test]
async fn carries_both_ways_in_order_and_late() {
    let delay = Duration::from_millis(40);
    let (upstream, proxy, client) = set_up(Faults { delay, ..Faults::default() }, 1).await;
    let begin = Instant::now();
    for i in 0..50_u8 {
        client.send(&[i; 1_200]).await.unwrap();
    }
    let mut from = None;
    for i in 0..50_u8 {
        let (bytes, sender) = next(&upstream).await;
        assert_eq!(bytes, [i; 1_200]);
        from = Some(sender);
    }
    assert!(begin.elapsed() >= delay);
    let begin = Instant::now();
    upstream.send_to(&[7; 60_000], from.unwrap()).await.unwrap();
    assert_eq!(next(&client).await.0, [7; 60_000]);
    assert!(begin.elapsed() >= delay);
    assert_eq!(proxy.counters(Way::ToUpstream).delivered, 50);
    assert!(proxy.is_running());
}

/// Sends 500 numbered datagrams through the proxy and returns the numbers that arrived. In groups, so that no
/// socket's buffer overflows and loses some by itself.
async fn arrivals(seed: u64) -> Vec<u16> {
    let (upstream, proxy, client) = set_up(Faults { loss_ppm: 200_000, ..Faults::default() }, seed).await;
    let mut got = Vec::new();
    for group in 0..10_u16 {
        for i in 0..50 {
            client.send(&(group * 50 + i).to_le_bytes()).await.unwrap();
        }
        let all_seen = || async {
            let c = proxy.counters(Way::ToUpstream);
            (c.lost + c.delivered == u64::from(group + 1) * 50).then_some(c.delivered)
        };
        let delivered = eventually("a group to pass", LONG, all_seen).await.unwrap();
        while (got.len() as u64) < delivered {
            got.push(u16::from_le_bytes(next(&upstream).await.0.try_into().unwrap()));
        }
    }
    got
}

#[tokio::test]
async fn loss_repeats_with_the_seed() {
    let first = arrivals(42).await;
    assert!((350..450).contains(&first.len()), "{} of 500 arrived", first.len());
    assert_eq!(first, arrivals(42).await);
    assert_ne!(first, arrivals(43).await);
}

#[tokio::test]
async fn a_cut_in_one_way_leaves_the_other() {
    let (upstream, proxy, client) = set_up(Faults::default(), 1).await;
    client.send(b"hello").await.unwrap();
    let (_, from) = next(&upstream).await;
    proxy.set(Faults { to_upstream_blocked: true, ..proxy.faults() });
    client.send(b"unheard").await.unwrap();
    upstream.send_to(b"heard", from).await.unwrap();
    assert_eq!(next(&client).await.0, b"heard");
    eventually("the blocked datagram", LONG, || async { (proxy.counters(Way::ToUpstream).blocked == 1).then_some(()) })
        .await
        .unwrap();
    proxy.set(Faults { to_client_blocked: true, ..Faults::default() });
    client.send(b"again").await.unwrap();
    assert_eq!(next(&upstream).await.0, b"again");
}

#[tokio::test]
async fn duplicates_and_flipped_bits_arrive() {
    let faults = Faults { duplicate_ppm: 1_000_000, corrupt_ppm: 1_000_000, ..Faults::default() };
    let (upstream, _proxy, client) = set_up(faults, 1).await;
    client.send(&[0; 100]).await.unwrap();
    let (first, _) = next(&upstream).await;
    assert_eq!(first.iter().map(|b| b.count_ones()).sum::<u32>(), 1);
    assert_eq!(next(&upstream).await.0, first);
}

#[tokio::test]
async fn clients_are_told_apart_and_get_new_ports_after_a_rebind() {
    let (upstream, proxy, one) = set_up(Faults::default(), 1).await;
    let two = client_of(&proxy).await;
    one.send(b"one").await.unwrap();
    let (_, from_one) = next(&upstream).await;
    two.send(b"two").await.unwrap();
    let (_, from_two) = next(&upstream).await;
    assert_ne!(from_one, from_two);
    upstream.send_to(b"to two", from_two).await.unwrap();
    assert_eq!(next(&two).await.0, b"to two");
    proxy.rebind();
    one.send(b"one").await.unwrap();
    assert_ne!(next(&upstream).await.1, from_one);
}

#[tokio::test]
async fn an_upstream_that_went_away_is_reached_when_it_returns() {
    let (upstream, proxy, client) = set_up(Faults::default(), 1).await;
    let address = upstream.local_addr().unwrap();
    drop(upstream);
    for _ in 0..3 {
        client.send(b"nobody there").await.unwrap();
    }
    eventually("three sent", LONG, || async { (proxy.counters(Way::ToUpstream).delivered == 3).then_some(()) })
        .await
        .unwrap();
    let upstream = UdpSocket::bind(address).await.unwrap();
    client.send(b"back").await.unwrap();
    // A pending error of the refused port may swallow one datagram, as it does for any UDP program.
    client.send(b"back").await.unwrap();
    assert_eq!(next(&upstream).await.0, b"back");
    let elsewhere = UdpSocket::bind(loopback()).await.unwrap();
    proxy.retarget(elsewhere.local_addr().unwrap());
    client.send(b"moved").await.unwrap();
    assert_eq!(next(&elsewhere).await.0, b"moved");
}
