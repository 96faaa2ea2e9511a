//! What the front door costs: HTTP requests through it against direct ones, and bulk bytes through its tunnel against the
//! same two proxies over TLS and TCP, in one run.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chandler_api::site::SiteRole;
use chandler_tests::fleet::{AgentOptions, ControllerOptions, Fleet};
use chandler_tests::orders;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::Figures;

const REQUESTS: usize = 4_000;
/// Rounds of direct and through the door, in turns, so that a noisy minute touches both.
const ROUNDS: usize = 8;
/// Bytes of one bulk transfer.
const BULK: usize = 256 << 20;
const BULK_ROUNDS: usize = 3;

pub(super) async fn run() -> anyhow::Result<Figures> {
    let options = ControllerOptions {
        grace: "12 s",
        heartbeat: "4 s",
        telemetry_interval: "10 s",
        ..ControllerOptions::default()
    };
    let mut fleet = Fleet::with(options).await?;
    fleet.customer("acme").await?;
    fleet.site("rack", "provider", SiteRole::Provider, "DE", (20_000, 3_000)).await?;
    fleet.site("office", "acme", SiteRole::Customer, "DE", (0, 0)).await?;
    fleet.agent("rack", "rack-a", AgentOptions::default()).await?;
    fleet.agent("office", "laptop", AgentOptions::default()).await?;
    fleet.publish_notes().await?;
    let (direct_p50, door_p50) = requests(&fleet).await?;
    let (tunnel, tls) = bulk(&fleet).await?;
    let milli = |t: Duration| (t.as_secs_f64() * 1e6).round() / 1e3;
    Ok(vec![
        ("direct_p50_ms", json!(milli(direct_p50))),
        ("door_p50_ms", json!(milli(door_p50))),
        ("added_p50_ms", json!(milli(door_p50.saturating_sub(direct_p50)))),
        ("tunnel_mib_s", json!(tunnel.round())),
        ("tls_tcp_mib_s", json!(tls.round())),
        ("bulk_ratio", json!((tunnel / tls * 100.0).round() / 100.0)),
    ])
}

/// Medians of direct requests and of those through the door.
async fn requests(fleet: &Fleet) -> anyhow::Result<(Duration, Duration)> {
    let order = orders::order(
        r#"
customer = "acme"
name = "light"
[software]
artifact = "notes@1.0.0"
command = ["./notes", "--listen", "127.0.0.1:{port.http}", "--data", "{work}"]
limits = { cpu = 0.5, memory = "128 MiB" }
port = [{ name = "http", mode = "http" }]
health = { http = "/healthz", port = "http", interval = "1 s" }
[policy]
owners = ["provider"]
"#,
    )?;
    let service = fleet.order_completed(&order).await?;
    let direct = Fleet::url(&service)?.replace("http://", "").parse()?;
    let door = fleet.door("light", "laptop").await?;
    chandler_tests::http::body_of(&format!("http://{door}/healthz"), Duration::from_secs(30)).await?;
    let (mut straight, mut through) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        straight.extend(ask(direct, REQUESTS / ROUNDS).await?);
        through.extend(ask(door, REQUESTS / ROUNDS).await?);
    }
    Ok((median(straight), median(through)))
}

/// Requests one after the other on one connection.
async fn ask(address: SocketAddr, requests: usize) -> anyhow::Result<Vec<Duration>> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://{address}/healthz");
    client.get(&url).send().await?.error_for_status()?;
    let mut took = Vec::with_capacity(requests);
    for _ in 0..requests {
        let begin = Instant::now();
        client.get(&url).send().await?.error_for_status()?.bytes().await?;
        took.push(begin.elapsed());
    }
    Ok(took)
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// MiB a second through the tunnel, and through two proxies that speak TLS over TCP with each other.
async fn bulk(fleet: &Fleet) -> anyhow::Result<(f64, f64)> {
    let source = source().await?;
    // The program only keeps the place; what listens on its port is the source itself.
    let order = orders::order(&format!(
        r#"
customer = "acme"
name = "pipe"
[software]
artifact = "notes@1.0.0"
command = ["./notes", "sleep", "3600"]
limits = {{ cpu = 0.5, memory = "128 MiB" }}
port = [{{ name = "tcp", mode = "tcp", fixed = {} }}]
health = {{ tcp = true, port = "tcp", interval = "1 s" }}
[policy]
owners = ["provider"]
"#,
        source.port()
    ))?;
    fleet.order_completed(&order).await?;
    let door = fleet.door("pipe", "laptop").await?;
    let tls = tls_proxies(source).await?;
    let (mut tunnel_best, mut tls_best) = (0_f64, 0_f64);
    for _ in 0..BULK_ROUNDS {
        tunnel_best = tunnel_best.max(pull(door).await?);
        tls_best = tls_best.max(pull(tls).await?);
    }
    Ok((tunnel_best, tls_best))
}

/// Serves [`BULK`] bytes on each connection.
async fn source() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let block = vec![0x5a; 256 << 10];
                for _ in 0..BULK / block.len() {
                    if stream.write_all(&block).await.is_err() {
                        return;
                    }
                }
                let _ = stream.shutdown().await;
            });
        }
    });
    Ok(address)
}

/// MiB a second of one whole transfer.
async fn pull(from: SocketAddr) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let mut stream = TcpStream::connect(from).await?;
    let mut block = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        match stream.read(&mut block).await? {
            0 => break,
            n => total += n,
        }
    }
    ensure!(total == BULK, "{total} of {BULK} bytes arrived");
    Ok(BULK as f64 / f64::from(1 << 20) / begin.elapsed().as_secs_f64())
}

/// A client-side and a server-side proxy with TLS 1.3 over TCP between them; gives the address of the first.
async fn tls_proxies(target: SocketAddr) -> anyhow::Result<SocketAddr> {
    let made = rcgen::generate_simple_self_signed(vec!["peer".to_owned()])?;
    let certificate = CertificateDer::from(made.cert.der().to_vec());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate)?;
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (acceptor, connector) =
        (tokio_rustls::TlsAcceptor::from(Arc::new(server)), tokio_rustls::TlsConnector::from(Arc::new(client)));
    let inner = TcpListener::bind("127.0.0.1:0").await?;
    let between = inner.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = inner.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut near = acceptor.accept(stream).await?;
                let mut far = TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional_with_sizes(&mut near, &mut far, 256 << 10, 256 << 10).await
            });
        }
    });
    let outer = TcpListener::bind("127.0.0.1:0").await?;
    let address = outer.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut near, _)) = outer.accept().await {
            let connector = connector.clone();
            tokio::spawn(async move {
                let stream = TcpStream::connect(between).await?;
                let mut far =
                    connector.connect(ServerName::try_from("peer").map_err(std::io::Error::other)?, stream).await?;
                tokio::io::copy_bidirectional_with_sizes(&mut near, &mut far, 256 << 10, 256 << 10).await
            });
        }
    });
    // A transfer fails loudly when this is wrong; nothing else needs to be checked here.
    TcpStream::connect(address).await.context("the proxies listen")?;
    Ok(address)
}
