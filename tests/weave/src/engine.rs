//! The engine's files, as they are.

#[path = "../../../engine/reactor/src/cores/mailbox.rs"]
pub mod mailbox;
#[path = "../../../engine/reactor/src/cores/oneshot.rs"]
pub mod oneshot;
