//! One server per data folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const NAME: &str = "lock";

/// The folder is not ours.
#[derive(Debug, thiserror::Error)]
pub enum FolderLockError {
    /// Another process holds it.
    #[error("data folder {} is in use by process {holder}", .folder.display())]
    Held {
        /// The folder.
        folder: PathBuf,
        /// The process id the holder wrote, or "unknown".
        holder: String,
    },
    /// The lock file can not be made or locked.
    #[error("data folder {} can not be locked: {source}", .folder.display())]
    Refused {
        /// The folder.
        folder: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Held for the life of the server. The kernel lets go of it when the process ends, however it
/// ends; the file stays.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the lock of `folder`, which is there, or says who has it. Never waits.
    pub fn take(folder: &Path) -> Result<Self, FolderLockError> {
        let refused = |source| FolderLockError::Refused {
            folder: folder.to_owned(),
            source,
        };
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let mut file = options.open(folder.join(NAME)).map_err(refused)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let folder = folder.to_owned();
                return Err(FolderLockError::Held {
                    folder,
                    holder: holder(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(refused(source)),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(refused)?;
        Ok(Self { _file: file })
    }
}

impl FolderLock {
    /// As [`Self::take`], for somebody who changes nothing in the folder: the file keeps what it
    /// says. Without a file no server was ever here, and there is nothing to hold.
    pub fn hold(folder: &Path) -> Result<Option<Self>, FolderLockError> {
        let refused = |source| FolderLockError::Refused {
            folder: folder.to_owned(),
            source,
        };
        let mut file = match File::open(folder.join(NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(refused(source)),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Err(FolderLockError::Held {
                folder: folder.to_owned(),
                holder: holder(&mut file),
            }),
            Err(TryLockError::Error(source)) => Err(refused(source)),
        }
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text);
    let holder = text.trim();
    if read.is_err() || holder.is_empty() || !holder.bytes().all(|byte| byte.is_ascii_digit()) {
        return "unknown".to_owned();
    }
    holder.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_was_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::take(folder.path()).unwrap();
        let error = FolderLock::take(folder.path()).unwrap_err();
        assert!(
            error.to_string().contains(&std::process::id().to_string()),
            "{error}"
        );
        drop(first);
        FolderLock::take(folder.path()).unwrap();
        let missing = FolderLock::take(&folder.path().join("no")).unwrap_err();
        assert!(matches!(missing, FolderLockError::Refused { .. }));
    }
}
