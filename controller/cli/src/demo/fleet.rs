//! The demo's fleet: this program re-executed as a controller and as agents, each agent behind a proxy that gives its
//! packets a distance.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use chandler_api::client::Client;
use chandler_api::token::JoinTokenCreate;
use chandler_api::value::Span;
use chandler_harness::process::{Daemon, Launch, kill_all_under};
use chandler_harness::proxy::{FaultProxy, Faults};
use chandler_protocol::Micros;
use chandler_protocol::join::JoinString;

/// How long a daemon may take to be ready, on a machine that is busy with a build.
const READY: Duration = Duration::from_secs(60);

/// One machine: an agent, its directory, and its way to the controller.
struct Machine {
    name: String,
    dir: PathBuf,
    daemon: Daemon,
    _proxy: FaultProxy,
}

/// Everything the demo started.
pub(super) struct Fleet {
    dir: PathBuf,
    temporary: Option<tempfile::TempDir>,
    controller: Option<Daemon>,
    machines: Vec<Machine>,
    quic: SocketAddr,
    /// Where the API is.
    pub(super) url: String,
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
        let quic = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self { dir, temporary, controller: None, machines: Vec::new(), quic, url: String::new() })
    }

    /// Starts the controller; gives a client with an operator's token.
    pub(super) async fn start_controller(&mut self) -> anyhow::Result<Client> {
        let data = self.dir.join("controller");
        let mut daemon = Launch::new(std::env::current_exe()?, "controller", &self.dir)
            .args(["controller", "serve", "--http", "127.0.0.1:0", "--quic", "127.0.0.1:0", "--data-dir"])
            .arg(&data)
            // A demo has no patience: a machine is lost after two silent seconds instead of twelve.
            .args(["--grace", "2 s", "--heartbeat", "400 ms", "--telemetry-interval", "500 ms"])
            .spawn()?;
        let line = daemon.wait_for_line("ready http=", READY).await?;
        self.controller = Some(daemon);
        let (http, quic) =
            line.trim().split_once(" quic=").context("the controller's ready line has no quic address")?;
        self.url = format!("http://{http}");
        self.quic = quic.parse()?;
        let token = std::fs::read_to_string(self.token_file())?;
        Ok(Client::new(&self.url, Some(token.trim()))?)
    }

    /// Where the operator's token is.
    pub(super) fn token_file(&self) -> PathBuf {
        self.dir.join("controller").join("admin.token")
    }

    /// Starts an agent at a site, `delay` away from the controller.
    pub(super) async fn start_agent(
        &mut self,
        client: &Client,
        site: &str,
        name: &str,
        delay: Duration,
    ) -> anyhow::Result<()> {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let proxy = FaultProxy::start(loopback, self.quic, Faults { delay, ..Faults::default() }, 1).await?;
        let wanted = JoinTokenCreate { site: site.to_owned(), uses: 1, expires: Span(Micros::from_secs(600)) };
        let mut join: JoinString = client.join_token_create(&wanted).await?.join.parse()?;
        join.addresses = vec![proxy.address()];
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        let mut daemon = Launch::new(std::env::current_exe()?, name, &dir)
            .args(["agent", "run", "--name", name, "--offer-cpu", "2000", "--offer-memory", "1 GiB", "--data-dir"])
            .arg(dir.join("data"))
            .env("CHANDLER_JOIN", join.to_text())
            .spawn()?;
        daemon.wait_for_line("ready ", READY).await?;
        self.machines.push(Machine { name: name.to_owned(), dir, daemon, _proxy: proxy });
        Ok(())
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
        let daemons = self.controller.iter().chain(self.machines.iter().map(|m| &m.daemon));
        daemons.map(Daemon::tail).collect::<Vec<_>>().join("\n")
    }

    /// Where everything is.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends everything that was started and removes what was temporary.
    pub(super) fn stop(&mut self) {
        self.machines.clear();
        self.controller = None;
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
