//! Makes files whose blocks are there before the first record: written with zeros, or reserved.
//!
//! A file gets its name last, so a crash or a full disk leaves no half-made file behind. Runs
//! beside the cores.

#![expect(
    unsafe_code,
    reason = "fallocate and linkat are calls of the C library"
)]

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::blocking::sync_folder;
use crate::preflight::space_of;

/// Large enough that the device is busy, small enough to be found in one piece.
const WRITE_BYTES: usize = 1 << 20;

/// A file without its name yet.
enum Unnamed {
    /// It has none at all: the kernel forgets it if we stop here.
    Anonymous(File),
    /// The file system knows no files without a name; this one is unlinked if we stop here.
    Provisional(File, PathBuf),
}

/// Makes a file of `bytes` zeros, every block written.
pub(super) fn create_written(path: &Path, bytes: u64) -> io::Result<()> {
    create(path, bytes, true)
}

/// Makes a file of `bytes`, every block reserved.
pub(super) fn create_reserved(path: &Path, bytes: u64) -> io::Result<()> {
    create(path, bytes, false)
}

fn create(path: &Path, bytes: u64, written: bool) -> io::Result<()> {
    if fs::exists(path)? {
        return Err(io::Error::new(
            ErrorKind::AlreadyExists,
            format!("{} exists", path.display()),
        ));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let unnamed = open_unnamed(folder, path)?;
    let prepared = prepare(unnamed.file(), folder, bytes, written);
    prepared
        .and_then(|()| unnamed.give_name(path))
        .inspect_err(|_| unnamed.discard())?;
    sync_folder(folder)
}

fn prepare(file: &File, folder: &Path, bytes: u64, written: bool) -> io::Result<()> {
    // A file system that has too little gives what it has before it says so, and until the file is gone
    // nobody else could write there.
    if space_of(folder)?.free < bytes {
        return Err(ErrorKind::StorageFull.into());
    }
    reserve(file, bytes)?;
    if written {
        write_zeros(file, bytes)?;
    }
    file.sync_all()
}

fn open_unnamed(folder: &Path, path: &Path) -> io::Result<Unnamed> {
    let direct = |flags: i32, at: &Path, create: bool| {
        let open = |flags| {
            let mut options = OpenOptions::new();
            options
                .read(true)
                .write(true)
                .create(create)
                .truncate(create)
                .mode(0o600);
            options.custom_flags(flags).open(at)
        };
        match open(flags | libc::O_DIRECT) {
            // tmpfs of older kernels; the boot checks decide whether that folder is allowed.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => open(flags),
            other => other,
        }
    };
    match direct(libc::O_TMPFILE, folder, false) {
        Ok(file) => Ok(Unnamed::Anonymous(file)),
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)
            ) =>
        {
            let provisional = path.with_added_extension("unfinished");
            let file = direct(0, &provisional, true)?;
            Ok(Unnamed::Provisional(file, provisional))
        }
        Err(error) => Err(error),
    }
}

impl Unnamed {
    fn file(&self) -> &File {
        match self {
            Self::Anonymous(file) | Self::Provisional(file, _) => file,
        }
    }

    fn give_name(&self, path: &Path) -> io::Result<()> {
        match self {
            Self::Provisional(_, provisional) => fs::rename(provisional, path),
            Self::Anonymous(file) => {
                let from = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
                let to = CString::new(path.as_os_str().as_bytes())?;
                // SAFETY: both strings end in zero and live through the call.
                let result = unsafe {
                    libc::linkat(
                        libc::AT_FDCWD,
                        from.as_ptr(),
                        libc::AT_FDCWD,
                        to.as_ptr(),
                        libc::AT_SYMLINK_FOLLOW,
                    )
                };
                if result == 0 {
                    Ok(())
                } else {
                    Err(io::Error::last_os_error())
                }
            }
        }
    }

    fn discard(&self) {
        if let Self::Provisional(_, provisional) = self {
            // The first error is the one to report.
            let _ = fs::remove_file(provisional);
        }
    }
}

/// Takes the blocks at once, so that a full disk shows before anything is written.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    let length = libc::off_t::try_from(bytes).map_err(|_| ErrorKind::FileTooLarge)?;
    loop {
        // SAFETY: the descriptor is open; the call touches no memory of ours.
        let result = unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EOPNOTSUPP) => return file.set_len(bytes),
            _ => return Err(error),
        }
    }
}

fn write_zeros(file: &File, bytes: u64) -> io::Result<()> {
    // Anonymous pages: zero, and aligned as direct writes want them.
    let zeros = memmap2::MmapMut::map_anon(WRITE_BYTES)?;
    let mut at = 0;
    while at < bytes {
        let length = (bytes - at).min(WRITE_BYTES as u64) as usize;
        file.write_all_at(&zeros[..length], at)?;
        at += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn asking_for_more_than_there_is_takes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = tempfile::tempfile_in(folder.path()).unwrap();
        let bytes = 2 * space_of(folder.path()).unwrap().total;
        let refused = prepare(&file, folder.path(), bytes, false).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::StorageFull);
        assert_eq!(file.metadata().unwrap().blocks(), 0);
    }
}
