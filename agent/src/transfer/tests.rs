//! State that travels, on real directories with real writers.

mod bench;
mod faults;
mod hostile;
mod random;
mod rows;
mod speed;
