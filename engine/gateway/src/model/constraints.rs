//! Bounds, patterns and enums of members against the table, several violations at once.
//!
//! Owns: what is looked at, in which order, and what AWS's texts show of a value. Never: the
//! sentence around it; see [`crate::validation`].

use std::fmt;

use super::shape::{Member, Presence, Shape};
use crate::document::Value;
use crate::error::ServiceError;
use crate::member::{self, Members};
use crate::validation::{ECHO_CHARS_MAX, Violations};

/// The package and the identity that AWS's texts show of a structure.
const JAVA_PACKAGE: &str = "com.amazonaws.kinesis.v20131202";
const JAVA_IDENTITY: &str = "c965e310";

/// What a request's stream says about its records; asked only when it matters.
pub(crate) trait Ground {
    /// Whether the stream spreads records without a key by itself.
    fn spreads(&self) -> bool;
    /// The longest data of one record in bytes.
    fn record_bytes_max(&self) -> usize;
}

/// Refuses members that are absent or out of bounds.
pub(super) fn check(
    members: Members<'_>,
    shapes: &[Member],
    ground: &impl Ground,
) -> Result<(), ServiceError> {
    let mut checker = Checker {
        ground,
        violations: Violations::default(),
    };
    checker.members(members, shapes, None);
    checker.violations.finish()
}

/// Where a value is; written only when something is wrong with it: 500 records need no paths.
#[derive(Debug, Clone, Copy)]
struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'p> {
    Member(&'p str),
    /// Counted from one.
    Item(usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}.")?;
        }
        match self.step {
            Step::Item(number) => write!(f, "{number}.member"),
            Step::Member(name) => {
                let mut rest = name.chars();
                let first = rest.next().unwrap_or_default();
                write!(f, "{}{}", first.to_ascii_lowercase(), rest.as_str())
            }
        }
    }
}

struct Checker<'g, G: Ground> {
    ground: &'g G,
    violations: Violations,
}

impl<G: Ground> Checker<'_, G> {
    fn members(&mut self, members: Members<'_>, shapes: &[Member], parent: Option<&Path<'_>>) {
        for shape in shapes {
            if self.violations.is_full() {
                return;
            }
            let path = Path {
                parent,
                step: Step::Member(shape.name),
            };
            match members.get(shape.name) {
                Some(value) => self.value(members, value, shape.shape, &path),
                None if self.is_missing(members, shape.presence) => {
                    self.violations.add_null(&path);
                }
                None => {}
            }
        }
    }

    fn is_missing(&self, members: Members<'_>, presence: Presence) -> bool {
        match presence {
            Presence::Optional => false,
            Presence::Required => true,
            Presence::UnlessStreamArn => members.get("StreamARN").is_none(),
            Presence::UnlessSpread => !self.ground.spreads(),
        }
    }

    fn value(&mut self, around: Members<'_>, value: &Value<'_>, shape: &Shape, path: &Path<'_>) {
        match shape {
            Shape::Text {
                length,
                pattern,
                one_of,
            } => {
                let Ok(Some(text)) = member::text(value) else {
                    return;
                };
                if let Some(pattern) = pattern
                    && !pattern.matches(text)
                {
                    let constraint = pattern_text(pattern.text());
                    self.violations.add(&text, path, &constraint);
                }
                self.length(&text, characters(text), *length, path);
                if !one_of.is_empty() && !one_of.contains(&text) {
                    self.violations.add(&text, path, &enum_text(one_of));
                }
            }
            Shape::Integer { least, most } => {
                let Ok(Some(number)) = member::integer(value) else {
                    return;
                };
                if let Some(least) = least.filter(|least| number < *least) {
                    let constraint =
                        format!("Member must have value greater than or equal to {least}");
                    self.violations.add(&number, path, &constraint);
                }
                if let Some(most) = most.filter(|most| number > *most) {
                    let constraint = format!("Member must have value less than or equal to {most}");
                    self.violations.add(&number, path, &constraint);
                }
            }
            Shape::Boolean | Shape::Timestamp => {}
            Shape::RecordData => self.record_data(value, path),
            Shape::List { length, item } => self.list(around, value, *length, item, path),
            Shape::Map {
                length,
                key,
                value: entry,
            } => self.map(value, *length, key, entry, path),
            Shape::Structure(structure) => {
                if let Ok(inner) = around.inner(value) {
                    self.members(inner, structure.members, Some(path));
                }
            }
        }
    }

    fn record_data(&mut self, value: &Value<'_>, path: &Path<'_>) {
        let bytes = member::blob(value).map_or(0, member::Blob::bytes);
        if bytes > weir_protocol::limits::RECORD_BYTES_MAX as usize {
            let shown = format_args!("java.nio.HeapByteBuffer[pos=0 lim={bytes} cap={bytes}]");
            let most = self.ground.record_bytes_max();
            self.length(&shown, bytes, Some((0, most)), path);
        }
    }

    fn list(
        &mut self,
        around: Members<'_>,
        value: &Value<'_>,
        length: Option<(usize, usize)>,
        item: &Shape,
        path: &Path<'_>,
    ) {
        let Ok(items) = member::list(value) else {
            return;
        };
        let shown = Shown {
            value,
            item: Some(item),
        };
        self.length(&shown, items.len(), length, path);
        if let Shape::Structure(_) = item {
            for (index, value) in items.iter().enumerate() {
                if self.violations.is_full() {
                    return;
                }
                let path = Path {
                    parent: Some(path),
                    step: Step::Item(index + 1),
                };
                self.value(around, value, item, &path);
            }
        } else if !items.iter().all(|value| is_within(value, item)) {
            let asked = constraints_of(item, items.contains(&Value::Null));
            let constraint = format!("Member must satisfy constraint: {asked}");
            self.violations.add(&shown, path, &constraint);
        }
    }

    fn map(
        &mut self,
        value: &Value<'_>,
        length: Option<(usize, usize)>,
        key: &Shape,
        entry: &Shape,
        path: &Path<'_>,
    ) {
        let Ok(entries) = member::map(value) else {
            return;
        };
        let shown = Shown { value, item: None };
        self.length(&shown, entries.len(), length, path);
        if !entries.iter().all(|(name, _)| is_text_within(name, key)) {
            let asked = constraints_of(key, false);
            let constraint = format!("Map keys must satisfy constraint: {asked}");
            self.violations.add(&shown, path, &constraint);
        }
        if !entries.iter().all(|(_, value)| is_within(value, entry)) {
            let has_null = entries.iter().any(|(_, value)| *value == Value::Null);
            let asked = constraints_of(entry, has_null);
            let constraint = format!("Map value must satisfy constraint: {asked}");
            self.violations.add(&shown, path, &constraint);
        }
    }

    fn length(
        &mut self,
        shown: &impl fmt::Display,
        length: usize,
        bounds: Option<(usize, usize)>,
        path: &Path<'_>,
    ) {
        let Some((shortest, longest)) = bounds else {
            return;
        };
        if length < shortest {
            self.violations.add(shown, path, &shortest_text(shortest));
        }
        if length > longest {
            self.violations.add(shown, path, &longest_text(longest));
        }
    }
}

fn shortest_text(shortest: usize) -> String {
    format!("Member must have length greater than or equal to {shortest}")
}

fn longest_text(longest: usize) -> String {
    format!("Member must have length less than or equal to {longest}")
}

fn pattern_text(pattern: &str) -> String {
    format!("Member must satisfy regular expression pattern: {pattern}")
}

fn enum_text(one_of: &[&str]) -> String {
    format!(
        "Member must satisfy enum value set: [{}]",
        one_of.join(", ")
    )
}

fn characters(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().count()
    }
}

/// Whether an item of a list or a value of a map is within its bounds. A null is not: it can be
/// neither stored nor left out as an absent member is.
fn is_within(value: &Value<'_>, shape: &Shape) -> bool {
    match member::text(value) {
        Ok(Some(text)) => is_text_within(text, shape),
        Ok(None) => false,
        Err(_) => true,
    }
}

fn is_text_within(text: &str, shape: &Shape) -> bool {
    let Shape::Text {
        length,
        pattern,
        one_of,
    } = shape
    else {
        return true;
    };
    length.is_none_or(|(shortest, longest)| (shortest..=longest).contains(&characters(text)))
        && pattern.is_none_or(|pattern| pattern.matches(text))
        && (one_of.is_empty() || one_of.contains(&text))
}

/// All that is asked of an item, as AWS lists it: the longest before the shortest, and of a null
/// that it be none.
fn constraints_of(shape: &Shape, is_null: bool) -> String {
    let mut all = Vec::new();
    if let Shape::Text {
        length,
        pattern,
        one_of,
    } = shape
    {
        if let Some((shortest, longest)) = length {
            all.extend([longest_text(*longest), shortest_text(*shortest)]);
        }
        all.extend(pattern.map(|pattern| pattern_text(pattern.text())));
        if !one_of.is_empty() {
            all.push(enum_text(one_of));
        }
    }
    if is_null {
        all.push("Member must not be null".to_owned());
    }
    format!("[{}]", all.join(", "))
}

/// A value as Java prints it, no longer than a text may repeat.
struct Shown<'s> {
    value: &'s Value<'s>,
    /// What the items of a list are.
    item: Option<&'s Shape>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every item has a separator of two characters at least: more need not be looked at.
        const ITEMS_MAX: usize = ECHO_CHARS_MAX / 2;
        match self.value {
            Value::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().take(ITEMS_MAX).enumerate() {
                    f.write_str(if index > 0 { ", " } else { "" })?;
                    match (self.item, item) {
                        (Some(Shape::Structure(structure)), _) => {
                            let name = structure.name;
                            write!(f, "{JAVA_PACKAGE}.{name}@{JAVA_IDENTITY}")?;
                        }
                        (_, item) => write_scalar(f, item)?,
                    }
                }
                f.write_str("]")
            }
            Value::Map(entries) => {
                f.write_str("{")?;
                for (index, (name, value)) in entries.iter().take(ITEMS_MAX).enumerate() {
                    f.write_str(if index > 0 { ", " } else { "" })?;
                    write!(f, "{name}=")?;
                    write_scalar(f, value)?;
                }
                f.write_str("}")
            }
            other => write_scalar(f, other),
        }
    }
}

fn write_scalar(f: &mut fmt::Formatter<'_>, value: &Value<'_>) -> fmt::Result {
    match value {
        Value::Text(text) => f.write_str(text),
        Value::Integer(number) => write!(f, "{number}"),
        _ => f.write_str("null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::Encoding;
    use crate::model::Operation;
    use crate::model::example::Plain;

    struct Spreading;

    impl Ground for Spreading {
        fn spreads(&self) -> bool {
            true
        }

        fn record_bytes_max(&self) -> usize {
            2_097_152
        }
    }

    fn check(operation: Operation, body: &str, ground: &impl Ground) -> Result<(), String> {
        let value = Encoding::Json.parse(body.as_bytes()).unwrap();
        let members = Members::of_request(&value, Encoding::Json).unwrap();
        let checked = operation.check(members, ground);
        checked.map_err(|error| error.text.unwrap_or_default())
    }

    #[test]
    fn maps_and_lists_are_shown_as_java_shows_them() {
        let tags = |body: &str| check(Operation::AddTagsToStream, body, &Plain).unwrap_err();
        assert_eq!(
            tags(r#"{"StreamName":"a","Tags":{"":"b","c":"d"}}"#),
            "1 validation error detected: Value '{=b, c=d}' at 'tags' failed to satisfy \
             constraint: Map keys must satisfy constraint: [Member must have length less than or \
             equal to 128, Member must have length greater than or equal to 1]"
        );
        assert!(tags(r#"{"StreamName":"a","Tags":{}}"#).contains("Value '{}' at 'tags'"));
        assert_eq!(
            tags(r#"{"StreamName":"a","Tags":{"k":null}}"#),
            "1 validation error detected: Value '{k=null}' at 'tags' failed to satisfy \
             constraint: Map value must satisfy constraint: [Member must have length less than or \
             equal to 256, Member must have length greater than or equal to 0, Member must not be \
             null]"
        );
        let keys = check(
            Operation::RemoveTagsFromStream,
            r#"{"StreamName":"a","TagKeys":["x",""]}"#,
            &Plain,
        );
        assert_eq!(
            keys.unwrap_err(),
            "1 validation error detected: Value '[x, ]' at 'tagKeys' failed to satisfy constraint: \
             Member must satisfy constraint: [Member must have length less than or equal to 128, \
             Member must have length greater than or equal to 1]"
        );
    }

    #[test]
    fn records_are_bounded_by_their_stream() {
        let record = r#"{"StreamName":"a","Data":""}"#;
        let missing = check(Operation::PutRecord, record, &Plain).unwrap_err();
        assert!(
            missing.contains("Value null at 'partitionKey'"),
            "{missing}"
        );
        assert_eq!(check(Operation::PutRecord, record, &Spreading), Ok(()));
        let long = base64_simd::STANDARD.encode_to_string(vec![0; 1_048_577]);
        let record = format!(r#"{{"StreamName":"a","PartitionKey":"k","Data":"{long}"}}"#);
        assert_eq!(check(Operation::PutRecord, &record, &Spreading), Ok(()));
        assert_eq!(
            check(Operation::PutRecord, &record, &Plain).unwrap_err(),
            "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=1048577 \
             cap=1048577]' at 'data' failed to satisfy constraint: Member must have length less \
             than or equal to 1048576"
        );
    }

    #[test]
    fn long_lists_are_not_told_in_full() {
        let keys = vec!["\"k\""; 60_000].join(",");
        let body = format!(r#"{{"StreamName":"a","TagKeys":[{keys}]}}"#);
        let text = check(Operation::RemoveTagsFromStream, &body, &Plain).unwrap_err();
        assert!(text.len() < 5_000, "{} characters", text.len());
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        let key = |key: &str| {
            let body = format!(r#"{{"StreamName":"a","PartitionKey":"{key}","Data":""}}"#);
            check(Operation::PutRecord, &body, &Plain).is_ok()
        };
        assert!(key("a"));
        assert!(key(&"ü".repeat(256)));
        assert!(!key(&"ü".repeat(257)));
        assert!(!key(""));
    }
}
