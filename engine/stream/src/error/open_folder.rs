//! Why a data folder could not be opened.

use thiserror::Error;

/// Why a data folder could not be opened: one sentence each, for a person.
#[derive(Debug, Error)]
pub enum OpenFolderError {
    /// Another process uses it, or the lock could not be taken.
    #[error("{text}")]
    Locked {
        /// The sentence, naming the holder.
        text: String,
    },
    /// A newer build made it.
    #[error(
        "data folder {folder} has format version {found}, this build reads version {known}: use a \
         newer build"
    )]
    NewerFormat {
        /// The folder.
        folder: String,
        /// The version found.
        found: u32,
        /// The version this build knows.
        known: u32,
    },
    /// The FORMAT file makes no sense.
    #[error("{file} is not a folder description: {text}")]
    Format {
        /// The file.
        file: String,
        /// What is wrong with it.
        text: String,
    },
    /// A value in the options that cannot be.
    #[error("{text}")]
    Options {
        /// The sentence.
        text: String,
    },
    /// The catalog does not open.
    #[error("the catalog of {folder} cannot be read: {text}")]
    Catalog {
        /// The folder.
        folder: String,
        /// What it said.
        text: String,
    },
    /// A log could not be recovered.
    #[error("{log} of {folder} cannot be recovered: {text}")]
    Log {
        /// The folder.
        folder: String,
        /// The log.
        log: String,
        /// What it said.
        text: String,
    },
    /// The folder cannot be read or written.
    #[error("data folder {folder}: {text}")]
    Io {
        /// The folder.
        folder: String,
        /// What the system said.
        text: String,
    },
}
