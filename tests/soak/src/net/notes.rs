//! What one connection's client sends and hears, on its way into the ledger.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use crate::chance::{Chance, hash};
use crate::load::{Ledger, content};

/// Records of a batch, and bytes of a record, at most.
const RECORDS_MAX: u64 = 20;
const BYTES_MAX: u64 = 700;

/// A record as it is sent.
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) data: Vec<u8>,
}

/// One connection's part of the ledger.
pub(crate) struct Notes {
    ledger: Ledger,
    /// Serials of the connection begin with it.
    connection: u64,
    next: u64,
    /// Where each batch's last byte is among all that was sent.
    ends: Vec<(u64, u64)>,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
}

impl Notes {
    /// `connection` is one of its own, below 2^24.
    pub(crate) fn open(ledger: &Path, connection: u64) -> Result<Self> {
        Ok(Self {
            ledger: Ledger::open(ledger)?,
            connection,
            next: 0,
            ends: Vec::new(),
            acknowledged: 0,
            refused: 0,
        })
    }

    /// The next batch's serial and records, noted before a byte of it is sent.
    pub(crate) fn make(&mut self, shard: u32, chance: &mut Chance) -> (u64, Vec<Record>) {
        let serial = self.connection << 40 | self.next;
        self.next += 1;
        let lines = &mut self.ledger.lines;
        let _ = write!(lines, "sent {serial:x} {shard}");
        let mut records = Vec::new();
        for place in 0..chance.between(1, RECORDS_MAX) {
            let key = format!("key-{:02}", chance.next() % 100);
            let data = content(serial, place, chance.between(16, BYTES_MAX));
            let _ = write!(lines, " {:x}:{:x}", hash(key.as_bytes()), hash(&data));
            records.push(Record { key, data });
        }
        lines.push('\n');
        (serial, records)
    }

    /// All of a batch was given away once `end` bytes were.
    pub(crate) fn ends(&mut self, serial: u64, end: u64) {
        self.ends.push((serial, end));
    }

    /// `None`: it was refused.
    pub(crate) fn answered(&mut self, serial: u64, number: Option<String>) {
        match number {
            Some(number) => {
                let _ = writeln!(self.ledger.lines, "stored {serial:x} {number} 0");
                self.acknowledged += 1;
            }
            None => self.refused += 1,
        }
    }

    /// The connection is over: of what it sent, the server was given `passed` bytes.
    pub(crate) fn close(mut self, passed: u64) -> Result<(u64, u64, u64)> {
        let mut held = 0;
        for (serial, end) in &self.ends {
            if *end > passed {
                let _ = writeln!(self.ledger.lines, "held {serial:x}");
                held += 1;
            }
        }
        self.ledger.flush(0)?;
        Ok((self.acknowledged, self.refused, held))
    }
}
