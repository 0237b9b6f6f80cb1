//! AWS's Java clients: the SDK v2, synchronous and asynchronous, and the Kinesis Client Library 3.
//!
//! The programs lie in `src/`, need nothing but the jars that `scripts/clients-java` brings, and end
//! with 1 at the first check that fails.

mod kcl;
mod program;
mod sdk;
