//! The kernel's FUSE protocol, as far as a folder with one file needs it.
//!
//! Numbers are the kernel's own; it speaks the byte order of the machine, little-endian where rigs run.

use std::io::{self, Write};

/// What the kernel may write or read at once.
pub(super) const TRANSFER_BYTES: usize = 1 << 20;
/// A request with its headers fits.
pub(super) const REQUEST_BYTES: usize = TRANSFER_BYTES + (64 << 10);
/// The only file's name.
pub(super) const NAME: &str = "disk";

pub(super) const EIO: i32 = 5;
const ENOENT: i32 = 2;
const ENOSYS: i32 = 38;

const HEADER_BYTES: usize = 40;
const ROOT: u64 = 1;
const DISK: u64 = 2;
/// Nothing changes behind the kernel's back.
const VALID_SECONDS: u64 = 1 << 30;

/// What the kernel asks of the file; all else is answered here.
#[derive(Debug)]
pub(super) enum Ask<'a> {
    Read { offset: u64, bytes: usize },
    Write { offset: u64, data: &'a [u8] },
    Flush,
}

/// A request, and the number its answer must name.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) unique: u64,
    pub(super) ask: Ask<'a>,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..at + 8).and_then(|word| word.try_into().ok());
    word.map_or(0, u64::from_le_bytes)
}

/// An answer is one write: that is how the kernel tells them apart.
pub(super) fn answer(mut to: impl Write, unique: u64, error: i32, body: &[u8]) -> io::Result<()> {
    let mut out = Vec::with_capacity(16 + body.len());
    out.extend_from_slice(&(16 + body.len() as u32).to_le_bytes());
    out.extend_from_slice(&(-error).to_le_bytes());
    out.extend_from_slice(&unique.to_le_bytes());
    out.extend_from_slice(body);
    to.write_all(&out)
}

/// The answer to a write of so many bytes.
pub(super) fn written(bytes: usize) -> [u8; 8] {
    (bytes as u64).to_le_bytes()
}

/// Words of different widths, one after the other.
#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn u16(mut self, word: u16) -> Self {
        self.0.extend_from_slice(&word.to_le_bytes());
        self
    }

    fn u32(mut self, word: u32) -> Self {
        self.0.extend_from_slice(&word.to_le_bytes());
        self
    }

    fn u64(mut self, word: u64) -> Self {
        self.0.extend_from_slice(&word.to_le_bytes());
        self
    }

    fn attributes(self, node: u64, file_bytes: u64) -> Self {
        let (bytes, mode, links) = match node {
            ROOT => (0, 0o040_700, 2),
            _ => (file_bytes, 0o100_600, 1),
        };
        let times = self.u64(node).u64(bytes).u64(bytes / 512);
        let owner = times.u64(0).u64(0).u64(0).u32(0).u32(0).u32(0);
        let owner = owner.u32(mode).u32(links).u32(0).u32(0);
        owner.u32(0).u32(4096).u32(0)
    }
}

/// Reads one request. What needs nothing of the file is answered, and then there is none to return.
pub(super) fn take(
    request: &[u8],
    file_bytes: u64,
    to: impl Write,
) -> io::Result<Option<Request<'_>>> {
    const ASYNC_READ: u32 = 1;
    const BIG_WRITES: u32 = 1 << 5;
    const ASYNC_DIRECT: u32 = 1 << 15;
    const MAX_PAGES: u32 = 1 << 22;
    let (operation, unique) = (u32_at(request, 4), u64_at(request, 8));
    let node = u64_at(request, 16);
    let body = request.get(HEADER_BYTES..).unwrap_or_default();
    let out = match operation {
        // LOOKUP
        1 if node == ROOT && body == b"disk\0" => {
            let entry = Body::default().u64(DISK).u64(0);
            let entry = entry.u64(VALID_SECONDS).u64(VALID_SECONDS).u32(0).u32(0);
            entry.attributes(DISK, file_bytes)
        }
        1 => return answer(to, unique, ENOENT, &[]).map(|()| None),
        // FORGET, INTERRUPT, BATCH_FORGET: nobody waits for an answer.
        2 | 36 | 42 => return Ok(None),
        // GETATTR
        3 => {
            let valid = Body::default().u64(VALID_SECONDS).u32(0).u32(0);
            valid.attributes(node, file_bytes)
        }
        // OPEN, OPENDIR
        14 | 27 => Body::default().u64(0).u32(0).u32(0),
        // READ
        15 => {
            let ask = Ask::Read {
                offset: u64_at(body, 8),
                bytes: u32_at(body, 16) as usize,
            };
            return Ok(Some(Request { unique, ask }));
        }
        // WRITE
        16 => {
            let data = body.get(40..).unwrap_or_default();
            let ask = Ask::Write {
                offset: u64_at(body, 8),
                data: &data[..data.len().min(u32_at(body, 16) as usize)],
            };
            return Ok(Some(Request { unique, ask }));
        }
        // FSYNC
        20 => {
            let ask = Ask::Flush;
            return Ok(Some(Request { unique, ask }));
        }
        // RELEASE, FLUSH (a close, no flush of the device), RELEASEDIR, DESTROY
        18 | 25 | 29 | 38 => Body::default(),
        // INIT
        26 => {
            let flags = ASYNC_READ | BIG_WRITES | ASYNC_DIRECT | MAX_PAGES;
            let out = Body::default().u32(7).u32(31).u32(u32_at(body, 8));
            let out = out.u32(flags & u32_at(body, 12)).u16(64).u16(48);
            let pages = (TRANSFER_BYTES / 4096) as u16;
            let out = out.u32(TRANSFER_BYTES as u32).u32(1).u16(pages).u16(0);
            (0..8).fold(out, |out, _| out.u32(0))
        }
        _ => return answer(to, unique, ENOSYS, &[]).map(|()| None),
    };
    answer(to, unique, 0, &out.0).map(|()| None)
}
