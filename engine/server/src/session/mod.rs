//! Sessions of the binary protocol: one connection each, on the core of the shards it is for.
//!
//! A connection begins with its [`greeting`], which may move it to another core. Then a reader
//! ([`reader`]) admits appends in the order they arrive, and spawns the rest; a writer
//! ([`writer`]) sends what became of them. Everything here is generic over the machine and the
//! socket, so that the simulated ones run it too.
//!
//! Owns: the bytes between socket and engine, and their bounds. Never: streams, files, HTTP.

mod append;
mod connection;
mod control;
mod error;
mod event;
mod greeting;
mod intake;
mod outbox;
mod read;
mod reader;
mod receive;
mod watch;
mod writer;

#[cfg(test)]
mod simulated;

pub(crate) use event::Event;
pub(crate) use greeting::{Greeted, answer, greet, welcome};
pub(crate) use watch::CoreSessions;

use std::rc::Rc;

use weir_reactor::{Lane, Reactor, Socket};
use weir_stream::Engine;

use connection::Connection;

/// Serves a connection whose hello was answered, until it ends.
pub(crate) async fn serve<R: Reactor, S: Socket>(
    engine: &Engine<R>,
    sessions: &Rc<CoreSessions<S>>,
    socket: S,
) {
    let connection = Rc::new(Connection::new(engine.clone(), Rc::clone(sessions), socket));
    let writing = Rc::clone(&connection);
    engine
        .reactor()
        .spawn(Lane::Network, async move { writer::run(&writing).await });
    reader::run(&connection).await;
    connection.finished().await;
}
