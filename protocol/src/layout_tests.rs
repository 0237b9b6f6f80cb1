//! Prints the byte tables from the constants, and compares them with the documents.
