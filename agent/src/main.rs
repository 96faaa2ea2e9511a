//! The agent's daemon. Everything is in the library.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let exe = std::env::current_exe().unwrap_or_else(|_| "chandler-agent".into());
    chandler_agent::main_with(std::env::args_os(), vec![exe.into_os_string(), OsString::from("shim")])
}
