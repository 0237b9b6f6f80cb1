//! The AWS session over a real socket, real cores and a real disk, with a client of its own.
//!
//! Contents: `rig` (server and client), `aws` (what a user does), `bad` (what a broken client does),
//! `cbor` (the same in CBOR), `cases` and `refusals` (every refusal of every operation, by tables),
//! `records` (what a record may be, by its stream), `recreated` (another stream under an old name),
//! `reshard` (shards that are split and merged), `settings` (tags, consumers and stored settings),
//! `subscriber`, `fan_out`, `fan_out_http2`, `fan_out_long`, `fan_out_reshard` and `fan_out_speed`
//! (SubscribeToShard).

#![allow(
    clippy::disallowed_methods,
    reason = "the client has its own clock and sockets"
)]

#[path = "session/aws.rs"]
mod aws;
#[path = "session/bad.rs"]
mod bad;
#[path = "session/cases.rs"]
mod cases;
#[path = "session/cbor.rs"]
mod cbor;
#[path = "session/fan_out.rs"]
mod fan_out;
#[path = "session/fan_out_http2.rs"]
mod fan_out_http2;
#[path = "session/fan_out_long.rs"]
mod fan_out_long;
#[path = "session/fan_out_reshard.rs"]
mod fan_out_reshard;
#[path = "session/fan_out_speed.rs"]
mod fan_out_speed;
#[path = "session/records.rs"]
mod records;
#[path = "session/recreated.rs"]
mod recreated;
#[path = "session/refusals.rs"]
mod refusals;
#[path = "session/reshard.rs"]
mod reshard;
#[path = "session/rig.rs"]
mod rig;
#[path = "session/settings.rs"]
mod settings;
#[path = "session/speed.rs"]
mod speed;
#[path = "session/subscriber.rs"]
mod subscriber;
