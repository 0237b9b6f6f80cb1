//! Who is subscribed to the shards of one core, and the rules for it.
//!
//! Owns: take-over, life, rate. Never: the clock, records, other cores; callers say what time it
//! is.

use std::task::Waker;
use std::time::Duration;

use rustc_hash::FxHashMap;
use weir_protocol::model::{ConsumerName, ShardId, Timestamp};
use weir_reactor::Monotonic;

use super::SubscriptionTimes;
use crate::quota::ConsumerQuota;

/// Most subscriptions that one core keeps open; more are refused. Each costs some kilobytes, and a
/// heartbeat every few seconds.
pub(crate) const OPEN_MAX: usize = 4_096;

/// A consumer at a shard: one subscription at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subscriber {
    /// The shard.
    pub shard: ShardId,
    /// The consumer's name.
    pub consumer: ConsumerName,
    /// When the consumer was registered: one registered anew under the name is another one.
    pub registered: Timestamp,
}

/// Names one subscription among all that a subscriber has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ticket(pub(crate) u64);

/// Why a subscription was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The subscriber's present subscription is too young to be taken over.
    InUse,
    /// The subscriber called too often.
    TooOften,
    /// The core has as many as it keeps.
    TooMany,
}

/// Why a subscription is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// It had its life, or it was left.
    Expired,
    /// The same subscriber subscribed again.
    Replaced,
    /// Its consumer was deregistered.
    ConsumerGone,
}

/// The subscriptions of one core.
#[derive(Debug)]
pub(crate) struct Register {
    entries: FxHashMap<Subscriber, Entry>,
    open: usize,
    times: SubscriptionTimes,
}

#[derive(Debug)]
struct Entry {
    ticket: Ticket,
    began: Monotonic,
    /// One that is over stays for a while: the rates go on counting.
    is_open: bool,
    /// Its consumer was deregistered, and whoever holds it was perhaps not told yet.
    is_gone: bool,
    /// Whether the shard was metered when it was last looked at.
    is_metered: bool,
    /// Made when the shard is first metered, and kept when it is so no longer: a bucket that was
    /// emptied must not be full again because a setting changed twice.
    quota: Option<ConsumerQuota>,
    /// The one task that waits for the end.
    waker: Option<Waker>,
}

impl Entry {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Register {
    pub(crate) fn new(times: SubscriptionTimes) -> Self {
        Self {
            entries: FxHashMap::default(),
            open: 0,
            times,
        }
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    pub(crate) fn times(&self) -> SubscriptionTimes {
        self.times
    }

    /// Grants a subscription, ending the subscriber's present one if it is old enough.
    pub(crate) fn subscribe(
        &mut self,
        subscriber: &Subscriber,
        ticket: Ticket,
        is_metered: bool,
        now: Monotonic,
    ) -> Result<(), Refusal> {
        let times = self.times;
        let mut is_taken_over = false;
        if let Some(entry) = self.entries.get(subscriber) {
            let age = now.since(entry.began);
            if entry.is_open && age < times.take_over {
                return Err(Refusal::InUse);
            }
            if is_metered && age < times.call_interval {
                return Err(Refusal::TooOften);
            }
            is_taken_over = entry.is_open;
        }
        if self.open >= OPEN_MAX && !is_taken_over {
            return Err(Refusal::TooMany);
        }
        // Its task looks again and finds another's ticket.
        self.close(subscriber);
        self.open += 1;
        let before = self.entries.remove(subscriber);
        let quota = before.and_then(|entry| entry.quota);
        let entry = Entry {
            ticket,
            began: now,
            is_open: true,
            is_gone: false,
            is_metered,
            quota,
            waker: None,
        };
        self.entries.insert(subscriber.clone(), entry);
        Ok(())
    }

    /// The subscriber's place is free again, if `ticket` still has it.
    pub(crate) fn leave(&mut self, subscriber: &Subscriber, ticket: Ticket) {
        let held = self.entries.get(subscriber);
        if held.is_some_and(|entry| entry.ticket == ticket) {
            self.close(subscriber);
            if let Some(entry) = self.entries.get_mut(subscriber) {
                entry.is_gone = false;
            }
        }
    }

    fn close(&mut self, subscriber: &Subscriber) {
        if let Some(entry) = self.entries.get_mut(subscriber)
            && entry.is_open
        {
            entry.is_open = false;
            entry.wake();
            self.open -= 1;
        }
    }

    /// Whether `ticket` still holds, and for how much longer.
    pub(crate) fn check(
        &self,
        subscriber: &Subscriber,
        ticket: Ticket,
        now: Monotonic,
    ) -> Result<Duration, Over> {
        let entry = self.entries.get(subscriber).ok_or(Over::Expired)?;
        if entry.ticket != ticket {
            return Err(Over::Replaced);
        }
        if entry.is_gone {
            return Err(Over::ConsumerGone);
        }
        let left = self.times.life.saturating_sub(now.since(entry.began));
        if entry.is_open && !left.is_zero() {
            Ok(left)
        } else {
            Err(Over::Expired)
        }
    }

    /// Has `waker` woken when `ticket` no longer holds. The end of its life wakes nobody.
    pub(crate) fn watch(&mut self, subscriber: &Subscriber, ticket: Ticket, waker: &Waker) {
        if let Some(entry) = self.entries.get_mut(subscriber)
            && entry.ticket == ticket
        {
            entry.waker = Some(waker.clone());
        }
    }

    /// How long the subscriber must wait until its rate allows more; zero for not at all.
    pub(crate) fn wait(
        &mut self,
        subscriber: &Subscriber,
        is_metered: bool,
        now: Monotonic,
    ) -> Duration {
        let Some(entry) = self.entries.get_mut(subscriber) else {
            return Duration::ZERO;
        };
        entry.is_metered = is_metered;
        if !is_metered {
            return Duration::ZERO;
        }
        let quota = entry.quota.get_or_insert_with(|| ConsumerQuota::new(now));
        quota.wait(now)
    }

    /// Charges what was given out.
    pub(crate) fn charge(&mut self, subscriber: &Subscriber, bytes: u64) {
        let entry = self.entries.get_mut(subscriber);
        let metered = entry.filter(|entry| entry.is_metered);
        if let Some(quota) = metered.and_then(|entry| entry.quota.as_mut()) {
            quota.charge(bytes);
        }
    }

    /// Ends the subscriptions of consumers that are gone.
    pub(crate) fn retire(&mut self, is_gone: impl Fn(&Subscriber) -> bool) {
        for (subscriber, entry) in &mut self.entries {
            if entry.is_open && is_gone(subscriber) {
                entry.is_gone = true;
                entry.is_open = false;
                entry.wake();
                self.open -= 1;
            }
        }
    }

    /// Wakes everyone who waits: the server stops.
    pub(crate) fn wake_all(&mut self) {
        for entry in self.entries.values_mut() {
            entry.wake();
        }
    }

    /// Forgets what has no more say: who came again would find all rates full.
    pub(crate) fn sweep(&mut self, now: Monotonic) {
        let times = self.times;
        let mut open = 0;
        self.entries.retain(|_, entry| {
            let age = now.since(entry.began);
            // Whoever holds an open one leaves it in the end; a core that was too busy to hear it
            // finds out here.
            let is_held = (entry.is_open || entry.is_gone) && age < times.life + times.take_over;
            let is_full = entry.quota.as_mut().is_none_or(|quota| quota.is_full(now));
            let is_kept = is_held || age < times.call_interval || !is_full;
            if entry.is_open && !is_held {
                entry.is_open = false;
                entry.wake();
            }
            open += usize::from(entry.is_open);
            is_kept
        });
        self.open = open;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_protocol::model::{ShardIndex, StreamId};

    const SECOND: u64 = 1_000_000_000;

    fn register() -> Register {
        Register::new(SubscriptionTimes::default())
    }

    fn at(seconds: u64) -> Monotonic {
        Monotonic((1_000 + seconds) * SECOND)
    }

    fn subscriber(shard: u32, consumer: &str) -> Subscriber {
        Subscriber {
            shard: ShardId::new(StreamId::new(1), ShardIndex(shard)),
            consumer: ConsumerName::new(consumer).unwrap(),
            registered: Timestamp::from_millis(5),
        }
    }

    #[test]
    fn a_young_subscription_stays_and_an_old_one_is_taken_over() {
        let (mut register, one) = (register(), subscriber(0, "one"));
        register.subscribe(&one, Ticket(1), true, at(0)).unwrap();
        let again = register.subscribe(&one, Ticket(2), true, at(4));
        assert_eq!(again, Err(Refusal::InUse));
        assert!(register.check(&one, Ticket(1), at(4)).is_ok());
        register.subscribe(&one, Ticket(3), true, at(5)).unwrap();
        assert_eq!(register.check(&one, Ticket(1), at(5)), Err(Over::Replaced));
        assert_eq!(register.open(), 1);
        // The one that was taken over leaves: nothing changes for the other.
        register.leave(&one, Ticket(1));
        assert!(register.check(&one, Ticket(3), at(5)).is_ok());
        // Other shards and consumers have places of their own.
        for other in [subscriber(1, "one"), subscriber(0, "two")] {
            register.subscribe(&other, Ticket(9), true, at(5)).unwrap();
        }
        assert_eq!(register.open(), 3);
    }

    #[test]
    fn who_left_may_come_back_at_once_but_not_more_than_once_a_second_if_metered() {
        let (mut register, one) = (register(), subscriber(0, "one"));
        register.subscribe(&one, Ticket(1), true, at(0)).unwrap();
        register.leave(&one, Ticket(1));
        assert_eq!(register.open(), 0);
        let again = register.subscribe(&one, Ticket(2), true, at(0));
        assert_eq!(again, Err(Refusal::TooOften));
        register.subscribe(&one, Ticket(2), true, at(1)).unwrap();
        register.leave(&one, Ticket(2));
        register.subscribe(&one, Ticket(3), false, at(1)).unwrap();
        assert!(register.check(&one, Ticket(3), at(1)).is_ok());
    }

    #[test]
    fn a_life_is_five_minutes() {
        let (mut register, one) = (register(), subscriber(0, "one"));
        register.subscribe(&one, Ticket(1), false, at(0)).unwrap();
        assert_eq!(
            register.check(&one, Ticket(1), at(299)),
            Ok(Duration::from_secs(1))
        );
        assert_eq!(register.check(&one, Ticket(1), at(300)), Err(Over::Expired));
        register.leave(&one, Ticket(1));
        assert_eq!(register.check(&one, Ticket(1), at(301)), Err(Over::Expired));
    }

    #[test]
    fn a_rate_is_not_full_again_because_of_a_new_subscription() {
        let (mut register, one) = (register(), subscriber(0, "one"));
        register.subscribe(&one, Ticket(1), true, at(0)).unwrap();
        assert_eq!(register.wait(&one, true, at(0)), Duration::ZERO);
        register.charge(&one, 6 * 1024 * 1024);
        let wait = register.wait(&one, true, at(0));
        assert!(wait > Duration::from_millis(1_999) && wait < Duration::from_millis(2_001));
        register.leave(&one, Ticket(1));
        register.sweep(at(1));
        register.subscribe(&one, Ticket(2), true, at(1)).unwrap();
        let wait = register.wait(&one, true, at(1));
        assert!(wait > Duration::from_millis(999), "{wait:?}");
        // A stream that is metered no more: nothing counts, and what is owed stays owed.
        assert_eq!(register.wait(&one, false, at(1)), Duration::ZERO);
        register.charge(&one, 600 * 1024 * 1024);
        let wait = register.wait(&one, true, at(1));
        assert!(wait > Duration::from_millis(999) && wait < Duration::from_millis(1_001));
        assert_eq!(register.wait(&one, false, at(1)), Duration::ZERO);
        register.leave(&one, Ticket(2));
        register.subscribe(&one, Ticket(3), false, at(1)).unwrap();
        let wait = register.wait(&one, true, at(1));
        assert!(wait > Duration::from_millis(999), "{wait:?}");
    }

    #[test]
    fn nothing_is_kept_for_ever() {
        let (mut register, one) = (register(), subscriber(0, "one"));
        register.subscribe(&one, Ticket(1), true, at(0)).unwrap();
        register.leave(&one, Ticket(1));
        register.sweep(at(2));
        assert!(register.entries.is_empty());
        // Nobody said that this one was left.
        register.subscribe(&one, Ticket(2), true, at(2)).unwrap();
        register.sweep(at(306));
        assert_eq!(register.open(), 1);
        register.sweep(at(307));
        assert_eq!(register.open(), 0);
        assert!(register.entries.is_empty());
    }

    #[test]
    fn there_is_a_most() {
        let mut register = register();
        for shard in 0..OPEN_MAX as u32 {
            let next = subscriber(shard, "one");
            register.subscribe(&next, Ticket(1), false, at(0)).unwrap();
        }
        let more = subscriber(OPEN_MAX as u32, "one");
        assert_eq!(
            register.subscribe(&more, Ticket(2), false, at(9)),
            Err(Refusal::TooMany)
        );
        // Taking over needs no further place.
        let known = subscriber(0, "one");
        register.subscribe(&known, Ticket(2), false, at(9)).unwrap();
        register.leave(&subscriber(1, "one"), Ticket(1));
        register.subscribe(&more, Ticket(2), false, at(9)).unwrap();
    }

    #[test]
    fn deregistering_ends_what_the_consumer_had() {
        let mut register = register();
        let (one, two) = (subscriber(0, "one"), subscriber(0, "two"));
        register.subscribe(&one, Ticket(1), false, at(0)).unwrap();
        register.subscribe(&two, Ticket(2), false, at(0)).unwrap();
        register.retire(|subscriber| subscriber.consumer.as_str() == "one");
        assert_eq!(
            register.check(&one, Ticket(1), at(0)),
            Err(Over::ConsumerGone)
        );
        assert!(register.check(&two, Ticket(2), at(0)).is_ok());
        // It takes no place any more, and whoever holds it is told why, until it is left.
        assert_eq!(register.open(), 1);
        register.sweep(at(200));
        assert_eq!(register.open(), 1);
        assert_eq!(
            register.check(&one, Ticket(1), at(200)),
            Err(Over::ConsumerGone)
        );
        register.leave(&one, Ticket(1));
        assert_eq!(register.open(), 1);
        register.sweep(at(200));
        assert_eq!(register.entries.len(), 1);
        register.retire(|_| true);
        register.sweep(at(305));
        assert_eq!(register.open(), 0);
        assert!(register.entries.is_empty());
    }
}
