//! Names of files. They come from internal numbers, never from clients, and never change: what a
//! slot holds is said by its header.

use weir_protocol::model::LogId;

/// Folder of a log's slots, relative to the data folder.
pub(crate) fn log_folder(log: LogId) -> String {
    format!("log-{:04}", log.0)
}

/// Path of a slot, relative to the data folder.
pub(crate) fn slot_path(log: LogId, slot: u32) -> String {
    format!("log-{:04}/slot-{slot:06}", log.0)
}

/// The number of a slot from its file name; `None` for other files.
pub(crate) fn slot_number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("slot-")?;
    (digits.len() >= 6 && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}
