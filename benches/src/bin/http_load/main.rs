//! `http-load`: drives a Kinesis endpoint over HTTP/1.1 as SDKs do, to see what the gateway costs.
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
mod drive;
mod setup;

use clap::Parser;

fn main() -> anyhow::Result<()> {
    let arguments = arguments::Arguments::parse();
    let prepared = setup::prepare(&arguments)?;
    let outcome = drive::drive(&arguments, prepared)?;
    println!("{}", outcome.text(&arguments));
    Ok(())
}
