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
