//! What a request says about who signed it, in either form.
//!
//! Owns: where the parts are found, and what is told when some are missing. Never: whether they are
//! true; that is [`mod@super::verify`].

use std::borrow::Cow;

use ::http::{HeaderMap, Uri, header};

use super::canonical::pairs;
use super::verify::REPEATED_BYTES_MAX;
use crate::error::{ErrorKind, ServiceError};

/// Where a claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// In the `Authorization` header.
    Header,
    /// In the query: a presigned request.
    Query,
}

/// A complete claim, word for word.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Claim<'r> {
    pub(super) form: Form,
    pub(super) algorithm: Cow<'r, str>,
    /// `AKID/yyyymmdd/region/kinesis/aws4_request`.
    pub(super) credential: Cow<'r, str>,
    pub(super) signed_headers: Cow<'r, str>,
    pub(super) signature: Cow<'r, str>,
    /// When it was signed.
    pub(super) date: Cow<'r, str>,
    /// How many seconds a presigned request is good for.
    pub(super) expires: Option<Cow<'r, str>>,
    pub(super) token: Option<Cow<'r, str>>,
}

impl<'r> Claim<'r> {
    /// Reads the claim of a request.
    pub(crate) fn read(headers: &'r HeaderMap, uri: &'r Uri) -> Result<Self, ServiceError> {
        let authorization = headers.get(header::AUTHORIZATION);
        let query = uri.query().unwrap_or_default();
        let presigned = parameter(query, "X-Amz-Algorithm").is_some();
        match (authorization, presigned) {
            (Some(_), true) => Err(ServiceError::new(
                ErrorKind::InvalidSignature,
                "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP \
                 header.",
            )),
            (None, false) => Err(missing_token()),
            (Some(value), false) => Self::from_header(value.as_bytes(), headers),
            (None, true) => Self::from_query(query),
        }
    }

    /// The access key id and the region that the credential names, be they true or not.
    pub(crate) fn names(&self) -> (&str, &str) {
        let mut parts = self.credential.split('/');
        let key = parts.next().unwrap_or_default();
        (key, parts.nth(1).unwrap_or_default())
    }

    fn from_header(value: &'r [u8], headers: &'r HeaderMap) -> Result<Self, ServiceError> {
        if value.trim_ascii().is_empty() {
            return Err(missing_token());
        }
        // What is no text has no parts that anything could be made of.
        let text = std::str::from_utf8(value).unwrap_or_default();
        let (algorithm, mut rest) = first_part(text);
        let mut found = ["Credential", "Signature", "SignedHeaders"].map(|name| (name, None));
        while let Some(after) = rest {
            let part;
            (part, rest) = first_part(after);
            if let Some((key, value)) = part.split_once('=')
                && let Some((_, found)) = found.iter_mut().find(|(name, _)| *name == key)
                && found.is_none()
                && !value.is_empty()
            {
                *found = Some(Cow::Borrowed(value));
            }
        }
        let date = text_of(headers, "x-amz-date").or_else(|| text_of(headers, "date"));
        let mut missing = String::new();
        for (name, found) in &found {
            if found.is_none() {
                missing.extend(["Authorization header requires '", name, "' parameter. "]);
            }
        }
        if date.is_none() {
            missing += "Authorization header requires existence of either a 'X-Amz-Date' or a \
                        'Date' header. ";
        }
        let [
            (_, Some(credential)),
            (_, Some(signature)),
            (_, Some(signed_headers)),
        ] = found
        else {
            return Err(incomplete_header(missing, value));
        };
        let Some(date) = date else {
            return Err(incomplete_header(missing, value));
        };
        Ok(Self {
            form: Form::Header,
            algorithm: Cow::Borrowed(algorithm),
            credential,
            signed_headers,
            signature,
            date,
            expires: None,
            token: text_of(headers, "x-amz-security-token"),
        })
    }

    fn from_query(query: &'r str) -> Result<Self, ServiceError> {
        let find = |name: &str| {
            let value = parameter(query, name)?;
            (!value.is_empty()).then(|| value.into_owned().into())
        };
        let found = [
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Signature",
            "X-Amz-SignedHeaders",
            "X-Amz-Date",
        ]
        .map(|name| (name, find(name)));
        let mut missing = String::new();
        for (name, found) in &found {
            if found.is_none() {
                missing.extend(["AWS query-string parameters must include '", name, "'. "]);
            }
        }
        let [
            (_, Some(algorithm)),
            (_, Some(credential)),
            (_, Some(signature)),
            (_, Some(signed_headers)),
            (_, Some(date)),
        ] = found
        else {
            missing += "Re-examine the query-string parameters.";
            return Err(ServiceError::new(ErrorKind::IncompleteSignature, missing));
        };
        Ok(Self {
            form: Form::Query,
            algorithm,
            credential,
            signed_headers,
            signature,
            date,
            expires: find("X-Amz-Expires"),
            token: find("X-Amz-Security-Token"),
        })
    }
}

/// What stands before the first comma or space, and what behind it if there is one.
fn first_part(text: &str) -> (&str, Option<&str>) {
    match memchr::memchr2(b',', b' ', text.as_bytes()) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

fn missing_token() -> ServiceError {
    ServiceError::new(
        ErrorKind::MissingAuthenticationToken,
        "Missing Authentication Token",
    )
}

fn incomplete_header(mut missing: String, value: &[u8]) -> ServiceError {
    missing += "Authorization=";
    missing += &String::from_utf8_lossy(&value[..value.len().min(REPEATED_BYTES_MAX)]);
    ServiceError::new(ErrorKind::IncompleteSignature, missing)
}

/// The header's value; one that is no text reads as an empty one.
fn text_of<'r>(headers: &'r HeaderMap, name: &str) -> Option<Cow<'r, str>> {
    let value = headers.get(name)?.as_bytes();
    Some(std::str::from_utf8(value).unwrap_or_default().into())
}

/// A parameter of the query, unescaped.
fn parameter<'r>(query: &'r str, name: &str) -> Option<Cow<'r, str>> {
    let (_, value) = pairs(query).find(|(key, _)| **key == *name.as_bytes())?;
    Some(match value {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_header(value: &str, dated: bool) -> Result<(String, String), ServiceError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        if dated {
            headers.insert("x-amz-date", "20260101T000000Z".parse().unwrap());
        }
        let uri = Uri::from_static("/");
        let claim = Claim::read(&headers, &uri)?;
        let (key, region) = claim.names();
        Ok((key.to_owned(), region.to_owned()))
    }

    #[test]
    fn parts_may_be_parted_in_three_ways() {
        for between in [", ", ",", " "] {
            let value = [
                "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/kinesis/aws4_request",
                "SignedHeaders=host;x-amz-date",
                "Signature=abc",
            ]
            .join(between);
            let names = by_header(&value, true).unwrap();
            assert_eq!(names, ("AKID".to_owned(), "eu-west-1".to_owned()));
        }
    }

    #[test]
    fn what_is_missing_is_told() {
        let headers = HeaderMap::new();
        let uri = Uri::from_static("/");
        let none = Claim::read(&headers, &uri).err().unwrap();
        assert_eq!(none.kind, ErrorKind::MissingAuthenticationToken);
        let half = by_header("AWS4- Signature=b", false).unwrap_err();
        assert_eq!(half.kind, ErrorKind::IncompleteSignature);
        assert_eq!(
            half.text.unwrap(),
            "Authorization header requires 'Credential' parameter. Authorization header requires \
             'SignedHeaders' parameter. Authorization header requires existence of either a \
             'X-Amz-Date' or a 'Date' header. Authorization=AWS4- Signature=b"
        );
        let uri = Uri::from_static("/?X-Amz-Algorithm=a&X-Amz-Date=b");
        let query = Claim::read(&headers, &uri).err().unwrap();
        assert_eq!(
            query.text.unwrap(),
            "AWS query-string parameters must include 'X-Amz-Credential'. AWS query-string \
             parameters must include 'X-Amz-Signature'. AWS query-string parameters must include \
             'X-Amz-SignedHeaders'. Re-examine the query-string parameters."
        );
    }

    #[test]
    fn a_long_header_is_not_repeated_in_full() {
        let long = by_header(&"x".repeat(30_000), true).unwrap_err();
        assert!(long.text.unwrap().len() < REPEATED_BYTES_MAX + 500);
    }

    #[test]
    fn a_presigned_request_has_a_claim_too() {
        let uri = Uri::from_static(
            "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=111122223333%2F20260101%2F\
             eu-north-1%2Fkinesis%2Faws4_request&X-Amz-Date=a&X-Amz-SignedHeaders=host&\
             X-Amz-Signature=c",
        );
        let mut headers = HeaderMap::new();
        {
            let claim = Claim::read(&headers, &uri).ok().unwrap();
            assert_eq!(claim.names(), ("111122223333", "eu-north-1"));
            assert_eq!(claim.form, Form::Query);
        }
        headers.insert(header::AUTHORIZATION, "AWS4".parse().unwrap());
        let both = Claim::read(&headers, &uri).err().unwrap();
        assert_eq!(both.kind, ErrorKind::InvalidSignature);
    }
}
