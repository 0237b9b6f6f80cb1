//! Whole-system tests: the server as a process, seen through its ports, its command line and its
//! data folder.
//!
//! Nothing here reaches into the engine. What a test needs from outside (the AWS CLI, boto3, root
//! for a small disk) it names in one sentence when it is missing; only what no installation can give
//! is skipped, with a line that says so. Servers listen on ports the system picks, and keep their
//! data under `target/tmp`, since records are not kept in memory.
#![allow(
    clippy::disallowed_methods,
    reason = "tests watch the server from outside, with clocks and threads of their own"
)]

// What all tests stand on: folders, the server's process, commands, the binary protocol, load whose
// every record can be checked.
mod harness;

// A line goes in, is durable, and comes out: `weir stream put` and `tail`, with 100 MB of real logs
// and with every odd line.
mod append;

// AWS's own clients: the CLI session with each field checked, boto3, and verified signatures.
mod gateway;

// Suites that are programs of their own, with the clients people use: each prints its checks.
mod clients;

// AWS's Java clients: the SDK v2, synchronous and asynchronous, and the Kinesis Client Library.
mod java;

// Shards that are split and merged under load: the storm, and a kill in the middle.
mod reshard;

// What a stop leaves: kill -9 under load twenty times against a ledger, other core counts, SIGTERM.
mod recovery;

// Rot: `weir check` names the place, and the server never serves it.
mod damage;

// Bytes that come back: deleted streams, retention that passes, byte caps.
mod space;

// Bad input and bad machines: one clear sentence each, the documented exit code, nothing lost.
mod refusals;

// The load generator against the server: exit codes, and that it verified what it says.
mod load;

// What a metered shard takes, and that others take more.
mod quota;

// The memory that a server may take, and readers that take their time.
mod memory;

// The admin port: pages for probes, metrics that add up.
mod admin;

// What must never slip in the source: crate edges, no tokio below, each module says what it is.
mod tidy;

// What others wrote: licences we may ship, and the packages whose advisories do not reach us.
mod dependencies;
