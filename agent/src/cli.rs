//! The agent's command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use chandler_protocol::Micros;
use clap::{Args, Parser, Subcommand, ValueEnum};

mod doctor;
mod pause;
mod run;
mod settings;
mod show;

pub(crate) use settings::Settings;

/// Runs what the controller orders on this computer, and reports how that goes.
#[derive(Debug, Parser)]
#[command(name = "chandler-agent", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Join a controller if need be, and run until told to stop; software goes on running after that
    Run(RunArgs),
    /// Show what the agent on this computer does; exit status 3 when it does not run or is not well
    Status(StatusArgs),
    /// Keep the fleet's software off this computer, at once and without asking anybody
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(PauseArgs),
    /// End the pause: what is still wanted here runs again
    Resume(Common),
    /// Check what the agent needs on this computer, and say how to mend what is missing
    Doctor(Common),
    /// Supervise one workload; started by the agent itself
    #[command(hide = true)]
    Shim {
        /// The workload's run directory
        dir: PathBuf,
    },
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Common {
    /// Settings file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything is kept [default: /var/lib/chandler-agent as root, else in the user's state directory]
    #[arg(long, value_name = "DIR", env = "CHANDLER_AGENT_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    common: Common,
    /// Join string from `chandler join-token create`; `-` reads it from standard input
    #[arg(long, value_name = "STRING", env = "CHANDLER_JOIN", hide_env_values = true)]
    join: Option<String>,
    /// File that holds the join string
    #[arg(long, value_name = "FILE", conflicts_with = "join")]
    join_file: Option<PathBuf>,
    /// Name that this computer is shown by [default: its host name]
    #[arg(long)]
    name: Option<String>,
    /// Processor time given to the fleet, in thousandths of a core [default: all]
    #[arg(long, value_name = "MILLI")]
    offer_cpu: Option<u32>,
    /// Memory given to the fleet, such as "512 MiB" [default: 90 %]
    #[arg(long, value_name = "SIZE")]
    offer_memory: Option<String>,
    /// Disk given to the fleet, such as "10 GiB" [default: 90 % of what is free]
    #[arg(long, value_name = "SIZE")]
    offer_disk: Option<String>,
    /// The owner's rules (TOML): hours, caps, battery; heeded as soon as it changes [default: owner.toml in the data directory]
    #[arg(long, value_name = "FILE")]
    owner_file: Option<PathBuf>,
    /// Where other agents reach this one, UDP [default: every network, or loopback when the controller is on this computer]
    #[arg(long, value_name = "ADDR:PORT")]
    tunnel: Option<SocketAddr>,
    /// A program to list beside the installed packages; may be repeated
    #[arg(long, value_name = "NAME=PATH")]
    program: Vec<String>,
}

#[derive(Debug, Clone, Args)]
struct StatusArgs {
    #[command(flatten)]
    common: Common,
    /// How to show it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

const PAUSE_EXAMPLES: &str = "Examples:
  chandler-agent pause                        until `chandler-agent resume`
  chandler-agent pause 2h --reason \"a game\"  for two hours
  chandler-agent pause --in 10m               what runs has ten minutes to leave";

#[derive(Debug, Clone, Args)]
struct PauseArgs {
    #[command(flatten)]
    common: Common,
    /// For how long, such as 2h or 30min [default: until resumed]
    #[arg(value_name = "LENGTH", value_parser = length)]
    length: Option<Micros>,
    /// The same as LENGTH
    #[arg(long = "for", value_name = "LENGTH", value_parser = length, conflicts_with = "length")]
    lasts: Option<Micros>,
    /// Begin only after this long; until then nothing new is taken, and what runs can leave
    #[arg(long = "in", value_name = "LENGTH", value_parser = length)]
    after: Option<Micros>,
    /// Why, for those whose software has to go
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// How to show it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// A length of time that is longer than none and no longer than ten years.
fn length(text: &str) -> Result<Micros, String> {
    let length: Micros = text.parse().map_err(|e: chandler_protocol::unit::ParseUnitError| e.to_string())?;
    let most = Micros::from_secs(10 * 365 * 86_400);
    if length <= Micros::ZERO || length > most { Err(format!("write a length from 1 s to {most}")) } else { Ok(length) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

/// The whole program. `shim` is how this program is started again as the supervisor of one workload: the program,
/// then the arguments that come before the run directory.
pub fn main_with(args: impl IntoIterator<Item = OsString>, shim: Vec<OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    // The supervisor stands between an order and its program: it does not wait for anything else.
    if let [_, word, dir, probe @ ..] = args.as_slice()
        && word == "shim"
    {
        return match probe.split_first() {
            None => crate::shim::main(dir.as_ref()),
            Some((program, arguments)) => crate::shim::probe(dir.as_ref(), program, arguments),
        };
    }
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match cli.command {
        Command::Run(args) => run::run(args, shim),
        Command::Status(args) => show::status(&args.common, args.output == Output::Json),
        Command::Pause(args) => pause::pause(&args),
        Command::Resume(common) => pause::resume(&common),
        Command::Doctor(common) => doctor::doctor(&common),
        Command::Shim { dir } => crate::shim::main(&dir),
    }
}

/// Data for whoever reads standard output; a reader that went away is no error.
fn say(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Talk for the person in front.
fn tell(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
