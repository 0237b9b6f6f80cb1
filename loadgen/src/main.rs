//! `weir-load`: load for a Weir server, and a witness that checks what it kept.
//!
//! Owns: exit codes. The pieces, in reading order: [`args`] says what is wanted, [`run`] sets it
//! up, [`worker`] sends and measures by the shard map that [`atlas`] keeps, [`witness`] notes what
//! was promised, [`verify`] checks that it was kept, [`report`] says so. Of the workspace it knows
//! the protocol only: an independent client finds what shared code hides.
#![allow(
    clippy::disallowed_methods,
    reason = "the load generator has its own clock, sockets and threads"
)]

mod args;
mod atlas;
mod client;
mod clock;
mod histogram;
mod lane;
mod payload;
mod plan;
mod progress;
mod report;
mod run;
mod shards;
mod tally;
mod units;
mod verify;
mod witness;
mod worker;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Command, Output};

/// It ran, and everything held.
const EXIT_RAN: u8 = 0;
/// It could not run.
const EXIT_COULD_NOT: u8 = 1;

fn main() -> ExitCode {
    let Command::Run(arguments) = Cli::parse().command;
    let work = match arguments.into_workload() {
        Ok(work) => work,
        Err(sentence) => Cli::command()
            .error(clap::error::ErrorKind::ValueValidation, sentence)
            .exit(),
    };
    let report = match run::run(&work) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("weir-load: {error}");
            return ExitCode::from(EXIT_COULD_NOT);
        }
    };
    let text = match work.output {
        Output::Text => report.text(),
        Output::Json => report.json(),
    };
    // A closed pipe must not hide the verdict, which is the exit code.
    let _ = writeln!(std::io::stdout(), "{text}");
    ExitCode::from(
        report
            .verdict()
            .map_or(EXIT_RAN, report::Failure::exit_code),
    )
}
