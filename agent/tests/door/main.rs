//! Front doors with real sockets: real clients, real software behind them, and every trouble in between.
//! The rows are those of the list of cases that moves are tested by.

#![expect(clippy::unwrap_used, reason = "a test that finds the unexpected shall fail")]

mod app;
mod caller;
mod ground;
mod holding;
mod limits;
mod longlived;
mod resend;
mod standing;
mod two;
