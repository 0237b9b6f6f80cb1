//! What must be true of the machine before the server starts, each refusal in one sentence that
//! says how to mend it.

#![expect(
    unsafe_code,
    reason = "limits and file systems are asked for through the C library"
)]

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use io_uring::IoUring;

use crate::cores::IO_MEMORY_BYTES;
use crate::seam::{BLOCK_BYTES, Space};

/// Registered memory is charged once per ring, and a core has three.
const RINGS_PER_CORE: u64 = 3;
/// For the rings themselves and whatever else the runtime locks.
const LOCKED_SPARE_BYTES: u64 = 512 << 10;
/// The bit of CAP_IPC_LOCK, whose holder the limit does not bind.
const CAP_IPC_LOCK: u32 = 14;

/// Why the server can not start on this machine.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The kernel knows no io_uring, or has it switched off.
    #[error(
        "io_uring is switched off by the kernel: set the sysctl kernel.io_uring_disabled to 0 (it is {setting})"
    )]
    RingDisabled {
        /// The value of the sysctl.
        setting: String,
    },
    /// The kernel knows no io_uring.
    #[error("this kernel has no io_uring: Linux 6.1 or newer is needed, with CONFIG_IO_URING")]
    RingUnknown,
    /// A seccomp profile, most likely a container's, forbids it.
    #[error(
        "io_uring is forbidden to this process, most likely by a seccomp profile: allow \
         io_uring_setup, io_uring_enter and io_uring_register in it"
    )]
    RingForbidden,
    /// The ring failed in another way.
    #[error("io_uring does not work here: {source}")]
    RingBroken {
        /// What the kernel said.
        source: io::Error,
    },
    /// Too little memory may be locked.
    #[error(
        "{cores} cores must lock {needed} bytes of memory, but the limit is {limit}: raise \
         LimitMEMLOCK of the unit or `ulimit -l`"
    )]
    LockedMemory {
        /// Cores asked for.
        cores: usize,
        /// Bytes they need.
        needed: u64,
        /// Bytes the limit allows.
        limit: u64,
    },
    /// Too few descriptors may be open.
    #[error(
        "{needed} open files are needed, but the limit is {limit}: raise LimitNOFILE of the unit \
         or `ulimit -n`"
    )]
    Descriptors {
        /// Descriptors asked for.
        needed: u64,
        /// The hard limit.
        limit: u64,
    },
    /// Files may not be as long as ours are.
    #[error(
        "files of {needed} bytes are needed, but the limit is {limit}: raise LimitFSIZE of the unit or \
         `ulimit -f`"
    )]
    FileBytes {
        /// The longest file at the start.
        needed: u64,
        /// The hard limit, in bytes.
        limit: u64,
    },
    /// The folder is no folder or can not be written.
    #[error("data folder {} can not be written: {source}", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The folder lies in memory.
    #[error("data folder {} is on tmpfs, which keeps nothing over a restart: choose another", .folder.display())]
    InMemory {
        /// The folder.
        folder: PathBuf,
    },
    /// The file system has no direct I/O.
    #[error(
        "data folder {} is on a file system without direct I/O (O_DIRECT): use ext4 or xfs",
        .folder.display()
    )]
    NoDirectInput {
        /// The folder.
        folder: PathBuf,
    },
}

/// Sets up a tiny ring, and says what forbids it.
pub fn check_io_uring() -> Result<(), Refusal> {
    let Err(error) = IoUring::new(4) else {
        return Ok(());
    };
    let setting = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let setting = setting.trim();
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) if matches!(setting, "1" | "2") => {
            Err(Refusal::RingDisabled {
                setting: setting.to_owned(),
            })
        }
        Some(libc::ENOSYS) if setting.is_empty() => Err(Refusal::RingUnknown),
        // With the sysctl there, the kernel has io_uring; so somebody hides it.
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => Err(Refusal::RingForbidden),
        _ => Err(Refusal::RingBroken { source: error }),
    }
}

/// Bytes that `cores` cores lock.
pub fn locked_memory_needed(cores: usize) -> u64 {
    RINGS_PER_CORE * IO_MEMORY_BYTES as u64 * cores as u64 + LOCKED_SPARE_BYTES
}

/// Whether `cores` cores may lock the memory they register.
pub fn check_locked_memory(cores: usize) -> Result<(), Refusal> {
    let needed = locked_memory_needed(cores);
    let limit = raise_limit(libc::RLIMIT_MEMLOCK, needed);
    if limit >= needed || may_lock_any_memory() {
        return Ok(());
    }
    Err(Refusal::LockedMemory {
        cores,
        needed,
        limit,
    })
}

fn may_lock_any_memory() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_some_and(|bits| bits >> CAP_IPC_LOCK & 1 == 1)
}

/// Raises the soft limit of open files to the hard one and says what it is now; refuses if that is
/// below `needed`.
pub fn raise_descriptor_limit(needed: u64) -> Result<u64, Refusal> {
    let limit = raise_limit(libc::RLIMIT_NOFILE, u64::MAX);
    if limit < needed {
        Err(Refusal::Descriptors { needed, limit })
    } else {
        Ok(limit)
    }
}

/// Raises the soft limit of a file's length to the hard one; refuses if that is below `needed`.
pub fn raise_file_limit(needed: u64) -> Result<(), Refusal> {
    let limit = raise_limit(libc::RLIMIT_FSIZE, u64::MAX);
    if limit < needed {
        return Err(Refusal::FileBytes { needed, limit });
    }
    Ok(())
}

/// Raises a soft limit as far as `wanted` and the hard limit go; the limit that holds then.
fn raise_limit(resource: libc::__rlimit_resource_t, wanted: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls read or fill a structure of our own.
    unsafe {
        if libc::getrlimit(resource, &raw mut limit) != 0 {
            return 0;
        }
        let before = limit.rlim_cur;
        let target = wanted.min(limit.rlim_max);
        if target <= before {
            return before;
        }
        limit.rlim_cur = target;
        if libc::setrlimit(resource, &raw const limit) == 0 {
            target
        } else {
            before
        }
    }
}

/// Whether records can be kept in `folder`, which is there: writable, with direct I/O, and not in
/// memory unless `allow_memory`.
pub fn check_data_folder(folder: &Path, allow_memory: bool) -> Result<(), Refusal> {
    let broken = |source| Refusal::Folder {
        folder: folder.to_owned(),
        source,
    };
    let name = folder.join(format!(".probe-{}", std::process::id()));
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600);
    let plain = options.open(&name).map_err(broken)?;
    drop(plain);
    let probed = probe(folder, &name, &mut options, allow_memory);
    let _ = fs::remove_file(&name);
    probed
}

fn probe(
    folder: &Path,
    name: &Path,
    options: &mut OpenOptions,
    allow_memory: bool,
) -> Result<(), Refusal> {
    let broken = |source| Refusal::Folder {
        folder: folder.to_owned(),
        source,
    };
    if is_in_memory(folder).map_err(broken)? {
        let folder = folder.to_owned();
        return if allow_memory {
            Ok(())
        } else {
            Err(Refusal::InMemory { folder })
        };
    }
    let block = memmap2::MmapMut::map_anon(BLOCK_BYTES).map_err(broken)?;
    let direct = options
        .custom_flags(libc::O_DIRECT | libc::O_DSYNC)
        .open(name);
    match direct.and_then(|file| file.write_all_at(&block, 0)) {
        Ok(()) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Err(Refusal::NoDirectInput {
            folder: folder.to_owned(),
        }),
        Err(error) => Err(broken(error)),
    }
}

fn is_in_memory(folder: &Path) -> io::Result<bool> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    let mut about = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path ends in zero; the structure is ours, and read only if the call filled it.
    let about = unsafe {
        if libc::statfs(path.as_ptr(), about.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        about.assume_init()
    };
    Ok(about.f_type == libc::TMPFS_MAGIC)
}

/// Room on the file system that holds `folder`.
pub fn space_of(folder: &Path) -> io::Result<Space> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    let mut about = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends in zero; the structure is ours, and read only if the call filled it.
    let about = unsafe {
        if libc::statvfs(path.as_ptr(), about.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        about.assume_init()
    };
    Ok(Space {
        free: about.f_bavail * about.f_frsize,
        total: about.f_blocks * about.f_frsize,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_passes() {
        check_io_uring().unwrap();
        check_locked_memory(1).unwrap();
        assert!(raise_descriptor_limit(64).unwrap() >= 64);
        raise_file_limit(64 << 20).unwrap();
        let folder = tempfile::tempdir().unwrap();
        check_data_folder(folder.path(), true).unwrap();
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            0,
            "the probe leaves nothing"
        );
        let space = space_of(folder.path()).unwrap();
        assert!(space.free > 0 && space.free <= space.total);
    }

    #[test]
    fn refusals_are_one_sentence_that_names_the_value() {
        let missing = check_data_folder(Path::new("/nowhere"), false)
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains("/nowhere") && !missing.ends_with('.'),
            "{missing}"
        );
        let memory = check_data_folder(Path::new("/dev/shm"), false);
        if Path::new("/dev/shm").is_dir() {
            assert!(
                matches!(memory, Err(Refusal::InMemory { .. })),
                "{memory:?}"
            );
        }
        let error = raise_descriptor_limit(u64::MAX).unwrap_err().to_string();
        assert!(error.contains("LimitNOFILE"), "{error}");
    }
}
