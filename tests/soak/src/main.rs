//! Rigs that break things under a loaded server, each proven on a planted bug, and a judge that
//! tells what is left. Start with [`rig::RIGS`].
#![allow(
    clippy::disallowed_methods,
    reason = "rigs watch the server from outside, with clocks and threads of their own"
)]

/// The server under test is this program: its memory is to be the product's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod admin;
mod blocks;
mod chance;
mod coherence;
mod cut;
mod disk;
mod flood;
mod folder;
mod gate;
mod http;
mod inside;
mod judge;
mod kill;
mod liar;
mod limits;
mod lives;
mod load;
mod net;
mod preload;
mod process;
mod recovery;
mod rig;
mod scene;
mod server;
mod sim;
mod time;
mod weave;
mod wire;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;

use rig::{Order, Outcome, RIGS, Rig};

/// Runs a rig, or all of them.
#[derive(Parser)]
#[command(name = "soak")]
struct Asked {
    /// The rig, or "gate" for all of them with their gate counts.
    rig: Option<String>,
    /// Names every rig.
    #[arg(long)]
    list: bool,
    /// How often; the gate count if it is not given.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// What moments and sizes are drawn from; from the clock if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// The gate's time.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    minutes: u64,
}

/// The judge's own words.
#[derive(Parser)]
struct Judging {
    ledger: PathBuf,
    /// The last moment whose acknowledgements count.
    #[arg(long, default_value_t = u64::MAX)]
    until: u64,
}

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    match words.get(1).and_then(|word| word.to_str()) {
        // The server under test, in a process of its own.
        Some("server") => weir_server::run(words.into_iter().skip(1)),
        Some("judging") => {
            let judging = Judging::parse_from(words.into_iter().skip(1));
            ended("judge", judge::serve(judging.ledger, judging.until))
        }
        Some("disk") => ended(
            "disk",
            blocks::serve::Serving::parse_from(words.into_iter().skip(1)).run(),
        ),
        Some("images") => {
            let kept = blocks::Kept::parse_from(words.into_iter().skip(1));
            ended("images", kept.judge())
        }
        Some("inside") => {
            inside::settle_in();
            soak(&Asked::parse_from(words.into_iter().skip(1)))
        }
        _ => {
            let asked = Asked::parse_from(&words);
            let alone = (!asked.list).then(|| inside::again(&words)).flatten();
            alone.unwrap_or_else(|| soak(&asked))
        }
    }
}

fn ended(who: &str, how: anyhow::Result<()>) -> ExitCode {
    match how {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            eprintln!("{who}: {wrong:#}");
            ExitCode::FAILURE
        }
    }
}

fn soak(asked: &Asked) -> ExitCode {
    if asked.list {
        list();
        return ExitCode::SUCCESS;
    }
    let seed = asked.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(1, |since| since.as_secs() % 1_000_000)
    });
    let name = asked.rig.as_deref().unwrap_or_default();
    let sound = if name == "gate" {
        gate::run(seed, asked.minutes)
    } else if let Some(rig) = Rig::named(name) {
        let order = Order {
            seed,
            count: asked.count.unwrap_or(rig.gate),
            until: None,
        };
        !matches!(rig.carry_out(&order), Outcome::Failed(_))
    } else {
        let names: Vec<_> = RIGS.iter().map(|rig| rig.name).collect();
        eprintln!(
            "soak: there is no rig \"{name}\": take gate or one of {}",
            names.join(", ")
        );
        return ExitCode::from(2);
    };
    ExitCode::from(u8::from(!sound))
}

fn list() {
    for rig in RIGS {
        let needs = match rig.needs {
            [] => "nothing but the build".to_owned(),
            needs => needs.join(", "),
        };
        println!(
            "{:<16}{}; needs {needs}; gate {} {}, red below {}, night {}",
            rig.name,
            rig.what,
            rig.gate,
            rig.unit,
            rig.floor(),
            rig.night
        );
    }
}
