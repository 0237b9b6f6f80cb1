//! Which code and words a refusal has on the wire.

use weir_protocol::wire::error::{ErrorCode, WireError};
use weir_protocol::wire::frame::WireFrameError;
use weir_protocol::wire::request::Malformed;
use weir_stream::{AppendError, ControlError};

use super::outbox::Admission;

/// The refusal of one batch.
pub(crate) fn refused_batch(error: &AppendError) -> Admission {
    let (owner, map_version) = error.owner_and_map_version();
    Admission::Refused {
        code: error.code(),
        owner,
        map_version,
    }
}

/// The refusal of a control request.
pub(crate) fn refused_control(error: &ControlError) -> WireError {
    WireError::new(error.code(), error.to_string())
}

/// A frame whose control part makes no sense.
pub(crate) fn malformed(error: &Malformed) -> WireError {
    let code = match error {
        Malformed::Kind { .. } => ErrorCode::UnknownRequest,
        Malformed::Name(_) => ErrorCode::InvalidArgument,
        _ => ErrorCode::Malformed,
    };
    WireError::new(code, error.to_string())
}

/// Bytes that are no frame.
pub(crate) fn no_frame(error: &WireFrameError) -> WireError {
    WireError::new(ErrorCode::Malformed, error.to_string())
}

/// The server is stopping and takes nothing new.
pub(crate) fn stopping() -> WireError {
    WireError::new(ErrorCode::Stopping, "the server is stopping")
}
