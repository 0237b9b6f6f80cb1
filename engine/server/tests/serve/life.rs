//! A server's life: ready, stopped, killed, started again.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::{Server, WEIR, folder, get};

#[test]
fn the_admin_port_tells_how_it_is() {
    let folder = folder();
    let server = Server::start(&folder, &["--cores", "2", "--stream", "logs:4"]);
    server.done(&["put", "logs"], b"one\ntwo\n");
    assert_eq!(get(&server.admin, "/healthz"), (200, "alive\n".to_owned()));
    assert_eq!(get(&server.admin, "/readyz"), (200, "ready\n".to_owned()));
    let (status, version) = get(&server.admin, "/version");
    assert!(
        status == 200 && version.contains(env!("CARGO_PKG_VERSION")),
        "{version}"
    );
    assert_eq!(get(&server.admin, "/nothing").0, 404);
    let (status, text) = get(&server.admin, "/metrics");
    assert_eq!(status, 200);
    let sum = |name: &str| -> u64 {
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64)
            .sum()
    };
    assert_eq!(sum("weir_incoming_records_total"), 2);
    assert!(sum("weir_syncs_total") >= 1);
    assert_eq!(sum("weir_log_writable"), 2);
    assert_eq!(
        sum("weir_request_duration_seconds_count{core=\"0\",operation=\"append\"")
            + sum("weir_request_duration_seconds_count{core=\"1\",operation=\"append\""),
        1
    );
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn sigterm_ends_it_soon_though_readers_wait() {
    let folder = folder();
    let server = Server::start(&folder, &["--cores", "2", "--stream", "logs:4"]);
    server.done(&["put", "logs"], b"one\n");
    let mut tail = Command::new(WEIR)
        .args([
            "stream",
            "tail",
            "logs",
            "--follow",
            "--from",
            "trim-horizon",
        ])
        .args(["--server", &server.wire])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(tail.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "one\n");
    let start = Instant::now();
    assert_eq!(server.stop(), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(tail.wait().unwrap().code(), Some(1));
    // And what was stored is there again, also with another number of cores.
    let server = Server::start(&folder, &["--cores", "1"]);
    assert_eq!(server.done(&["tail", "logs"], b""), "one\n");
}

#[test]
fn tail_follows_and_stops_clean() {
    let folder = folder();
    let server = Server::start(&folder, &["--cores", "1", "--stream", "logs:2"]);
    let mut tail = Command::new(WEIR)
        .args([
            "stream",
            "tail",
            "logs",
            "--follow",
            "--from",
            "trim-horizon",
        ])
        .args(["--server", &server.wire])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    for word in ["first", "second", "third"] {
        server.done(&["put", "logs"], word.as_bytes());
        assert_eq!(lines.next().unwrap().unwrap(), word);
    }
    let kill = Command::new("kill")
        .args(["-INT", &tail.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    assert_eq!(tail.wait().unwrap().code(), Some(0));
    assert!(lines.next().is_none());
}

#[test]
fn lines_arrive_while_the_input_stays_open() {
    let folder = folder();
    let server = Server::start(&folder, &["--cores", "1", "--stream", "logs:1"]);
    let mut put = Command::new(WEIR)
        .args(["stream", "put", "logs", "--server", &server.wire])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = put.stdin.take().unwrap();
    for count in 1..=3 {
        input.write_all(b"line\n").unwrap();
        let late = Instant::now() + Duration::from_secs(10);
        while server.done(&["tail", "logs"], b"").lines().count() < count {
            assert!(Instant::now() < late, "line {count} does not arrive");
        }
    }
    // Ctrl-C ends the input, not the work: what was read is stored, and the code says so.
    let kill = Command::new("kill")
        .args(["-INT", &put.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    assert!(put.wait().unwrap().success());
    drop(input);
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let folder = folder();
    let mut server = Server::start(&folder, &["--cores", "2", "--stream", "logs:3"]);
    let mut numbers = BTreeSet::new();
    let mut acknowledged: u64 = 0;
    for round in 0_u64..3 {
        // Endless input; what the client reports as stored is what must be there.
        let mut put = Command::new(WEIR)
            .args([
                "stream",
                "put",
                "logs",
                "--key-regex",
                r"(\d)$",
                "--retry-for",
                "1ms",
            ])
            .args(["--server", &server.wire])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = put.stdin.take().unwrap();
        let feed = std::thread::spawn(move || {
            let mut i = 0_u64;
            while writeln!(input, "{round} {i}").is_ok() {
                i += 1;
            }
        });
        std::thread::sleep(Duration::from_millis(400));
        server.kill();
        assert_eq!(put.wait().unwrap().code(), Some(1));
        feed.join().unwrap();
        let mut report = String::new();
        put.stderr
            .take()
            .unwrap()
            .read_to_string(&mut report)
            .unwrap();
        let stored = report
            .lines()
            .find(|line| line.contains("records of"))
            .unwrap();
        let stored: u64 = stored
            .split(' ')
            .nth(1)
            .unwrap()
            .replace(',', "")
            .parse()
            .unwrap();
        assert!(stored > 0, "{report}");
        acknowledged += stored;

        server = Server::start(&folder, &["--cores", if round == 1 { "1" } else { "2" }]);
        let back = server.done(&["tail", "logs", "--output", "json"], b"");
        let mut last = std::collections::BTreeMap::new();
        numbers.clear();
        for line in back.lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let data = record["data"].as_str().unwrap();
            let (round, i) = data.split_once(' ').unwrap();
            let place: (u64, u64) = (round.parse().unwrap(), i.parse().unwrap());
            let key = record["partition_key"].as_str().unwrap().to_owned();
            let before = last.insert(key, place);
            assert!(
                before.is_none_or(|before| before < place),
                "{before:?} then {place:?}"
            );
            assert!(numbers.insert(record["sequence_number"].as_str().unwrap().to_owned()));
        }
        assert!(
            numbers.len() as u64 >= acknowledged,
            "{} of {acknowledged}",
            numbers.len()
        );
    }
}

#[test]
fn a_signal_ends_a_start_that_is_still_reserving() {
    let folder = folder();
    let child = Command::new(WEIR)
        .args(["serve", "--http", "127.0.0.1:0", "--wire", "127.0.0.1:0"])
        .args([
            "--admin",
            "127.0.0.1:0",
            "--cores",
            "1",
            "--reserve",
            "8GiB",
        ])
        .arg("--data-dir")
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    let log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut log = log.map_while(Result::ok);
    assert!(log.any(|line| line.contains("reserving 8GiB")));
    let start = Instant::now();
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(10));
    let mut ready = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut ready)
        .unwrap();
    assert_eq!(ready, "");
    // What was half done is no obstacle.
    let server = Server::start(&folder, &["--cores", "1"]);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn hellos_that_are_none_are_counted() {
    let folder = folder();
    let server = Server::start(&folder, &["--cores", "1"]);
    let connect = || std::net::TcpStream::connect(&server.wire).unwrap();
    let mut nonsense = connect();
    nonsense.write_all(&[b'x'; 64]).unwrap();
    let mut silent = connect();
    for socket in [&mut nonsense, &mut silent] {
        let mut answer = Vec::new();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        socket.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"");
    }
    let (_, text) = get(&server.admin, "/metrics");
    for line in [
        "weir_malformed_requests_total{core=\"0\"} 1.0",
        "weir_connections_timed_out_total{core=\"0\"} 1.0",
        "weir_connections_refused_total{protocol=\"binary\"} 0",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}
