//! Programs of others: the AWS CLI, Python and Node, as `scripts/clients` installs them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::commands::run;

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn target() -> PathBuf {
    package().join("../target")
}

#[track_caller]
fn installed(path: PathBuf) -> PathBuf {
    assert!(
        path.exists(),
        "this test needs {}: run ./scripts/clients, which installs it",
        path.display()
    );
    path
}

/// Credentials, and none of the caller's settings.
pub(crate) fn with_aws_environment(command: &mut Command, region: &str) {
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"AWS_") {
            command.env_remove(name);
        }
    }
    command
        .env("AWS_ACCESS_KEY_ID", "weir")
        .env("AWS_SECRET_ACCESS_KEY", "weir")
        .env("AWS_DEFAULT_REGION", region)
        .env("AWS_REGION", region)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_MAX_ATTEMPTS", "1")
        .env("AWS_PAGER", "")
        .env("NO_PROXY", "*");
}

/// The AWS CLI, and whether it is of version 2, which takes data as base64 unless told otherwise.
#[track_caller]
pub(crate) fn aws(region: &str) -> (Command, bool) {
    let program = installed(target().join("venv/bin/aws"));
    let mut version = Command::new(&program);
    version.arg("--version");
    let ran = run(&mut version, [], Duration::from_mins(1)).succeeded();
    let said = ran.text() + &ran.stderr;
    let mut command = Command::new(program);
    with_aws_environment(&mut command, region);
    (command, said.starts_with("aws-cli/2"))
}

#[track_caller]
fn python(place: &str, script: &str, region: &str) -> Command {
    let mut command = Command::new(installed(target().join(place).join("bin/python3")));
    command.arg("-B").arg(package().join(script));
    with_aws_environment(&mut command, region);
    command
}

/// Python that knows boto3 and the AWS CLI, with `script` of this package.
#[track_caller]
pub(crate) fn python_with_boto(script: &str, region: &str) -> Command {
    python("venv", script, region)
}

/// Python that knows asynchronous clients of others, with `script` of this package.
#[track_caller]
pub(crate) fn python_with_asyncio_clients(script: &str, region: &str) -> Command {
    python("venv-async", script, region)
}

/// Node that knows the AWS SDK for JavaScript, with `script` of this package.
#[track_caller]
pub(crate) fn node(script: &str, region: &str) -> Command {
    let modules = installed(target().join("node/node_modules"));
    let mut command = Command::new("node");
    command
        .arg(package().join(script))
        .env("NODE_PATH", modules);
    with_aws_environment(&mut command, region);
    command
}

/// A Python script of this package that becomes the program it is given.
pub(crate) fn launcher(script: &str, arguments: &[&str]) -> Vec<OsString> {
    let mut launcher = vec!["python3".into(), package().join(script).into()];
    launcher.extend(arguments.iter().map(OsString::from));
    launcher
}
