//! Tunnels between real sockets: who is let in, what is refused, and that bytes and ends arrive as they were sent.

use std::time::{Duration, Instant};

use chandler_protocol::tunnel::{TunnelRefusal, TunnelRequest};
use chandler_protocol::way::{Grant, Path, Permit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::testing::{Agent, Elsewhere, SOON, copy, echo, introduce, port, says_back, server, until};
use super::{OpenError, TunnelSettings};
use crate::sync::lock;

#[tokio::test]
async fn two_hosts_with_pinned_keys_talk_both_ways_over_one_connection() {
    let (a, b) = (Agent::start(1).await, Agent::start(2).await);
    introduce(&a, &b);
    let address = echo().await;
    a.serve("web", address);
    b.serve("web", address);
    let mut to_b = a.tunnels.open(b.id, &port("web")).await.unwrap();
    says_back(&mut to_b, "hello").await;
    // b asks back through the connection that a opened.
    let mut to_a = b.tunnels.open(a.id, &port("web")).await.unwrap();
    says_back(&mut to_a, "hello yourself").await;
    let connections: usize = [&a, &b].map(|x| x.tunnels.endpoints()[0].open_connections()).iter().sum();
    assert_eq!(connections, 2, "one connection, seen from both ends");
    assert_eq!((a.path_to(&b), b.path_to(&a)), (Some(Path::Direct), Some(Path::Direct)));
    assert!(a.tunnels.paths()[0].rtt.is_some_and(|rtt| rtt.0 > 0 && rtt.0 < 1_000_000));
    // Ping is nothing but an answer.
    a.tunnels.open(b.id, &TunnelRequest::Ping).await.unwrap();
}

#[tokio::test]
async fn who_has_another_key_than_the_grant_says_is_not_talked_to() {
    let (a, b) = (Agent::start(1).await, Agent::start(2).await);
    b.serve("web", echo().await);
    // The one who dials finds another key than it expects.
    b.tunnels.set_grants(&[a.grant()]);
    a.tunnels.set_grants(&[Grant { key: [9; 32], ..b.grant() }]);
    let refused = a.tunnels.open(b.id, &port("web")).await.unwrap_err();
    assert!(matches!(refused, OpenError::NoPath(_)), "{refused}");
    assert_eq!(a.path_to(&b), Some(Path::None));
    // The one who is dialled does not know the key that comes.
    a.tunnels.set_grants(&[b.grant()]);
    b.tunnels.set_grants(&[Grant { key: [9; 32], ..a.grant() }]);
    let refused = a.tunnels.open(b.id, &port("web")).await.unwrap_err();
    assert!(matches!(refused, OpenError::NoPath(_) | OpenError::Lost(_)), "{refused}");
    // And with the right keys on both sides it works.
    introduce(&a, &b);
    says_back(&mut a.tunnels.open(b.id, &port("web")).await.unwrap(), "now").await;
}

#[tokio::test]
async fn a_grant_that_is_gone_ends_what_runs_and_a_permit_that_is_gone_does_not() {
    let (a, b) = (Agent::start(1).await, Agent::start(2).await);
    introduce(&a, &b);
    b.serve("web", echo().await);
    let mut stream = a.tunnels.open(b.id, &port("web")).await.unwrap();
    says_back(&mut stream, "first").await;
    b.tunnels.set_grants(&[Grant { permits: Vec::new(), ..a.grant() }]);
    says_back(&mut stream, "still").await;
    let refused = a.tunnels.open(b.id, &port("web")).await.unwrap_err();
    assert_eq!(refused, OpenError::Refused { why: TunnelRefusal::NotGranted, epoch: 0 });
    b.tunnels.set_grants(&[]);
    let read = tokio::time::timeout(SOON, stream.read(&mut [0; 8])).await.expect("it ends");
    assert!(read.is_err(), "cut off, not ended well");
    assert_eq!(b.tunnels.open(a.id, &port("web")).await.unwrap_err(), OpenError::NoGrant);
    let again = a.tunnels.open(b.id, &port("web")).await.unwrap_err();
    assert!(matches!(again, OpenError::NoPath(_) | OpenError::Lost(_)), "{again}");
}

#[tokio::test]
async fn each_refusal_is_told_with_its_reason() {
    let (a, b) = (Agent::start(1).await, Agent::start(2).await);
    introduce(&a, &b);
    // A port that nobody listens on any more.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    b.serve("closed", closed);
    lock(&b.ports.0).insert("sealed".into(), Err((TunnelRefusal::Sealed, 12)));
    let other = chandler_protocol::AssignmentId::from_random([8; 10]);
    let foreign = TunnelRequest::Port { assignment: other, epoch: 3, port: "web".into() };
    let state = TunnelRequest::State { assignment: copy(), attempt: 1 };
    for (request, why, epoch) in [
        (port("closed"), TunnelRefusal::Unreachable, 3),
        (port("sealed"), TunnelRefusal::Sealed, 12),
        (port("nowhere"), TunnelRefusal::NotHere, 0),
        (foreign, TunnelRefusal::NotGranted, 0),
        (state, TunnelRefusal::NotGranted, 0),
    ] {
        let refused = a.tunnels.open(b.id, &request).await.unwrap_err();
        assert_eq!(refused, OpenError::Refused { why, epoch }, "{request:?}");
        // The copy on the asking host itself needs no grant, and is refused in the same words.
        if !matches!(why, TunnelRefusal::NotGranted) {
            let refused = b.tunnels.open(b.id, &request).await.unwrap_err();
            assert_eq!(refused, OpenError::Refused { why, epoch }, "{request:?}");
        }
    }
}

#[tokio::test]
async fn a_copy_on_this_host_needs_no_tunnel() {
    let a = Agent::start(1).await;
    a.serve("web", echo().await);
    says_back(&mut a.tunnels.open(a.id, &port("web")).await.unwrap(), "here").await;
    assert!(a.tunnels.paths().is_empty());
}

#[tokio::test]
async fn each_half_ends_by_itself() {
    let (a, b) = (Agent::start(1).await, Agent::start(2).await);
    introduce(&a, &b);
    // Answers only when its client has said all, and goes on long after.
    let late = server(|mut stream| async move {
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        for _ in 0..64 {
            stream.write_all(&heard).await.unwrap();
        }
        stream.shutdown().await.unwrap();
    });
    b.serve("web", late.await);
    for host in [&a, &b] {
        let mut stream = host.tunnels.open(b.id, &port("web")).await.unwrap();
        stream.write_all(&[5; 30_000]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut heard = Vec::new();
        tokio::time::timeout(SOON, stream.read_to_end(&mut heard)).await.expect("an end").unwrap();
        assert_eq!(heard.len(), 64 * 30_000);
    }
}

#[tokio::test]
async fn what_is_cut_off_is_never_taken_for_whole() {
    let (a, b) = (Agent::start(1).await, Agent::start(2).await);
    introduce(&a, &b);
    // The workload breaks off in the middle of its answer.
    let breaks = server(|mut stream| async move {
        stream.write_all(b"half an ans").await.unwrap();
        let _ = stream.read(&mut [0; 8]).await;
        stream.set_zero_linger().unwrap();
    });
    b.serve("breaks", breaks.await);
    let mut stream = a.tunnels.open(b.id, &port("breaks")).await.unwrap();
    stream.write_all(b"go").await.unwrap();
    let mut heard = Vec::new();
    let end = tokio::time::timeout(SOON, stream.read_to_end(&mut heard)).await.expect("an end");
    assert!(end.is_err(), "the client must see that {:?} is not all", String::from_utf8_lossy(&heard));
    // The client breaks off in the middle of its request.
    let (tell, told) = tokio::sync::oneshot::channel();
    let tell = std::sync::Mutex::new(Some(tell));
    let hears = server(move |mut stream| {
        let tell = lock(&tell).take();
        async move {
            let mut heard = Vec::new();
            let end = stream.read_to_end(&mut heard).await;
            let _ = tell.map(|t| t.send(end.is_err()));
        }
    });
    b.serve("hears", hears.await);
    let mut stream = a.tunnels.open(b.id, &port("hears")).await.unwrap();
    stream.write_all(b"half a requ").await.unwrap();
    drop(stream);
    assert!(
        tokio::time::timeout(SOON, told).await.expect("an end").unwrap(),
        "the workload must see that it is not all"
    );
}

#[tokio::test]
async fn a_state_is_given_whole_or_is_seen_to_be_cut_off() {
    let (a, b) = (Agent::start(1).await, Agent::start(2).await);
    introduce(&a, &b);
    let permits = [1, 2, 9].map(|attempt| Permit::State { assignment: copy(), attempt }).to_vec();
    b.tunnels.set_grants(&[Grant { permits, ..a.grant() }]);
    for host in [&a, &b] {
        let request = TunnelRequest::State { assignment: copy(), attempt: 9 };
        let refused = host.tunnels.open(b.id, &request).await.unwrap_err();
        assert_eq!(refused, OpenError::Refused { why: TunnelRefusal::NotHere, epoch: 4 });
    }
    for (host, attempt, is_whole) in [(&a, 1, true), (&a, 2, false), (&b, 1, true)] {
        let request = TunnelRequest::State { assignment: copy(), attempt };
        let mut heard = String::new();
        let mut stream = match host.tunnels.open(b.id, &request).await {
            Ok(stream) => stream,
            // The end may overtake the beginning, but only when it was cut off.
            Err(OpenError::Lost(_)) if !is_whole => continue,
            Err(error) => panic!("{error}"),
        };
        let read = tokio::time::timeout(SOON, stream.read_to_string(&mut heard)).await.expect("an end");
        assert_eq!(read.is_ok(), is_whole);
        assert!(!is_whole || heard == format!("state of attempt {attempt}"), "{heard}");
    }
}

#[tokio::test]
async fn a_peer_that_was_restarted_is_reached_again_by_the_next_request() {
    let a = Agent::start(1).await;
    let (address, grant, dir) = (echo().await, a.grant(), tempfile::tempdir().unwrap());
    let first = Elsewhere::start(2, dir.path().to_owned(), grant.clone(), address).await;
    a.tunnels.set_grants(std::slice::from_ref(&first.grant));
    let mut stream = a.tunnels.open(first.grant.peer, &port("web")).await.unwrap();
    says_back(&mut stream, "before").await;
    let before = first.crash();
    let second = Elsewhere::start(2, dir.path().to_owned(), grant, address).await;
    assert_eq!(second.grant, before, "it has the same key and port after a restart");
    let begun = Instant::now();
    says_back(&mut a.tunnels.open(before.peer, &port("web")).await.unwrap(), "after").await;
    // By a reset from the new one, not by waiting for the old one.
    assert!(begun.elapsed() < Duration::from_secs(2), "took {:?}", begun.elapsed());
    second.crash();
}

#[tokio::test]
async fn an_address_that_does_not_answer_holds_nobody_up() {
    let (a, b) = (Agent::start(1).await, Agent::start(2).await);
    introduce(&a, &b);
    b.serve("web", echo().await);
    // A socket that takes packets and says nothing.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut grant = b.grant();
    grant.addresses.insert(0, silent.local_addr().unwrap());
    a.tunnels.set_grants(&[grant]);
    let begun = Instant::now();
    a.tunnels.open(b.id, &port("web")).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "took {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_change_of_path_is_told() {
    let (a, b) = (Agent::start(1).await, Agent::start(2).await);
    introduce(&a, &b);
    a.changed.notified().await;
    a.tunnels.open(b.id, &TunnelRequest::Ping).await.unwrap();
    tokio::time::timeout(SOON, a.changed.notified()).await.expect("told");
    until("b knows too", || b.path_to(&a) == Some(Path::Direct)).await;
}

/// Not a limit, a number to look at: other work runs on this computer.
#[tokio::test]
async fn bulk_goes_through() {
    const SIZE: usize = 64 << 20;
    let source = server(|mut stream| async move {
        let block = vec![3; 256 << 10];
        for _ in 0..SIZE / block.len() {
            stream.write_all(&block).await.unwrap();
        }
        stream.shutdown().await.unwrap();
    });
    let source = source.await;
    for offload in [false, true] {
        let settings = TunnelSettings { offload, ..TunnelSettings::default() };
        let a = Agent::start_with(1, settings).await;
        let b = Agent::start_with(2, settings).await;
        introduce(&a, &b);
        b.serve("bulk", source);
        let begun = Instant::now();
        let mut stream = a.tunnels.open(b.id, &port("bulk")).await.unwrap();
        let mut heard = 0;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match stream.read(&mut buffer).await.unwrap() {
                0 => break,
                n => heard += n,
            }
        }
        assert_eq!(heard, SIZE);
        let rate = SIZE as f64 / 1_048_576.0 / begun.elapsed().as_secs_f64();
        println!("bulk through a tunnel, segmentation offload {offload}: {rate:.0} MiB/s");
    }
}
