//! A bare io_uring loop: whole pieces at following places, a fixed number in flight.
#![expect(
    unsafe_code,
    reason = "io_uring is measured without a layer: the kernel is handed raw pointers"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "a measurement has the real clock; nothing here runs in the simulator"
)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode, types};

use crate::samples::Samples;

/// Direct I/O wants memory that begins on a block.
pub(crate) const BLOCK_BYTES: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Write,
    Read,
}

/// What to move: `pieces` of `piece_bytes`, one after the other over all files and round again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfer {
    pub(crate) direction: Direction,
    /// A multiple of the block that divides the file size.
    pub(crate) piece_bytes: usize,
    pub(crate) pieces: usize,
    pub(crate) in_flight: usize,
    pub(crate) file_bytes: u64,
}

/// What a transfer took.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) bytes: u64,
    pub(crate) wall: Duration,
    pub(crate) samples: Samples,
}

#[repr(C, align(4096))]
#[derive(Clone)]
pub(crate) struct Block([u8; BLOCK_BYTES]);

/// Bytes that no device can shorten: a xorshift sequence.
pub(crate) fn noise(bytes: usize) -> Vec<Block> {
    let mut blocks = vec![Block([0; BLOCK_BYTES]); bytes.div_ceil(BLOCK_BYTES)];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for block in &mut blocks {
        for word in block.0.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
    }
    blocks
}

/// Runs one transfer to its end. An error or a short count of any piece ends it.
pub(crate) fn run(files: &[File], transfer: Transfer) -> io::Result<Moved> {
    let Transfer {
        piece_bytes,
        pieces,
        in_flight,
        file_bytes,
        ..
    } = transfer;
    assert!(
        piece_bytes.is_multiple_of(BLOCK_BYTES) && file_bytes.is_multiple_of(piece_bytes as u64)
    );
    // The ring is declared last, so that it is closed, and its work ended, before the memory goes.
    let mut buffers: Vec<Vec<Block>> = (0..in_flight).map(|_| noise(piece_bytes)).collect();
    let mut begun = vec![Instant::now(); in_flight];
    let mut ring = IoUring::new(in_flight.next_power_of_two() as u32)?;
    let mut samples = Samples::with_capacity(pieces);
    let (mut submitted, mut done) = (0, 0);
    let started = Instant::now();
    let mut idle: Vec<usize> = (0..in_flight).collect();
    let mut failed = None;
    while done < pieces && (failed.is_none() || idle.len() < in_flight) {
        while failed.is_none() && submitted < pieces {
            let Some(buffer) = idle.pop() else { break };
            let place = submitted as u64 * piece_bytes as u64;
            let file = &files[(place / file_bytes) as usize % files.len()];
            let fd = types::Fd(file.as_raw_fd());
            let (at, length) = (place % file_bytes, piece_bytes as u32);
            let memory = buffers[buffer].as_mut_ptr().cast::<u8>();
            let entry = match transfer.direction {
                Direction::Write => opcode::Write::new(fd, memory, length).offset(at).build(),
                Direction::Read => opcode::Read::new(fd, memory, length).offset(at).build(),
            };
            begun[buffer] = Instant::now();
            // SAFETY: the buffer is `piece_bytes` long, is used by this piece only until its
            // completion puts it back among the idle ones, and this function does not return
            // while a piece is in flight; the files outlive it.
            let pushed = unsafe { ring.submission().push(&entry.user_data(buffer as u64)) };
            assert!(
                pushed.is_ok(),
                "the ring holds as many entries as there are buffers"
            );
            submitted += 1;
        }
        match ring.submit_and_wait(1) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Nothing is known of what was handed over: the memory must stay for ever.
            Err(error) => {
                std::mem::forget(buffers);
                return Err(error);
            }
        }
        for completion in ring.completion() {
            let buffer = completion.user_data() as usize;
            samples.push(begun[buffer].elapsed());
            idle.push(buffer);
            done += 1;
            match usize::try_from(completion.result()) {
                Ok(moved) if moved == piece_bytes => {}
                Ok(moved) => {
                    let what = format!("{moved} of {piece_bytes} bytes moved");
                    failed = Some(io::Error::other(what));
                }
                Err(_) => failed = Some(io::Error::from_raw_os_error(-completion.result())),
            }
        }
    }
    let wall = started.elapsed();
    match failed {
        Some(error) => Err(error),
        None => Ok(Moved {
            bytes: pieces as u64 * piece_bytes as u64,
            wall,
            samples,
        }),
    }
}
