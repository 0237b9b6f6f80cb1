//! Sealed files, mapped for reading.
//!
//! Owns: which parts may be touched. Never: a page fault on a core that waits for the disk: a
//! thread beside the cores brings pages in first, and a damaged page is an error there, where a
//! touch would kill the process.

#![expect(unsafe_code, reason = "mapping a file, and mincore")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use memmap2::{Advice, Mmap, MmapOptions};

use crate::off_core::{off_core, off_core_detached};
use crate::populated::{GRANULE_BYTES, Populated};
use crate::seam::{BLOCK_BYTES, Map};

/// Pages asked about per call of mincore: 2 MiB.
const PAGES_PER_QUESTION: usize = 512;

/// A file mapped whole. Dropped, it is unmapped by a thread beside the cores, for that interrupts
/// every core.
pub struct CoreMap {
    /// Always there, until it is dropped.
    mapped: Option<Arc<Mapped>>,
}

struct Mapped {
    map: Mmap,
    populated: Populated,
}

impl CoreMap {
    /// Maps `file`, which must not be empty, nor change or shrink while the map lives.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: only sealed files are mapped. Nobody writes or cuts a sealed file while a map of
        // it lives, and the lock of the data folder keeps other servers out.
        let map = unsafe { MmapOptions::new().map(file) }?;
        let populated = Populated::new(map.len());
        Ok(Self {
            mapped: Some(Arc::new(Mapped { map, populated })),
        })
    }

    fn mapped(&self) -> &Arc<Mapped> {
        self.mapped.as_ref().expect("present until dropped")
    }
}

impl Drop for CoreMap {
    fn drop(&mut self) {
        if let Some(mapped) = self.mapped.take() {
            off_core_detached(move || drop(mapped));
        }
    }
}

impl Mapped {
    fn check_range(&self, range: &Range<usize>) {
        assert!(
            range.start <= range.end && range.end <= self.map.len(),
            "{range:?} passes the end of a map of {} bytes",
            self.map.len()
        );
    }

    /// Whether the kernel has every page of `range` in memory.
    fn is_in_memory(&self, range: &Range<usize>) -> bool {
        let mut at = range.start / BLOCK_BYTES * BLOCK_BYTES;
        let mut answers = [0_u8; PAGES_PER_QUESTION];
        while at < range.end {
            let bytes = (range.end - at).min(PAGES_PER_QUESTION * BLOCK_BYTES);
            let pages = bytes.div_ceil(BLOCK_BYTES);
            // SAFETY: `at` is on a page inside the mapping, `at + bytes` does not pass its end, and
            // there is room for an answer per page.
            let result = unsafe {
                let start = self.map.as_ptr().add(at).cast_mut().cast();
                libc::mincore(start, bytes, answers.as_mut_ptr())
            };
            if result != 0 || answers[..pages].iter().any(|answer| answer & 1 == 0) {
                return false;
            }
            at += bytes;
        }
        true
    }

    fn populate(&self, range: &Range<usize>) -> io::Result<()> {
        let start = range.start / GRANULE_BYTES * GRANULE_BYTES;
        let end = range
            .end
            .next_multiple_of(GRANULE_BYTES)
            .min(self.map.len());
        self.map
            .advise_range(Advice::PopulateRead, start, end - start)
            .map_err(damaged)?;
        self.populated.note(range);
        Ok(())
    }
}

/// What a page that can not be read looks like: EFAULT where a touch would be a SIGBUS.
fn damaged(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EFAULT | libc::EHWPOISON) => io::Error::from_raw_os_error(libc::EIO),
        _ => error,
    }
}

impl Map for CoreMap {
    fn is_resident(&self, range: Range<usize>) -> bool {
        let mapped = self.mapped();
        mapped.check_range(&range);
        mapped.populated.has(&range) && mapped.is_in_memory(&range)
    }

    fn slice(&self, range: Range<usize>) -> &[u8] {
        let mapped = self.mapped();
        mapped.check_range(&range);
        assert!(
            mapped.populated.has(&range),
            "{range:?} was never populated"
        );
        &mapped.map[range]
    }

    async fn populate(&self, range: Range<usize>) -> io::Result<()> {
        let mapped = Arc::clone(self.mapped());
        mapped.check_range(&range);
        if range.is_empty() {
            return Ok(());
        }
        off_core(move || mapped.populate(&range)).await
    }
}
