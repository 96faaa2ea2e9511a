//! Puts the controller together from its parts, and runs it until it is told to stop.

mod ground;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use chandler_engine::event::Noun;
use chandler_engine::identity::{Role, Token};
use chandler_protocol::TokenId;
use chandler_protocol::world::{Random, id_bytes};

use crate::api::{self, ApiState};
use crate::config::{Config, ConfigError};
use crate::federation::{self, Brought, Desk, Dialler, Federation, Identity, Listener};
use crate::files;
use crate::link::identity::{Authority, IdentityError};
use crate::link::{Link, Relay, Sessions, Shared};
use crate::store::blobs::{Blobs, DirectoryShelf};
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError, Writer};
use crate::tasks;
use crate::world::{Sockets, World};

/// Why the controller does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error("the data directory {path} cannot be used: {source}")]
    DataDir {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Another controller runs on this data directory.
    #[error("another controller runs on the data directory {0}: stop it, or give another --data-dir")]
    InUse(String),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The CA cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        source: io::Error,
    },
}

/// What a controller is put together from.
pub struct CoreParts {
    /// Where its records are.
    pub store: Arc<dyn Store>,
    /// Where its artifacts are.
    pub blobs: Arc<Blobs>,
    /// Who issues certificates.
    pub authority: Arc<Authority>,
    /// Outlives restarts, so that agents notice one at once.
    pub reset_key: Vec<u8>,
    /// The settings.
    pub config: Config,
    /// Time, chance and network.
    pub world: World,
}

impl std::fmt::Debug for CoreParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CoreParts").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A controller without its HTTP listener: the writer, the link, and what the API needs.
pub struct Core {
    /// What the API is served from.
    pub api: ApiState,
    link: Link,
    config: Config,
    sockets: Arc<dyn Sockets>,
    reset_key: Vec<u8>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Core {
    /// Loads the store, makes what every controller has, and listens for agents. Its partners would know it by an identity
    /// that lasts as long as it runs.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn start(parts: CoreParts) -> Result<Self, ServeError> {
        let identity = Identity::ephemeral(parts.world.clock.now(), parts.world.random.clone())?;
        Self::start_as(parts, identity).await
    }

    /// The same, known to its partners by this identity.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn start_as(parts: CoreParts, identity: Identity) -> Result<Self, ServeError> {
        let CoreParts { store, blobs, authority, reset_key, config, world } = parts;
        let writer = Writer::start(store, world.clock.clone(), world.random.clone(), &config.currency).await?;
        let sessions = Arc::new(Sessions::default());
        // Command ids must never repeat, also across restarts: they begin at the time in microseconds.
        sessions.start_commands_at(u64::try_from(world.clock.now().0).unwrap_or(0));
        let relay = Arc::new(Relay::default());
        let shared = Shared {
            writer: writer.clone(),
            blobs: blobs.clone(),
            authority: authority.clone(),
            sessions: sessions.clone(),
            relay: relay.clone(),
            config: config.link(),
        };
        let link = Link::listen(config.quic, &reset_key, world.sockets.as_ref(), shared).map_err(|e| match e {
            IdentityError::Io(source) => listen_error(config.quic, source),
            e => e.into(),
        })?;
        let listening = link.local_addr().map_err(|source| listen_error(config.quic, source))?;
        authority.set_addresses(if config.advertise.is_empty() { vec![listening] } else { config.advertise.clone() });
        ground::lay(&writer, &config, &identity.trust_domain()).await?;
        let federation = Arc::new(Federation::new(Arc::new(identity), writer.clone()));
        let api = ApiState { writer, blobs, sessions, relay, authority, federation };
        Ok(Self { api, link, config, sockets: world.sockets, reset_key })
    }

    /// Where agents connect.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn quic_address(&self) -> io::Result<SocketAddr> {
        self.link.local_addr()
    }

    /// Listens for partners, if the settings say so. Their calls are served by [`Listener::run`].
    ///
    /// # Errors
    /// The address cannot be used.
    pub async fn partners(&self) -> Result<Option<Listener>, ServeError> {
        let Some(address) = self.config.federation else { return Ok(None) };
        let ApiState { writer, blobs, sessions, relay, federation, .. } = self.api.clone();
        let brought = Brought::default();
        let desk = Desk { writer, blobs, sessions, relay, federation: federation.clone(), brought };
        let bound = Listener::bind(address, desk, self.sockets.as_ref(), &self.reset_key).await;
        let listener = bound.map_err(|e| listen_error(address, e))?;
        let bound = listener.local_addr().map_err(|e| listen_error(address, e))?;
        federation.set_address(self.config.federation_advertise.clone().unwrap_or_else(|| bound.to_string()));
        Ok(Some(listener))
    }

    /// Makes a token for an operator; gives its secret.
    ///
    /// # Errors
    /// The store does not take it.
    pub async fn make_operator_token(&self) -> Result<String, ServeError> {
        let secret = new_secret(self.api.writer.random().as_ref());
        self.keep_operator_token(&secret).await?;
        Ok(secret)
    }

    /// Lets the holder of this secret be an operator.
    ///
    /// # Errors
    /// The store does not take it.
    pub async fn keep_operator_token(&self, secret: &str) -> Result<(), ServeError> {
        let secret_hash = *blake3::hash(secret.as_bytes()).as_bytes();
        let made = self.api.writer.transact("controller", move |draft| {
            let id = TokenId::from_random(draft.id());
            draft.event((Noun::Token, id.to_string(), "admin"), "", "active", "first start");
            draft.put(Token { id, secret_hash, role: Role::Operator, party: None });
            Ok::<_, ()>(())
        });
        made.await.map_err(store_error)
    }

    /// Serves agents and runs the tasks until `shutdown` is done.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (patience, consideration) = (self.config.patience(), self.config.consideration());
        let ApiState { writer, blobs, relay, federation, .. } = self.api.clone();
        let dialler = Dialler { writer: writer.clone(), federation: federation.clone(), relay, sockets: self.sockets };
        tokio::select! {
            biased;
            () = self.link.run(shutdown) => {}
            () = dialler.run() => {}
            () = federation::buyer::run(writer, blobs, federation) => {}
            () = tasks::run(self.api.writer.clone(), patience, consideration) => {}
        }
    }
}

fn store_error<E>(refused: crate::store::Refused<E>) -> ServeError {
    match refused {
        crate::store::Refused::Store(e) => e.into(),
        crate::store::Refused::By(_) => StoreError::Io("refused".to_owned()).into(),
    }
}

/// A new secret: 160 random bits.
pub(crate) fn new_secret(random: &dyn Random) -> String {
    let (a, b) = (id_bytes(random), id_bytes(random));
    format!("chdl_{}", data_encoding::BASE32_NOPAD.encode(&[a, b].concat()).to_ascii_lowercase())
}

fn listen_error(address: SocketAddr, source: io::Error) -> ServeError {
    ServeError::Listen { address: address.to_string(), source }
}

/// Where a controller listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The API.
    pub http: SocketAddr,
    /// The link, for agents.
    pub quic: SocketAddr,
    /// For partners, if it listens for them.
    pub federation: Option<SocketAddr>,
}

/// Runs a whole controller until `shutdown` is done. `ready` is called with its addresses once it listens on them all.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(
    config: Config,
    world: World,
    ready: impl FnOnce(Addresses),
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    config.check()?;
    let dir = config.data_dir.clone();
    let in_dir = |source| ServeError::DataDir { path: dir.display().to_string(), source };
    files::private_directory(&dir).map_err(in_dir)?;
    let _lock = lock(&dir)?;
    let store = SqliteStore::open(&database_path(&config)).await?;
    let blobs = DirectoryShelf::open(&dir.join("blobs")).map_err(in_dir)?;
    let authority = Authority::open(&dir, world.clock.now(), config.certificate_life.0, world.random.clone())?;
    let identity = Identity::open(&dir, world.clock.now(), world.random.clone())?;
    let reset_key = reset_key(&dir, world.random.as_ref()).map_err(in_dir)?;
    let http = config.http;
    let parts = CoreParts {
        store: Arc::new(store),
        blobs: Arc::new(Blobs::new(Box::new(blobs))),
        authority: Arc::new(authority),
        reset_key,
        config,
        world,
    };
    let core = Core::start_as(parts, identity).await?;
    if core.api.writer.snapshot().tokens.is_empty() {
        // The file first: a crash between the two must not leave a controller that nobody can sign in to.
        let file = dir.join("admin.token");
        let secret = match std::fs::read_to_string(&file) {
            Ok(secret) => secret.trim().to_owned(),
            Err(_) => new_secret(core.api.writer.random().as_ref()),
        };
        files::write_secret(&file, format!("{secret}\n").as_bytes()).map_err(in_dir)?;
        core.keep_operator_token(&secret).await?;
    }
    let listener = tokio::net::TcpListener::bind(http).await.map_err(|e| listen_error(http, e))?;
    let http = listener.local_addr().map_err(|e| listen_error(http, e))?;
    let quic = core.quic_address().map_err(|e| listen_error(http, e))?;
    if !http.ip().is_loopback() {
        tracing::warn!(%http, "the API is plain HTTP and listens beyond loopback: tokens can be read on the way");
    }
    let partners = core.partners().await?;
    let federation = partners.as_ref().and_then(|p| p.local_addr().ok());
    ready(Addresses { http, quic, federation });
    run(core, listener, partners, shutdown).await.map_err(|e| listen_error(http, e))
}

/// All listeners stop on the same word.
async fn run(
    core: Core,
    listener: tokio::net::TcpListener,
    partners: Option<Listener>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let wait = |mut stopped: tokio::sync::watch::Receiver<bool>| async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let api = api::serve(listener, core.api.clone(), wait(stopped.clone()));
    let link = core.run(wait(stopped.clone()));
    let partners = async {
        match partners {
            Some(listener) => listener.run(wait(stopped)).await,
            None => Ok(()),
        }
    };
    let all = async {
        let (api, (), partners) = tokio::join!(api, link, partners);
        api.and(partners)
    };
    tokio::pin!(all);
    tokio::select! {
        biased;
        done = &mut all => return done,
        () = shutdown => {}
    }
    let _ = stop.send(true);
    // A client that holds its connection open does not hold the controller.
    tokio::time::timeout(std::time::Duration::from_secs(5), all).await.unwrap_or(Ok(()))
}

fn database_path(config: &Config) -> std::path::PathBuf {
    match config.database.as_deref().and_then(|url| url.strip_prefix("sqlite://")) {
        Some(path) => path.into(),
        None => config.data_dir.join("chandler.db"),
    }
}

/// Holds the data directory for this process alone.
fn lock(dir: &Path) -> Result<std::fs::File, ServeError> {
    let in_dir = |source| ServeError::DataDir { path: dir.display().to_string(), source };
    let file = std::fs::File::create(dir.join("lock")).map_err(in_dir)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(ServeError::InUse(dir.display().to_string())),
        Err(std::fs::TryLockError::Error(e)) => Err(in_dir(e)),
    }
}

fn reset_key(dir: &Path, random: &dyn Random) -> io::Result<Vec<u8>> {
    let path = dir.join("reset.key");
    if path.exists() {
        return std::fs::read(path);
    }
    let mut key = vec![0; 64];
    random.fill(&mut key);
    files::write_secret(&path, &key)?;
    Ok(key)
}
