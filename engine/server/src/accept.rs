//! Connections on their way in: accepted on an ordinary thread, counted, dealt to the cores.
//!
//! Owns: how many connections there may be. Never: a byte of one, but the refusal of a full house.

use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use weir_protocol::wire::hello::HelloStatus;
use weir_reactor::Mailbox;

use crate::core::CoreLetter;
use crate::session;

/// Connections to one port.
const CONNECTIONS_MAX: usize = 20_000;
/// Connections to the admin port when the other ports took all there may be.
pub(crate) const ADMIN_SPARE: usize = 32;
/// What a connection costs while it waits for its next request, by port: its task, its deadlines,
/// its socket. Measured: 3 KB (binary), 5 KB (HTTP/1.1 that was answered before).
const WIRE_SEAT_BYTES: usize = 4 * 1024;
const HTTP_SEAT_BYTES: usize = 6 * 1024;
/// The same with TLS's keys and buffers.
const HTTPS_SEAT_BYTES: usize = 48 * 1024;
/// Addresses without connections are forgotten when so many are known.
const ADDRESSES_KNOWN_MAX: usize = 4_096;

/// A connection's place among those there may be; dropping it gives the place back. The tokens'
/// own reference counts are the counters, so that no core shares anything else.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Of the house, of the port, of the address.
    _taken: [Arc<()>; 3],
    house: Arc<House>,
    bytes: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.house.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What all ports share: descriptors, and memory. A crowd at the doors must not take those that the
/// logs need to begin a segment or to read one.
#[derive(Debug, Default)]
pub(crate) struct House {
    all: Arc<()>,
    max: usize,
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl House {
    /// Room for `max` connections, of `bytes_max` in all.
    pub(crate) fn new(max: usize, bytes_max: usize) -> Self {
        Self {
            all: Arc::default(),
            max,
            bytes: AtomicUsize::new(0),
            bytes_max,
        }
    }

    /// How many connections there is room for, of all ports together.
    pub(crate) fn room(&self) -> usize {
        self.max
    }
}

/// Counts the connections of one port.
#[derive(Debug)]
pub(crate) struct Seats {
    house: Arc<House>,
    /// What each seat costs.
    bytes: usize,
    /// Beyond the house's own, for those who look after it.
    spare: usize,
    all: Arc<()>,
    address_max: usize,
    addresses: HashMap<IpAddr, Arc<()>>,
}

impl Seats {
    /// Gives each address at most `address_max` seats. This machine's own may have all: behind it
    /// stands a proxy, or whoever could take the server down in other ways.
    pub(crate) fn new(address_max: usize, house: Arc<House>, port: Port) -> Self {
        Self {
            house,
            bytes: match port {
                Port::Wire => WIRE_SEAT_BYTES,
                Port::Http => HTTP_SEAT_BYTES,
                Port::Https => HTTPS_SEAT_BYTES,
                // They have spare seats, and no others: little enough to be the process's.
                Port::Admin => 0,
            },
            spare: if port == Port::Admin { ADMIN_SPARE } else { 0 },
            all: Arc::default(),
            address_max,
            addresses: HashMap::new(),
        }
    }

    fn take(&mut self, address: IpAddr) -> Option<Seat> {
        let there = Arc::strong_count(&self.house.all) - 1;
        // Ports look at the same time, and each may take one beyond.
        let held = self.house.bytes.load(Ordering::Relaxed) + self.bytes;
        if self.bytes > 0 && held > self.house.bytes_max {
            return None;
        }
        if there >= self.house.max + self.spare || Arc::strong_count(&self.all) > CONNECTIONS_MAX {
            return None;
        }
        if self.addresses.len() >= ADDRESSES_KNOWN_MAX {
            self.addresses
                .retain(|_, token| Arc::strong_count(token) > 1);
        }
        let address = address.to_canonical();
        let token = self.addresses.entry(address).or_default();
        if !address.is_loopback() && Arc::strong_count(token) > self.address_max {
            return None;
        }
        self.house.bytes.fetch_add(self.bytes, Ordering::Relaxed);
        Some(Seat {
            _taken: [
                Arc::clone(&self.house.all),
                Arc::clone(&self.all),
                Arc::clone(token),
            ],
            house: Arc::clone(&self.house),
            bytes: self.bytes,
        })
    }
}

/// What a port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// The Kinesis HTTP API.
    Http,
    /// The same behind TLS.
    Https,
    /// The binary protocol.
    Wire,
    /// Health and metrics, on core 0.
    Admin,
}

/// How many connections were refused since the start; shared by the ports' threads, which count,
/// and the page that prints it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusals {
    counts: Arc<[AtomicU64; 4]>,
}

impl Refusals {
    fn count(&self, port: Port) {
        self.counts[port as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Each protocol's name, and its connections refused.
    pub(crate) fn so_far(&self) -> [(&'static str, u64); 4] {
        let of = |port: Port| self.counts[port as usize].load(Ordering::Relaxed);
        [
            ("http", of(Port::Http)),
            ("https", of(Port::Https)),
            ("binary", of(Port::Wire)),
            ("admin", of(Port::Admin)),
        ]
    }
}

/// Takes connections of one port and deals them to the cores in turn.
pub(crate) fn dealer(
    port: Port,
    cores: Vec<Mailbox<CoreLetter>>,
    mut seats: Seats,
    refusals: Refusals,
) -> impl FnMut(OwnedFd, SocketAddr) + Send + 'static {
    let mut turn = 0;
    move |descriptor, peer| {
        let Some(seat) = seats.take(peer.ip()) else {
            tracing::warn!(%peer, ?port, "too many connections: one was refused");
            refusals.count(port);
            refuse(port, descriptor, cores.len());
            return;
        };
        let core = if port == Port::Admin { 0 } else { turn };
        turn = (turn + 1) % cores.len();
        let letter = CoreLetter::Connection {
            port,
            descriptor,
            peer: peer.ip(),
            seat,
        };
        if let Err(CoreLetter::Connection { descriptor, .. }) = cores[core].send(letter) {
            tracing::warn!(%peer, ?port, "core {core} takes no more connections now");
            refusals.count(port);
            refuse(port, descriptor, cores.len());
        }
    }
}

/// Tells a client of ours that the house is full; others see the connection close.
fn refuse(port: Port, descriptor: OwnedFd, cores: usize) {
    if port == Port::Wire {
        let mut stream = TcpStream::from(descriptor);
        // A fresh connection has room for 64 bytes; if not, it is closed without a word.
        let _ = stream
            .set_nonblocking(true)
            .and_then(|()| stream.write(&session::answer(HelloStatus::Busy, 0, cores as u32)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_house_keeps_a_door_for_who_looks_after_it() {
        let house = Arc::new(House::new(2, usize::MAX));
        let mut http = Seats::new(1, Arc::clone(&house), Port::Http);
        let mut wire = Seats::new(1, Arc::clone(&house), Port::Wire);
        let mut admin = Seats::new(1, house, Port::Admin);
        let here = IpAddr::from([127, 0, 0, 1]);
        let seat = http.take(here).unwrap();
        let _other = wire.take(here).unwrap();
        assert!(http.take(here).is_none() && wire.take(here).is_none());
        let spare: Vec<_> = (0..ADMIN_SPARE)
            .map(|_| admin.take(here).unwrap())
            .collect();
        assert!(admin.take(here).is_none());
        drop(spare);
        drop(seat);
        assert!(wire.take(here).is_some());
    }

    #[test]
    fn seats_are_counted_and_given_back() {
        let mut seats = Seats::new(1_000, Arc::new(House::new(2_000, usize::MAX)), Port::Http);
        let there = IpAddr::from([192, 0, 2, 1]);
        let mut taken: Vec<_> = (0..1_000).map(|_| seats.take(there).unwrap()).collect();
        assert!(seats.take(there).is_none());
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        assert!(seats.take(mapped).is_none(), "it is the same address");
        assert!(seats.take(IpAddr::from([192, 0, 2, 2])).is_some());
        taken.pop();
        assert!(seats.take(there).is_some());
    }

    #[test]
    fn this_machine_may_have_all_seats_there_are() {
        let house = Arc::new(House::new(2 * CONNECTIONS_MAX, usize::MAX));
        let mut seats = Seats::new(1, house, Port::Http);
        let here = IpAddr::from([127, 0, 0, 1]);
        let taken: Vec<_> = (0..CONNECTIONS_MAX)
            .map(|_| seats.take(here).unwrap())
            .collect();
        assert!(seats.take(here).is_none());
        drop(taken);
        assert!(seats.take(here).is_some());
    }

    #[test]
    fn what_connections_cost_has_a_bound_of_its_own() {
        let house = Arc::new(House::new(1_000, 3 * HTTP_SEAT_BYTES));
        let mut http = Seats::new(1, Arc::clone(&house), Port::Http);
        let mut wire = Seats::new(1, Arc::clone(&house), Port::Wire);
        let mut admin = Seats::new(1, Arc::clone(&house), Port::Admin);
        let here = IpAddr::from([127, 0, 0, 1]);
        let mut taken: Vec<_> = (0..3).map(|_| http.take(here).unwrap()).collect();
        assert!(http.take(here).is_none() && wire.take(here).is_none());
        assert!(admin.take(here).is_some());
        taken.pop();
        assert!(wire.take(here).is_some());
        drop(taken);
        assert_eq!(house.bytes.load(Ordering::Relaxed), 0);
    }
}
