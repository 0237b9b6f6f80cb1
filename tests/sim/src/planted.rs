//! Bugs planted on purpose: each breaks one rule of the log.

use weir_log::Discipline;

/// Acknowledges before the write completes.
pub struct AcknowledgeEarly;

impl Discipline for AcknowledgeEarly {
    const WAIT_FOR_WRITE: bool = false;
}

/// Skips the checksum on reads.
pub struct SkipChecksum;

impl Discipline for SkipChecksum {
    const VERIFY_READS: bool = false;
}

/// Cuts at the first bad frame although it lies below the durable mark.
pub struct CutBelowMark;

impl Discipline for CutBelowMark {
    const PASS_ROT: bool = false;
}

/// Goes on after a cut without a new incarnation.
pub struct SameIncarnation;

impl Discipline for SameIncarnation {
    const NEW_INCARNATION_AFTER_CUT: bool = false;
}

/// Serves before the recovery flush.
pub struct ServeUnflushed;

impl Discipline for ServeUnflushed {
    const FLUSH_BEFORE_SERVING: bool = false;
}

/// Goes on as if a failed flush had succeeded.
pub struct IgnoreFlushError;

impl Discipline for IgnoreFlushError {
    const HEED_FLUSH_ERROR: bool = false;
}

/// Tries a failed flush again, and believes the second answer.
pub struct RetryFlush;

impl Discipline for RetryFlush {
    const FLUSH_ONCE: bool = false;
}

/// Gives readers what is only being written.
pub struct ServeUndurable;

impl Discipline for ServeUndurable {
    const SERVE_DURABLE_ONLY: bool = false;
}

/// Hands out the numbers of a lost tail again.
pub struct ReuseNumbers;

impl Discipline for ReuseNumbers {
    const NEW_EPOCH_AFTER_FAULT: bool = false;
}

/// Deletes one segment more than is dead.
pub struct DeleteEarly;

impl Discipline for DeleteEarly {
    const RETIRE_DEAD_ONLY: bool = false;
}

/// Takes a frame that was torn while it was written.
pub struct AcceptShortFrame;

impl Discipline for AcceptShortFrame {
    const REFUSE_SHORT_FRAMES: bool = false;
}

/// Takes a read error for the end of the log.
pub struct ReadErrorIsTear;

impl Discipline for ReadErrorIsTear {
    const STOP_AT_READ_ERROR: bool = false;
}
