//! Requests signed by AWS's own signer are accepted, whatever they look like; others are not.

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use weir_gateway::KeyRing;
use weir_gateway::fuzzing::is_signed;

/// 2015-08-30T12:36:00Z.
const NOW: u64 = 1_440_938_160;
const ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalr/XUtn+FEMI";
const ACCOUNT: &str = "000000000000";
const TARGET: &str = "x-amz-target";
/// Headers that the signer adds, or that it leaves out whatever they say.
const NOT_OURS: [&str; 4] = [
    "authorization",
    "host",
    "x-amz-date",
    "x-amz-security-token",
];

static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    let text = format!("[a]\naws_access_key_id={ID}\naws_secret_access_key={SECRET}\n");
    KeyRing::parse(&text, ACCOUNT).expect("it is a key file")
});

/// The first byte holds switches; lines follow: the path and query, headers, an empty line, and the
/// body.
pub(crate) fn check(data: &[u8]) {
    let Some(((switches, head), body)) = split(data) else {
        return;
    };
    if switches & 0x80 != 0 {
        // A stranger's request as it is: none is signed but by chance.
        assert!(!is_signed(&head, body, &RING, NOW), "{head:?}");
        return;
    }
    let Some(mut signed) = signed(head, body, switches) else {
        return;
    };
    assert!(is_signed(&signed, body, &RING, NOW), "{signed:?}");
    assert!(
        !is_signed(&signed, body, &RING, NOW + 700_000),
        "{signed:?}"
    );
    let mut longer = body.to_vec();
    longer.push(0);
    assert!(!is_signed(&signed, &longer, &RING, NOW), "{signed:?}");
    signed.method = Method::PATCH;
    assert!(!is_signed(&signed, body, &RING, NOW), "{signed:?}");
}

type Split<'d> = ((u8, Parts), &'d [u8]);

fn split(data: &[u8]) -> Option<Split<'_>> {
    let (&switches, rest) = data.split_first()?;
    let (lines, body) = match rest.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&rest[..at], &rest[at + 2..]),
        None => (rest, &[][..]),
    };
    let mut lines = std::str::from_utf8(lines).ok()?.split('\n');
    let uri = Uri::try_from(lines.next()?).ok()?;
    uri.path().starts_with('/').then_some(())?;
    let mut request = Request::new(());
    *request.uri_mut() = uri.path_and_query()?.as_str().parse().ok()?;
    *request.method_mut() = Method::POST;
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::try_from(name).ok()?;
        // A server has removed blanks at the ends.
        let value = HeaderValue::try_from(value.trim_ascii()).ok()?;
        request.headers_mut().append(name, value);
    }
    let (head, ()) = request.into_parts();
    Some(((switches, head), body))
}

/// Signs it; `None` if the signer does not take it, or does not sign what is meant here.
fn signed(mut head: Parts, body: &[u8], switches: u8) -> Option<Parts> {
    for name in NOT_OURS {
        head.headers.remove(name);
    }
    if switches & 1 != 0 {
        // Then the signer adds it, and a second one would be the request's own.
        head.headers.remove("x-amz-content-sha256");
    } else if head.headers.contains_key("x-amz-content-sha256") {
        return None;
    }
    let query = head.uri.query().unwrap_or_default();
    if query.to_ascii_lowercase().contains("amz") || !is_text(query) {
        return None;
    }
    let target = HeaderValue::from_static("Kinesis_20131202.PutRecord");
    head.headers.insert(TARGET, target);
    let uri = format!("http://127.0.0.1:4567{}", head.uri);
    let settings = settings(switches);
    let identity = Credentials::new(ID, SECRET, None, None, "fuzz").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-west-1")
        .name("kinesis")
        .time(UNIX_EPOCH + Duration::from_secs(NOW))
        .settings(settings)
        .build()
        .ok()?
        .into();
    let headers = texts(&head.headers)?;
    let signable =
        SignableRequest::new("POST", &uri, headers.into_iter(), SignableBody::Bytes(body)).ok()?;
    let (instructions, _) = sign(signable, &params).ok()?.into_parts();
    head.uri = uri.parse().ok()?;
    let mut request = Request::from_parts(head.clone(), ());
    instructions.apply_to_request_http1x(&mut request);
    let (mut head, ()) = request.into_parts();
    if switches & 4 == 0 {
        // As HTTP/1.1 has it; over HTTP/2 the host stays in the address.
        let host = HeaderValue::from_static("127.0.0.1:4567");
        head.headers.insert("host", host);
        head.uri = head.uri.path_and_query()?.as_str().parse().ok()?;
    }
    Some(head)
}

fn settings(switches: u8) -> SigningSettings {
    let mut settings = SigningSettings::default();
    if switches & 1 != 0 {
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    if switches & 2 != 0 {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_hours(1));
    }
    settings
}

fn texts(headers: &HeaderMap) -> Option<Vec<(&str, &str)>> {
    let text = |value: &HeaderValue| std::str::from_utf8(value.as_bytes()).is_ok();
    if !headers.values().all(text) {
        return None;
    }
    let pairs = headers.iter().map(|(name, value)| {
        let value = std::str::from_utf8(value.as_bytes());
        Some((name.as_str(), value.ok()?))
    });
    pairs.collect()
}

/// Whether the escapes in a query are of UTF-8 text; the signer replaces what is not.
fn is_text(query: &str) -> bool {
    let mut bytes = Vec::new();
    let mut rest = query.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if let (b'%', [high, low, further @ ..]) = (first, after)
            && let (Some(high), Some(low)) =
                ((*high as char).to_digit(16), (*low as char).to_digit(16))
        {
            bytes.push((high * 16 + low) as u8);
            rest = further;
        } else {
            bytes.push(*first);
        }
    }
    std::str::from_utf8(&bytes).is_ok()
}
