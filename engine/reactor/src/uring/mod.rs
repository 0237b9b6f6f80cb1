//! The real machine: io_uring through glommio.
//!
//! Owns: everything that names glommio beside the start of cores. A change of runtime happens here.

mod create;
mod disk;
mod file;
mod pulse;
mod reactor;
mod readiness;
mod socket;

use std::io;

use glommio::GlommioError;

pub use disk::CoreDisk;
pub use file::{CoreBuffer, CoreBytes, CoreFile};
pub(crate) use pulse::{Pulse, watch};
pub use reactor::CoreReactor;
pub(crate) use readiness::Readiness;
pub use socket::TcpSocket;

/// The error as the kernel gave it: its number says more than the runtime's wrapping.
fn plain_error(error: GlommioError<()>) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::from(error),
    }
}
