//! The agent as it is shipped, against a small real controller.

#![expect(clippy::unwrap_used, reason = "a test that finds the unexpected shall fail")]

mod controller;
mod daemon;
mod failures;
mod leases;
mod life;
mod seals;
mod tasks;
mod ways;
