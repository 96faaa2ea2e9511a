//! One test for each requirement, named after it: real controllers, real agents, real sockets, real programs. Each has
//! a fleet of its own, judges by what the people concerned would see, and waits for it instead of sleeping.
#![expect(clippy::print_stderr, reason = "a long test says what it measured and how far it is")]

mod amended;
mod atomic;
mod availability;
mod bought;
mod brought_in;
mod catalogue;
mod combinations;
mod configured;
mod cost;
mod criteria;
mod distance;
mod everything;
mod failures;
mod forecast;
mod hardware;
mod interactivity;
mod interface;
mod market;
mod matrix;
mod owners;
mod pcs;
mod providers;
mod released;
mod seen;
mod transparent;
mod used;
mod utilisation;
