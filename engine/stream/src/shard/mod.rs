//! Shards: which one takes a key, and which core has it.

pub(crate) mod placement;
pub(crate) mod routing;
