//! The words that agent and controller exchange, and nothing else.
//!
//! Pure: no clock, no randomness, no IO. Bytes go in and messages come out ([`frame`]); the link
//! crates on either side own the sockets. Every enum on the wire is append-only: a variant or field
//! that has shipped never moves, and golden bytes in `tests/golden.rs` hold each one in place.

pub mod artifact;
pub mod command;
pub mod frame;
pub mod handshake;
pub mod hours;
pub mod id;
pub mod inventory;
pub mod join;
pub mod lease;
pub mod message;
pub mod state;
pub mod telemetry;
pub mod text;
pub mod transfer;
pub mod tunnel;
pub mod unit;
pub mod usage;
pub mod way;
pub mod workload;
pub mod world;

pub use id::{
    AgreementId, AssignmentId, BillId, DecisionId, HostId, MoveId, OfferId, OrderId, PartyId, QuoteId, ServiceId,
    SiteId, TokenId,
};
pub use unit::{Bytes, Digest, MicroMoney, Micros, MilliCpu, Ppm, Timestamp};
