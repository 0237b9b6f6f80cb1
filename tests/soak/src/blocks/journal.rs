//! What a recorded disk was told, in order: the journal of one recording.
//!
//! Two files. `journal` is entries of equal length, one for each thing that happened; `written` is the
//! bytes of all writes. A moment is a number of entries: the length of `journal` is the clock that
//! the disk and the load share.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

const ENTRY_BYTES: u64 = 32;

/// What happened to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A write arrived; its bytes are in `written` at `from`.
    Write { id: u64, place: Place },
    /// It was about to be answered.
    Wrote { id: u64 },
    /// A flush arrived: it covers every write that was answered.
    Flush { id: u64 },
    /// It was about to be answered.
    Flushed { id: u64 },
}

/// Where bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) bytes: u32,
    pub(super) from: u64,
}

impl Event {
    fn encode(self) -> [u8; ENTRY_BYTES as usize] {
        let none = Place {
            offset: 0,
            bytes: 0,
            from: 0,
        };
        let (kind, id, place) = match self {
            Self::Write { id, place } => (1_u32, id, place),
            Self::Wrote { id } => (2, id, none),
            Self::Flush { id } => (3, id, none),
            Self::Flushed { id } => (4, id, none),
        };
        let mut out = [0; ENTRY_BYTES as usize];
        out[..4].copy_from_slice(&kind.to_le_bytes());
        out[4..8].copy_from_slice(&place.bytes.to_le_bytes());
        out[8..16].copy_from_slice(&id.to_le_bytes());
        out[16..24].copy_from_slice(&place.offset.to_le_bytes());
        out[24..].copy_from_slice(&place.from.to_le_bytes());
        out
    }

    fn decode(entry: &[u8]) -> Result<Self> {
        let (kinds, words) = entry.split_at(8);
        let word =
            |at: usize| Ok::<_, anyhow::Error>(u64::from_le_bytes(words[at..at + 8].try_into()?));
        let id = word(0)?;
        Ok(match u32::from_le_bytes(kinds[..4].try_into()?) {
            1 => Self::Write {
                id,
                place: Place {
                    offset: word(8)?,
                    bytes: u32::from_le_bytes(kinds[4..].try_into()?),
                    from: word(16)?,
                },
            },
            2 => Self::Wrote { id },
            3 => Self::Flush { id },
            4 => Self::Flushed { id },
            kind => bail!("an entry of kind {kind}"),
        })
    }
}

/// A journal that is being written.
pub(super) struct Journal {
    entries: File,
    written: File,
    bytes: u64,
}

impl Journal {
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        Ok(Self {
            entries: File::create_new(folder.join("journal"))?,
            written: File::create_new(folder.join("written"))?,
            bytes: 0,
        })
    }

    pub(super) fn write(&mut self, id: u64, offset: u64, data: &[u8]) -> io::Result<()> {
        self.written.write_all(data)?;
        let place = Place {
            offset,
            bytes: data.len() as u32,
            from: self.bytes,
        };
        self.bytes += data.len() as u64;
        self.note(Event::Write { id, place })
    }

    pub(super) fn note(&mut self, event: Event) -> io::Result<()> {
        self.entries.write_all(&event.encode())
    }
}

/// The moment now, of a disk that may still be written.
pub(crate) fn moment(journal: &File) -> io::Result<u64> {
    Ok(journal.metadata()?.len() / ENTRY_BYTES)
}

/// Everything that happened.
pub(super) fn read(folder: &Path) -> Result<Vec<Event>> {
    let bytes = std::fs::read(folder.join("journal")).context("no journal")?;
    let entries = bytes.chunks_exact(ENTRY_BYTES as usize);
    ensure!(entries.remainder().is_empty(), "half an entry");
    entries.map(Event::decode).collect()
}

#[cfg(test)]
mod proofs {
    use super::{Event, Journal, Place, moment, read};

    #[test]
    fn what_is_noted_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path()).unwrap();
        journal.write(7, 4096, &[1; 512]).unwrap();
        journal.write(8, 0, &[2; 1024]).unwrap();
        let rest = [
            Event::Wrote { id: 8 },
            Event::Flush { id: 9 },
            Event::Flushed { id: 9 },
        ];
        for event in rest {
            journal.note(event).unwrap();
        }
        let place = |offset, bytes, from| Place {
            offset,
            bytes,
            from,
        };
        let mut expected = vec![
            Event::Write {
                id: 7,
                place: place(4096, 512, 0),
            },
            Event::Write {
                id: 8,
                place: place(0, 1024, 512),
            },
        ];
        expected.extend(rest);
        assert_eq!(read(folder.path()).unwrap(), expected);
        let file = std::fs::File::open(folder.path().join("journal")).unwrap();
        assert_eq!(moment(&file).unwrap(), 5);
    }
}
