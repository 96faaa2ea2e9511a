//! One test for each requirement, named after it: real controllers, real agents, real sockets, real programs. Each has
//! a fleet of its own, judges by what the people concerned would see, and waits for it instead of sleeping.

mod atomic;
mod availability;
mod catalogue;
mod combinations;
mod configured;
mod cost;
mod distance;
mod everything;
mod failures;
mod hardware;
mod interactivity;
mod interface;
mod owners;
mod released;
mod seen;
