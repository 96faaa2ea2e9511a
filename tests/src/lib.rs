//! What the tests across crates share: a fleet of real daemons on loopback, orders for it, and what is seen of its
//! software from outside: over HTTP, by the command line, and as processes of this machine.

pub mod cli;
pub mod fleet;
pub mod http;
pub mod load;
pub mod meter;
pub mod moves;
pub mod orders;
pub mod partners;
pub mod process;
