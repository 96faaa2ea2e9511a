//! Row 36: the way between the two hosts of a move is cut while the state is copied.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Result, ensure};
use chandler_api::movement::MovePhase;
use chandler_harness::proxy::{FaultProxy, Faults, Way};
use chandler_harness::wait::eventually;
use chandler_tests::fleet::{AgentOptions, PATIENCE};

use crate::chaos::Ground;

/// 16 MiB that are copied in four seconds.
const LEDGER: &str = r#"
customer = "acme"
name = "ledger"
[software]
artifact = "notes@1.0.0"
command = ["./notes", "--listen", "127.0.0.1:{port.http}", "--data", "{state}", "--ballast", "16", "1048576", "2"]
limits = { cpu = 0.5, memory = "128 MiB" }
port = [{ name = "http", mode = "http" }]
state = { path = "data", exclusive = true }
health = { http = "/healthz", port = "http", interval = "200 ms" }
[policy]
owners = ["provider"]
move = { keep = "1 s", rate = "4 MiB/s" }
"#;
const SERVERS: [&str; 2] = ["rack-a", "rack-b"];
/// Where agents listen for each other; the address before it, which the controller names first, is a proxy's.
const BEHIND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A way to each server that can be cut, and where the server itself listens.
async fn ways() -> Result<Vec<(FaultProxy, SocketAddr)>> {
    let mut ways = Vec::new();
    for seed in 0..SERVERS.len() {
        // Free just now: nobody else binds it before the proxy does.
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let behind = SocketAddr::from((BEHIND, front.port()));
        ways.push((FaultProxy::start(front, behind, Faults::default(), seed as u64).await?, behind));
    }
    Ok(ways)
}

/// What is there is not copied again, the rest comes another way, and no acknowledged write is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_36_a_way_that_is_cut_while_the_state_is_copied_loses_nothing_and_little_comes_twice() -> Result<()> {
    let ways = ways().await?;
    let ground = Ground::of(LEDGER, |name| {
        let way = SERVERS.iter().position(|server| *server == name).and_then(|n| ways.get(n));
        let args = way.map(|(_, behind)| vec!["--tunnel".to_owned(), behind.to_string()]).unwrap_or_default();
        AgentOptions { args, ..AgentOptions::default() }
    });
    let ground = ground.await?;
    for lasts in [Duration::from_secs(2), PATIENCE] {
        let (id, from, _) = ground.begin().await?;
        let half = eventually("half of the state to be copied", PATIENCE, || async {
            let now = ground.fleet.client.move_by_id(&id).await.ok()?;
            now.progress.filter(|p| p.total_bytes > 0 && p.done_bytes * 2 > p.total_bytes && p.rounds == 0)
        });
        let half = half.await?;
        let (way, _) = &ways[usize::from(from != SERVERS[0])];
        let carried = way.counters(Way::ToClient);
        ensure!(carried.delivered > 1_000, "the state does not come this way: {carried:?}");
        way.set(Faults { to_upstream_blocked: true, to_client_blocked: true, ..Faults::default() });
        eprintln!("cut for {lasts:?} with {} of {} copied; {carried:?}", half.done_bytes, half.total_bytes);
        if lasts < PATIENCE {
            tokio::time::sleep(lasts).await;
            way.set(Faults::default());
        }
        let ended = ground.converged(&id).await?;
        way.set(Faults::default());
        ensure!(ended.phase == MovePhase::Done, "{:?}: {}", ended.phase, ended.reason);
        let came = ended.realised.unwrap_or_else(|| ended.predicted.clone());
        // What was there when the way was cut, once; the rest, and what the software rewrote meanwhile.
        ensure!(came.bytes < came.state_bytes * 2, "{} of {} bytes sent", came.bytes, came.state_bytes);
    }
    ground.finish().await
}
