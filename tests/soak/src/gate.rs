//! The gate: every rig with its gate count, within a time, and a table of what was planned and done.

use std::time::{Duration, Instant};

use crate::rig::{Order, Outcome, RIGS, Rig, part_of};

/// True if nothing failed, every rig that every machine can run came to its floor, and something passed.
pub(crate) fn run(seed: u64, minutes: u64) -> bool {
    let until = Instant::now() + Duration::from_secs(minutes * 60);
    let mut shares: u32 = RIGS.iter().map(|rig| rig.share).sum();
    let mut rows = Vec::new();
    let (mut sound, mut passed, mut skipped) = (true, 0, 0);
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
        let (done, judged) = judged(rig, outcome);
        sound &= !matches!(judged, Judged::Failed(_));
        passed += u32::from(matches!(judged, Judged::Passed(_)));
        skipped += u32::from(matches!(judged, Judged::Skipped(_)));
        rows.push((rig, done, began.elapsed(), judged));
    }
    println!(
        "\n{:<16}{:>8}{:>8}{:>8}  {:<12}{:>8}  result",
        "rig", "planned", "floor", "done", "of", "s"
    );
    for (rig, done, took, judged) in rows {
        println!(
            "{:<16}{:>8}{:>8}{done:>8}  {:<12}{:>8.1}  {judged}",
            rig.name,
            rig.gate,
            rig.floor(),
            rig.unit,
            took.as_secs_f64()
        );
    }
    let of = RIGS.len();
    println!("{passed} of {of} rigs passed, {skipped} skipped, which is not passed");
    sound && passed > 0
}

/// What a gate makes of one rig's run.
#[derive(Debug, PartialEq, Eq)]
enum Judged {
    Passed(String),
    Skipped(String),
    Failed(String),
}

impl std::fmt::Display for Judged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Passed(how) => write!(f, "passed{how}"),
            Self::Skipped(why) => write!(f, "skipped: {why}"),
            Self::Failed(why) => write!(f, "FAILED{why}"),
        }
    }
}

fn judged(rig: &Rig, outcome: Outcome) -> (u64, Judged) {
    match outcome {
        Outcome::Passed(done) if done.count >= rig.gate => {
            (done.count, Judged::Passed(String::new()))
        }
        Outcome::Passed(done) if done.count >= rig.floor() => {
            let share = done.count * 100 / rig.gate;
            let how = format!(", cut to {share} % by time");
            (done.count, Judged::Passed(how))
        }
        Outcome::Passed(done) => {
            let why = format!(": time for {} of at least {}", done.count, rig.floor());
            (done.count, Judged::Failed(why))
        }
        Outcome::Skipped(why) if rig.runs_anywhere() => {
            (0, Judged::Failed(format!(": skipped: {why}")))
        }
        Outcome::Skipped(why) => (0, Judged::Skipped(why)),
        Outcome::Failed(_) => (0, Judged::Failed(String::new())),
    }
}

#[cfg(test)]
mod proofs {
    use super::{Judged, judged};
    use crate::rig::{Done, Outcome, Rig};

    #[test]
    fn a_gate_that_did_too_little_is_not_green() {
        let rig = Rig::named("sim").unwrap();
        assert_eq!((rig.gate, rig.floor()), (2_000, 500));
        let of = |count| judged(rig, Outcome::Passed(Done::new(count, String::new()))).1;
        assert!(matches!(of(2_000), Judged::Passed(how) if how.is_empty()));
        assert!(matches!(of(500), Judged::Passed(how) if how.contains("25 %")));
        assert!(matches!(of(499), Judged::Failed(why) if why.contains("499 of at least 500")));
        assert!(matches!(of(0), Judged::Failed(_)));
        let skipped = |name: &str| {
            let rig = Rig::named(name).unwrap();
            judged(rig, Outcome::Skipped("needs root".to_owned())).1
        };
        assert!(matches!(skipped("cut-xfs"), Judged::Skipped(_)));
        assert!(matches!(skipped("kill"), Judged::Failed(_)));
        assert!(matches!(skipped("sim"), Judged::Failed(_)));
    }
}
