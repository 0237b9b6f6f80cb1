//! The AWS SDK for Rust: a package of its own, `tests/rust-sdk`, for its weight.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::succeeds;
use crate::harness::{Setup, temporary};

#[test]
fn the_rust_sdk_writes_and_reads() {
    let folder = temporary("rust-sdk");
    let victim = Setup::new(folder.path()).start_on(2);
    // Another package's program: cargo puts it next to ours.
    let program = Path::new(env!("CARGO_BIN_EXE_victim")).with_file_name("weir-rust-sdk");
    assert!(
        program.exists(),
        "this test needs weir-rust-sdk: run ./scripts/test, or cargo build -p tests-rust-sdk"
    );
    let mut suite = Command::new(program);
    suite.args([format!("http://{}", victim.http), "streams".into()]);
    succeeds(suite, &victim, Duration::from_mins(1));
    victim.stop();
}
