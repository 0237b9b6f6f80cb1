//! The `weir` program; all it does is in the library.

/// Freed frames are handed out again while they are warm. The system's allocator gives such memory
/// back to the kernel and faults it in anew.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::process::ExitCode;

fn main() -> ExitCode {
    weir_server::run(std::env::args_os())
}
