//! Splitting, merging and counting shards while they are in use.
//!
//! Owns: the plan of each round ([`plan`]), its run ([`drive`]), the standstill of its parents
//! ([`standstill`]), the end of closed shards ([`forget`]). Never: what may be begun and what a round leaves, which are the catalog's
//! rules.
//!
//! A reshard is pending in the catalog before anybody is told, and goes on round by round until the
//! map is what was asked for; the next start of the server takes it up again. A round is: the
//! owning cores take nothing more for its parents, wait until what they took is durable, and say
//! where each ends; one transaction closes the parents there and creates the children; every core
//! hears of it; then only those who waited to append are let go, and told of the new map.

mod drive;
mod forget;
mod plan;
mod standstill;

pub use plan::{Reshard, ReshardRules};
pub(crate) use plan::{Round, join, next_round, shards_created};
pub(crate) use standstill::NoStandstill;
