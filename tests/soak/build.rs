//! Notes the source that is built: its commit, and whether something was changed since.

use std::path::Path;
use std::process::Command;

fn main() {
    // What the build is made of; the script runs again when any of it changes.
    for source in ["engine", "protocol", "tests/soak", "Cargo.lock"] {
        println!("cargo::rerun-if-changed=../../{source}");
    }
    // Every commit adds a line to this.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        let log = Path::new(&log);
        if log.exists() {
            println!("cargo::rerun-if-changed={}", log.display());
        }
    }
    let version = || format!("version {}", env!("CARGO_PKG_VERSION"));
    let build = git(&["describe", "--always", "--dirty"]).unwrap_or_else(version);
    println!("cargo::rustc-env=SOAK_BUILD={build}");
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let said = output.status.success().then_some(output.stdout)?;
    Some(String::from_utf8_lossy(said.trim_ascii()).into_owned())
}
