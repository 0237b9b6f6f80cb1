//! The words of the table: what a member may be.

use super::pattern::Pattern;
use super::table::Operation;

/// One operation.
#[derive(Debug)]
pub(super) struct OperationShape {
    pub(super) operation: Operation,
    pub(super) name: &'static str,
    /// In the order in which their violations are told.
    pub(super) members: &'static [Member],
}

/// A member of a request or of a structure in it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) presence: Presence,
    pub(super) shape: &'static Shape,
}

impl Member {
    pub(super) const fn new(name: &'static str, presence: Presence, shape: &'static Shape) -> Self {
        Self {
            name,
            presence,
            shape,
        }
    }
}

/// Whether a member must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Optional,
    Required,
    /// A stream is named by its name or by its ARN.
    UnlessStreamArn,
    /// A key is not needed where the stream spreads its records itself.
    UnlessSpread,
}

/// A type with its bounds. Lengths are the shortest and the longest, in characters, items or
/// entries.
#[derive(Debug)]
pub(super) enum Shape {
    Text {
        length: Option<(usize, usize)>,
        pattern: Option<&'static Pattern>,
        /// Empty if any value will do.
        one_of: &'static [&'static str],
    },
    Integer {
        least: Option<i64>,
        most: Option<i64>,
    },
    Boolean,
    Timestamp,
    /// Bytes of a record; how many there may be is the stream's setting.
    RecordData,
    List {
        length: Option<(usize, usize)>,
        item: &'static Shape,
    },
    Map {
        length: Option<(usize, usize)>,
        key: &'static Shape,
        value: &'static Shape,
    },
    Structure(&'static Structure),
}

/// Members under a name.
#[derive(Debug)]
pub(super) struct Structure {
    /// AWS's Java name of it, which its texts show.
    pub(super) name: &'static str,
    pub(super) members: &'static [Member],
}
