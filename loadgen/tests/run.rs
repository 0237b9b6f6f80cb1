//! `weir-load run` against a server in memory: an honest one passes, and each way of being wrong
//! has its exit code.
#![allow(
    clippy::disallowed_methods,
    reason = "the stand-in is no part of the engine: it has real time and real threads"
)]

mod stand_in;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use stand_in::{Flaw, StandIn};
use weir_protocol::wire::error::ErrorCode;

const SMALL: &str = "--shards 3 --record-bytes 100 --batch-records 10 --connections 4 \
                     --total-bytes 400kB --warmup 0s";

fn load(server: &StandIn, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir-load"))
        .arg("run")
        .args(["--server", &server.address.to_string()])
        .args(line.split_whitespace())
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    format!("{out}{}", String::from_utf8_lossy(&output.stderr))
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(output)))
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn an_honest_server_passes_and_every_record_is_found() {
    let server = StandIn::start(Flaw::None);
    let output = load(&server, &format!("{SMALL} --output json"));
    assert_eq!(code(&output), 0, "{}", text(&output));
    let report = json(&output);
    assert_eq!(report["records_acknowledged"], 4_000);
    assert_eq!(report["verification"]["records_found"], 4_000);
    assert_eq!(report["verification"]["shards"], 3);
    assert_eq!(report["open_loop"], false);
    assert_eq!(server.streams(), 0, "the fresh stream was deleted");
}

#[test]
fn the_sentence_says_what_was_proven() {
    let server = StandIn::start(Flaw::None);
    let output = load(&server, SMALL);
    let said = String::from_utf8(output.stdout).unwrap();
    let sentence = said.lines().last().unwrap();
    assert!(sentence.starts_with("PASS  3 shards"), "{said}");
    assert!(
        sentence.ends_with("durable · 0 throttled · verified 4,000 of 4,000 records"),
        "{said}"
    );
    assert!(said.contains("closed loop"), "{said}");
}

#[test]
fn an_open_loop_keeps_its_rate_and_measures_from_the_intended_send() {
    let server = StandIn::start(Flaw::None);
    for arrivals in ["constant", "poisson"] {
        let line = format!(
            "--shards 4 --record-bytes 100 --batch-records 10 --rate 10k --arrivals {arrivals} \
             --duration 1s --warmup 200ms --threads 2 --max-lag 10s --output json"
        );
        let output = load(&server, &line);
        assert_eq!(code(&output), 0, "{}", text(&output));
        let report = json(&output);
        let rate = report["rate"]["records_per_second"].as_f64().unwrap();
        assert!((8_000.0..12_000.0).contains(&rate), "{rate}");
        assert_eq!(report["open_loop"], true);
        assert!(report["schedule_lag_ns"]["count"].as_u64().unwrap() > 500);
    }
}

#[test]
fn a_stalled_server_is_not_omitted() {
    let server = StandIn::start(Flaw::Stall(Duration::from_secs(1)));
    let line = "--shards 1 --connections 1 --record-bytes 100 --batch-records 1 --rate 500 \
                --duration 2s --warmup 0s --max-lag 10s --output json";
    let output = load(&server, line);
    let report = json(&output);
    let p90 = report["latency_ns"]["p90"].as_u64().unwrap();
    let max = report["latency_ns"]["max"].as_u64().unwrap();
    // Half of the sends fell due while the server stood still.
    assert!(max >= 990_000_000, "{report}");
    assert!(p90 >= 600_000_000, "{report}");
    assert_eq!(code(&output), 0, "{}", text(&output));
}

#[test]
fn whatever_is_wrong_with_the_data_is_named() {
    for (flaw, said) in [
        (Flaw::DropRecord, "acknowledged as the record at offset"),
        (Flaw::DoubleRecord, "doubled or out of order"),
        (Flaw::SwapRecords, "acknowledged as the record at offset"),
        (Flaw::CorruptData, "damaged: its data has checksum"),
        (Flaw::FlipByte, "damaged: batch payload checksum"),
        (Flaw::LoseBatch, "lost: acknowledged here"),
        (Flaw::DoubleBatch, "doubled or out of order"),
        (Flaw::StoreRefused, "stored, though its append was refused"),
    ] {
        let server = StandIn::start(flaw);
        let output = load(&server, SMALL);
        let all = text(&output);
        assert_eq!(code(&output), 5, "{flaw:?}: {all}");
        assert!(all.contains(said), "{flaw:?}: {all}");
        assert!(
            all.contains("data wrong: shardId-00000000000"),
            "{flaw:?}: {all}"
        );
        assert!(all.contains("DATA WRONG"), "{flaw:?}: {all}");
    }
}

#[test]
fn throttling_is_counted_and_other_refusals_fail() {
    let server = StandIn::start(Flaw::Throttle);
    let output = load(&server, &format!("{SMALL} --output json"));
    assert_eq!(code(&output), 0, "{}", text(&output));
    assert_eq!(json(&output)["records_throttled"], 400);
    let server = StandIn::start(Flaw::Refuse(ErrorCode::DiskFull));
    let output = load(&server, SMALL);
    assert_eq!(code(&output), 3, "{}", text(&output));
    assert!(text(&output).contains("10 records refused (DiskFull)"));
}

#[test]
fn a_server_that_goes_away_ends_the_run_soon() {
    for (flaw, said) in [
        (Flaw::Die, "the load ended early"),
        (Flaw::FallSilent, "the server said nothing for 1s"),
    ] {
        let server = StandIn::start(flaw);
        let started = Instant::now();
        let output = load(&server, &format!("{SMALL} --timeout 1s"));
        assert_eq!(code(&output), 1, "{flaw:?}: {}", text(&output));
        assert!(text(&output).contains(said), "{flaw:?}: {}", text(&output));
        assert!(output.stdout.is_empty(), "no pretty report");
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    let gone = StandIn {
        address: "127.0.0.1:1".parse().unwrap(),
        state: StandIn::start(Flaw::None).state,
    };
    let output = load(&gone, SMALL);
    assert_eq!(code(&output), 1);
    assert!(text(&output).contains("cannot connect to 127.0.0.1:1"));
}

#[test]
fn trimmed_records_are_excused_and_counted() {
    let server = StandIn::start(Flaw::None);
    let output = load(
        &server,
        &format!("{SMALL} --retain-bytes 1MiB --output json"),
    );
    assert_eq!(code(&output), 0, "{}", text(&output));
    let verification = &json(&output)["verification"];
    assert_eq!(verification["records_found"], 90);
    assert_eq!(verification["records_trimmed"], 3_910);
}

#[test]
fn a_named_stream_is_kept_and_may_hold_other_records() {
    let server = StandIn::start(Flaw::None);
    for round in 0..2 {
        let output = load(&server, &format!("{SMALL} --stream mine --output json"));
        assert_eq!(code(&output), 0, "round {round}: {}", text(&output));
        assert_eq!(json(&output)["verification"]["records_found"], 4_000);
    }
    assert_eq!(server.streams(), 1);
    let output = load(&server, "--stream mine --shards 7");
    assert_eq!(code(&output), 1);
    assert!(text(&output).contains("has 3 open shards, --shards asks for 7"));
}

#[test]
fn a_sample_says_that_it_is_one() {
    let server = StandIn::start(Flaw::None);
    let line = "--shards 16 --record-bytes 100 --batch-records 10 --total-bytes 400kB --warmup 0s";
    let output = load(&server, &format!("{line} --verify sample"));
    assert_eq!(code(&output), 0, "{}", text(&output));
    assert!(text(&output).contains("read back 2 of 16 shards"));
    let output = load(&server, &format!("{line} --verify none"));
    assert!(text(&output).contains("nothing verified"));
}

#[test]
fn a_late_generator_makes_the_run_invalid() {
    let server = StandIn::start(Flaw::None);
    let line = "--record-bytes 100 --batch-records 10 --rate 50k --duration 300ms --warmup 0s \
                --max-lag 0s --verify none";
    let output = load(&server, line);
    assert_eq!(code(&output), 4, "{}", text(&output));
    assert!(text(&output).contains("INVALID"));
}

#[test]
fn bad_usage_is_said_in_a_sentence() {
    let server = StandIn::start(Flaw::None);
    for (line, said) in [
        (
            "--duration 10",
            "\"10\" has no unit: write 10s, 250ms or 2m",
        ),
        ("--record-bytes 10", "--record-bytes 10: expected 40"),
        ("--stream a/b", "is not a stream name"),
    ] {
        let output = load(&server, line);
        assert_eq!(code(&output), 2, "{line}");
        assert!(text(&output).contains(said), "{line}: {}", text(&output));
    }
}

/// Not a promise but a measurement: what the generator reaches against a server that keeps
/// nothing. Run with `--ignored --nocapture` on an idle machine.
#[test]
#[ignore = "a measurement"]
fn speed_of_the_generator() {
    let server = StandIn::start(Flaw::Sink);
    for line in [
        "--record-bytes 1000 --batch-records 500 --connections 8",
        "--record-bytes 1000 --batch-records 1 --connections 64 --in-flight 32",
    ] {
        let output = load(&server, &format!("{line} --duration 3s --verify none"));
        println!("{line}\n{}", text(&output));
    }
}
