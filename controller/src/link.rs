//! The link: the QUIC listener for agents. It knows who is connected, tells agents what they shall run, and takes in
//! what they say. What an agent says is hostile until checked against its certificate and the model.

mod bulk;
pub mod identity;
mod intake;
mod join;
mod listener;
mod relay;
mod session;
mod sessions;
mod speaker;
mod tls;

pub(crate) use intake::{bounded_observed, enter_ways};
pub use listener::{Link, LinkConfig, Shared};
pub use relay::Relay;
pub(crate) use relay::{End, TrunkCounts, Word};
pub use sessions::{CommandError, Sessions};
pub(crate) use tls::{Clocked, provider};
