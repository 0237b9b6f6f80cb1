//! Who is at the other end of a connection.
//!
//! Owns: where it comes from, and whether it has shown who it is. Never: what it has to show; that is
//! [`crate::identity`]'s for HTTP, and a hello in the binary protocol.

use std::cell::Cell;
use std::net::IpAddr;

/// The other end of one connection. At first it is a stranger.
#[derive(Debug)]
pub struct Caller {
    address: IpAddr,
    is_known: Cell<bool>,
    is_turned_away: Cell<bool>,
}

impl Caller {
    /// Somebody who has shown nothing.
    pub fn new(address: IpAddr) -> Self {
        Self {
            address: address.to_canonical(),
            is_known: Cell::new(false),
            is_turned_away: Cell::new(false),
        }
    }

    /// Where it is, as far as the connection tells.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether it has shown who it is, or need not.
    pub fn is_known(&self) -> bool {
        self.is_known.get()
    }

    /// It has shown who it is, for as long as the connection lasts.
    pub fn becomes_known(&self) {
        self.is_known.set(true);
    }

    /// Its connection of HTTP/2 is to end when what it asked is answered; HTTP/1.1 has a header for it.
    pub(crate) fn turn_away(&self) {
        self.is_turned_away.set(true);
    }

    pub(crate) fn is_turned_away(&self) -> bool {
        self.is_turned_away.get()
    }
}
