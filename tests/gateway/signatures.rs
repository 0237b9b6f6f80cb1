//! Verified signatures, as boto3 and the JavaScript SDK make them: the checks are in `signatures.py`
//! and `signatures.js`, next to this file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::{Setup, Victim, node, python_with_boto, run, temporary};

const REGION: &str = "eu-west-1";
const PATIENCE: Duration = Duration::from_mins(2);

fn write_keys(folder: &Path, secret: &str) -> PathBuf {
    let path = folder.join("keys");
    let keys = format!(
        "# As ~/.aws/credentials has it.\n[ingest]\naws_access_key_id = AKIAINGEST\n\
         aws_secret_access_key = {secret}\n\n[batch]\naws_access_key_id = ASIABATCH\n\
         aws_secret_access_key = for/a+night=\naws_session_token = token/with+signs==\n"
    );
    fs::write(&path, keys).expect("the test's folder can be written");
    path
}

fn suite(victim: &Victim, part: &str, secret: &str) -> Command {
    let mut suite = python_with_boto("gateway/signatures.py", REGION);
    suite.args([&format!("http://{}", victim.http), part, secret]);
    suite
}

#[test]
fn clients_sign_and_only_good_signatures_pass() {
    let folder = temporary("signatures");
    let keys = write_keys(folder.path(), "first/secret+");
    let keys_path = keys.to_str().expect("temporary folders have plain names");
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).expect("it is our file");
    let setup = Setup::new(folder.path())
        .with("--auth", "verify")
        .with("--keys", keys_path);
    let victim = setup.start_on(2);
    let ran = run(&mut suite(&victim, "all", "first/secret+"), [], PATIENCE).succeeded();
    print!("{}", ran.text());
    let mut http2 = node("gateway/signatures.js", REGION);
    http2.args([&format!("http://{}", victim.http), "first/secret+"]);
    let ran = run(&mut http2, [], PATIENCE).succeeded();
    print!("{}", ran.text());
    let said = victim.said();
    assert!(said.contains("has mode 644"), "{said}");

    // Another secret takes over while a client is connected; a broken file changes nothing.
    let mut reload = suite(&victim, "reload", "first/secret+");
    reload.args([
        &victim.process_id().to_string(),
        keys_path,
        "second/secret+",
    ]);
    run(&mut reload, [], PATIENCE).succeeded();
    run(&mut suite(&victim, "put", "second/secret+"), [], PATIENCE).succeeded();
    fs::write(&keys, "[ingest]\nsecond/secret+\n").expect("the test's folder can be written");
    victim.signal("HUP");
    run(&mut suite(&victim, "put", "second/secret+"), [], PATIENCE).succeeded();
    let ended = victim.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(
        ended.said.contains("the keys stay as they are"),
        "{}",
        ended.said
    );
    assert!(ended.said.contains("line 2 is neither"), "{}", ended.said);
    assert!(
        !ended.said.contains("secret+"),
        "a secret was logged: {}",
        ended.said
    );
}

#[test]
fn a_region_that_is_given_is_the_only_one() {
    let folder = temporary("one-region");
    let keys = write_keys(folder.path(), "first/secret+");
    let keys_path = keys.to_str().expect("temporary folders have plain names");
    let setup = Setup::new(folder.path())
        .with("--auth", "verify")
        .with("--region", "eu-central-1")
        .with("--keys", keys_path);
    let victim = setup.start();
    let mut suite = suite(&victim, "wrong_region", "first/secret+");
    run(&mut suite, [], PATIENCE).succeeded();
    victim.stop();
}

#[test]
fn a_server_without_authentication_says_so_and_asks_nothing() {
    let folder = temporary("no-authentication");
    let victim = Setup::new(folder.path()).with("--auth", "off").start();
    let mut suite = suite(&victim, "unsigned", "none");
    run(&mut suite, [], PATIENCE).succeeded();
    victim.stop();
}

#[test]
fn keys_that_cannot_be_used_end_the_start() {
    let folder = temporary("no-keys");
    let keys = folder.path().join("keys");
    let path = keys.to_str().expect("temporary folders have plain names");
    let setup = Setup::new(folder.path())
        .with("--auth", "verify")
        .with("--keys", path);
    for (text, code, word) in [
        (None, 1, "No such file"),
        (Some("[a]\nHIDDEN\n"), 1, "line 2 is neither"),
        (
            Some("[a]\naws_access_key_id=111122223333\naws_secret_access_key=HIDDEN\n"),
            1,
            "--account 111122223333",
        ),
    ] {
        if let Some(text) = text {
            fs::write(&keys, text).expect("the test's folder can be written");
        }
        let ended = setup.try_start_on(1).expect_err("it has no keys");
        assert_eq!(ended.code, Some(code), "{}", ended.said);
        assert!(ended.said.contains(word), "{word} in {}", ended.said);
        assert!(!ended.said.contains("HIDDEN"), "{}", ended.said);
    }
    let unused = Setup::new(folder.path()).with("--keys", path);
    let ended = unused.try_start_on(1).expect_err("keys need --auth verify");
    assert_eq!(ended.code, Some(2), "{}", ended.said);
}
