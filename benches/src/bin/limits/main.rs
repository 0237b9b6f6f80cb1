//! `limits`: what this machine can do, measured with nothing of Weir in the way, so that every
//! speed of Weir is a ratio.
//!
//! Owns: W, N, R, C, S and the cold read rate, in one run. Never: the engine; this is plain io_uring
//! and plain sockets.

mod arguments;
mod disk;
mod machine;
mod network;
mod report;
mod ring;
mod samples;
mod small;

use anyhow::Context;
use clap::Parser;

use arguments::Arguments;
use machine::{Cpus, Machine};
use report::Report;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let cpus = Cpus::choose(&arguments.cpus)?;
    let before = Machine::look();
    // Each part runs on threads of its own, for it pins them.
    let disk = {
        let arguments = arguments.clone();
        let cpu = cpus.server;
        machine::on_cpu(cpu, move || disk::measure(&arguments, cpus))??
    };
    let stream =
        network::stream(cpus, arguments.network_bytes()).context("the stream over loopback")?;
    let round_trip =
        network::round_trips(cpus, arguments.rounds()).context("round trips over loopback")?;
    let report = Report {
        machine: before.until(&Machine::look()),
        cpus,
        bytes: arguments.bytes(),
        disk,
        stream,
        round_trip,
    };
    if arguments.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.text());
    }
    Ok(())
}
