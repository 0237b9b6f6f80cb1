//! Weaknesses that are planted on demand in the atomics under the engine's code, to see each model fail.

use std::sync::atomic::{AtomicU8, Ordering};

/// What is made weaker than the engine asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Plant {
    /// Fences do nothing.
    NoFence = 1,
    /// What is stored releases nothing.
    RelaxedStores,
    /// What is loaded acquires nothing.
    RelaxedLoads,
    /// An exchange is a load and a store.
    SplitExchange,
    /// A waker is registered only when its task has looked for the last time.
    LateRegister,
    /// A thread that parks forgets that it was unparked before.
    ForgetfulPark,
    /// A reader lets go before it reads.
    ReadAfterRelease,
}

/// All of them, by name.
pub const PLANTS: [(&str, Plant); 7] = [
    ("no-fence", Plant::NoFence),
    ("relaxed-stores", Plant::RelaxedStores),
    ("relaxed-loads", Plant::RelaxedLoads),
    ("split-exchange", Plant::SplitExchange),
    ("late-register", Plant::LateRegister),
    ("forgetful-park", Plant::ForgetfulPark),
    ("read-after-release", Plant::ReadAfterRelease),
];

static PLANTED: AtomicU8 = AtomicU8::new(0);

impl Plant {
    /// Its name.
    pub fn name(self) -> &'static str {
        let found = PLANTS.iter().find(|(_, plant)| *plant == self);
        found.expect("all are listed").0
    }

    /// Plants it in this process, before any model runs.
    pub fn plant(self) {
        PLANTED.store(self as u8, Ordering::SeqCst);
    }

    pub(crate) fn is_planted(self) -> bool {
        PLANTED.load(Ordering::SeqCst) == self as u8
    }
}
