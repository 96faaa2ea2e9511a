//! Controllers that meet over real sockets: how they become partners, and who is kept out.

mod content;
mod house;
mod onboarding;
mod restored;
mod settlement;
mod strangers;
mod trunk;
mod trust;
