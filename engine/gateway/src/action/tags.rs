//! Tags: which are legal, how they are read and shown.

use weir_stream::Tags;

use crate::error::{About, ServiceError};
use crate::member::Members;
use crate::writer::Writer;

/// Keys that begin so are AWS's own.
const RESERVED_PREFIX: &str = "aws:";

/// The legal tags of a request, by key.
pub(super) fn read(members: Members<'_>, about: About<'_>) -> Result<Tags, ServiceError> {
    let tags: Tags = members
        .map("Tags")
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    check(
        tags.iter().flat_map(|(key, value)| [key, value]),
        "add tags to",
        about,
    )?;
    if tags.keys().any(|key| key.starts_with(RESERVED_PREFIX)) {
        return Err(ServiceError::invalid_argument(format!(
            "Failed to add tags to stream {} under account {} because keys that begin with \
             {RESERVED_PREFIX} are reserved.",
            about.stream, about.account
        )));
    }
    Ok(tags)
}

/// The keys of tags to remove.
pub(super) fn read_keys(
    members: Members<'_>,
    about: About<'_>,
) -> Result<Vec<String>, ServiceError> {
    let keys: Vec<String> = members.texts("TagKeys").map(str::to_owned).collect();
    check(keys.iter(), "remove tags from", about)?;
    Ok(keys)
}

/// AWS has two texts: one for what no tag may hold, one for the percent sign, which the first calls
/// valid.
fn check<'a>(
    texts: impl Iterator<Item = &'a String> + Clone,
    act: &str,
    about: About<'_>,
) -> Result<(), ServiceError> {
    // Blanks of all kinds, but neither tabs nor ends of lines.
    let is_blank = |c: char| c.is_whitespace() && !c.is_control();
    let legal = |c: char| c.is_alphanumeric() || is_blank(c) || "_./=+-%@:".contains(c);
    if texts.clone().any(|text| !text.chars().all(legal)) {
        return Err(ServiceError::invalid_argument(
            "Some tags contain invalid characters. Valid characters: Unicode letters, digits, \
             white space, _ . / = + - % @.",
        ));
    }
    if texts.clone().any(|text| text.contains('%')) {
        return Err(ServiceError::invalid_argument(format!(
            "Failed to {act} stream {} under account {} because some tags contained illegal \
             characters. The allowed characters are Unicode letters, white-spaces, \
             '_',',','/','=','+','-','@'.",
            about.stream, about.account
        )));
    }
    Ok(())
}

/// A list of tags.
pub(super) fn write<'t>(out: &mut Writer, tags: impl Iterator<Item = (&'t String, &'t String)>) {
    out.member("Tags").open_list();
    for (key, value) in tags {
        out.open_map();
        out.member("Key").text(key);
        out.member("Value").text(value);
        out.close_map();
    }
    out.close_list();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Operation;
    use crate::model::example::checked;

    const ABOUT: About<'_> = About {
        stream: "logs",
        account: "000000000000",
    };

    fn tags(body: &str) -> Result<Tags, String> {
        let body = format!("{{\"StreamName\":\"logs\",\"Tags\":{body}}}");
        let read = checked(Operation::AddTagsToStream, &body, |members| {
            read(members, ABOUT)
        });
        read?.map_err(|error| error.text.unwrap())
    }

    #[test]
    fn characters_of_tags_are_checked_as_at_aws() {
        for legal in [
            r#"{"a":""}"#,
            r#"{"Ünï çode 9 _./=+-@":"x y"}"#,
            r#"{"team:owner":"a"}"#,
        ] {
            assert_eq!(tags(legal).unwrap().len(), 1, "{legal}");
        }
        for illegal in [
            r#"{"a\tb":"a"}"#,
            r#"{"a":"b\n"}"#,
            r#"{";":"a"}"#,
            r#"{"a":"~"}"#,
            r#"{"a":"b","c":"%;"}"#,
        ] {
            assert_eq!(
                tags(illegal).unwrap_err(),
                "Some tags contain invalid characters. Valid characters: Unicode letters, digits, \
                 white space, _ . / = + - % @.",
            );
        }
        assert_eq!(
            tags(r#"{"a":"%"}"#).unwrap_err(),
            "Failed to add tags to stream logs under account 000000000000 because some tags \
             contained illegal characters. The allowed characters are Unicode letters, \
             white-spaces, '_',',','/','=','+','-','@'."
        );
        assert!(tags(r#"{"aws:a":"b"}"#).unwrap_err().contains("reserved"));
    }

    #[test]
    fn keys_to_remove_are_checked_too() {
        let body = r#"{"StreamName":"logs","TagKeys":["a","%"]}"#;
        let read = checked(Operation::RemoveTagsFromStream, body, |members| {
            read_keys(members, ABOUT)
        });
        let text = read.unwrap().unwrap_err().text.unwrap();
        assert!(
            text.starts_with("Failed to remove tags from stream logs"),
            "{text}"
        );
    }
}
