//! Every decision of the controller, as pure functions of a snapshot.
//!
//! The time, the seed and the [`model::Model`] are arguments; a result is a value that carries its reasons. The
//! modules stand in the order in which the data flows:
//! `market -> catalogue -> order -> sla -> fleet -> availability -> placement -> service (fulfilment) -> assurance ->
//! relocation -> finance`, with [`model`] holding all nouns and [`audit`] checking what must never be broken.

pub mod assurance;
pub mod audit;
pub mod availability;
pub mod catalogue;
pub mod criteria;
pub mod draft;
pub mod event;
pub mod federation;
pub mod finance;
pub mod fleet;
pub mod fulfilment;
pub mod identity;
pub mod market;
pub mod model;
pub mod movement;
pub mod order;
pub mod outlook;
pub mod partner;
pub mod party;
pub mod placement;
pub mod relocation;
pub mod service;
pub mod site;
pub mod sla;
pub mod way;

pub use chandler_protocol::hours;
