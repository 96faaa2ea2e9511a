//! The rules of the house, as tests: who may depend on whom, how files look, which words may not stand
//! anywhere, which requirements have a test, and whether what we build on is sound and free to use.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helpers too")]
#![expect(clippy::print_stderr, reason = "what a test skipped or only notes must be seen")]

mod advisories;
mod arrows;
mod conformance;
mod form;
mod layers;
mod licences;
mod source;
mod words;
