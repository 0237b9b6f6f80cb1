//! `tests-sim`: tells stories and prints what went wrong, with the command that tells it again.

use std::process::ExitCode;
use std::time::Duration;

use tests_sim::{story, streams};
use weir_log::Sound;
use weir_reactor::monotonic;

const USAGE: &str =
    "usage: tests-sim [--story log|streams|all] [--from SEED] [--seeds COUNT] [--seconds MOST]";

/// What was asked for.
struct Asked {
    story: String,
    from: u64,
    seeds: u64,
    seconds: u64,
}

fn asked() -> Option<Asked> {
    let mut asked = Asked {
        story: "all".to_owned(),
        from: 0,
        seeds: 2_000,
        seconds: u64::MAX,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next()?;
        match name.as_str() {
            "--story" if STORIES.iter().any(|(name, _)| *name == value) || value == "all" => {
                asked.story = value;
            }
            "--from" => asked.from = value.parse().ok()?,
            "--seeds" => asked.seeds = value.parse().ok()?,
            "--seconds" => asked.seconds = value.parse().ok()?,
            _ => return None,
        }
    }
    asked.from.checked_add(asked.seeds)?;
    Some(asked)
}

type Tell = fn(u64) -> Result<story::Tally, String>;

const STORIES: [(&str, Tell); 2] = [("log", story::run::<Sound>), ("streams", streams::run)];

fn main() -> ExitCode {
    let Some(asked) = asked() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let started = monotonic();
    let most = Duration::from_secs(asked.seconds.min(u64::from(u32::MAX)));
    let mut failed = 0_u64;
    let chosen = STORIES
        .iter()
        .filter(|(name, _)| asked.story == "all" || asked.story == *name);
    let chosen: Vec<_> = chosen.collect();
    let mut totals = vec![story::Tally::default(); chosen.len()];
    let (mut told, mut minutes) = (0_u64, 0);
    for seed in asked.from..asked.from + asked.seeds {
        if monotonic().since(started) >= most {
            break;
        }
        for ((name, tell), total) in chosen.iter().zip(&mut totals) {
            match std::panic::catch_unwind(|| tell(seed)) {
                Ok(Ok(tally)) => total.add(tally),
                Ok(Err(what)) => {
                    failed += 1;
                    failure(name, seed, &what);
                }
                Err(_) => {
                    failed += 1;
                    failure(name, seed, "panicked");
                }
            }
        }
        told += 1;
        if monotonic().since(started).as_secs() / 60 > minutes {
            minutes = monotonic().since(started).as_secs() / 60;
            println!(
                "{minutes} min: {told} seeds from {}, {failed} failed",
                asked.from
            );
        }
    }
    let took = monotonic().since(started);
    for ((name, _), total) in chosen.iter().zip(&totals) {
        println!(
            "story {name}: seeds {} to {}, {} lives, {} crashes, {} acknowledged, {} read, \
             {} rotted, {} misdirected",
            asked.from,
            (asked.from + told).saturating_sub(1),
            total.lives,
            total.crashes,
            total.acknowledged,
            total.compared,
            total.rotted,
            total.misdirected
        );
    }
    println!(
        "planned {} seeds, told {told}, {failed} failed, in {took:.1?}",
        asked.seeds
    );
    ExitCode::from(u8::from(
        failed > 0 || told < asked.seeds && asked.seconds == u64::MAX,
    ))
}

fn failure(story: &str, seed: u64, what: &str) {
    println!("FAILED story {story}: {what}");
    println!("replay: cargo run -p tests-sim -- --story {story} --from {seed} --seeds 1");
}
