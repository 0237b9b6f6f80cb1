//! Runs the models: all of them and, in a process each, all with their planted weaknesses; or one.
#![allow(
    clippy::disallowed_methods,
    reason = "the time a search may take is the real one"
)]

use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tests_weave::models::{MODELS, Model};
use tests_weave::plant::PLANTS;

/// Times that one thread may be interrupted in one run where it could have gone on; all orders with
/// so many are searched. Studies of such bugs found that two show nearly all.
const INTERRUPTIONS_DEFAULT: usize = 2;
/// A model that is searched longer than this is cut short, and says so.
const SECONDS_DEFAULT: u64 = 600;

static RUNS: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Default)]
struct Asked {
    model: Option<String>,
    plant: Option<String>,
    interruptions: Option<usize>,
    seconds: Option<u64>,
}

fn main() -> ExitCode {
    let mut asked = Asked::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next();
        match (word.as_str(), value) {
            ("--model", Some(name)) => asked.model = Some(name),
            ("--plant", Some(name)) => asked.plant = Some(name),
            ("--interruptions", Some(count)) => asked.interruptions = count.parse().ok(),
            ("--seconds", Some(count)) => asked.seconds = count.parse().ok(),
            _ => {
                eprintln!(
                    "usage: tests-weave [--model NAME [--plant NAME]] [--interruptions N] \
                     [--seconds N]"
                );
                return ExitCode::from(2);
            }
        }
    }
    ExitCode::from(u8::from(!carry_out(&asked)))
}

fn carry_out(asked: &Asked) -> bool {
    if let Some(name) = &asked.model {
        let Some(model) = MODELS.iter().find(|model| model.name == name) else {
            let names: Vec<_> = MODELS.iter().map(|model| model.name).collect();
            eprintln!("no model {name:?}: there are {}", names.join(", "));
            return false;
        };
        if let Some(plant) = &asked.plant {
            let Some((_, plant)) = PLANTS.iter().find(|(name, _)| name == plant) else {
                eprintln!("no plant {plant:?}");
                return false;
            };
            plant.plant();
        }
        search(model, asked);
        return true;
    }
    let (mut sound, mut searched, mut caught) = (true, 0, 0);
    for model in MODELS {
        // A process each: a model that fails leaves the checker as it lies.
        let whole = run_apart(model, None, asked);
        println!("{}: {}", model.name, whole.1);
        sound &= whole.0;
        searched += u32::from(whole.0);
        for plant in model.catches {
            let (survived, _) = run_apart(model, Some(plant.name()), asked);
            if survived {
                println!("{}: PLANTED {} WAS NOT CAUGHT", model.name, plant.name());
                sound = false;
            } else {
                caught += 1;
            }
        }
    }
    let plants: usize = MODELS.iter().map(|model| model.catches.len()).sum();
    println!(
        "searched {searched} of {} models, caught {caught} of {plants} planted weaknesses",
        MODELS.len()
    );
    sound
}

/// Whether it held, and the last line that it said.
fn run_apart(model: &Model, plant: Option<&str>, asked: &Asked) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().expect("this program is there"));
    command.args(["--model", model.name]);
    command.args(plant.iter().flat_map(|plant| ["--plant", plant]));
    for (word, count) in [
        ("--interruptions", asked.interruptions.map(|n| n as u64)),
        ("--seconds", asked.seconds),
    ] {
        if let Some(count) = count {
            command.args([word, &count.to_string()]);
        }
    }
    let output = command.stdin(Stdio::null()).output();
    let output = output.expect("this program runs");
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return (true, said.lines().last().unwrap_or_default().to_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let why = errors
        .lines()
        .find(|line| !line.trim().is_empty() && !line.starts_with("thread"));
    let again = format!("tests-weave --model {}", model.name);
    (
        false,
        format!(
            "FAILED: {}; again: cargo run -p tests-weave -- --model {}",
            why.unwrap_or(&again),
            model.name
        ),
    )
}

fn search(model: &'static Model, asked: &Asked) {
    let interruptions = asked.interruptions.unwrap_or(INTERRUPTIONS_DEFAULT);
    let seconds = asked.seconds.unwrap_or(SECONDS_DEFAULT);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(interruptions);
    builder.max_duration = Some(Duration::from_secs(seconds));
    let began = Instant::now();
    builder.check(move || {
        RUNS.fetch_add(1, Ordering::Relaxed);
        (model.run)();
    });
    let took = began.elapsed();
    let cut = if took.as_secs() >= seconds {
        ", cut by time"
    } else {
        ""
    };
    println!(
        "{} runs in {:.1} s{cut}: {}",
        RUNS.load(Ordering::Relaxed),
        took.as_secs_f64(),
        model.what
    );
}
