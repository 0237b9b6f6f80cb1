//! What exists, durably: streams, shards, segments, and a few numbers of the folder.
//!
//! Owns: the redb file and the one thread that writes it. Never: records; a data path.

pub(crate) mod control;
pub(crate) mod entry;
pub(crate) mod model;
pub(crate) mod storage;
pub(crate) mod store;
