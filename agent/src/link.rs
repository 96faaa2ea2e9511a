//! The network between agent and controller: how it is dialled, framed and kept.

pub mod backoff;
pub mod bulk;
pub mod control;
pub mod framed;
pub mod transport;
