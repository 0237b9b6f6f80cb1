//! Retention periods as AWS says them: whole hours, within AWS's bounds.

use weir_protocol::limits::{RETENTION_MS_DEFAULT, RETENTION_MS_MAX};

use crate::error::ServiceError;
use crate::member::Members;

const HOUR_MS: u64 = 3_600_000;
/// AWS's shortest is also its default; the engine takes shorter ones.
const HOURS_MIN: i64 = (RETENTION_MS_DEFAULT / HOUR_MS).cast_signed();
const HOURS_MAX: i64 = (RETENTION_MS_MAX / HOUR_MS).cast_signed();

/// The member `RetentionPeriodHours` in milliseconds.
pub(super) fn read(members: Members<'_>) -> Result<u64, ServiceError> {
    let hours = members.integer("RetentionPeriodHours").unwrap_or_default();
    let refused = |bound: &str, limit: i64, is: &str| {
        Err(ServiceError::invalid_argument(format!(
            "{bound} allowed retention period is {limit} hours. Requested retention period \
             ({hours} hours) is too {is}."
        )))
    };
    if hours < HOURS_MIN {
        return refused("Minimum", HOURS_MIN, "short");
    }
    if hours > HOURS_MAX {
        return refused("Maximum", HOURS_MAX, "long");
    }
    Ok(hours as u64 * HOUR_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Operation;
    use crate::model::example::checked;

    #[test]
    fn hours_are_bounded_as_at_aws() {
        let of = |hours: i64| {
            let body = format!("{{\"StreamName\":\"a\",\"RetentionPeriodHours\":{hours}}}");
            let read = checked(Operation::IncreaseStreamRetentionPeriod, &body, read);
            read.and_then(|read| read.map_err(|error| error.text.unwrap()))
        };
        assert_eq!(of(24), Ok(24 * HOUR_MS));
        assert_eq!(of(8_760), Ok(8_760 * HOUR_MS));
        assert_eq!(
            of(23).unwrap_err(),
            "Minimum allowed retention period is 24 hours. Requested retention period (23 hours) \
             is too short."
        );
        assert_eq!(
            of(8_761).unwrap_err(),
            "Maximum allowed retention period is 8760 hours. Requested retention period (8761 \
             hours) is too long."
        );
    }
}
