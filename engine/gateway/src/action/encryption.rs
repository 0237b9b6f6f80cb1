//! What the two operations about encryption share. Nothing is encrypted by them: the key is kept and
//! shown.

use crate::error::ServiceError;
use crate::member::Members;

/// Refuses a type of encryption that is none.
pub(super) fn check_type(members: Members<'_>) -> Result<(), ServiceError> {
    match members.text("EncryptionType") {
        Some("KMS") => Ok(()),
        found => Err(ServiceError::invalid_argument(format!(
            "EncryptionType {} can neither be started nor stopped, only KMS can.",
            found.unwrap_or_default()
        ))),
    }
}
