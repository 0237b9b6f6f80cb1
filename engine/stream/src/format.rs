//! The folder's FORMAT file: what a data folder fixes for ever.
//!
//! Text, so that a person can see what a folder is:
//!
//! ```text
//! weir folder format 1
//! folder 8f14e45fceea167a
//! segment-bytes 134217728
//! ```

use std::io;

use thiserror::Error;
use weir_log::{FolderIdentity, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use weir_reactor::{BLOCK_BYTES, BlockingDisk, BlockingFile};

/// The folder layout that this build reads and writes.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// The file's name.
pub(crate) const FILE: &str = "FORMAT";
const UNFINISHED_FILE: &str = "FORMAT.new";
const FIRST_WORDS: &str = "weir folder format ";
/// More than any version of the file will have.
const FILE_BYTES_MAX: u64 = 4_096;

/// Why the file cannot be used.
#[derive(Debug, Error)]
pub(crate) enum FormatError {
    /// A later build made the folder.
    #[error("format version {found}")]
    Newer {
        /// The version found.
        found: u32,
    },
    /// It makes no sense.
    #[error("{0}")]
    Nonsense(String),
    /// It cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What the folder's file says; `None` if it has none, as a new folder has.
pub(crate) fn read(disk: &impl BlockingDisk) -> Result<Option<FolderIdentity>, FormatError> {
    if !disk.exists(FILE)? {
        return Ok(None);
    }
    let file = disk.open(FILE)?;
    let bytes = file.bytes()?;
    if bytes > FILE_BYTES_MAX {
        return Err(FormatError::Nonsense(format!("it has {bytes} bytes")));
    }
    let mut text = vec![0; bytes as usize];
    file.read_at(0, &mut text)?;
    parse(&String::from_utf8_lossy(&text)).map(Some)
}

/// Writes the file of a new folder; it bears its name when it is complete.
pub(crate) fn write(disk: &impl BlockingDisk, identity: FolderIdentity) -> io::Result<()> {
    if disk.exists(UNFINISHED_FILE)? {
        disk.remove(UNFINISHED_FILE)?;
    }
    let file = disk.create(UNFINISHED_FILE)?;
    let FolderIdentity {
        folder,
        segment_bytes,
    } = identity;
    let text = format!(
        "{FIRST_WORDS}{FORMAT_VERSION}\nfolder {folder:016x}\nsegment-bytes {segment_bytes}\n"
    );
    file.write_at(0, text.as_bytes())?;
    file.sync()?;
    disk.rename(UNFINISHED_FILE, FILE)
}

/// Whether a segment may have this size: whole blocks between [`SEGMENT_BYTES_MIN`]
/// and [`SEGMENT_BYTES_MAX`].
pub(crate) fn is_segment_size(bytes: u64) -> bool {
    (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes)
        && bytes.is_multiple_of(BLOCK_BYTES as u64)
}

pub(crate) fn parse(text: &str) -> Result<FolderIdentity, FormatError> {
    let nonsense = |what: String| FormatError::Nonsense(what);
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let version = first
        .strip_prefix(FIRST_WORDS)
        .and_then(|version| version.parse::<u32>().ok());
    match version {
        Some(FORMAT_VERSION) => {}
        Some(found) if found > FORMAT_VERSION => return Err(FormatError::Newer { found }),
        _ => return Err(nonsense(format!("it begins with {:?}", shown(first)))),
    }
    let mut value = |name: &str| {
        let line = lines.next().unwrap_or_default();
        let value = line
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(' '));
        value.ok_or_else(|| nonsense(format!("expected a line {name:?}, found {:?}", shown(line))))
    };
    let folder = value("folder")?;
    let segment_bytes = value("segment-bytes")?;
    let folder = u64::from_str_radix(folder, 16)
        .map_err(|_| nonsense(format!("folder {:?} is not a number", shown(folder))))?;
    let wrong_size = || nonsense(format!("segment-bytes {:?}", shown(segment_bytes)));
    let segment_bytes = segment_bytes.parse().map_err(|_| wrong_size())?;
    if !is_segment_size(segment_bytes) {
        return Err(wrong_size());
    }
    Ok(FolderIdentity {
        folder,
        segment_bytes,
    })
}

fn shown(line: &str) -> String {
    line.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let disk = weir_reactor::PlainDisk::new(folder.path());
        assert!(read(&disk).unwrap().is_none());
        let identity = FolderIdentity {
            folder: 0xfe,
            segment_bytes: 1 << 20,
        };
        write(&disk, identity).unwrap();
        assert_eq!(read(&disk).unwrap(), Some(identity));
    }

    #[test]
    fn newer_and_broken_files_are_told_apart() {
        assert!(matches!(
            parse("weir folder format 2\n"),
            Err(FormatError::Newer { found: 2 })
        ));
        for text in [
            "",
            "hello",
            "weir folder format 0\n",
            "weir folder format 1\n",
            "weir folder format 1\nfolder xyz\nsegment-bytes 1048576\n",
            "weir folder format 1\nfolder 0f\nsegment-bytes 4097\n",
            "weir folder format 1\nfolder 0f\nsegment-bytes 0\n",
        ] {
            assert!(
                matches!(parse(text), Err(FormatError::Nonsense(_))),
                "{text:?}"
            );
        }
    }
}
