//! The threads around a `put`: one reads the input, one per connection takes answers.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded};
use weir_protocol::wire::frame::Correlation;
use weir_protocol::wire::response::{AppendOutcome, Response};

use crate::cli::client::{FrameReader, refusal};
use crate::cli::failure::Failure;

const PIECE_BYTES: usize = 256 * 1024;

/// What a connection's reading thread has to say.
pub(super) enum Event {
    Answer {
        slot: usize,
        /// Which departure of the slot's it is about.
        departure: u32,
        outcome: Result<AppendOutcome, Failure>,
    },
    Lost {
        core: u32,
        connection: u64,
        failure: Failure,
    },
    /// Take no more input, and end once everything taken is stored.
    Interrupted,
}

/// Reads the input on a thread of its own; the channel ends when the input does.
pub(super) fn read_input(file: Option<&Path>) -> Result<Receiver<io::Result<Vec<u8>>>, Failure> {
    let mut source: Box<dyn Read + Send> = match file {
        Some(path) if path != Path::new("-") => Box::new(File::open(path).map_err(|error| {
            Failure::could_not_run(format!("cannot read {}: {error}", path.display()))
        })?),
        _ => Box::new(io::stdin()),
    };
    let (pieces, input) = bounded(4);
    thread::spawn(move || {
        loop {
            let mut piece = vec![0; PIECE_BYTES];
            let outcome = match source.read(&mut piece) {
                Ok(0) => return,
                Ok(count) => {
                    piece.truncate(count);
                    Ok(piece)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let ended = outcome.is_err();
            if pieces.send(outcome).is_err() || ended {
                return;
            }
        }
    });
    Ok(input)
}

/// The correlation of a slot's departure.
pub(super) fn correlation(slot: usize, departure: u32) -> Correlation {
    Correlation(u64::from(departure) << 32 | slot as u64)
}

/// What [`correlation`] was made of.
fn named_by(correlation: Correlation) -> (usize, u32) {
    let slot = correlation.0 as u32;
    (slot as usize, (correlation.0 >> 32) as u32)
}

/// Takes a connection's answers until it ends.
pub(super) fn take_answers(
    mut frames: FrameReader,
    core: u32,
    connection: u64,
    answers: &Sender<Event>,
) {
    let failure = loop {
        let frame = match frames.next() {
            Ok(frame) => frame,
            Err(failure) => break failure,
        };
        let (slot, departure) = named_by(frame.correlation);
        let outcome = match Response::decode(&frame) {
            Ok(Response::Appended(outcomes)) if outcomes.len() == 1 => Ok(outcomes[0]),
            Ok(Response::Error(error)) => Err(refusal(&error)),
            Ok(_) => break Failure::could_not_run("the server sent an answer of another kind"),
            Err(error) => {
                break Failure::could_not_run(format!("the server sent nonsense: {error}"));
            }
        };
        let answer = Event::Answer {
            slot,
            departure,
            outcome,
        };
        if answers.send(answer).is_err() {
            return;
        }
    };
    // Nobody listens any more when all is done.
    let _ = answers.send(Event::Lost {
        core,
        connection,
        failure,
    });
}
