//! The AWS SDK for Rust: a package of its own, `tests/rust-sdk`, for its weight.

use std::path::Path;
use std::process::Command;

use super::{setup, setup_with_tls, succeeds};
use crate::harness::temporary;

/// Another package's program: cargo puts it next to ours.
fn program() -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_victim")).with_file_name("weir-rust-sdk");
    assert!(
        program.exists(),
        "this test needs weir-rust-sdk: run ./scripts/test, or cargo build -p tests-rust-sdk"
    );
    Command::new(program)
}

#[test]
fn the_rust_sdk_writes_reads_and_subscribes() {
    let folder = temporary("rust-sdk");
    let victim = setup(folder.path()).start_on(2);
    let mut suite = program();
    suite.arg(format!("http://{}", victim.http));
    succeeds(suite, &victim);
    victim.stop();
}

#[test]
fn the_rust_sdk_speaks_http2_over_tls() {
    let folder = temporary("rust-sdk-tls");
    let victim = setup_with_tls(folder.path()).start_on(2);
    let mut suite = program();
    let port = victim.https.expect("it was asked to speak TLS").port();
    suite
        .arg(format!("https://localhost:{port}"))
        .env("SSL_CERT_FILE", victim.data().join("tls-self-signed.pem"));
    succeeds(suite, &victim);
    victim.stop();
}
