//! Starts that cannot be: the folder, the ports, the command line.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use super::{connect, holds, refused};
use crate::harness::{Load, Plan, Setup, Shape, run, temporary, weir};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_folder_has_one_server_and_a_newer_format_is_left_alone() {
    let folder = temporary("folder");
    let setup = Setup::new(folder.path());
    let victim = setup.start();
    let stream = connect(&victim).create("kept", 2);
    let load = Load::start(&Plan {
        address: victim.wire,
        stream: stream.clone(),
        number: 1,
        connections: 1,
        in_flight: 2,
        shape: Shape {
            records: 1..=10,
            bytes: 20..=200,
        },
        bytes_per_second: Some(1_000_000),
    });
    load.wait_until_it_began();
    let data = setup.data().display().to_string();
    refused(setup.try_start_on(1), 1, &[&data, "in use by process"]);
    let noted = load.stop();
    assert!(
        noted.broken.is_empty(),
        "the second start disturbs nothing: {:?}",
        noted.broken
    );
    victim.stop();

    let file = setup.data().join("FORMAT");
    let format = fs::read_to_string(&file).unwrap();
    for (other, words) in [
        (
            format.replace("format 1", "format 2"),
            ["format version 2", &data],
        ),
        ("nonsense\n".to_owned(), ["FORMAT", &data]),
    ] {
        fs::write(&file, other).unwrap();
        refused(setup.try_start_on(1), 1, &words);
    }
    fs::remove_file(&file).unwrap();
    refused(setup.try_start_on(1), 1, &["FORMAT", "missing"]);
    fs::write(&file, format).unwrap();

    let victim = setup.start();
    let stream = connect(&victim).describe("kept");
    holds(&victim, &stream, &noted);
    victim.stop();
}

#[test]
fn ports_in_use_are_named() {
    let folder = temporary("ports");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--http", "--wire", "--admin"] {
        let setup = Setup::new(folder.path()).with(flag, &address);
        refused(setup.try_start_on(1), 1, &[&address, flag]);
    }
    // A refused start leaves a folder that starts.
    Setup::new(folder.path()).start().stop();
}

#[test]
fn a_folder_that_cannot_hold_records_is_refused() {
    let folder = temporary("no-folder");
    let setup = Setup::new(folder.path());
    fs::write(setup.data(), "a file").unwrap();
    refused(
        setup.try_start_on(1),
        1,
        &[&setup.data().display().to_string()],
    );

    let memory = Path::new("/dev/shm");
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    if mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == Some("/dev/shm"))
    {
        let folder = tempfile::tempdir_in(memory).unwrap();
        refused(Setup::new(folder.path()).try_start_on(1), 1, &["tmpfs"]);
    } else {
        println!("skipped: the part with a folder in memory needs /dev/shm");
    }
}

#[test]
fn bad_flags_end_with_code_2_and_name_what_was_found() {
    for (arguments, said) in [
        (&["serve", "--memory", "4"][..], "4MiB"),
        (&["serve", "--memory", "1MiB"], "256MiB"),
        (
            &["serve", "--memory", "256MiB", "--cores", "2"],
            "464MiB are needed for 2 cores",
        ),
        (&["serve", "--reserve", "8 gigs"], "8 gigs"),
        (&["serve", "--state-delay", "5"], "5s"),
        (&["serve", "--http", "0.0.0.0:0"], "--insecure-listen"),
        (&["serve", "--http", "nonsense"], "nonsense"),
        (&["serve", "--cores", "0"], "0"),
        (&["serve", "--stream", "logs"], "logs:4"),
        (&["serve", "--account", "12"], "12 digits"),
        (&["serve", "--nonsense"], "--nonsense"),
        (&["nonsense"], "nonsense"),
        (&["stream", "create", "logs", "--shards", "0"], "0"),
        (
            &[
                "stream",
                "create",
                "logs",
                "--shards",
                "1",
                "--retention",
                "24",
            ],
            "24s",
        ),
        (&["stream", "set", "logs"], "nothing to set"),
        (
            &["stream", "put", "logs", "--key-regex", "("],
            "unclosed group",
        ),
        (
            &["stream", "tail", "logs", "--from", "yesterday"],
            "yesterday",
        ),
        (
            &["stream", "put", "logs", "--key", "k", "--key-regex", "x"],
            "--key-regex",
        ),
    ] {
        let ran = run(&mut weir(arguments.iter().copied()), [], PATIENCE);
        ran.refused(2, said);
    }
    run(&mut weir(["--help"]), [], PATIENCE).succeeded();
    let version = run(&mut weir(["--version"]), [], PATIENCE).succeeded();
    assert!(version.text().starts_with("weir "), "{}", version.text());
}

#[test]
fn nobody_there_is_said_in_one_sentence() {
    for verb in ["ls", "describe", "put", "tail", "delete"] {
        let mut arguments = vec!["stream", verb];
        if verb != "ls" {
            arguments.push("logs");
        }
        arguments.extend(["--server", "127.0.0.1:1"]);
        let ran = run(&mut weir(arguments), [], PATIENCE).refused(1, "127.0.0.1:1");
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
}
