//! A file of the real file system, read and written past the page cache.

#![expect(
    unsafe_code,
    reason = "borrows the descriptor of the runtime's file; posix_fadvise"
)]

use std::fs::File as StdFile;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use glommio::io::{DmaBuffer, DmaFile, OpenOptions, ReadResult};

use super::plain_error;
use crate::mmap::CoreMap;
use crate::off_core::off_core;
use crate::seam::{BLOCK_BYTES, Buffer, File};

/// An open file. A completed write is on the device: the file is open with O_DIRECT and O_DSYNC.
pub struct CoreFile {
    file: DmaFile,
    bytes: u64,
    path: PathBuf,
    /// The file system has turned read-only: what is there can still be read.
    read_only: bool,
}

/// Memory to write from, aligned for the device.
pub type CoreBuffer = DmaBuffer;

/// What a read brought.
#[derive(Debug)]
pub struct CoreBytes {
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// The memory the device filled.
    Whole(ReadResult),
    /// The device answered in pieces, which is rare.
    Joined(Vec<u8>),
}

async fn open(path: &Path, writable: bool) -> io::Result<DmaFile> {
    let opened = OpenOptions::new()
        .read(true)
        .write(writable)
        .custom_flags(libc::O_DSYNC | libc::O_DIRECT)
        .dma_open(path)
        .await;
    opened.map_err(plain_error)
}

impl CoreFile {
    pub(super) async fn open(path: PathBuf) -> io::Result<Self> {
        // Read and write, always: a file open for writing only spoils the runtime's polling probe.
        let (file, read_only) = match open(&path, true).await {
            Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => {
                (open(&path, false).await?, true)
            }
            other => (other?, false),
        };
        let bytes = file.file_size().await.map_err(plain_error)?;
        Ok(Self {
            file,
            bytes,
            path,
            read_only,
        })
    }

    /// Closes the file and waits for it; dropping closes it a little later.
    pub async fn close(self) -> io::Result<()> {
        self.file.close().await.map_err(plain_error)
    }

    fn check_range(&self, at: u64, bytes: usize) {
        assert!(
            at.is_multiple_of(BLOCK_BYTES as u64),
            "position {at} is not on a block"
        );
        assert!(
            bytes.is_multiple_of(BLOCK_BYTES),
            "length {bytes} is not whole blocks"
        );
        assert!(
            at + bytes as u64 <= self.bytes,
            "{bytes} bytes at {at} pass the end of {}",
            self.path.display()
        );
    }

    /// A descriptor of its own for a thread beside the cores: it stays open whatever happens here.
    fn descriptor(&self) -> io::Result<OwnedFd> {
        // SAFETY: the file is open as long as `self` is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.file.as_raw_fd()) }.try_clone_to_owned()
    }
}

impl File for CoreFile {
    type Buffer = CoreBuffer;
    type Bytes = CoreBytes;
    type Map = CoreMap;

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn buffer(&self, bytes: usize) -> CoreBuffer {
        assert!(
            bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES),
            "{bytes} bytes are no buffer"
        );
        self.file.alloc_dma_buffer(bytes)
    }

    async fn write(&self, buffer: Rc<CoreBuffer>, at: u64) -> io::Result<()> {
        let bytes = buffer.len();
        self.check_range(at, bytes);
        assert!(
            buffer.as_ptr().addr().is_multiple_of(BLOCK_BYTES),
            "memory is not aligned"
        );
        if self.read_only {
            return Err(ErrorKind::ReadOnlyFilesystem.into());
        }
        let written = self
            .file
            .write_rc_at(buffer, at)
            .await
            .map_err(plain_error)?;
        if written != bytes {
            // What of it is durable is unknown; the log treats it as a failed write.
            let cut = format!("wrote {written} of {bytes} bytes at {at}");
            return Err(io::Error::new(ErrorKind::WriteZero, cut));
        }
        Ok(())
    }

    async fn read(&self, at: u64, bytes: usize) -> io::Result<CoreBytes> {
        assert!(bytes > 0, "a read of nothing");
        self.check_range(at, bytes);
        let first = self
            .file
            .read_at_aligned(at, bytes)
            .await
            .map_err(plain_error)?;
        if first.len() == bytes {
            return Ok(CoreBytes {
                source: Source::Whole(first),
            });
        }
        let mut joined = first.to_vec();
        while joined.len() < bytes {
            let from = joined.len() / BLOCK_BYTES * BLOCK_BYTES;
            joined.truncate(from);
            let next = self
                .file
                .read_at_aligned(at + from as u64, bytes - from)
                .await;
            let next = next.map_err(plain_error)?;
            if next.len() < BLOCK_BYTES {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            joined.extend_from_slice(&next);
        }
        Ok(CoreBytes {
            source: Source::Joined(joined),
        })
    }

    async fn flush(&self) -> io::Result<()> {
        let descriptor = self.descriptor()?;
        off_core(move || StdFile::from(descriptor).sync_all()).await
    }

    async fn map(&self) -> io::Result<Option<CoreMap>> {
        let descriptor = self.descriptor()?;
        off_core(move || CoreMap::new(&StdFile::from(descriptor)).map(Some)).await
    }

    async fn forget_pages(&self) -> io::Result<()> {
        let descriptor = self.descriptor()?;
        off_core(move || {
            // SAFETY: the descriptor is open; the call touches no memory of ours.
            let error = unsafe {
                libc::posix_fadvise(descriptor.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED)
            };
            if error == 0 {
                Ok(())
            } else {
                Err(io::Error::from_raw_os_error(error))
            }
        })
        .await
    }
}

impl Buffer for DmaBuffer {
    fn truncate(&mut self, bytes: usize) {
        assert!(
            bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES),
            "length {bytes} is not whole blocks"
        );
        assert!(
            bytes <= self.len(),
            "{bytes} bytes are more than the buffer has"
        );
        self.trim_to_size(bytes);
    }
}

impl AsRef<[u8]> for CoreBytes {
    fn as_ref(&self) -> &[u8] {
        match &self.source {
            Source::Whole(memory) => memory,
            Source::Joined(memory) => memory,
        }
    }
}
