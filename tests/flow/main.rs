//! flow tests.
