//! The controller's daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    chandler_controller::main_with(std::env::args_os().collect())
}
