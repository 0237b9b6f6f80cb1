//! Whether a claim is true.
//!
//! Owns: the order of checks and AWS's texts. Never: where a claim's parts stand.
//!
//! The order is AWS's own: date and age, signed headers, algorithm, credential and scope, key,
//! signature, session token.

use std::fmt::Write as _;

use ::http::request::Parts;
use hmac::Mac;
use weir_protocol::model::Timestamp;

use super::canonical::{Digest, Signed};
use super::claim::{Claim, Form};
use super::key_ring::{Key, KeyRing};
use super::moment;
use super::signing_keys::{SigningKeys, derive};
use crate::error::{ErrorKind, ServiceError};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "kinesis";
const TERMINATOR: &str = "aws4_request";
/// How far a client's clock may be off, in either direction, in milliseconds.
const SKEW_MS_MAX: u64 = 5 * 60 * 1000;
/// How long a presigned request may be good for, in seconds (AWS: a week).
const EXPIRES_SECONDS_MAX: u64 = 7 * 24 * 3600;
/// Longest text of a request that an error repeats, in bytes.
pub(super) const REPEATED_BYTES_MAX: usize = 4096;

/// What a claim is held against.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'r> {
    pub(crate) head: &'r Parts,
    pub(crate) body: &'r Digest,
    pub(crate) now: Timestamp,
    pub(crate) ring: &'r KeyRing,
    pub(crate) signing_keys: &'r SigningKeys,
    /// The only region that is served, if it is one.
    pub(crate) region: Option<&'r str>,
}

/// Checks a claim. The request is then one that the holder of the named key has made, to be
/// answered now.
pub(crate) fn verify(claim: &Claim, asked: Asked) -> Result<(), ServiceError> {
    let (signed_at, key, scope) = head_of(claim, asked.now, asked.ring, asked.region)?;

    let signed = Signed {
        method: &asked.head.method,
        uri: &asked.head.uri,
        headers: &asked.head.headers,
        names: &claim.signed_headers,
        body: asked.body,
    };
    let canonical = signed.canonical().ok_or_else(|| mismatch(None))?;
    let mut to_sign = [ALGORITHM, "\n", &signed_at, "\n", scope, "\n"]
        .concat()
        .into_bytes();
    to_sign.extend_from_slice(Digest::of(&canonical).as_bytes());
    let kept = asked.signing_keys.kept(&claim.credential);
    let was_kept = kept.is_some();
    let signing_key = kept.unwrap_or_else(|| derive(&key.secret, scope));
    let signature = read_signature(&claim.signature);
    // Compares in constant time.
    let proof = signing_key.clone().chain_update(&to_sign);
    let proven = signature.is_some_and(|signature| proof.verify_slice(&signature).is_ok());
    if !proven || !says_the_digest(asked) {
        return Err(mismatch(Some((&canonical, &to_sign))));
    }
    if !key.has_token(claim.token.as_deref()) {
        return Err(unrecognized());
    }
    if !was_kept {
        asked.signing_keys.keep(&claim.credential, signing_key);
    }
    Ok(())
}

/// Checks what needs no body: whoever does not pass this is refused, whatever the body is.
pub(crate) fn check_head(
    claim: &Claim,
    now: Timestamp,
    ring: &KeyRing,
    region: Option<&str>,
) -> Result<(), ServiceError> {
    head_of(claim, now, ring, region).map(drop)
}

/// When it was signed, as signatures write it, the key, and the scope.
fn head_of<'c>(
    claim: &'c Claim,
    now: Timestamp,
    ring: &'c KeyRing,
    region: Option<&str>,
) -> Result<(String, &'c Key, &'c str), ServiceError> {
    let signed_at = check_age(claim, now)?;
    check_names(claim)?;
    if claim.algorithm != ALGORITHM {
        return Err(incomplete(format!(
            "Unsupported AWS 'algorithm': '{}' (only {ALGORITHM} for now). ",
            claim.algorithm
        )));
    }
    let (id, scope) = check_scope(claim, region, &signed_at)?;
    let key = ring.key(id).ok_or_else(unrecognized)?;
    Ok((signed_at, key, scope))
}

/// Checks the date, and returns it as signatures write it.
fn check_age(claim: &Claim, now: Timestamp) -> Result<String, ServiceError> {
    let signed_at = moment::read(&claim.date).ok_or_else(|| {
        incomplete(format!(
            "Date must be in ISO-8601 'basic format'. Got '{}'. See \
             http://en.wikipedia.org/wiki/ISO_8601",
            claim.date
        ))
    })?;
    let date = moment::basic(signed_at);
    let here = || moment::basic(now);
    if signed_at.millis_since(now) > SKEW_MS_MAX {
        let limit = moment::basic(Timestamp::from_millis(now.as_millis() + SKEW_MS_MAX));
        return Err(invalid(format!(
            "Signature not yet current: {date} is still later than {limit} ({} + 5 min.)",
            here()
        )));
    }
    let expires = claim.expires.as_ref().filter(|_| claim.form == Form::Query);
    let seconds = expires.map(|text| read_expires(text)).transpose()?;
    let life_ms = seconds.map_or(SKEW_MS_MAX, |seconds| seconds * 1000);
    if now.millis_since(signed_at) > life_ms {
        let said = seconds.map_or("5 min.".to_owned(), |seconds| format!("{seconds} sec."));
        let limit = moment::basic(now.minus_millis(life_ms));
        return Err(invalid(format!(
            "Signature expired: {date} is now earlier than {limit} ({} - {said})",
            here()
        )));
    }
    Ok(date)
}

fn read_expires(text: &str) -> Result<u64, ServiceError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let seconds: u64 = match text.parse() {
        Ok(seconds) if digits => seconds,
        _ => return Err(incomplete("X-Amz-Expires should be a number")),
    };
    if seconds > EXPIRES_SECONDS_MAX {
        return Err(incomplete(format!(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given \
             X-Amz-Expires must be less than {EXPIRES_SECONDS_MAX} seconds"
        )));
    }
    Ok(seconds)
}

/// The host must be signed, else the request could be meant for somebody else. So must the target,
/// where AWS is content without: it says what is to be done, and the port may have no TLS.
fn check_names(claim: &Claim) -> Result<(), ServiceError> {
    let has = |wanted: &str| claim.signed_headers.split(';').any(|name| name == wanted);
    let wanted = if !has("host") && !has(":authority") {
        "'Host' or ':authority'"
    } else if !has("x-amz-target") {
        "'X-Amz-Target'"
    } else {
        return Ok(());
    };
    Err(invalid(format!(
        "{wanted} must be a 'SignedHeader' in the AWS Authorization."
    )))
}

/// Checks the credential's five parts, and returns the access key id and the four of the scope.
fn check_scope<'c>(
    claim: &'c Claim,
    only: Option<&str>,
    signed_at: &str,
) -> Result<(&'c str, &'c str), ServiceError> {
    let credential: &str = &claim.credential;
    let mut parts = credential.split('/');
    let [
        Some(id),
        Some(date),
        Some(region),
        Some(service),
        Some(terminator),
        None,
    ] = [(); 6].map(|()| parts.next())
    else {
        return Err(incomplete(format!(
            "Credential must have exactly 5 slash-delimited elements, e.g. \
             keyid/date/region/service/term, got '{credential}'"
        )));
    };
    let mut text = String::new();
    if !is_region(region) || only.is_some_and(|only| only != region) {
        text.extend([
            "Credential should be scoped to a valid region, not '",
            region,
            "'. ",
        ]);
    }
    if service != SERVICE {
        text.extend([
            "Credential should be scoped to correct service: '",
            SERVICE,
            "'. ",
        ]);
    }
    if terminator != TERMINATOR {
        let _never = write!(
            text,
            "Credential should be scoped with a valid terminator: '{TERMINATOR}', not \
             '{terminator}'. "
        );
    }
    let day = &signed_at[..8];
    if date != day {
        let _never = write!(
            text,
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from \
             HTTP: '{date}' != '{day}', from '{signed_at}'."
        );
    }
    if !text.is_empty() {
        return Err(invalid(text));
    }
    Ok((id, &credential[id.len() + 1..]))
}

/// Whether it may be the name of a region. It is written into ARNs, so nothing else than its own
/// alphabet may pass.
pub(crate) fn is_region(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(legal)
}

/// The signature's bytes: 64 digits in lower case, for there is one way to write it.
fn read_signature(text: &str) -> Option<[u8; 32]> {
    let text: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Whether the body's digest, where the request states one, is the body's. An unsigned body is not
/// taken: it could be anybody's.
fn says_the_digest(asked: Asked) -> bool {
    let stated = asked.head.headers.get("x-amz-content-sha256");
    stated.is_none_or(|stated| stated.as_bytes() == asked.body.as_bytes())
}

fn incomplete(text: impl Into<String>) -> ServiceError {
    ServiceError::new(ErrorKind::IncompleteSignature, text)
}

fn invalid(text: impl Into<String>) -> ServiceError {
    ServiceError::new(ErrorKind::InvalidSignature, text)
}

fn unrecognized() -> ServiceError {
    ServiceError::new(
        ErrorKind::UnrecognizedClient,
        "The security token included in the request is invalid.",
    )
}

/// The signature is not the one that the key makes. As at AWS, the text shows what would have been
/// signed, so that whoever wrote the client can compare.
fn mismatch(expected: Option<(&[u8], &[u8])>) -> ServiceError {
    let mut text =
        "The request signature we calculated does not match the signature you provided. \
                    Check your AWS Secret Access Key and signing method. Consult the service \
                    documentation for details."
            .to_owned();
    if let Some((canonical, to_sign)) = expected.filter(|(c, _)| c.len() <= REPEATED_BYTES_MAX) {
        let [canonical, to_sign] = [canonical, to_sign].map(String::from_utf8_lossy);
        let _never = write!(
            text,
            "\n\nThe Canonical String for this request should have been\n'{canonical}'\n\nThe \
             String-to-Sign should have been\n'{to_sign}'\n"
        );
    }
    invalid(text)
}
