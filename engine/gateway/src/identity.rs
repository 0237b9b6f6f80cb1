//! Who asks: account and region, read from the request's credentials.
//!
//! Owns: both shapes of SigV4 credentials and what is told when they are incomplete.
//! Never: verification. On loopback credentials must be present, as every SDK sends them, but any
//! will do.

use ::http::{HeaderMap, Uri, header};

use crate::error::{ErrorKind, ServiceError};

/// The account and region that a request speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Twelve digits.
    pub(crate) account: String,
    /// For example `us-east-1`.
    pub(crate) region: String,
}

/// Reads the credentials. What they do not say comes from `default`: the account unless the access
/// key id is a 12-digit number, the region unless the credential scope has one.
pub(crate) fn identify(
    headers: &HeaderMap,
    uri: &Uri,
    default: &Identity,
) -> Result<Identity, ServiceError> {
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
        (Some(value), false) => {
            let value = String::from_utf8_lossy(value.as_bytes());
            let dated = headers.contains_key("x-amz-date") || headers.contains_key(header::DATE);
            let credential = from_header(&value, dated)?;
            Ok(of_credential(credential, default))
        }
        (None, true) => {
            let credential = from_query(query)?;
            Ok(of_credential(&credential, default))
        }
    }
}

fn missing_token() -> ServiceError {
    ServiceError::new(
        ErrorKind::MissingAuthenticationToken,
        "Missing Authentication Token",
    )
}

fn from_header(value: &str, dated: bool) -> Result<&str, ServiceError> {
    if value.trim().is_empty() {
        return Err(missing_token());
    }
    let find = |name: &str| {
        value
            .split([',', ' '])
            .skip(1)
            .filter_map(|part| part.trim().split_once('='))
            .find(|(key, value)| *key == name && !value.is_empty())
            .map(|(_, value)| value)
    };
    let mut text = String::new();
    for name in ["Credential", "Signature", "SignedHeaders"] {
        if find(name).is_none() {
            text.extend(["Authorization header requires '", name, "' parameter. "]);
        }
    }
    if !dated {
        text += "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' \
                 header. ";
    }
    match find("Credential") {
        Some(credential) if text.is_empty() => Ok(credential),
        _ => {
            text.extend(["Authorization=", value]);
            Err(ServiceError::new(ErrorKind::IncompleteSignature, text))
        }
    }
}

fn from_query(query: &str) -> Result<String, ServiceError> {
    let mut text = String::new();
    for name in [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Signature",
        "X-Amz-SignedHeaders",
        "X-Amz-Date",
    ] {
        if parameter(query, name).is_none_or(str::is_empty) {
            text.extend(["AWS query-string parameters must include '", name, "'. "]);
        }
    }
    if !text.is_empty() {
        text += "Re-examine the query-string parameters.";
        return Err(ServiceError::new(ErrorKind::IncompleteSignature, text));
    }
    Ok(unescape(
        parameter(query, "X-Amz-Credential").unwrap_or_default(),
    ))
}

fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// Undoes percent escapes; what is no escape stays as it is.
fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `AKID/yyyymmdd/region/kinesis/aws4_request`.
fn of_credential(credential: &str, default: &Identity) -> Identity {
    let mut parts = credential.split('/');
    let key = parts.next().unwrap_or_default();
    let region = parts.nth(1).unwrap_or_default();
    let is_account = key.len() == 12 && key.bytes().all(|b| b.is_ascii_digit());
    // Both are written into ARNs, so nothing else than their own alphabet may pass.
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_region = (1..=64).contains(&region.len()) && region.bytes().all(legal);
    Identity {
        account: if is_account { key } else { &default.account }.to_owned(),
        region: if is_region { region } else { &default.region }.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default() -> Identity {
        Identity {
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
        }
    }

    fn by_header(value: &str, dated: bool) -> Result<Identity, ServiceError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        if dated {
            headers.insert("x-amz-date", "20260101T000000Z".parse().unwrap());
        }
        identify(&headers, &Uri::from_static("/"), &default())
    }

    #[test]
    fn region_and_account_come_from_the_credential() {
        let identity = by_header(
            "AWS4-HMAC-SHA256 Credential=123456789012/20260101/eu-west-1/kinesis/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature=abc",
            true,
        )
        .unwrap();
        assert_eq!(identity.account, "123456789012");
        assert_eq!(identity.region, "eu-west-1");
        let identity = by_header(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/<b>/kinesis/aws4_request,\
             SignedHeaders=host,Signature=abc",
            true,
        )
        .unwrap();
        assert_eq!(identity, default());
    }

    #[test]
    fn what_is_missing_is_told() {
        let headers = HeaderMap::new();
        let none = identify(&headers, &Uri::from_static("/"), &default()).unwrap_err();
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
        let query = identify(&headers, &uri, &default()).unwrap_err();
        assert_eq!(
            query.text.unwrap(),
            "AWS query-string parameters must include 'X-Amz-Credential'. AWS query-string \
             parameters must include 'X-Amz-Signature'. AWS query-string parameters must include \
             'X-Amz-SignedHeaders'. Re-examine the query-string parameters."
        );
    }

    #[test]
    fn a_presigned_request_is_known_too() {
        let uri = Uri::from_static(
            "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=111122223333%2F20260101%2F\
             eu-north-1%2Fkinesis%2Faws4_request&X-Amz-Date=a&X-Amz-SignedHeaders=host&\
             X-Amz-Signature=c",
        );
        let identity = identify(&HeaderMap::new(), &uri, &default()).unwrap();
        assert_eq!(identity.account, "111122223333");
        assert_eq!(identity.region, "eu-north-1");
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, "AWS4".parse().unwrap());
        let both = identify(&headers, &uri, &default()).unwrap_err();
        assert_eq!(both.kind, ErrorKind::InvalidSignature);
    }
}
