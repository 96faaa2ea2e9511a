//! The demo's fleet: this program re-executed as controllers and as agents, each agent behind a proxy that gives its
//! packets a distance.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chandler_api::client::Client;
use chandler_api::token::{JoinTokenCreate, Role, TokenCreate};
use chandler_api::value::Span;
use chandler_harness::process::{Daemon, Launch, kill_all_under};
use chandler_harness::proxy::{FaultProxy, Faults};
use chandler_protocol::Micros;
use chandler_protocol::join::JoinString;

use super::cast::{PARTS, PLACES, Part, Place};

/// How long a daemon may take to be ready, on a machine that is busy with a build.
const READY: Duration = Duration::from_secs(60);

const LOOPBACK: [u8; 4] = [127, 0, 0, 1];

/// A controller.
struct House {
    part: &'static Part,
    daemon: Daemon,
    client: Arc<Client>,
    quic: SocketAddr,
    url: String,
}

/// One machine: an agent, its directory, and its way to its controller.
struct Machine {
    name: &'static str,
    dir: PathBuf,
    daemon: Daemon,
    _proxy: FaultProxy,
}

/// Everything the demo started.
pub(super) struct Fleet {
    dir: PathBuf,
    temporary: Option<tempfile::TempDir>,
    houses: Vec<House>,
    machines: Vec<Machine>,
}

impl Fleet {
    /// A place for everything; nothing is started yet.
    pub(super) fn prepare(dir: Option<PathBuf>) -> anyhow::Result<Self> {
        let (dir, temporary) = match dir {
            Some(dir) => {
                std::fs::create_dir_all(&dir)?;
                (std::fs::canonicalize(dir)?, None)
            }
            None => {
                let temporary = tempfile::Builder::new().prefix("chandler-demo-").tempdir()?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        Ok(Self { dir, temporary, houses: Vec::new(), machines: Vec::new() })
    }

    /// Starts all controllers at once and waits for each.
    pub(super) async fn start_controllers(&mut self) -> anyhow::Result<()> {
        let mut started = Vec::new();
        for part in &PARTS {
            started.push((part, self.launch_controller(part)?));
        }
        for (part, mut daemon) in started {
            let line = daemon.wait_for_line("ready http=", READY).await?;
            let (http, rest) =
                line.trim().split_once(" quic=").context("the controller's ready line has no quic address")?;
            let quic = rest.split_once(' ').map_or(rest, |(quic, _)| quic).parse()?;
            let token = std::fs::read_to_string(self.token_file(part.name))?;
            let url = format!("http://{http}");
            let client = Arc::new(Client::new(&url, Some(token.trim()))?);
            self.houses.push(House { part, daemon, client, quic, url });
        }
        Ok(())
    }

    fn launch_controller(&self, part: &Part) -> anyhow::Result<Daemon> {
        let anywhere = ["--http", "127.0.0.1:0", "--quic", "127.0.0.1:0", "--federation", "127.0.0.1:0"];
        let launch = Launch::new(std::env::current_exe()?, part.name, &self.dir)
            .args(["controller", "serve"])
            .args(anywhere)
            .args(part.roles.iter().flat_map(|role| ["--role", *role]))
            // A demo has no patience: a machine is lost after two silent seconds instead of twelve, and four times a
            // second it is considered whether services are better off elsewhere.
            .args(["--grace", "2 s", "--heartbeat", "400 ms", "--telemetry-interval", "2 s"])
            .args(["--relocation-period", "250 ms", "--data-dir"])
            .arg(self.dir.join(part.name));
        Ok(launch.spawn()?)
    }

    /// Where an operator's token is.
    fn token_file(&self, house: &str) -> PathBuf {
        self.dir.join(house).join("admin.token")
    }

    fn house(&self, name: &str) -> anyhow::Result<&House> {
        self.houses.iter().find(|h| h.part.name == name).with_context(|| format!("there is no controller {name}"))
    }

    /// An operator's client of a controller.
    pub(super) fn client(&self, house: &str) -> anyhow::Result<&Arc<Client>> {
        Ok(&self.house(house)?.client)
    }

    /// A client that acts for a customer.
    pub(super) async fn customer(&self, house: &str, name: &str) -> anyhow::Result<Client> {
        let house = self.house(house)?;
        let wanted = TokenCreate { role: Role::Customer, party: Some(name.to_owned()) };
        let token = house.client.token_create(&wanted).await?.secret;
        Ok(Client::new(&house.url, Some(&token))?)
    }

    /// Every controller: who it is, where its API and where its operator's token are.
    pub(super) fn controllers(&self) -> impl Iterator<Item = (&'static Part, &str, PathBuf)> {
        self.houses.iter().map(|h| (h.part, h.url.as_str(), self.token_file(h.part.name)))
    }

    /// Starts all agents at once and waits for each.
    pub(super) async fn start_agents(&mut self) -> anyhow::Result<()> {
        for place in &PLACES {
            let machine = self.launch_agent(place).await?;
            self.machines.push(machine);
        }
        for machine in &mut self.machines {
            machine.daemon.wait_for_line("ready ", READY).await?;
        }
        Ok(())
    }

    async fn launch_agent(&self, place: &Place) -> anyhow::Result<Machine> {
        let (home, name) = (self.house(place.home)?, place.host);
        let faults = Faults { delay: place.delay, ..Faults::default() };
        let proxy = FaultProxy::start(SocketAddr::from((LOOPBACK, 0)), home.quic, faults, 1).await?;
        let wanted = JoinTokenCreate { site: place.site.to_owned(), uses: 1, expires: Span(Micros::from_secs(600)) };
        let mut join: JoinString = home.client.join_token_create(&wanted).await?.join.parse()?;
        join.addresses = vec![proxy.address()];
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        let daemon = Launch::new(std::env::current_exe()?, name, &dir)
            .args(["agent", "run", "--name", name, "--offer-cpu", place.cpu, "--offer-memory", "1 GiB", "--data-dir"])
            .arg(dir.join("data"))
            .env("CHANDLER_JOIN", join.to_text())
            .spawn()?;
        Ok(Machine { name, dir, daemon, _proxy: proxy })
    }

    /// A machine dies: its agent and everything it runs, with SIGKILL.
    pub(super) fn kill_machine(&mut self, name: &str) -> anyhow::Result<()> {
        let machine = self.machines.iter_mut().find(|m| m.name == name).context("there is no such machine")?;
        machine.daemon.kill()?;
        kill_all_under(&machine.dir)?;
        Ok(())
    }

    /// The end of what each daemon wrote, for when the story went wrong.
    pub(super) fn last_words(&self) -> String {
        let daemons = self.houses.iter().map(|h| &h.daemon).chain(self.machines.iter().map(|m| &m.daemon));
        daemons.map(Daemon::tail).collect::<Vec<_>>().join("\n")
    }

    /// Where everything is.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends everything that was started and removes what was temporary.
    pub(super) fn stop(&mut self) {
        self.machines.clear();
        self.houses.clear();
        // What agents run outlives them on purpose; here it shall not.
        let _ = kill_all_under(&self.dir);
        self.temporary = None;
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop();
    }
}
