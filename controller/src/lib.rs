//! The controller: turns orders into placements, keeps measuring, and bills.
//!
//! `main -> lib -> {api, tasks} -> federation -> {store, link} -> engine -> protocol`. An API call validates, writes intent in one
//! transaction and returns; tasks do the rest. The model in memory and the store on disk are kept in step by one
//! [`store::Writer`].

pub mod api;
mod command;
pub mod config;
pub mod federation;
mod files;
pub mod link;
mod serve;
pub mod store;
pub mod tasks;
pub mod world;

pub use command::main_with;
pub use serve::{Addresses, Core, CoreParts, ServeError, serve};
