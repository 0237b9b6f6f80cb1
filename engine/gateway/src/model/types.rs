//! Types of members against the table.
//!
//! Owns: which member is looked at, in which order. Never: the texts; see [`crate::member`].

use super::shape::{Member, Shape};
use crate::document::Value;
use crate::error::ServiceError;
use crate::member::{self, Members};

/// Refuses the first member that is of another type than the table says.
pub(super) fn check(members: Members<'_>, shapes: &[Member]) -> Result<(), ServiceError> {
    for shape in shapes {
        if let Some(value) = members.get(shape.name) {
            check_value(members, value, shape.shape)?;
        }
    }
    Ok(())
}

/// `around` are the members beside the value.
fn check_value(around: Members<'_>, value: &Value<'_>, shape: &Shape) -> Result<(), ServiceError> {
    match shape {
        Shape::Text { .. } => member::text(value).map(drop),
        Shape::Integer { .. } => member::integer(value).map(drop),
        Shape::Boolean => member::boolean(value).map(drop),
        Shape::Timestamp => around.time_of(value).map(drop),
        Shape::RecordData => member::check_blob(value),
        Shape::List { item, .. } => member::list(value)?
            .iter()
            .try_for_each(|value| check_value(around, value, item)),
        Shape::Map {
            value: entry_shape, ..
        } => member::map(value)?
            .iter()
            .try_for_each(|(_, value)| check_value(around, value, entry_shape)),
        Shape::Structure(structure) => check(around.inner(value)?, structure.members),
    }
}
