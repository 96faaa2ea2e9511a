//! The command `chandler`.

use std::process::ExitCode;

fn main() -> ExitCode {
    chandler::main_with(std::env::args_os())
}
