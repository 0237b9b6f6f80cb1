//! AWS's own clients against the HTTP port.

mod aws_cli;
mod boto;
mod model;
mod signatures;
