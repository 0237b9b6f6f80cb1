//! The admin port: alive, ready, which version, and metrics that add up to what was done.

use std::time::Duration;

use crate::harness::{Setup, run, temporary};

/// The sum of a counter over all its labels.
fn total(metrics: &str, name: &str) -> f64 {
    let samples = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let labelled = rest.starts_with('{') || rest.starts_with(' ');
        labelled.then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    });
    let samples: Vec<_> = samples.collect();
    assert!(!samples.is_empty(), "no {name} in:\n{metrics}");
    samples.iter().sum()
}

#[test]
fn pages_and_metrics_tell_what_happened() {
    let folder = temporary("admin");
    let victim = Setup::new(folder.path())
        .with("--stream", "counted:3")
        .start_on(2);
    let (status, body) = victim.admin_page("/version");
    assert!(status == 200 && body.contains("weir"), "{status} {body}");
    assert_eq!(victim.admin_page("/healthz").0, 200);
    assert_eq!(victim.admin_page("/readyz").0, 200);
    assert_eq!(victim.admin_page("/nowhere").0, 404);

    let patience = Duration::from_secs(30);
    let lines = "a line
"
    .repeat(1_000);
    run(&mut victim.stream(&["put", "counted"]), lines, patience).succeeded();
    let tail = ["tail", "counted", "--from", "trim-horizon"];
    run(&mut victim.stream(&tail), [], patience).succeeded();
    let (status, metrics) = victim.admin_page("/metrics");
    assert_eq!(status, 200);
    let near = |name: &str, expected: f64| {
        let found = total(&metrics, name);
        assert!(
            (found - expected).abs() < 0.5,
            "{name} is {found}, expected {expected}"
        );
    };
    near("weir_incoming_records_total", 1_000.0);
    near("weir_outgoing_records_total", 1_000.0);
    near("weir_streams", 1.0);
    near("weir_shards", 3.0);
    assert!(total(&metrics, "weir_syncs_total") >= 1.0);
    assert!(total(&metrics, "weir_written_bytes_total") >= 6_000.0);
    victim.stop();
}
