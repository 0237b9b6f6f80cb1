//! One connection of the load: frames out of shared buffers, answers paired with what was sent.
//!
//! Nothing here waits. The socket is watched edge by edge, so whoever is told that it is ready
//! calls [`Connection::receive`] and [`Connection::flush`] until they have no more to do.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use mio::net::TcpStream;
use weir_protocol::wire::error::ErrorCode;
use weir_protocol::wire::frame::{self, Correlation};
use weir_protocol::wire::request::kind;
use weir_protocol::wire::response::{AppendOutcome, Response};

use super::ClientError;

/// Bytes read from a socket at once; an answer to an append of one batch is 52.
const INCOMING_BYTES: usize = 64 * 1024;
/// Longest answer that is waited for: an append's refusal carries at most 64 KiB of text.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// An append that waits for its answer. Times in nanoseconds since the run's start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flight {
    pub(crate) slot: usize,
    pub(crate) batch: u64,
    pub(crate) intended: u64,
    pub(crate) sent: u64,
    answered: bool,
}

impl Flight {
    pub(crate) fn new(slot: usize, batch: u64, intended: u64, sent: u64) -> Self {
        Self {
            slot,
            batch,
            intended,
            sent,
            answered: false,
        }
    }

    /// The same batch on its way once more.
    pub(crate) fn again(self) -> Self {
        Self {
            answered: false,
            ..self
        }
    }
}

/// What became of a flight.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Landing {
    Stored(weir_protocol::model::Offset),
    Refused(ErrorCode),
    /// Refused because its shard was split or merged, as a map of this version says.
    Closed {
        map_version: u32,
    },
}

/// Frames on their way into the socket.
struct Outgoing {
    buffer: Vec<u8>,
    sent: usize,
    end: usize,
}

pub(crate) struct Connection {
    socket: TcpStream,
    outgoing: Option<Outgoing>,
    incoming: Vec<u8>,
    filled: usize,
    /// Unanswered flights and answered ones behind them; the front has correlation `first`.
    flights: VecDeque<Flight>,
    first: u64,
    in_flight: usize,
}

impl Connection {
    /// Takes a socket on which hellos were exchanged and nothing else.
    pub(crate) fn new(socket: std::net::TcpStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: TcpStream::from_std(socket),
            outgoing: None,
            incoming: vec![0; INCOMING_BYTES],
            filled: 0,
            flights: VecDeque::new(),
            first: 1,
            in_flight: 0,
        })
    }

    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Appends without an answer.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether a buffer may be given to [`Self::load`].
    pub(crate) fn is_idle(&self) -> bool {
        self.outgoing.is_none()
    }

    /// The number for the next frame; its answer gives `flight` back.
    pub(crate) fn launch(&mut self, flight: Flight) -> Correlation {
        let correlation = Correlation(self.first + self.flights.len() as u64);
        self.flights.push_back(flight);
        self.in_flight += 1;
        correlation
    }

    /// Takes over `end` bytes of whole frames.
    pub(crate) fn load(&mut self, buffer: Vec<u8>, end: usize) {
        assert!(self.outgoing.is_none(), "one buffer at a time");
        self.outgoing = Some(Outgoing {
            buffer,
            sent: 0,
            end,
        });
    }

    /// Writes until all is written, then gives the buffer back; `None` when the socket is full.
    pub(crate) fn flush(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        let Some(outgoing) = &mut self.outgoing else {
            return Ok(None);
        };
        while outgoing.sent < outgoing.end {
            let rest = &outgoing.buffer[outgoing.sent..outgoing.end];
            match self.socket.write(rest) {
                Ok(0) => return Err(ClientError::Closed),
                Ok(count) => outgoing.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.outgoing.take().map(|outgoing| outgoing.buffer))
    }

    /// Reads once and calls `land` for every answer; `false` when nothing more is there to be read.
    pub(crate) fn receive(
        &mut self,
        mut land: impl FnMut(Flight, Landing),
    ) -> Result<bool, ClientError> {
        match self.socket.read(&mut self.incoming[self.filled..]) {
            Ok(0) => return Err(ClientError::Closed),
            Ok(count) => self.filled += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        // A read that did not fill the buffer emptied the socket: what comes later is a new edge.
        let more = self.filled == self.incoming.len();
        let mut at = 0;
        while let Some((answer, length)) = frame::decode(&self.incoming[at..self.filled])? {
            let unexpected = ClientError::Unexpected {
                kind: answer.kind,
                correlation: answer.correlation.0,
            };
            let landing = match Response::decode(&answer)? {
                Response::Appended(outcomes) if outcomes.len() == 1 => match outcomes[0] {
                    AppendOutcome::Stored { first_offset, .. } => Landing::Stored(first_offset),
                    AppendOutcome::Refused {
                        code: ErrorCode::ShardClosed,
                        map_version,
                        ..
                    } => Landing::Closed { map_version },
                    AppendOutcome::Refused { code, .. } => Landing::Refused(code),
                },
                Response::Error(error) => Landing::Refused(error.code),
                _ => return Err(unexpected),
            };
            let place = answer.correlation.0.checked_sub(self.first);
            let flight = place.and_then(|place| self.flights.get_mut(place as usize));
            match flight {
                Some(flight) if !flight.answered => {
                    flight.answered = true;
                    self.in_flight -= 1;
                    land(*flight, landing);
                }
                _ => return Err(unexpected),
            }
            while self.flights.front().is_some_and(|flight| flight.answered) {
                self.flights.pop_front();
                self.first += 1;
            }
            at += length;
        }
        self.incoming.copy_within(at..self.filled, 0);
        self.filled -= at;
        if self.filled == self.incoming.len() {
            if self.filled >= ANSWER_BYTES_MAX {
                return Err(ClientError::Unexpected {
                    kind: kind::APPEND | kind::ANSWER,
                    correlation: self.first,
                });
            }
            self.incoming.resize(2 * self.filled, 0);
        }
        Ok(more)
    }
}
