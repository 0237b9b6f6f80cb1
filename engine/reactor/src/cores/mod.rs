//! Cores: one executor per CPU, and how cores and ordinary threads speak to each other.

mod mailbox;
mod oneshot;
mod placement;
mod retiring;
mod start;

pub use mailbox::{Inbox, Mailbox, mailbox};
pub use oneshot::{Reply, ReplyDropped, Waiting, oneshot};
pub(crate) use placement::allow_every_cpu;
pub use placement::{PlacementError, choose_cpus, cpus_allowed, pin_this_thread};
pub use retiring::Retiring;
pub(crate) use start::IO_MEMORY_BYTES;
pub use start::{CorePlan, Running, StartError, start_cores};
