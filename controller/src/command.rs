//! The daemon's command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use chandler_api::market::MarketRule;
use chandler_api::status::ControllerRole;
use chandler_api::value::Span;
use clap::{Parser, Subcommand};
use serde::de::value::{self, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, ConfigError};
use crate::serve::{Addresses, ServeError, serve};
use crate::store::StoreError;
use crate::world::World;

/// Chandler's controller: turns orders into placements, keeps measuring, and bills.
#[derive(Debug, Parser)]
#[command(name = "chandler-controller", version, after_help = EXITS)]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

const EXITS: &str = "Exit status: 0 stopped as told; 1 failed; 2 wrong arguments or settings; 3 the data directory is in use; 4 the store is damaged or of a newer version

Examples:
  chandler-controller serve --data-dir ./controller
  chandler-controller serve --config /etc/chandler/controller.toml --quic 0.0.0.0:7443 --advertise 192.0.2.7:7443";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the controller. The first start makes the data directory, the CA, the store and admin.token in it.
    Serve(Serve),
}

#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  chandler-controller serve --data-dir ./controller --http 127.0.0.1:7480 --quic 127.0.0.1:7443"
)]
struct Serve {
    /// Settings (TOML); flags go before them.
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
    /// Where the store, the CA and the artifacts are [default: /var/lib/chandler-controller]
    #[arg(long, value_name = "D")]
    data_dir: Option<PathBuf>,
    /// Where the API listens [default: 127.0.0.1:7480]
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Where agents connect, UDP [default: 127.0.0.1:7443]
    #[arg(long, value_name = "ADDR")]
    quic: Option<SocketAddr>,
    /// Where partners call, TCP [default: it does not listen for partners]
    #[arg(long, value_name = "ADDR")]
    federation: Option<SocketAddr>,
    /// HOST:PORT that invitations name, when it differs from --federation
    #[arg(long, value_name = "HOST:PORT")]
    federation_advertise: Option<String>,
    /// Address that join strings name, when it differs from --quic (repeat for several)
    #[arg(long, value_name = "ADDR")]
    advertise: Vec<SocketAddr>,
    /// sqlite://PATH [default: chandler.db in the data directory]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// A host is lost when it was silent for this long [default: 12 s]
    #[arg(long, value_name = "TIME", value_parser = span)]
    grace: Option<Span>,
    /// The longest an agent may stay silent [default: 4 s]
    #[arg(long, value_name = "TIME", value_parser = span)]
    heartbeat: Option<Span>,
    /// How often agents report telemetry [default: 10 s]
    #[arg(long, value_name = "TIME", value_parser = span)]
    telemetry_interval: Option<Span>,
    /// How long an agent's certificate is good for [default: 24 h]
    #[arg(long, value_name = "TIME", value_parser = span)]
    certificate_life: Option<Span>,
    /// How often it is considered whether services are better off elsewhere [default: 5 s]
    #[arg(long, value_name = "TIME", value_parser = span)]
    relocation_period: Option<Span>,
    /// Divide every span of time in that decision by this, for demonstrations and tests [default: 1]
    #[arg(long, value_name = "N")]
    relocation_haste: Option<u32>,
    /// What this controller is to others: provider, virtual, valueAdded or marketplace (repeat for several) [default: provider]
    #[arg(long, value_name = "ROLE", value_parser = word::<ControllerRole>)]
    role: Vec<ControllerRole>,
    /// How partners' demands are cleared: postedRate or secondScore [default: postedRate]
    #[arg(long, value_name = "RULE", value_parser = word::<MarketRule>)]
    market_rule: Option<MarketRule>,
}

/// A word of the settings.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let word: StrDeserializer<'_, value::Error> = text.into_deserializer();
    T::deserialize(word).map_err(|e| e.to_string())
}

fn span(text: &str) -> Result<Span, String> {
    text.parse().map(Span).map_err(|e: chandler_protocol::unit::ParseUnitError| e.to_string())
}

/// Runs the daemon with these arguments (the first is the program's name).
pub fn main_with(args: Vec<OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let Verb::Serve(flags) = arguments.command;
    let filter = EnvFilter::try_from_env("CHANDLER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(is_terminal);
    let _ = log.with_writer(std::io::stderr).try_init();
    match settings(flags).map_err(ServeError::from).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(status(&error))
        }
    }
}

/// The settings of the file, with the flags over them.
fn settings(flags: Serve) -> Result<Config, ConfigError> {
    let mut config = match &flags.config {
        None => Config::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| ConfigError(format!("{}: {e}", path.display())))?;
            Config::parse(&text).map_err(|e| ConfigError(format!("{}: {e}", path.display())))?
        }
    };
    fn set<T>(place: &mut T, flag: Option<T>) {
        if let Some(value) = flag {
            *place = value;
        }
    }
    set(&mut config.data_dir, flags.data_dir);
    set(&mut config.http, flags.http);
    set(&mut config.quic, flags.quic);
    set(&mut config.grace, flags.grace);
    set(&mut config.heartbeat, flags.heartbeat);
    set(&mut config.telemetry_interval, flags.telemetry_interval);
    set(&mut config.certificate_life, flags.certificate_life);
    set(&mut config.relocation.period, flags.relocation_period);
    set(&mut config.relocation.haste, flags.relocation_haste);
    set(&mut config.market.rule, flags.market_rule);
    if !flags.role.is_empty() {
        config.roles = flags.role;
    }
    if !flags.advertise.is_empty() {
        config.advertise = flags.advertise;
    }
    config.federation = flags.federation.or(config.federation);
    config.federation_advertise = flags.federation_advertise.or(config.federation_advertise);
    config.database = flags.database.or(config.database);
    config.check()?;
    Ok(config)
}

fn run(config: Config) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    let runtime = runtime.map_err(|source| ServeError::DataDir { path: "the machine".to_owned(), source })?;
    runtime.block_on(serve(config, World::real(), announce, stopped()))
}

/// The one line on standard output, for whoever started this.
#[expect(clippy::print_stdout, reason = "the promised line that says where it listens")]
fn announce(addresses: Addresses) {
    let Addresses { http, quic, federation } = addresses;
    let federation = federation.map_or_else(String::new, |address| format!(" federation={address}"));
    println!("ready http={http} quic={quic}{federation}");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

#[expect(clippy::print_stderr, reason = "an error of a command line goes to standard error")]
fn complain(error: &ServeError) {
    eprintln!("error: {error}");
}

fn status(error: &ServeError) -> u8 {
    match error {
        ServeError::Config(_) | ServeError::Store(StoreError::Currency { .. }) => 2,
        ServeError::InUse(_) => 3,
        ServeError::Store(StoreError::Corrupt(_) | StoreError::Newer(_)) => 4,
        _ => 1,
    }
}

/// SIGTERM or Ctrl-C.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
}
