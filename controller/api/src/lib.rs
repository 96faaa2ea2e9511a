//! REST types and the typed client of `/api/v1`.
//!
//! One schema serves the server, the command line, an order file and a partner's controller. Field names are
//! camelCase, states are the standards' own words, money is integer millionths with its currency, times are
//! RFC 3339 UTC, and other numbers carry their unit in the name or are texts with a unit (`"50 ms"`).

pub mod artifact;
pub mod bill;
pub mod client;
pub mod criteria;
pub mod drain;
pub mod event;
pub mod federation;
pub mod host;
pub mod market;
pub mod mobility;
pub mod movement;
pub mod offering;
pub mod order;
pub mod page;
pub mod partner;
pub mod party;
pub mod problem;
pub mod quote;
pub mod service;
pub mod settlement;
pub mod site;
pub mod sla;
pub mod status;
pub mod token;
pub mod value;
