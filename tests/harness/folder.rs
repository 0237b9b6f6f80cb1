//! Folders of a test, and what they weigh.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tempfile::TempDir;

/// A folder under `target/tmp`, on the disk that holds the build; gone when dropped.
pub(crate) fn temporary(name: &str) -> TempDir {
    tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("target/tmp can be written")
}

/// Bytes that the files below `folder` take on the disk. A file that goes while we look counts
/// nothing.
pub(crate) fn bytes_on_disk(folder: &Path) -> u64 {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if gone(&error) => return 0,
        Err(error) => panic!("{}: {error}", folder.display()),
    };
    let mut bytes = 0;
    for entry in entries.flatten() {
        match entry.metadata() {
            Ok(about) if about.is_dir() => bytes += bytes_on_disk(&entry.path()),
            Ok(about) => bytes += about.blocks() * 512,
            Err(error) if gone(&error) => {}
            Err(error) => panic!("{}: {error}", entry.path().display()),
        }
    }
    bytes
}
