//! The agent: joins a controller, runs what it orders on this computer, and reports how that goes.
//!
//! [`run`] is the whole agent; everything it takes from outside comes in through [`World`], whose real parts are
//! made by `World::real` and whose simulated parts live in the tests. [`main_with`] is the command line.

pub mod agent;
pub mod artifact;
pub mod board;
mod cli;
pub mod command;
pub mod custody;
pub mod disk;
pub mod door;
pub mod driver;
pub mod error;
pub mod fronts;
mod health;
pub mod identity;
pub mod join;
mod lease;
pub mod link;
pub mod notice;
mod observed;
pub mod owner;
pub mod platform;
pub mod reconcile;
mod results;
pub mod session;
mod shim;
pub mod states;
pub mod status;
mod supervise;
mod sync;
pub mod telemetry;
pub mod time;
pub mod tls;
pub mod transfer;
pub mod tunnel;
pub mod usage;
mod ways;
pub mod workloads;
pub mod world;

pub use agent::{Config, Notice, run};
pub use cli::main_with;
pub use error::AgentError;
pub use world::World;
