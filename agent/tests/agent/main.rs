//! The agent as it is shipped, against a small real controller.

#![expect(clippy::unwrap_used, reason = "a test that finds the unexpected shall fail")]

mod controller;
mod daemon;
mod failures;
mod hand_overs;
mod leases;
mod life;
mod owner;
mod seals;
mod tasks;
mod ways;
