//! The AWS session over a real socket, real cores and a real disk, with a client of its own.
//!
//! Contents: `rig` (server and client), `aws` (what a user does), `bad` (what a broken client does),
//! `subscriber` and `fan_out` (SubscribeToShard).

#![allow(
    clippy::disallowed_methods,
    reason = "the client has its own clock and sockets"
)]

#[path = "session/aws.rs"]
mod aws;
#[path = "session/bad.rs"]
mod bad;
#[path = "session/fan_out.rs"]
mod fan_out;
#[path = "session/rig.rs"]
mod rig;
#[path = "session/speed.rs"]
mod speed;
#[path = "session/subscriber.rs"]
mod subscriber;
