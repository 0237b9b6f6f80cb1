//! Proxies that tell the client what the server never said, or the server what the client never
//! sent: what the rig proves itself on.

use std::collections::HashSet;

use weir_protocol::model::{Offset, Timestamp};
use weir_protocol::wire::frame;
use weir_protocol::wire::hello::HELLO_BYTES;
use weir_protocol::wire::response::{AppendOutcome, encode_appended};

use super::fault::Way;

/// The append that is lied about: which one of its connection.
const VICTIM: u64 = 5;
/// A digit of a sequence number that counts hundreds of records.
const DIGIT: usize = 28;
const NUMBER: &[u8] = b"\"SequenceNumber\":\"";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// An append never reaches the server, and the client is told that it is stored.
    Forge,
    /// An append reaches the server twice; the client hears of one.
    Repeat,
    /// A digit of an answer over HTTP is another one.
    Flip,
    /// A frame reached the server whole, and the proxy says that it did not.
    Understate,
}

pub(super) const LIES: [(Lie, &str); 4] = [
    (Lie::Forge, "lost"),
    (Lie::Repeat, "twice"),
    (Lie::Flip, "it is also at"),
    (Lie::Understate, "a partial frame was appended"),
];

/// What a proxy changes of what goes through it.
pub(super) struct Filter {
    lie: Option<Lie>,
    /// Bytes of a frame that is not whole yet, each way.
    held: [Vec<u8>; 2],
    greeted: [bool; 2],
    appends: u64,
    /// Forged appends whose answer is due.
    forged: Vec<frame::Correlation>,
    answered: HashSet<u64>,
    flipped: bool,
}

impl Filter {
    pub(super) fn new(lie: Option<Lie>) -> Self {
        Self {
            lie,
            held: Default::default(),
            greeted: [false; 2],
            appends: 0,
            forged: Vec::new(),
            answered: HashSet::new(),
            flipped: false,
        }
    }

    pub(super) fn pass(&mut self, way: Way, bytes: Vec<u8>) -> Vec<u8> {
        match self.lie {
            None | Some(Lie::Understate) => bytes,
            Some(Lie::Flip) if way == Way::Up => bytes,
            Some(Lie::Flip) => self.flip(bytes),
            Some(lie) => self.frames(lie, way, &bytes),
        }
    }

    fn flip(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let at = bytes.windows(NUMBER.len()).position(|part| part == NUMBER);
        if let Some(digit) = at.and_then(|at| bytes.get_mut(at + NUMBER.len() + DIGIT))
            && !self.flipped
        {
            *digit = if *digit == b'9' { b'8' } else { *digit + 1 };
            self.flipped = true;
        }
        bytes
    }

    /// Whole frames of the binary protocol, with the lie among them.
    fn frames(&mut self, lie: Lie, way: Way, bytes: &[u8]) -> Vec<u8> {
        let side = way as usize;
        let mut held = std::mem::take(&mut self.held[side]);
        held.extend_from_slice(bytes);
        let (mut at, mut out) = (0, Vec::new());
        if !self.greeted[side] && held.len() >= HELLO_BYTES {
            self.greeted[side] = true;
            at = HELLO_BYTES;
            out.extend_from_slice(&held[..at]);
        }
        while self.greeted[side]
            && let Ok(Some((frame, length))) = frame::decode(&held[at..])
        {
            let whole = &held[at..at + length];
            match (way, lie) {
                (Way::Up, _) if !frame.bulk.is_empty() => {
                    self.appends += 1;
                    let is_victim = self.appends == VICTIM;
                    if is_victim && lie == Lie::Forge {
                        self.forged.push(frame.correlation);
                    } else {
                        out.extend_from_slice(whole);
                        if is_victim {
                            out.extend_from_slice(whole);
                        }
                    }
                }
                (Way::Down, _) if !self.answered.insert(frame.correlation.0) => {}
                _ => out.extend_from_slice(whole),
            }
            at += length;
        }
        held.drain(..at);
        self.held[side] = held;
        if way == Way::Down {
            for correlation in self.forged.drain(..) {
                let far = Offset::new(1 << 30).expect("an offset of the first epoch");
                let outcome = AppendOutcome::Stored {
                    first_offset: far,
                    arrival: Timestamp::from_millis(1_700_000_000_000),
                };
                encode_appended(std::iter::once(outcome), correlation, &mut out);
            }
        }
        out
    }
}
