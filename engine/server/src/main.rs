//! The `weir` program; all it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    weir_server::run(std::env::args_os())
}
