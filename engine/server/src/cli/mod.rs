//! The client side of the command line: `weir stream ...`.
//!
//! Owns: plain blocking sockets, files and the terminal. Never: the engine; it speaks the binary
//! protocol like any other client, and has a clock of its own.

pub(crate) mod arguments;
mod client;
mod clock;
mod control;
pub(crate) mod failure;
mod interrupt;
mod lines;
mod put;
mod reshard;
mod tail;

use arguments::StreamCommand;
use failure::Failure;

/// Runs one `weir stream` command.
pub(crate) fn run(command: &StreamCommand) -> Result<(), Failure> {
    match command {
        StreamCommand::Create(arguments) => control::create(arguments),
        StreamCommand::Ls(arguments) => control::list(arguments),
        StreamCommand::Describe(arguments) => control::describe(arguments),
        StreamCommand::Put(arguments) => put::run(arguments),
        StreamCommand::Tail(arguments) => tail::run(arguments),
        StreamCommand::Set(arguments) => control::set(arguments),
        StreamCommand::Split(arguments) => reshard::split(arguments),
        StreamCommand::Merge(arguments) => reshard::merge(arguments),
        StreamCommand::Scale(arguments) => reshard::scale(arguments),
        StreamCommand::Delete(arguments) => control::delete(arguments),
    }
}
