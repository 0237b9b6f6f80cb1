//! The engine's files, as they are.

#[path = "../../../engine/reactor/src/cores/mailbox.rs"]
pub mod mailbox;
#[path = "../../../engine/reactor/src/cores/oneshot.rs"]
pub mod oneshot;
#[path = "../../../engine/reactor/src/cores/retiring.rs"]
pub mod retiring;

#[path = "../../../engine/reactor/src/populated.rs"]
pub mod populated;
#[path = "../../../engine/reactor/src/spare.rs"]
pub mod spare;

#[path = "../../../engine/gateway/src/http/dozing.rs"]
pub mod dozing;
#[path = "../../../engine/gateway/src/http/lease.rs"]
pub mod lease;
#[path = "../../../engine/gateway/src/read_budget.rs"]
pub mod read_budget;
#[path = "../../../engine/gateway/src/http/room.rs"]
pub mod room;
