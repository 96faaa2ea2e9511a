//! What concerns all crates at once is tested in the test targets beside this directory.
