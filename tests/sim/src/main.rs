//! `tests-sim FROM COUNT`: tells stories and prints what went wrong, with the seed that replays it.

use std::process::ExitCode;

use tests_sim::story;
use weir_log::Sound;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<u64>());
    let (Some(Ok(from)), Some(Ok(count))) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: tests-sim FROM COUNT (two numbers: the first seed, how many)");
        return ExitCode::from(2);
    };
    let mut total = story::Tally::default();
    let mut failed = 0_u64;
    for seed in from..from + count {
        let told = std::panic::catch_unwind(|| story::run::<Sound>(seed));
        match told.unwrap_or_else(|_| Err(format!("seed {seed}: panicked"))) {
            Ok(tally) => {
                total.lives += tally.lives;
                total.crashes += tally.crashes;
                total.acknowledged += tally.acknowledged;
                total.compared += tally.compared;
                total.rotted += tally.rotted;
            }
            Err(what) => {
                failed += 1;
                println!("{what}");
            }
        }
    }
    println!("{count} seeds from {from}, {failed} failed: {total:?}");
    ExitCode::from(u8::from(failed > 0))
}
