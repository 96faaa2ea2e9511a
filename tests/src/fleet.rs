//! A fleet of real daemons on this machine: a controller and agents as processes of their own, each in its own
//! directory, each agent behind its own fault proxy. Everything ends when it is dropped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use anyhow::{Context, bail};
use chandler_api::artifact::{Artifact, ArtifactPublish};
use chandler_api::client::{Client, Content};
use chandler_api::host::{HistoryImport, Host, HostState};
use chandler_api::order::{Order, OrderRequest, OrderState};
use chandler_api::party::{PartyCreate, PartyRole};
use chandler_api::service::{OperatingStatus, Service};
use chandler_api::site::{Rates, SiteCreate, SiteRole};
use chandler_api::token::{JoinTokenCreate, Role, TokenCreate};
use chandler_api::value::{Money, Span};
use chandler_harness::process::{Daemon, Launch, kill_all_under};
use chandler_harness::proxy::{FaultProxy, Faults};
use chandler_harness::wait::eventually;
use chandler_protocol::join::JoinString;
use chandler_protocol::{Digest, Micros};

/// How long anything may take on a busy machine before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program of this name that the same build made. Under cargo, it is brought up to date first.
///
/// # Errors
/// It was not built: `cargo build --workspace --bins` makes it.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    static BUILT: Once = Once::new();
    BUILT.call_once(|| build(own.components().any(|part| part.as_os_str() == "release")));
    let found = own.ancestors().skip(1).take(3).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not built: run cargo build --workspace --bins"))
}

/// Builds the daemons as this program was built. Cargo does not do it by itself: it builds for a test what the test links.
fn build(is_release: bool) {
    let Some(cargo) = std::env::var_os("CARGO") else { return };
    let mut command = std::process::Command::new(cargo);
    // The whole workspace, as `tests/run` does: another selection would have other features, and be built anew.
    command.args(["build", "--quiet", "--locked", "--workspace", "--bins"]);
    command.args(is_release.then_some("--release"));
    // What goes wrong here is said by cargo itself, and by the missing program.
    let _ = command.current_dir(env!("CARGO_MANIFEST_DIR")).status();
}

/// How the controller is started.
#[derive(Debug, Clone)]
pub struct ControllerOptions {
    /// A host is lost when it was silent for this long.
    pub grace: &'static str,
    /// The longest an agent may stay silent.
    pub heartbeat: &'static str,
    /// How often agents report.
    pub telemetry_interval: &'static str,
    /// Whether it listens for partners.
    pub federation: bool,
    /// Further arguments.
    pub args: Vec<String>,
}

impl Default for ControllerOptions {
    fn default() -> Self {
        Self { grace: "3 s", heartbeat: "500 ms", telemetry_interval: "500 ms", federation: false, args: Vec::new() }
    }
}

/// How an agent is started.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// Processor time it offers, in thousandths of a core.
    pub milli_cpu: u32,
    /// Memory it offers.
    pub memory: String,
    /// One-way delay of its packets.
    pub delay: Duration,
    /// What else is wrong with its way to the controller.
    pub faults: Faults,
    /// A program that starts the agent, with its arguments; the agent's own follow.
    pub starter: Vec<String>,
    /// Further arguments.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            milli_cpu: 2_000,
            memory: "2 GiB".to_owned(),
            delay: Duration::ZERO,
            faults: Faults::default(),
            starter: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
        }
    }
}

/// One agent and its way to the controller.
#[derive(Debug)]
pub struct Agent {
    /// What it is called.
    pub name: String,
    /// Its directory; everything it runs is under it.
    pub dir: PathBuf,
    /// Its process.
    pub daemon: Daemon,
    /// Its way to the controller.
    pub proxy: FaultProxy,
    launch: Launch,
}

impl Agent {
    /// kill -9 of the agent alone: its software runs on.
    ///
    /// # Errors
    /// It does not end.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.daemon.kill()?;
        Ok(())
    }

    /// The whole machine dies: the agent and everything it runs.
    ///
    /// # Errors
    /// Something does not end.
    pub fn kill_machine(&mut self) -> anyhow::Result<()> {
        self.daemon.kill()?;
        kill_all_under(&self.dir)?;
        Ok(())
    }

    /// Starts the agent again on what it has on disk.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.daemon = self.launch.spawn()?;
        Ok(())
    }
}

/// A controller with its agents.
#[derive(Debug)]
pub struct Fleet {
    /// Agents in the order in which they were started.
    pub agents: Vec<Agent>,
    /// The controller's process.
    pub controller: Daemon,
    /// An operator's client.
    pub client: Client,
    /// Where the API listens.
    pub http: SocketAddr,
    /// Where agents connect, without a proxy.
    pub quic: SocketAddr,
    /// Where partners call, if it listens for them.
    pub federation: Option<SocketAddr>,
    /// The operator's token.
    pub token: String,
    launch: Launch,
    dir: tempfile::TempDir,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = kill_all_under(self.dir.path());
    }
}

impl Fleet {
    /// A controller with default options.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::with(ControllerOptions::default()).await
    }

    /// A controller with these options.
    ///
    /// # Errors
    /// It does not start.
    pub async fn with(options: ControllerOptions) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("chandler-test-").tempdir()?;
        let data = dir.path().join("controller");
        let base = Launch::new(program("chandler-controller")?, "controller", dir.path())
            .args(["serve", "--data-dir"])
            .arg(&data)
            .args(["--grace", options.grace, "--heartbeat", options.heartbeat])
            .args(["--telemetry-interval", options.telemetry_interval])
            .args(options.args);
        let anywhere = ["--http", "127.0.0.1:0", "--quic", "127.0.0.1:0"];
        let partners: &[&str] = if options.federation { &["--federation", "127.0.0.1:0"] } else { &[] };
        let mut controller = base.clone().args(anywhere).args(partners.iter().copied()).spawn()?;
        let (http, quic, federation) = ready(&mut controller).await?;
        let token = std::fs::read_to_string(data.join("admin.token"))?.trim().to_owned();
        let client = Client::new(&format!("http://{http}"), Some(&token))?;
        // From now on on the same addresses, as a real controller would after a restart.
        let mut launch = base.args(["--http", &http.to_string(), "--quic", &quic.to_string()]);
        if let Some(address) = federation {
            launch = launch.args(["--federation", &address.to_string()]);
        }
        Ok(Self { agents: Vec::new(), controller, client, http, quic, federation, token, launch, dir })
    }

    /// The directory of everything in this fleet.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The controller's data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("controller")
    }

    /// kill -9 of the controller.
    ///
    /// # Errors
    /// It does not end.
    pub fn kill_controller(&mut self) -> anyhow::Result<()> {
        self.controller.kill()?;
        Ok(())
    }

    /// Starts the controller again on what it has on disk, on the same addresses.
    ///
    /// # Errors
    /// It does not start.
    pub async fn restart_controller(&mut self) -> anyhow::Result<()> {
        self.controller = self.launch.spawn()?;
        ready(&mut self.controller).await?;
        Ok(())
    }

    /// A party, which must not exist yet.
    ///
    /// # Errors
    /// The controller refuses it.
    pub async fn party(&self, name: &str, role: PartyRole) -> anyhow::Result<()> {
        self.client.party_create(&PartyCreate { name: name.to_owned(), roles: vec![role] }).await?;
        Ok(())
    }

    /// A client that acts for a customer or a site owner.
    ///
    /// # Errors
    /// The controller refuses the token.
    pub async fn client_of(&self, role: Role, party: &str) -> anyhow::Result<Client> {
        let made = self.client.token_create(&TokenCreate { role, party: Some(party.to_owned()) }).await?;
        Ok(Client::new(&format!("http://{}", self.http), Some(&made.secret))?)
    }

    /// A site with rates in millionths of a euro per core-hour and GiB-hour.
    ///
    /// # Errors
    /// The controller refuses it.
    pub async fn site(
        &self,
        name: &str,
        owner: &str,
        role: SiteRole,
        country: &str,
        rates: (i64, i64),
    ) -> anyhow::Result<()> {
        let money = |micros| Money { micros, currency: "EUR".to_owned() };
        self.client
            .site_create(&SiteCreate {
                name: name.to_owned(),
                owner: owner.to_owned(),
                role,
                country: country.to_owned(),
                rates: Rates { core_hour: money(rates.0), gib_hour: money(rates.1), gpu_hour: None },
            })
            .await?;
        Ok(())
    }

    /// A customer and a client that acts for it.
    ///
    /// # Errors
    /// The controller refuses it.
    pub async fn customer(&self, name: &str) -> anyhow::Result<Client> {
        self.party(name, PartyRole::Customer).await?;
        self.client_of(Role::Customer, name).await
    }

    /// A site of the provider's in Germany.
    ///
    /// # Errors
    /// The controller refuses it.
    pub async fn provider_site(&self, name: &str, rates: (i64, i64)) -> anyhow::Result<()> {
        self.site(name, "provider", SiteRole::Provider, "DE", rates).await
    }

    /// A join string for a site, as an operator hands it out.
    ///
    /// # Errors
    /// The controller refuses it.
    pub async fn join_string(&self, site: &str) -> anyhow::Result<String> {
        let wanted = JoinTokenCreate { site: site.to_owned(), uses: 1, expires: Span(Micros::from_secs(600)) };
        Ok(self.client.join_token_create(&wanted).await?.join)
    }

    /// Starts an agent at a site and waits until it is an active host; gives its place in `agents`.
    ///
    /// # Errors
    /// It does not join.
    pub async fn agent(&mut self, site: &str, name: &str, options: AgentOptions) -> anyhow::Result<usize> {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let faults = Faults { delay: options.delay.max(options.faults.delay), ..options.faults };
        let proxy = FaultProxy::start(loopback, self.quic, faults, 1).await?;
        let join = through(&self.join_string(site).await?, proxy.address())?;
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(&dir)?;
        let mut command = options.starter.into_iter().map(std::ffi::OsString::from).collect::<Vec<_>>();
        command.push(program("chandler-agent")?.into_os_string());
        let first = command.remove(0);
        let mut launch = Launch::new(first, name, &dir)
            .args(command)
            .args(["run", "--data-dir"])
            .arg(dir.join("data"))
            .args(["--name", name, "--offer-cpu", &options.milli_cpu.to_string(), "--offer-memory", &options.memory])
            .args(options.args);
        for (key, value) in options.env {
            launch = launch.env(key, value);
        }
        let mut daemon = launch.clone().env("CHANDLER_JOIN", join).spawn()?;
        daemon.wait_for_line("ready ", PATIENCE).await?;
        self.agents.push(Agent { name: name.to_owned(), dir, daemon, proxy, launch });
        self.host_in_state(name, HostState::Active).await?;
        Ok(self.agents.len() - 1)
    }

    /// The agent that runs the host of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn agent_named(&mut self, name: &str) -> anyhow::Result<&mut Agent> {
        self.agents.iter_mut().find(|a| a.name == name).with_context(|| format!("there is no agent {name}"))
    }

    /// Waits until a host is in a state.
    ///
    /// # Errors
    /// It is not in time.
    pub async fn host_in_state(&self, name: &str, state: HostState) -> anyhow::Result<Host> {
        let what = format!("{name} to be {state:?}");
        Ok(eventually(&what, PATIENCE, || async { self.client.host(name).await.ok().filter(|h| h.state == state) })
            .await?)
    }

    /// Lets the controller know that a host was up for `up_ppm` of 15 years.
    ///
    /// # Errors
    /// The controller refuses it.
    pub async fn history(&self, host: &str, up_ppm: i64) -> anyhow::Result<Host> {
        const SPAN: i64 = 15 * 365 * 86_400 * 1_000_000;
        let up_micros = SPAN / 1_000_000 * up_ppm;
        let source = "earlier monitoring".to_owned();
        let history = HistoryImport { up_micros, down_micros: SPAN - up_micros, outages: 10, source };
        Ok(self.client.host_history_import(host, &history).await?)
    }

    /// Publishes the notes application as `notes@1.0.0`.
    ///
    /// # Errors
    /// The controller refuses it.
    pub async fn publish_notes(&self) -> anyhow::Result<Artifact> {
        let path = chandler_harness::write_notes(self.dir.path())?;
        let packed = std::fs::read(chandler::pack::pack(&path)?.path())?;
        self.publish("notes", "1.0.0", packed).await
    }

    /// Publishes a tar archive.
    ///
    /// # Errors
    /// The controller refuses it.
    pub async fn publish(&self, name: &str, version: &str, archive: Vec<u8>) -> anyhow::Result<Artifact> {
        let what = ArtifactPublish {
            name: name.to_owned(),
            version: version.to_owned(),
            platform: format!("linux-{}", std::env::consts::ARCH),
            digest: Digest(*blake3::hash(&archive).as_bytes()),
        };
        Ok(self.client.artifact_publish(&what, Content::from(archive)).await?)
    }

    /// Submits an order as an operator and waits until it reaches a final state.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn order(&self, request: &OrderRequest) -> anyhow::Result<Order> {
        order(&self.client, request).await
    }

    /// Waits until an order reaches a final state.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn settled(&self, id: &str) -> anyhow::Result<Order> {
        settled(&self.client, id).await
    }

    /// Submits an order as an operator that must be completed; gives the service.
    ///
    /// # Errors
    /// It is not completed.
    pub async fn order_completed(&self, request: &OrderRequest) -> anyhow::Result<Service> {
        order_completed(&self.client, request).await
    }

    /// Waits until a service runs on a host that `wanted` accepts.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn running_where(&self, service: &str, wanted: impl Fn(&Service) -> bool) -> anyhow::Result<Service> {
        let running = |s: &Service| s.operating_status == OperatingStatus::Running && wanted(s);
        let what = format!("{service} to run as wanted");
        let found =
            eventually(&what, PATIENCE, || async { self.client.service(service).await.ok().filter(running) }).await;
        match found {
            Ok(service) => Ok(service),
            Err(error) => {
                let now = self.client.service(service).await;
                Err(anyhow::Error::from(error).context(format!("it is {now:#?}")))
            }
        }
    }

    /// The URL of a running service's first port.
    ///
    /// # Errors
    /// It has none.
    pub fn url(service: &Service) -> anyhow::Result<String> {
        let serving = service.placements.iter().filter(|p| p.state != "releasing");
        let port = serving.flat_map(|p| &p.ports).next().context("the service has no port")?;
        Ok(format!("http://127.0.0.1:{}", port.port))
    }
}

/// Submits an order and waits until it reaches a final state.
///
/// # Errors
/// It does not in time.
pub async fn order(client: &Client, request: &OrderRequest) -> anyhow::Result<Order> {
    let order = client.order_submit(request).await?;
    settled(client, &order.id.to_string()).await
}

/// Waits until an order reaches a final state.
///
/// # Errors
/// It does not in time; the error shows how far it is.
pub async fn settled(client: &Client, id: &str) -> anyhow::Result<Order> {
    let open = |s| matches!(s, OrderState::Acknowledged | OrderState::InProgress);
    let what = format!("order {id} to be settled");
    let found = eventually(&what, PATIENCE, || async { client.order(id).await.ok().filter(|o| !open(o.state)) }).await;
    match found {
        Ok(order) => Ok(order),
        Err(error) => {
            let order = client.order(id).await;
            let service = match &order {
                Ok(order) => client.service(&order.name).await.ok(),
                Err(_) => None,
            };
            Err(anyhow::Error::from(error).context(format!("it is {order:#?}\nof {service:#?}")))
        }
    }
}

/// Submits an order that must be completed; gives its service, or the first item of its task.
///
/// # Errors
/// It is not completed.
pub async fn order_completed(client: &Client, request: &OrderRequest) -> anyhow::Result<Service> {
    let order = order(client, request).await?;
    if order.state != OrderState::Completed {
        bail!("order {} is {:?}: {} {:?}", order.name, order.state, order.reason, order.nearest);
    }
    let service = order.service.context("a completed order has no service")?;
    Ok(client.service(&service.to_string()).await?)
}

/// Where it listens: the API, the link, and for partners.
async fn ready(controller: &mut Daemon) -> anyhow::Result<(SocketAddr, SocketAddr, Option<SocketAddr>)> {
    let line = controller.wait_for_line("ready http=", PATIENCE).await?;
    let (http, rest) = line.trim().split_once(" quic=").context("the ready line has no quic address")?;
    let (quic, federation) = match rest.split_once(" federation=") {
        None => (rest, None),
        Some((quic, federation)) => (quic, Some(federation.parse()?)),
    };
    Ok((http.parse()?, quic.parse()?, federation))
}

/// A join string that leads through a proxy.
///
/// # Errors
/// It is not a join string.
pub fn through(join: &str, proxy: SocketAddr) -> anyhow::Result<String> {
    let mut join: JoinString = join.parse()?;
    join.addresses = vec![proxy];
    Ok(join.to_text())
}
