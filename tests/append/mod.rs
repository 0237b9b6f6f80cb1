//! Lines in, records out: the command line's `put` and `tail`.

mod lines;
mod log_file;
mod tail;
