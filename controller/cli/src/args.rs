//! The command line: its nouns, and the flags that every command takes.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{Color, Output};
use crate::noun;
use crate::problem::EXITS;

/// Chandler provisions a fleet of computers: order software with an SLA, and it is placed, run, watched and billed.
#[derive(Debug, Parser)]
#[command(name = "chandler", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Globals {
    /// How results are printed; json is the API's schema
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
    /// Where the controller is (or CHANDLER_URL; default http://127.0.0.1:7480)
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// File with the token to sign in with; - is stdin (or CHANDLER_TOKEN holds the token itself)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// When talk is coloured; NO_COLOR means never
    #[arg(long, global = true, value_enum, value_name = "WHEN")]
    pub(crate) color: Option<Color>,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Everything at one glance
    Status(noun::status::Status),
    /// Orders: what customers ask for
    Order(noun::order::Order),
    /// Price and predicted attributes of an order, without ordering
    Quote(noun::quote::Quote),
    /// Services and task items: what runs
    Service(noun::service::Service),
    /// Moves: services on their way from one host to another
    Move(noun::movement::Move),
    /// SLAs: what was agreed and whether it holds
    Sla(noun::sla::Sla),
    /// Hosts: computers with an agent
    Host(noun::host::Host),
    /// Sites: places with computers of one owner
    Site(noun::site::Site),
    /// Criteria: what the provider would rather have of the fleet
    Criteria(noun::criteria::Criteria),
    /// Parties: customers, site owners, the provider
    Party(noun::party::Party),
    /// Partners: other controllers that capacity is sold to or bought from
    Partner(noun::partner::Partner),
    /// The market: offers, the demands that were cleared, what was sold and bought
    Market(noun::market::Market),
    /// Join strings: how computers join
    JoinToken(noun::join_token::JoinToken),
    /// API tokens: who may do what
    Token(noun::token::Token),
    /// Artifacts: published software
    Artifact(noun::artifact::Artifact),
    /// Offerings: what can be ordered and what it costs
    Offering(noun::offering::Offering),
    /// Bills: what customers owe
    Bill(noun::bill::Bill),
    /// The ledger: whether the books balance
    Ledger(noun::ledger::Ledger),
    /// Statements: what site owners and partners are owed
    Statement(noun::statement::Statement),
    /// Receipts: what was used between this controller and its partners
    Receipt(noun::receipt::Receipt),
    /// Disputes: receipts that their buyer does not believe
    Dispute(noun::dispute::Dispute),
    /// Events: every change of state
    Event(noun::event::Event),
    /// Store where the controller is and the token to sign in with
    Login(noun::login::Login),
    /// Show each setting and what decided it
    Config(noun::settings::Config),
    /// Explain an error code, or a command
    Help(noun::help::Help),
    /// Print completions for a shell
    Completions(noun::completions::Completions),
    /// Write manual pages
    Man(noun::man::Man),
}

/// The whole command line.
pub(crate) fn command() -> clap::Command {
    let command = Cli::command().after_help(after_help());
    #[cfg(feature = "demo")]
    let command = crate::embedded::list(command);
    command
}

fn after_help() -> String {
    let mut text = "Exit status:\n".to_owned();
    for (exit, meaning) in EXITS {
        let _ = writeln!(text, "  {exit:<4} {meaning}");
    }
    text.push_str(
        "\nSettings: flag > environment (CHANDLER_URL, CHANDLER_TOKEN) > user file (chandler login) > default\n\n\
         Examples:\n  chandler order submit -f notes.toml --wait\n  chandler service explain notes\n  chandler help E0301",
    );
    text
}
