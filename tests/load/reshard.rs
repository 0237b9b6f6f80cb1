//! A load run goes on while its stream is split, merged and counted anew, and proves that nothing
//! was lost or came twice.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::{PATIENCE, generator};
use crate::harness::{Setup, Victim, alone, run, temporary, wait_for};

fn ask(victim: &Victim, words: &str) -> Value {
    let words: Vec<&str> = words.split(' ').chain(["--output", "json"]).collect();
    let ran = run(&mut victim.stream(&words), [], PATIENCE).succeeded();
    serde_json::from_slice(&ran.stdout).expect("one JSON object")
}

/// Runs a load on a server of two cores while `changes` are made one after the other; what it says
/// as text, and as JSON.
fn under(folder: &str, flags: &[&str], changes: &[&str]) -> (Value, Value) {
    let _machine = alone();
    let folder = temporary(folder);
    let victim = Setup::new(folder.path())
        .with("--segment-bytes", "32MiB")
        .start_on(2);
    let mut command = Command::new(generator());
    command.args(["run", "--stream", "moved", "--shards", "2"]);
    command.args(["--warmup", "300ms", "--output", "json"]);
    command
        .args(flags)
        .args(["--server", &victim.wire.to_string()]);
    let spawned = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = spawned.expect("it is there");
    let mut stream = Value::Null;
    for change in changes {
        // The load is under way by the map that is changed next.
        let before = stored(&victim);
        wait_for("records", PATIENCE, || {
            (stored(&victim) > before + 2_000.0).then_some(())
        });
        stream = ask(&victim, change);
    }
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    let report = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{report}{said}");
    victim.stop();
    let report = serde_json::from_str(&report).expect("one JSON object");
    (report, stream)
}

/// Records that the server took so far.
fn stored(victim: &Victim) -> f64 {
    let (_, metrics) = victim.admin_page("/metrics");
    let counters = metrics
        .lines()
        .filter(|line| line.starts_with("weir_incoming_records_total"));
    counters
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

fn open(stream: &Value) -> usize {
    let shards = stream["shards"].as_array().expect("a list");
    shards.iter().filter(|s| s["closed"] == false).count()
}

#[track_caller]
fn all_was_found(report: &Value) {
    let reshards = &report["reshards"];
    let verified = &report["verification"];
    assert_eq!(
        verified["records_found"], report["records_acknowledged"],
        "{report}"
    );
    for none in ["records_trimmed", "records_unanswered", "records_foreign"] {
        assert_eq!(verified[none], 0, "{none}: {report}");
    }
    assert_eq!(report["refused"], Value::Array(Vec::new()), "{report}");
    let rerouted = report["records_rerouted"].as_u64().expect("a count");
    println!(
        "{} records over {reshards} reshards, {rerouted} sent again, {} shards read",
        report["records_acknowledged"], verified["shards"]
    );
}

#[test]
fn a_full_run_goes_on_over_splits_merges_and_counts() {
    let (report, stream) = under(
        "load-resharded",
        &[
            "--duration",
            "6s",
            "--batch-records",
            "100",
            "--threads",
            "2",
        ],
        &[
            "split moved 0",
            "split moved 1 --at 300000000000000000000000000000000000000",
            "merge moved 2 3",
            // The children of both splits, and what they become: two rounds each.
            "scale moved --shards 5",
            "scale moved --shards 1",
        ],
    );
    assert_eq!(open(&stream), 1, "{stream}");
    let acknowledged = report["records_acknowledged"].as_u64();
    assert!(acknowledged > Some(10_000), "{report}");
    assert!(report["records_rerouted"].as_u64() > Some(0), "{report}");
    assert!(report["reshards"].as_u64() >= Some(4), "{report}");
    all_was_found(&report);
}

#[test]
fn a_run_at_a_rate_keeps_it_over_a_split_and_a_merge() {
    let (report, stream) = under(
        "load-resharded-rate",
        &[
            "--duration",
            "3s",
            "--rate",
            "20k",
            "--batch-records",
            "20",
            "--max-lag",
            "2s",
            "--verify",
            "sample",
        ],
        &["split moved 1", "merge moved 0 2"],
    );
    assert_eq!(open(&stream), 2, "{stream}");
    // The one slot in eight, and every slot that a merge brought into its shards.
    let found = report["verification"]["records_found"].as_u64();
    assert!(found > Some(0), "{report}");
    assert_eq!(report["reshards"], 2, "{report}");
    let rate = report["rate"]["records_per_second"].as_f64();
    let rate = rate.expect("a number");
    assert!((16_000.0..24_000.0).contains(&rate), "{rate}");
    assert_eq!(report["records_unsent"], 0, "{report}");
}
