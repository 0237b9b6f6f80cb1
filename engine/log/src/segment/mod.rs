//! One segment file: header and start table, frames or settled batches, footer, trailer.
//!
//! `docs/format.md` draws the bytes; a test prints them from the constants here.

mod footer;
mod header;
mod name;
mod trailer;

pub use footer::layout as layout_of_footer;
pub use header::layout as layout_of_header;
pub use header::start_layout as layout_of_start_table;
pub use trailer::layout as layout_of_trailer;

pub(crate) use footer::{
    BuiltFooter, Footer, FooterBatch, FooterBuilder, FooterShard, footer_bytes,
};
pub(crate) use header::{SegmentHeader, SegmentKind, StartEntry, header_bytes};
pub(crate) use name::{log_folder, slot_number, slot_path};
pub(crate) use trailer::{TRAILER_BYTES, Trailer};

use weir_protocol::limits::BLOCK_BYTES;

/// Rounds up to whole blocks.
pub(crate) const fn blocks(bytes: usize) -> usize {
    bytes.next_multiple_of(BLOCK_BYTES as usize)
}
