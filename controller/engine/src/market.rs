//! The market: what sites offer, what providers want, and who gets it for how much.
//!
//! Offers are laid before a clearing as lots, one a machine, opened in a book; a demand names the machines that would do.
//! `offer -> lot -> book`, `demand`, then `clearing`, whose record anyone can replay. No model is read here: everything is
//! an argument.

pub mod book;
mod canon;
pub mod clearing;
pub mod coverage;
pub mod demand;
#[cfg(test)]
pub(crate) mod example;
pub mod field;
pub mod lot;
pub mod offer;
pub mod refusal;
pub mod reputation;
pub mod trial;
