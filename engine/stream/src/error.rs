//! What can go wrong, one small enum per operation, each with its code on the wire.

mod append;
mod control;
mod open_folder;
mod read;

pub use append::AppendError;
pub use control::ControlError;
pub use open_folder::OpenFolderError;
pub use read::ReadError;
