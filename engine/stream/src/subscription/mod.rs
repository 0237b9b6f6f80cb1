//! Fan-out: consumers that have a shard's records pushed to them.
//!
//! Owns: who is subscribed to which shard of this core, since when, and at what rate. Never: the
//! event stream's bytes; that is the gateway.
//!
//! A subscription lives on the core that owns the shard: there the rules are kept
//! ([`register`]) and there it waits for records ([`deliver`]). Whoever asked for it, on any
//! core, holds a [`Subscription`] and asks for the next records; in between nothing is held.

pub(crate) mod deliver;
pub(crate) mod register;
pub(crate) mod subscribe;

use std::time::Duration;

pub use deliver::{Next, SubscriptionEnd};
pub use register::Subscriber;
pub use subscribe::{SubscribeError, Subscription};

/// How long things take around a subscription. Tests shrink them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionTimes {
    /// A subscription ends this long after it began (AWS: 5 minutes).
    pub life: Duration,
    /// A subscriber hears this often that there is nothing new (AWS: about every 5 seconds; the
    /// Java client gives up after 10).
    pub heartbeat: Duration,
    /// A subscription this young is not taken over (AWS: 5 seconds).
    pub take_over: Duration,
    /// A consumer may subscribe to a metered shard this often (AWS: once a second).
    pub call_interval: Duration,
}

impl Default for SubscriptionTimes {
    fn default() -> Self {
        Self {
            life: Duration::from_mins(5),
            heartbeat: Duration::from_secs(4),
            take_over: Duration::from_secs(5),
            call_interval: Duration::from_secs(1),
        }
    }
}
