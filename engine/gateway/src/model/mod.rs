//! The API's model: every operation, its members, and the checks that follow from them.
//!
//! Contents: `table` (generated), `shape` (its words), `pattern`, `types` (who is refused with a
//! `SerializationException`), `constraints` (who with a `ValidationException`).

mod constraints;
mod pattern;
mod shape;
mod table;
mod types;

pub(crate) use constraints::Ground;
pub(crate) use table::Operation;

use crate::error::ServiceError;
use crate::member::Members;
use table::OPERATIONS;

impl Operation {
    /// The operation of this name.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let found = OPERATIONS.binary_search_by(|operation| operation.name.cmp(name));
        found.ok().map(|index| OPERATIONS[index].operation)
    }

    /// One of them, whatever the number: fuzzers choose so.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn nth(number: u8) -> Self {
        OPERATIONS[usize::from(number) % OPERATIONS.len()].operation
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        OPERATIONS[self as usize].name
    }

    /// Refuses members that are not what the operation takes: first those of another type, then
    /// those out of bounds. Afterwards [`Members`] may be read without asking twice.
    pub(crate) fn check(
        self,
        members: Members<'_>,
        ground: &impl Ground,
    ) -> Result<(), ServiceError> {
        let shape = &OPERATIONS[self as usize];
        types::check(members, shape.members)?;
        constraints::check(members, shape.members, ground)
    }
}

#[cfg(test)]
pub(crate) mod example {
    //! Checked requests for the actions' tests.

    use super::{Ground, Operation};
    use crate::encoding::Encoding;
    use crate::member::Members;

    /// A stream as it is by default.
    pub(crate) struct Plain;

    impl Ground for Plain {
        fn spreads(&self) -> bool {
            false
        }

        fn record_bytes_max(&self) -> usize {
            1_048_576
        }
    }

    /// Checks a request and gives it to `act`; the texts of refusals come back.
    pub(crate) fn checked<T>(
        operation: Operation,
        body: &str,
        act: impl FnOnce(Members<'_>) -> T,
    ) -> Result<T, String> {
        let value = Encoding::Json.parse(body.as_bytes()).unwrap();
        let members = Members::of_request(&value, Encoding::Json).unwrap();
        let checked = operation.check(members, &Plain);
        checked.map_err(|error| error.text.unwrap_or_default())?;
        Ok(act(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_by_its_name() {
        assert_eq!(OPERATIONS.len(), 57);
        for (index, operation) in OPERATIONS.iter().enumerate() {
            assert_eq!(operation.operation as usize, index);
            assert_eq!(
                Operation::of_name(operation.name),
                Some(operation.operation)
            );
            assert_eq!(operation.operation.name(), operation.name);
            assert_eq!(format!("{:?}", operation.operation), operation.name);
        }
        assert_eq!(Operation::of_name("Nonsense"), None);
        assert_eq!(Operation::of_name(""), None);
    }
}
