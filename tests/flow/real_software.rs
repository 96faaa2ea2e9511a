//! Software that nobody here wrote, moved while it is used: Redis, SQLite, nginx and PostgreSQL from Debian packages.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use chandler_api::order::OrderRequest;
use chandler_api::site::SiteRole;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE};
use chandler_tests::orders::order;
use tokio::process::{Child, Command};

use super::writer::{REDIS, SQLITE, Writer, read_redis, read_sqlite};

/// Moves of each, unless `CHANDLER_MOVES` in the environment says another number.
const MOVES: usize = 3;
/// One after the other: each keeps the machine busy by itself.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
const PG: &str = "/usr/lib/postgresql/15/bin";

/// Two servers of the provider's, and the customer's computer with the front doors.
async fn fleet(programs: &[(&str, &str)]) -> anyhow::Result<Fleet> {
    let mut fleet = Fleet::start().await?;
    fleet.customer("acme").await?;
    fleet.provider_site("rack", (20_000, 3_000)).await?;
    fleet.site("office", "acme", SiteRole::Customer, "DE", (0, 0)).await?;
    for (site, name) in [("rack", "rack-a"), ("rack", "rack-b"), ("office", "laptop")] {
        let args = programs.iter().flat_map(|(name, path)| ["--program".to_owned(), format!("{name}={path}")]);
        fleet.agent(site, name, AgentOptions { args: args.collect(), ..AgentOptions::default() }).await?;
    }
    Ok(fleet)
}

/// How often each is moved.
fn moves() -> anyhow::Result<usize> {
    match std::env::var("CHANDLER_MOVES") {
        Ok(said) => said.parse().with_context(|| format!("CHANDLER_MOVES is no number of moves: {said}")),
        Err(_) => Ok(MOVES),
    }
}

/// Moves it to the other server and back, again and again. Gives how often.
async fn there_and_back(fleet: &Fleet, service: &str) -> anyhow::Result<usize> {
    let moves = moves()?;
    for n in 0..moves {
        let on_a = fleet
            .client
            .service(service)
            .await?
            .placements
            .iter()
            .any(|p| p.host == "rack-a" && p.state == "allocated");
        let done = fleet.move_to(service, if on_a { "rack-b" } else { "rack-a" }).await?;
        let felt = done.realised.map(|r| (r.longest_stall_micros, r.hold_micros)).unwrap_or_default();
        let (told, (stall, hold)) = (done.predicted.hold_micros, felt);
        eprintln!("{service}: move {} of {moves}, longest wait {stall}, hold {hold}, expected less than {told}", n + 1);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Ok(moves)
}

fn redis() -> anyhow::Result<OrderRequest> {
    order(
        r#"
customer = "acme"
name = "store"
[software]
installed = { name = "redis-server", path = "/usr/bin/redis-server" }
command = ["/usr/bin/redis-server", "--bind", "127.0.0.1", "--port", "{port.redis}", "--dir", "{state}", "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
limits = { cpu = 0.5, memory = "256 MiB" }
port = [{ name = "redis", mode = "tcp" }]
state = { path = "data", exclusive = true }
health = { tcp = true, port = "redis", interval = "200 ms" }
[policy]
owners = ["provider"]
"#,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_30_redis_loses_no_acknowledged_write_and_its_client_reconnects_once_a_move() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let fleet = fleet(&[]).await?;
    fleet.order_completed(&redis()?).await?;
    let door = fleet.door("store", "laptop").await?;
    let writer = Writer::start(door, REDIS).await?;
    let moves = there_and_back(&fleet, "store").await?;
    let written = writer.stop().await?;
    let there = read_redis(door, written.acknowledged).await?;
    eprintln!(
        "store: {moves} moves, {} writes acknowledged, {there} there, {} reconnects",
        written.acknowledged, written.reconnects
    );
    ensure!(written.acknowledged > 100, "only {} writes went through", written.acknowledged);
    ensure!(there == written.acknowledged, "{} of {} acknowledged writes are there", there, written.acknowledged);
    ensure!(written.reconnects <= moves, "{} reconnects in {moves} moves", written.reconnects);
    Ok(())
}

/// SQLite has no server of its own: each connection talks to a shell that has the file open.
fn sqlite() -> anyhow::Result<OrderRequest> {
    order(
        r#"
customer = "acme"
name = "ledger"
[software]
installed = { name = "socat", path = "/usr/bin/socat" }
command = ["/usr/bin/socat", "TCP-LISTEN:{port.sql},bind=127.0.0.1,reuseaddr,fork", "EXEC:stdbuf -oL sqlite3 -batch {state}/keys.db"]
limits = { cpu = 0.5, memory = "256 MiB" }
port = [{ name = "sql", mode = "tcp" }]
state = { path = "data", exclusive = true }
health = { tcp = true, port = "sql", interval = "1 s" }
[policy]
owners = ["provider"]
"#,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_30_sqlite_loses_no_acknowledged_write_of_its_log() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let fleet = fleet(&[("socat", "/usr/bin/socat")]).await?;
    fleet.order_completed(&sqlite()?).await?;
    let door = fleet.door("ledger", "laptop").await?;
    let writer = Writer::start(door, SQLITE).await?;
    let moves = there_and_back(&fleet, "ledger").await?;
    let written = writer.stop().await?;
    let there = read_sqlite(door, written.acknowledged).await?;
    eprintln!("ledger: {moves} moves, {written:?}, {there} there");
    ensure!(written.acknowledged > 50, "only {} writes went through", written.acknowledged);
    ensure!(there == written.acknowledged, "{there} of {} acknowledged writes are there", written.acknowledged);
    ensure!(written.reconnects <= moves, "{} reconnects in {moves} moves", written.reconnects);
    Ok(())
}

fn nginx() -> anyhow::Result<OrderRequest> {
    let config = "daemon off; pid nginx.pid; worker_processes 1; error_log stderr; events { worker_connections 256; } \
                  http { access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; \
                  uwsgi_temp_path u; scgi_temp_path s; keepalive_requests 1000000; \
                  server { listen 127.0.0.1:$1 backlog=4096; location / { return 200 hello; } } }";
    order(&format!(
        r#"
customer = "acme"
name = "web"
[software]
installed = {{ name = "nginx", path = "/usr/sbin/nginx" }}
command = ["/bin/sh", "-c", 'echo "{config}" > "$0/nginx.conf" && exec /usr/sbin/nginx -p "$0" -e stderr -c "$0/nginx.conf"', "{{work}}", "{{port.http}}"]
limits = {{ cpu = 0.5, memory = "128 MiB" }}
port = [{{ name = "http", mode = "http" }}]
health = {{ http = "/", port = "http", interval = "200 ms" }}
[policy]
owners = ["provider"]
"#
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_fails_no_request_of_wrk() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let fleet = fleet(&[("nginx", "/usr/sbin/nginx")]).await?;
    fleet.order_completed(&nginx()?).await?;
    let door = fleet.door("web", "laptop").await?;
    chandler_tests::http::body_of(&format!("http://{door}/"), PATIENCE).await?;
    let wrk = Command::new("wrk")
        .args(["-t", "1", "-c", "16", "-d", "600s", &format!("http://{door}/")])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let moves = there_and_back(&fleet, "web").await?;
    let report = interrupted(wrk).await?;
    eprintln!("web: {moves} moves\n{report}");
    ensure!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "requests failed:\n{report}");
    let requests = report.lines().find_map(|l| l.trim().split_once(" requests in ")?.0.parse::<u64>().ok());
    ensure!(requests.is_some_and(|n| n > 500), "hardly anything was asked:\n{report}");
    Ok(())
}

/// Ends wrk as Ctrl-C does and gives its report.
async fn interrupted(child: Child) -> anyhow::Result<String> {
    let pid =
        child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?)).context("wrk has ended")?;
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    let output = child.wait_with_output().await?;
    Ok(String::from_utf8(output.stdout)?)
}

/// PostgreSQL refuses to run as root: in a user namespace of its own it is somebody else.
fn postgres(user: u32) -> anyhow::Result<OrderRequest> {
    let script = format!(
        "set -e; [ -f $0/PG_VERSION ] || {PG}/initdb -D $0 -A trust -U postgres --no-sync >&2; \
         exec {PG}/postgres -D $0 -p $1 -k '' -c listen_addresses=127.0.0.1 -c max_connections=20"
    );
    order(&format!(
        r#"
customer = "acme"
name = "db"
[software]
installed = {{ name = "postgresql-15", path = "{PG}/postgres" }}
command = ["/usr/bin/unshare", "--user", "--map-user={user}", "--map-group={user}", "--", "/bin/sh", "-c", "{script}", "{{state}}", "{{port.pg}}"]
limits = {{ cpu = 1, memory = "512 MiB" }}
port = [{{ name = "pg", mode = "tcp" }}]
state = {{ path = "data", exclusive = true }}
health = {{ exec = ["{PG}/pg_isready", "-q", "-h", "127.0.0.1", "-p", "{{port.pg}}"], interval = "200 ms", grace = "30 s" }}
stop = {{ signal = "interrupt", grace = "10 s" }}
[policy]
owners = ["provider"]
"#
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_loses_no_committed_transaction() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let owner = std::fs::read_to_string("/etc/passwd")?;
    let user = owner.lines().find_map(|l| l.strip_prefix("postgres:x:")?.split(':').next()?.parse().ok());
    let fleet = fleet(&[("postgresql-15", &format!("{PG}/postgres"))]).await?;
    fleet.order_completed(&postgres(user.context("PostgreSQL is not installed")?)?).await?;
    let door = fleet.door("db", "laptop").await?;
    let address = ["-h", "127.0.0.1", "-p", &door.port().to_string(), "-U", "postgres"].map(str::to_owned);
    let begun = pgbench(&address, &["-i", "-q", "postgres"]).await?;
    ensure!(begun.status.success(), "pgbench cannot begin: {}", String::from_utf8_lossy(&begun.stderr));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let load = tokio::spawn(transactions(address.to_vec(), stopped));
    let moves = there_and_back(&fleet, "db").await?;
    stop.send_replace(true);
    let (committed, runs) = load.await??;
    let rows = count(&address).await?;
    eprintln!("db: {moves} moves, {committed} transactions committed in {runs} runs of pgbench, {rows} there");
    ensure!(committed > 100, "only {committed} transactions were committed");
    ensure!(rows >= committed, "{committed} transactions were committed, {rows} are there");
    // What was committed while the connection went away, nobody was told of: at most one a client and run.
    ensure!(rows <= committed + runs * CLIENTS, "{rows} are there, {committed} in {runs} runs were committed");
    Ok(())
}

const CLIENTS: u64 = 4;

/// Runs of pgbench, one after the other: each ends when its connections do. Gives committed transactions and runs.
async fn transactions(address: Vec<String>, stopped: tokio::sync::watch::Receiver<bool>) -> anyhow::Result<(u64, u64)> {
    let (mut committed, mut runs) = (0, 0);
    while !*stopped.borrow() {
        let output = pgbench(&address, &["-n", "-c", &CLIENTS.to_string(), "-T", "2", "postgres"]).await?;
        let text = String::from_utf8(output.stdout)?;
        let done = text.lines().find_map(|l| l.strip_prefix("number of transactions actually processed: "));
        let done = done.and_then(|n| n.split('/').next()?.trim().parse::<u64>().ok());
        committed += done.unwrap_or(0);
        runs += 1;
    }
    Ok((committed, runs))
}

async fn pgbench(address: &[String], args: &[&str]) -> anyhow::Result<std::process::Output> {
    Ok(Command::new(Path::new(PG).join("pgbench")).args(address).args(args).kill_on_drop(true).output().await?)
}

/// Rows that all transactions together have left.
async fn count(address: &[String]) -> anyhow::Result<u64> {
    let query = ["-t", "-A", "-c", "SELECT count(*) FROM pgbench_history", "postgres"];
    for _ in 0..50 {
        let output = Command::new(Path::new(PG).join("psql")).args(address).args(query).output().await?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?.trim().parse()?);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bail!("PostgreSQL does not answer any more")
}
