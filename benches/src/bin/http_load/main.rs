//! `http-load`: drives a Kinesis endpoint over HTTP/1.1 as SDKs do, plain or by TLS, to see what the
//! gateway costs.
//!
//! Owns: one operation, over many kept connections with one call in flight each, from one pinned
//! thread; every answer is looked at. Never: judging records; `weir-load` and the tests do.
#![expect(
    clippy::disallowed_methods,
    reason = "a generator measures by the real clock; only the server's crates have another"
)]

mod arguments;
mod bodies;
mod connection;
mod dial;
mod drive;
mod marks;
mod setup;
mod subscribe;

use clap::Parser;

fn main() -> anyhow::Result<()> {
    let arguments = arguments::Arguments::parse();
    arguments.check()?;
    let dial = dial::Dial::of(&arguments)?;
    if arguments.operation == arguments::Operation::Subscribe {
        println!("{}", subscribe::run(&arguments, &dial)?);
        return Ok(());
    }
    let prepared = setup::prepare(&arguments, &dial)?;
    let outcome = drive::drive(&arguments, &dial, prepared)?;
    println!("{}", outcome.text(&arguments));
    Ok(())
}
