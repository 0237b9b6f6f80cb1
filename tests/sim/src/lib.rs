//! The log on a simulated machine, judged by a ledger that shares no code with its readers.
//!
//! One seed is one story: lives of a server that append, read, roll, seal, expire and settle under
//! torn and reordered writes, EIO, full disks and rot, each ended by a crash or in good order, with
//! recovery (and crashes during recovery) between them. [`story::run`] tells it; [`judge`] says
//! what went wrong; [`planted`] holds the bugs that the rig must catch before it is believed.
//!
//! This package is for tests only: nothing that is released depends on it.

pub mod judge;
pub mod ledger;
mod life;
pub mod planted;
mod rot;
pub mod story;
pub mod streams;
