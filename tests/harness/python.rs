//! Programs of others: the AWS CLI and Python, from the system or from `scripts/test`'s own place.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::commands::run;

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `program` of the virtual environment that `scripts/test` makes, else the one in the path.
fn found(program: &str) -> PathBuf {
    let own = package().join("../target/venv/bin").join(program);
    if own.exists() { own } else { program.into() }
}

fn environment(command: &mut Command, region: &str) {
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"AWS_") {
            command.env_remove(name);
        }
    }
    command
        .env("AWS_ACCESS_KEY_ID", "weir")
        .env("AWS_SECRET_ACCESS_KEY", "weir")
        .env("AWS_DEFAULT_REGION", region)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_MAX_ATTEMPTS", "1")
        .env("AWS_PAGER", "")
        .env("NO_PROXY", "*");
}

/// The AWS CLI, and whether it is of version 2, which takes data as base64 unless told otherwise.
pub(crate) fn aws(region: &str) -> (Command, bool) {
    let program = found("aws");
    let mut version = Command::new(&program);
    version.arg("--version");
    let Ok(_) = version.output() else {
        panic!("this test needs the AWS CLI: run ./scripts/test, which installs it");
    };
    let ran = run(&mut version, [], Duration::from_mins(1)).succeeded();
    let said = ran.text() + &ran.stderr;
    let mut command = Command::new(program);
    environment(&mut command, region);
    (command, said.starts_with("aws-cli/2"))
}

/// Python that knows boto3, with `script` of this package.
pub(crate) fn python_with_boto(script: &str, region: &str) -> Command {
    let program = found("python3");
    let mut check = Command::new(&program);
    let known = check.args(["-c", "import boto3"]).output();
    assert!(
        known.is_ok_and(|output| output.status.success()),
        "this test needs Python with boto3: run ./scripts/test, which installs it"
    );
    let mut command = Command::new(program);
    command.arg(package().join(script));
    environment(&mut command, region);
    command
}

/// A Python script of this package that becomes the program it is given.
pub(crate) fn launcher(script: &str, arguments: &[&str]) -> Vec<OsString> {
    let mut launcher = vec!["python3".into(), package().join(script).into()];
    launcher.extend(arguments.iter().map(OsString::from));
    launcher
}
