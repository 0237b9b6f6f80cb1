//! The gate: every rig with its gate count, within a time, and a table of what was planned and done.

use std::time::{Duration, Instant};

use crate::rig::{Order, Outcome, RIGS, part_of};

/// True if nothing failed.
pub(crate) fn run(seed: u64, minutes: u64) -> bool {
    let until = Instant::now() + Duration::from_secs(minutes * 60);
    let mut shares: u32 = RIGS.iter().map(|rig| rig.share).sum();
    let mut rows = Vec::new();
    let mut sound = true;
    for rig in RIGS {
        let left = until.saturating_duration_since(Instant::now());
        let part = part_of(left, rig.share, shares);
        shares -= rig.share;
        let began = Instant::now();
        let outcome = rig.carry_out(&Order {
            seed,
            count: rig.gate,
            until: Some(began + part),
        });
        let (done, result) = match outcome {
            Outcome::Passed(done) if done.count == rig.gate => (done.count, "passed".to_owned()),
            Outcome::Passed(done) if done.count > 0 => {
                let share = done.count * 100 / rig.gate;
                (done.count, format!("passed, cut to {share} % by time"))
            }
            Outcome::Passed(_) => {
                sound = false;
                (0, "FAILED: no time for one".to_owned())
            }
            Outcome::Skipped(why) => (0, format!("skipped: {why}")),
            Outcome::Failed(_) => {
                sound = false;
                (0, "FAILED".to_owned())
            }
        };
        rows.push((rig, done, began.elapsed(), result));
    }
    println!(
        "\n{:<16}{:>8}{:>8}  {:<8}{:>8}  result",
        "rig", "planned", "done", "of", "s"
    );
    for (rig, done, took, result) in rows {
        println!(
            "{:<16}{:>8}{done:>8}  {:<8}{:>8.1}  {result}",
            rig.name,
            rig.gate,
            rig.unit,
            took.as_secs_f64()
        );
    }
    sound
}
