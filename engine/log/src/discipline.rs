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
    /// A flush that failed ends the recovery.
    const HEED_FLUSH_ERROR: bool = true;
    /// A flush that failed is not tried again on the same pages.
    const FLUSH_ONCE: bool = true;
    /// Readers get what is durable, not what is being written.
    const SERVE_DURABLE_ONLY: bool = true;
    /// After a fault numbers go on in a new epoch: those of the lost tail are not handed out again.
    const NEW_EPOCH_AFTER_FAULT: bool = true;
    /// Only segments without a live record are given back.
    const RETIRE_DEAD_ONLY: bool = true;
    /// Above the mark a frame counts only with all its batches.
    const REFUSE_SHORT_FRAMES: bool = true;
    /// A read error while scanning ends the recovery; it is no torn tail.
    const STOP_AT_READ_ERROR: bool = true;
}

/// All rules kept: what the server runs.
#[derive(Debug, Clone, Copy)]
pub struct Sound;

impl Discipline for Sound {}
