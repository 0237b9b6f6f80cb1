//! Fetches shards from their beginning to their tip, parents before children, asking for the next
//! piece before judging this one.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use weir_protocol::batch::BatchView;
use weir_protocol::limits::MIB;
use weir_protocol::model::{Offset, ShardId, ShardIndex, StreamId};
use weir_protocol::wire::error::{ErrorCode, WireError};
use weir_protocol::wire::frame::Correlation;
use weir_protocol::wire::request::{ReadFrom, ReadRequest, Request, kind};
use weir_protocol::wire::response::{ReadAnswer, Response};

use super::check::Check;
use super::family::Plan;
use super::{Evidence, Verified, VerifyError};
use crate::client::ClientError;
use crate::client::control::Control;

/// Bytes of batches asked for in one read.
const READ_BYTES: u32 = 4 * MIB;
/// Between two tries of a read that was throttled.
const THROTTLE_PAUSE: Duration = Duration::from_millis(100);

/// How to read a stream back.
pub(crate) struct Reader<'a> {
    pub(crate) server: SocketAddr,
    pub(crate) stream: StreamId,
    pub(crate) timeout: Duration,
    /// The stream's retention may delete records while they are read.
    pub(crate) trims: bool,
    pub(crate) evidence: &'a Evidence<'a>,
}

/// Where a shard is read, and what arrived.
struct Cursor<'c, 'e> {
    check: &'c mut Check<'e>,
    shard: ShardId,
    at: Offset,
    /// The tip of the first answer: what came later is not this run's.
    until: Option<Offset>,
}

impl Reader<'_> {
    /// Reads and judges the shards of `slots`, and of others that share a shard with them. How many
    /// shards that was comes with what was found.
    pub(crate) fn verify(&self, slots: &[usize]) -> Result<(Verified, usize), VerifyError> {
        let plan = self.evidence.plan(slots);
        let mut check = Check::new(self.evidence);
        self.excuse_forgotten(&plan, &mut check);
        let mut connected: Option<(u32, Control)> = None;
        for reading in &plan.readings {
            let shard = &reading.shard;
            let mut control = match connected.take() {
                Some((core, control)) if core == shard.core => control,
                _ => Control::connect(self.server, shard.core, self.timeout)?,
            };
            check.begin(shard);
            if let Some(start) = self.start(&plan, shard.index) {
                let id = ShardId::new(self.stream, shard.index);
                self.read(&mut control, &mut check, id, start)?;
            }
            connected = Some((shard.core, control));
            for slot in &reading.ends {
                check.finish(*slot)?;
            }
        }
        for slot in &plan.lost {
            check.finish(*slot)?;
        }
        Ok((check.verified(), plan.readings.len()))
    }

    /// Where to begin in a shard; `None` if there is nothing of this run to be looked for.
    fn start(&self, plan: &Plan, shard: ShardIndex) -> Option<Offset> {
        if self.evidence.alone {
            // Also where nothing was acknowledged, for what should not be there.
            return Some(Offset::ZERO);
        }
        let stored = plan.slots.iter().flat_map(|slot| {
            let ledgers = self.evidence.ledgers.iter();
            ledgers.flat_map(|ledger| ledger.stored(*slot))
        });
        let here = stored.filter(|(home, _)| *home == shard);
        here.map(|(_, first)| first).min().and_then(Offset::new)
    }

    /// A closed shard whose records are all past their retention is gone itself.
    fn excuse_forgotten(&self, plan: &Plan, check: &mut Check<'_>) {
        if !self.trims {
            return;
        }
        let homes = plan.slots.iter().flat_map(|slot| {
            let ledgers = self.evidence.ledgers.iter();
            ledgers.flat_map(|ledger| ledger.homes(*slot))
        });
        let known = |home: &ShardIndex| self.evidence.shards.iter().any(|s| s.index == *home);
        let gone: BTreeSet<ShardIndex> = homes.filter(|home| !known(home)).collect();
        for shard in gone {
            check.trimmed(shard, Offset::MAX);
        }
    }

    fn read(
        &self,
        control: &mut Control,
        check: &mut Check<'_>,
        shard: ShardId,
        start: Offset,
    ) -> Result<(), VerifyError> {
        let mut cursor = Cursor {
            check,
            shard,
            at: start,
            until: None,
        };
        let (mut current, mut spare) = (Vec::new(), Vec::new());
        let mut asked = control.send(&read_request(shard, ReadFrom::Offset(start), READ_BYTES))?;
        loop {
            let answer = self.answer(control, &cursor, asked, &mut current)?;
            let until = *cursor.until.get_or_insert(answer.tip);
            let next = answer.next;
            let end = next >= until || answer.at_end;
            if !end {
                if next <= cursor.at || answer.count == 0 {
                    let what = format!(
                        "a read of {} batches leads to offset {next}, the tip is {until}",
                        answer.count
                    );
                    return Err(cursor.check.wrong(cursor.at, None, what).into());
                }
                asked = control.send(&read_request(shard, ReadFrom::Offset(next), READ_BYTES))?;
            }
            let jump = cursor.judge(&answer, self.trims)?;
            cursor.at = next;
            std::mem::swap(&mut current, &mut spare);
            if let Some(jump) = jump {
                // The answer on its way must be taken before another question is asked.
                let pending = (!end).then_some(asked);
                self.confirm_horizon(control, &mut cursor, jump, pending)?;
                if !end {
                    let from = ReadFrom::Offset(next);
                    asked = control.send(&read_request(shard, from, READ_BYTES))?;
                }
            }
            if end {
                return Ok(());
            }
        }
    }

    /// Takes a read's answer, asking again while the shard's read quota is used up.
    fn answer<'b>(
        &self,
        control: &mut Control,
        cursor: &Cursor<'_, '_>,
        mut asked: Correlation,
        buffer: &'b mut Vec<u8>,
    ) -> Result<ReadAnswer<'b>, VerifyError> {
        let started = Instant::now();
        loop {
            let error = match control.receive(asked, buffer)? {
                Response::Error(error) => error,
                Response::Records(_) => break,
                _ => {
                    return Err(ClientError::Unexpected {
                        kind: kind::READ,
                        correlation: asked.0,
                    }
                    .into());
                }
            };
            if error.code == ErrorCode::Damaged {
                let what = format!("the server says it is damaged: {}", error.text);
                return Err(cursor.check.wrong(cursor.at, None, what).into());
            }
            let again = matches!(error.code, ErrorCode::Throttled | ErrorCode::Overloaded);
            if !again || started.elapsed() > self.timeout {
                return Err(ClientError::Server(error).into());
            }
            std::thread::sleep(THROTTLE_PAUSE);
            let from = ReadFrom::Offset(cursor.at);
            asked = control.send(&read_request(cursor.shard, from, READ_BYTES))?;
        }
        // Decoded a second time because the borrow of the loop cannot leave it.
        let (frame, _) = weir_protocol::wire::frame::decode(buffer)
            .map_err(ClientError::from)?
            .expect("the frame was whole");
        match Response::decode(&frame).map_err(ClientError::from)? {
            Response::Records(answer) => Ok(answer),
            _ => unreachable!("the same bytes decode alike"),
        }
    }

    /// Records below `jump` were passed over: the server must say that it keeps none of them.
    fn confirm_horizon(
        &self,
        control: &mut Control,
        cursor: &mut Cursor<'_, '_>,
        jump: Offset,
        pending: Option<Correlation>,
    ) -> Result<(), VerifyError> {
        let mut buffer = Vec::new();
        if let Some(pending) = pending {
            control.receive(pending, &mut buffer)?;
        }
        let request = read_request(cursor.shard, ReadFrom::TrimHorizon, 1);
        let deadline = Instant::now() + self.timeout;
        let oldest = loop {
            let asked = control.send(&request)?;
            match control.receive(asked, &mut buffer)? {
                Response::Records(answer) => {
                    let first = BatchView::decode(answer.batches);
                    break first.map_or(answer.next, |batch| batch.header.first_offset);
                }
                Response::Error(WireError {
                    code: ErrorCode::Throttled,
                    ..
                }) if Instant::now() < deadline => std::thread::sleep(THROTTLE_PAUSE),
                Response::Error(error) => return Err(ClientError::Server(error).into()),
                _ => {
                    return Err(ClientError::Unexpected {
                        kind: kind::READ,
                        correlation: asked.0,
                    }
                    .into());
                }
            }
        };
        if oldest < jump {
            let what = format!("a read jumps to offset {jump}, the oldest kept is {oldest}");
            return Err(cursor.check.wrong(cursor.at, None, what).into());
        }
        Ok(())
    }
}

impl Cursor<'_, '_> {
    /// Judges one answer. Gives back where it begins, if that is behind what was asked for and
    /// the stream trims: whatever lies between may be gone.
    fn judge(
        &mut self,
        answer: &ReadAnswer<'_>,
        trims: bool,
    ) -> Result<Option<Offset>, VerifyError> {
        let mut rest = answer.batches;
        let mut jump = None;
        let mut expected = self.at;
        for number in 0..answer.count {
            let batch = BatchView::decode(rest).map_err(|error| {
                let what = format!("damaged: {error}");
                self.check.wrong(expected, None, what)
            })?;
            let first = batch.header.first_offset;
            if number == 0 && trims && first > self.at {
                self.check.trimmed_to(first);
                jump = Some(first);
            }
            self.check.batch(
                &batch,
                self.at,
                answer.next.min(self.until.unwrap_or(answer.next)),
            )?;
            expected = batch.header.next_offset();
            rest = &rest[batch.as_bytes().len()..];
        }
        if trims && answer.count == 0 && answer.next > self.at {
            self.check.trimmed_to(answer.next);
            jump = Some(answer.next);
        }
        if rest.is_empty() {
            return Ok(jump);
        }
        let what = format!("{} bytes behind the last batch of a read", rest.len());
        Err(self.check.wrong(expected, None, what).into())
    }
}

fn read_request(shard: ShardId, from: ReadFrom, bytes_max: u32) -> Request<'static> {
    Request::Read(ReadRequest {
        shard,
        from,
        bytes_max,
        wait_ms: 0,
    })
}
