//! The program under test: `weir` under another name, so that cargo hands its path to the tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    weir_server::run(std::env::args_os())
}
