//! What a stop leaves behind, and what the next life makes of it.

mod graceful;
mod kill;
mod ledger;
mod restart_cores;
