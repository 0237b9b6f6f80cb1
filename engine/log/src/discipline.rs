//! The rules that make the log safe, as constants that a test may break on purpose.
//!
//! A rig that has never caught a bug proves nothing. The simulator's tests plant bugs by
//! implementing [`Discipline`] with one rule broken; the server is built with [`Sound`] only.

/// Rules of the log. Every constant is true in [`Sound`]; a test turns one off.
pub trait Discipline: 'static {
    /// An append counts as durable only when its write has completed.
    const WAIT_FOR_WRITE: bool = true;
    /// Bytes that come from the disk are verified before they are handed out.
    const VERIFY_READS: bool = true;
    /// Recovery goes on behind a bad frame below the durable mark.
    const PASS_ROT: bool = true;
    /// After an unclean recovery the log goes on under a new incarnation: what was cut off is
    /// wiped, and numbers continue in a new epoch.
    const NEW_INCARNATION_AFTER_CUT: bool = true;
    /// Recovery flushes what it scanned before anybody is served.
    const FLUSH_BEFORE_SERVING: bool = true;
}

/// All rules kept: what the server runs.
#[derive(Debug, Clone, Copy)]
pub struct Sound;

impl Discipline for Sound {}
