//! Fulfilment: from an acknowledged order to what is so, and back to the inventory.
//!
//! [`admit`] decides orders (qualify, reserve); [`advance`] compares what was intended with what agents observe and
//! takes the next step. Both are idempotent: run twice, they change nothing the second time.

mod admit;
mod advance;
#[cfg(test)]
pub(crate) mod example;
#[cfg(test)]
mod stories;
mod stray;

pub(crate) use admit::unserved;
pub use admit::{admit, cancel};
pub(crate) use advance::note_failure;
pub use advance::{advance, observe};
pub use stray::{Stray, stray_orders, strays};
