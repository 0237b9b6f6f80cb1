//! What exists, durably: streams, shards, segments, and a few numbers of the folder.
//!
//! Owns: the redb file and the one thread that writes it. Never: records; a data path.

pub(crate) mod account;
pub(crate) mod change;
pub(crate) mod control;
pub(crate) mod entry;
pub(crate) mod given_up;
pub(crate) mod look;
pub(crate) mod model;
pub(crate) mod publish;
mod reshard;
mod settings_entry;
pub(crate) mod storage;
pub(crate) mod store;
pub(crate) mod unfollowed;
pub(crate) mod without_effect;
