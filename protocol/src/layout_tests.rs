//! Prints the byte tables from the constants and the encoders, and compares them with the
//! documents. `UPDATE_DOCS=1` rewrites the documents instead.

mod format;
mod table;
mod wire;
