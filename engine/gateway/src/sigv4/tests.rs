//! The verifier against AWS's own signer: what it signs is accepted, and nothing else is.

use std::time::{Duration, UNIX_EPOCH};

use ::http::request::Parts;
use ::http::{HeaderName, HeaderValue, Request, Uri};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use proptest::prelude::*;
use weir_protocol::model::Timestamp;

use super::canonical::Signed;
use super::*;
use crate::error::{ErrorKind, ServiceError};

/// 2015-08-30T12:36:00Z.
const NOW: u64 = 1_440_938_160;
const TARGET: &str = "Kinesis_20131202.PutRecord";
const RING: &str = "[a]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = wJalr/XUtn+FEMI\n\
                    [b]\naws_access_key_id = ASIDEXAMPLE\naws_secret_access_key = bPxRfi/CYEX\n\
                    aws_session_token = FwoGZX/IvYXdzE+==\n";

/// A request as a client makes it, before it is signed.
#[derive(Debug, Clone)]
struct Draft {
    method: &'static str,
    /// Absolute, for the signer takes the host from it.
    uri: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    with_token: bool,
    states_digest: bool,
    /// In seconds, of a presigned one.
    expires: Option<u64>,
    region: &'static str,
    service: &'static str,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            method: "POST",
            uri: "http://127.0.0.1:4567/".to_owned(),
            headers: vec![("x-amz-target".to_owned(), TARGET.to_owned())],
            body: b"{}".to_vec(),
            with_token: false,
            states_digest: false,
            expires: None,
            region: "eu-west-1",
            service: "kinesis",
        }
    }
}

impl Draft {
    /// Signed at [`NOW`], as it comes over HTTP/1.1.
    fn sign(&self) -> (Parts, Vec<u8>) {
        let (id, secret, token) = if self.with_token {
            ("ASIDEXAMPLE", "bPxRfi/CYEX", Some("FwoGZX/IvYXdzE+=="))
        } else {
            ("AKIDEXAMPLE", "wJalr/XUtn+FEMI", None)
        };
        let credentials =
            Credentials::new(id, secret, token.map(str::to_owned), None, "test").into();
        let mut settings = SigningSettings::default();
        if self.states_digest {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        if let Some(seconds) = self.expires {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(Duration::from_secs(seconds));
        }
        let params = v4::SigningParams::builder()
            .identity(&credentials)
            .region(self.region)
            .name(self.service)
            .time(UNIX_EPOCH + Duration::from_secs(NOW))
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let mut request = Request::builder().method(self.method).uri(&self.uri);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut request = request.body(()).unwrap();
        let signable = SignableRequest::new(
            self.method,
            &self.uri,
            self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())),
            SignableBody::Bytes(&self.body),
        );
        let (instructions, _signature) = sign(signable.unwrap(), &params).unwrap().into_parts();
        instructions.apply_to_request_http1x(&mut request);
        let (mut head, ()) = request.into_parts();
        let host = head.uri.authority().unwrap().as_str();
        let host = HeaderValue::from_str(host).unwrap();
        head.headers.insert("host", host);
        head.uri = head.uri.path_and_query().unwrap().as_str().parse().unwrap();
        (head, self.body.clone())
    }
}

fn check_at(head: &Parts, body: &[u8], seconds: u64) -> Result<(), ServiceError> {
    let ring = KeyRing::parse(RING, "000000000000").unwrap();
    let asked = Asked {
        head,
        body: &Digest::of(body),
        now: Timestamp::from_millis(seconds * 1000),
        ring: &ring,
        signing_keys: &SigningKeys::default(),
        region: None,
    };
    verify(&Claim::read(&head.headers, &head.uri)?, asked)
}

fn check(head: &Parts, body: &[u8]) -> Result<(), ServiceError> {
    check_at(head, body, NOW)
}

#[track_caller]
fn refused(outcome: Result<(), ServiceError>, kind: ErrorKind, said: &str) {
    let error = outcome.unwrap_err();
    let text = error.text.unwrap_or_default();
    assert_eq!(error.kind, kind, "{text}");
    assert!(text.contains(said), "expected {said:?} in: {text}");
}

const MISMATCH: &str = "The request signature we calculated does not match";

#[test]
fn both_forms_are_accepted_with_and_without_a_token() {
    for with_token in [false, true] {
        for states_digest in [false, true] {
            for expires in [None, Some(60)] {
                let draft = Draft {
                    with_token,
                    states_digest,
                    expires,
                    ..Draft::default()
                };
                let (head, body) = draft.sign();
                assert_eq!(check(&head, &body), Ok(()), "{draft:?}");
            }
        }
    }
}

/// The JavaScript SDK signs the pseudo-header over HTTP/2, and no `host`.
#[test]
fn the_authority_may_be_signed_in_place_of_the_host() {
    let (mut head, body) = Draft::default().sign();
    head.headers.remove("host");
    head.uri = Uri::from_static("http://127.0.0.1:4567/");
    assert_eq!(check(&head, &body), Ok(()), "host, sent as :authority");

    let names = ":authority;x-amz-date;x-amz-target";
    let signed = Signed {
        method: &head.method,
        uri: &head.uri,
        headers: &head.headers,
        names,
        body: &Digest::of(&body),
    };
    let canonical = signed.canonical().unwrap();
    let shown = String::from_utf8(canonical.clone()).unwrap();
    assert!(
        shown.starts_with("POST\n/\n\n:authority:127.0.0.1:4567\nx-amz-date:"),
        "{shown}"
    );
    let scope = "20150830/eu-west-1/kinesis/aws4_request";
    let digest = Digest::of(&canonical);
    let digest = std::str::from_utf8(digest.as_bytes()).unwrap();
    let to_sign = format!("AWS4-HMAC-SHA256\n20150830T123600Z\n{scope}\n{digest}");
    let time = UNIX_EPOCH + Duration::from_secs(NOW);
    let key = v4::generate_signing_key("wJalr/XUtn+FEMI", time, "eu-west-1", "kinesis");
    let signature = v4::calculate_signature(key, to_sign.as_bytes());
    let value = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders={names}, \
         Signature={signature}"
    );
    head.headers.insert("authorization", value.parse().unwrap());
    assert_eq!(check(&head, &body), Ok(()));
    head.uri = Uri::from_static("http://127.0.0.1:4568/");
    refused(check(&head, &body), ErrorKind::InvalidSignature, MISMATCH);
}

/// Generic clients send a `Date` and no `X-Amz-Date`.
#[test]
fn a_plain_date_will_do() {
    let (mut head, body) = Draft::default().sign();
    head.headers.remove("x-amz-date");
    let date = "Sun, 30 Aug 2015 12:36:00 GMT";
    head.headers.insert("date", date.parse().unwrap());
    let names = "date;host;x-amz-target";
    let signed = Signed {
        method: &head.method,
        uri: &head.uri,
        headers: &head.headers,
        names,
        body: &Digest::of(&body),
    };
    let digest = Digest::of(&signed.canonical().unwrap());
    let digest = std::str::from_utf8(digest.as_bytes()).unwrap();
    let scope = "20150830/eu-west-1/kinesis/aws4_request";
    let to_sign = format!("AWS4-HMAC-SHA256\n20150830T123600Z\n{scope}\n{digest}");
    let time = UNIX_EPOCH + Duration::from_secs(NOW);
    let key = v4::generate_signing_key("wJalr/XUtn+FEMI", time, "eu-west-1", "kinesis");
    let value = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope},SignedHeaders={names},Signature={}",
        v4::calculate_signature(key, to_sign.as_bytes())
    );
    head.headers.insert("authorization", value.parse().unwrap());
    assert_eq!(check(&head, &body), Ok(()));
}

#[test]
fn clocks_may_be_five_minutes_off() {
    let (head, body) = Draft::default().sign();
    assert_eq!(check_at(&head, &body, NOW - 300), Ok(()));
    assert_eq!(check_at(&head, &body, NOW + 300), Ok(()));
    refused(
        check_at(&head, &body, NOW + 301),
        ErrorKind::InvalidSignature,
        "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z \
         (20150830T124101Z - 5 min.)",
    );
    refused(
        check_at(&head, &body, NOW - 301),
        ErrorKind::InvalidSignature,
        "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z \
         (20150830T123059Z + 5 min.)",
    );
}

#[test]
fn a_presigned_request_lives_as_long_as_it_says() {
    let presigned = |seconds| {
        let expires = Some(seconds);
        let (head, body) = Draft {
            expires,
            ..Draft::default()
        }
        .sign();
        move |at| check_at(&head, &body, at)
    };
    assert_eq!(presigned(3600)(NOW + 3600), Ok(()));
    let expired = ErrorKind::InvalidSignature;
    refused(presigned(3600)(NOW + 3601), expired, "Signature expired");
    refused(presigned(1)(NOW + 2), expired, "20150830T123602Z - 1 sec.");
    refused(presigned(60)(NOW - 301), expired, "not yet current");
    let too_long = ErrorKind::IncompleteSignature;
    refused(presigned(604_801)(NOW), too_long, "less than a week");
    assert_eq!(presigned(604_800)(NOW), Ok(()));
    let (mut head, body) = Draft {
        expires: Some(60),
        ..Draft::default()
    }
    .sign();
    for number in ["-1", "+60", "1e3", "99999999999999999999"] {
        let uri = head
            .uri
            .to_string()
            .replace("Expires=60", &format!("Expires={number}"));
        head.uri = uri.parse().unwrap();
        refused(check(&head, &body), too_long, "should be a number");
        head.uri = uri
            .replace(&format!("Expires={number}"), "Expires=60")
            .parse()
            .unwrap();
    }
}

#[test]
fn a_claim_of_somebody_or_something_else_is_refused() {
    let (head, body) = Draft::default().sign();
    let change = |from: &str, to: &str| {
        let mut head = head.clone();
        let value = head.headers["authorization"].to_str().unwrap();
        assert!(value.contains(from), "{from} in {value}");
        let value = value.replace(from, to);
        head.headers.insert("authorization", value.parse().unwrap());
        check(&head, &body)
    };
    let invalid = ErrorKind::InvalidSignature;
    refused(
        change("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"),
        ErrorKind::IncompleteSignature,
        "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA1' (only AWS4-HMAC-SHA256 for now). ",
    );
    refused(
        change("AKIDEXAMPLE/", "AKIDEXAMPLF/"),
        ErrorKind::UnrecognizedClient,
        "The security token included in the request is invalid.",
    );
    refused(
        change("/aws4_request", ""),
        ErrorKind::IncompleteSignature,
        "Credential must have exactly 5 slash-delimited elements, e.g. \
         keyid/date/region/service/term, got 'AKIDEXAMPLE/20150830/eu-west-1/kinesis'",
    );
    refused(
        change(
            "20150830/eu-west-1/kinesis/aws4_request",
            "20150831/EU/dynamodb/aws5_request",
        ),
        invalid,
        "Credential should be scoped to a valid region, not 'EU'. Credential should be scoped to \
         correct service: 'kinesis'. Credential should be scoped with a valid terminator: \
         'aws4_request', not 'aws5_request'. Date in Credential scope does not match YYYYMMDD from \
         ISO-8601 version of date from HTTP: '20150831' != '20150830', from '20150830T123600Z'.",
    );
    refused(
        change("SignedHeaders=host;", "SignedHeaders="),
        invalid,
        "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
    );
    refused(
        change(";x-amz-target", ""),
        invalid,
        "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.",
    );
    refused(change("eu-west-1", "eu-west-2"), invalid, MISMATCH);
    refused(
        change("SignedHeaders=host;", "SignedHeaders=host;x-not;"),
        invalid,
        MISMATCH,
    );
    refused(change("Signature=", "Signature=0"), invalid, MISMATCH);
    let other = Draft {
        service: "dynamodb",
        ..Draft::default()
    };
    let (head, body) = other.sign();
    refused(check(&head, &body), invalid, "correct service: 'kinesis'. ");

    let mut undated = head.clone();
    undated.headers.insert("x-amz-date", "201".parse().unwrap());
    refused(
        check(&undated, &body),
        ErrorKind::IncompleteSignature,
        "Date must be in ISO-8601 'basic format'. Got '201'. See \
         http://en.wikipedia.org/wiki/ISO_8601",
    );
}

#[test]
fn the_text_of_a_mismatch_shows_what_would_have_been_signed() {
    let (head, _) = Draft::default().sign();
    let text = check(&head, b"{} ").unwrap_err().text.unwrap();
    let (said, rest) = text.split_once("\n\n").unwrap();
    assert_eq!(
        said,
        "The request signature we calculated does not match the signature you provided. Check \
         your AWS Secret Access Key and signing method. Consult the service documentation for \
         details."
    );
    assert!(
        rest.starts_with(
            "The Canonical String for this request should have been\n'POST\n/\n\n\
             host:127.0.0.1:4567\nx-amz-date:20150830T123600Z\nx-amz-target:"
        ),
        "{rest}"
    );
    assert!(
        rest.contains(
            "'\n\nThe String-to-Sign should have been\n'AWS4-HMAC-SHA256\n20150830T123600Z\n\
             20150830/eu-west-1/kinesis/aws4_request\n"
        ),
        "{rest}"
    );
}

#[test]
fn the_body_that_counts_is_the_one_that_came() {
    for stated in [
        "UNSIGNED-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "",
        "0",
    ] {
        // Signed with a digest that is not the body's, and signed without a word of it.
        let mut draft = Draft::default();
        let stated = ("x-amz-content-sha256".to_owned(), stated.to_owned());
        draft.headers.push(stated);
        let (head, body) = draft.sign();
        refused(check(&head, &body), ErrorKind::InvalidSignature, MISMATCH);
    }
    let (mut head, body) = Draft::default().sign();
    let digest = Digest::of(b"other");
    let stated = HeaderValue::from_bytes(digest.as_bytes()).unwrap();
    head.headers.insert("x-amz-content-sha256", stated);
    refused(check(&head, &body), ErrorKind::InvalidSignature, MISMATCH);
}

#[test]
fn a_session_key_needs_its_token() {
    let invalid = ErrorKind::UnrecognizedClient;
    let text = "The security token included in the request is invalid.";
    let draft = Draft {
        headers: vec![
            ("x-amz-target".to_owned(), TARGET.to_owned()),
            ("x-amz-security-token".to_owned(), "stray".to_owned()),
        ],
        ..Draft::default()
    };
    let (head, body) = draft.sign();
    refused(check(&head, &body), invalid, text);
}

#[test]
fn one_region_may_be_the_only_one() {
    let (head, body) = Draft::default().sign();
    let ring = KeyRing::parse(RING, "000000000000").unwrap();
    let only = |region| {
        let asked = Asked {
            head: &head,
            body: &Digest::of(&body),
            now: Timestamp::from_millis(NOW * 1000),
            ring: &ring,
            signing_keys: &SigningKeys::default(),
            region: Some(region),
        };
        verify(&Claim::read(&head.headers, &head.uri).unwrap(), asked)
    };
    assert_eq!(only("eu-west-1"), Ok(()));
    let said = "Credential should be scoped to a valid region, not 'eu-west-1'. ";
    refused(only("eu-central-1"), ErrorKind::InvalidSignature, said);
}

#[test]
fn a_kept_signing_key_is_the_same_key() {
    let (head, body) = Draft::default().sign();
    let ring = KeyRing::parse(RING, "000000000000").unwrap();
    let signing_keys = SigningKeys::default();
    let claim = Claim::read(&head.headers, &head.uri).unwrap();
    let check = |body: &[u8]| {
        let asked = Asked {
            head: &head,
            body: &Digest::of(body),
            now: Timestamp::from_millis(NOW * 1000),
            ring: &ring,
            signing_keys: &signing_keys,
            region: None,
        };
        verify(&claim, asked)
    };
    check(b"other").unwrap_err();
    assert!(
        signing_keys.kept(&claim.credential).is_none(),
        "kept for nothing"
    );
    for _ in 0..2 {
        assert_eq!(check(&body), Ok(()));
        assert!(signing_keys.kept(&claim.credential).is_some());
        check(b"other").unwrap_err();
    }
}

fn escaped() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-zA-Z0-9_.~-]{1,6}",
        "%(20|2F|2f|25|2B|3D|26|C3%A9|7e|00)",
        "[+!*'():@,;$]",
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn query() -> impl Strategy<Value = String> {
    let pair = prop_oneof![
        (escaped(), escaped()).prop_map(|(name, value)| format!("{name}={value}")),
        escaped(),
    ];
    prop::collection::vec(pair, 0..5).prop_map(|pairs| pairs.join("&"))
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        4 => escaped().prop_map(|text| text.replace(['+', ','], "-")),
        1 => Just(".".to_owned()),
        1 => Just("..".to_owned()),
    ];
    prop::collection::vec(segment, 0..5).prop_map(|segments| format!("/{}", segments.join("/")))
}

fn header_lines() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![
        3 => "x-[a-z]{1,8}(-[a-z0-9]{1,5})?",
        1 => Just("content-type".to_owned()),
        1 => Just("amz-sdk-request".to_owned()),
        1 => Just("accept".to_owned()),
    ];
    let value = "( {0,3}[!-~]{1,8}){0,4} {0,2}";
    prop::collection::vec((name, value), 0..6)
}

prop_compose! {
    fn drafts()(
        method in prop_oneof![8 => Just("POST"), 1 => Just("GET"), 1 => Just("PUT")],
        host in prop_oneof![
            Just("127.0.0.1:4567"), Just("[::1]:8080"), Just("kinesis.eu-west-1.amazonaws.com"),
        ],
        path in path(),
        query in query(),
        mut headers in header_lines(),
        body in prop::collection::vec(any::<u8>(), 0..200),
        with_token: bool,
        states_digest: bool,
        expires in prop::option::of(1u64..604_800),
        region in prop_oneof![Just("eu-west-1"), Just("us-gov-east-1"), Just("local")],
    ) -> Draft {
        headers.push(("x-amz-target".to_owned(), TARGET.to_owned()));
        let query = if query.is_empty() { query } else { format!("?{query}") };
        Draft {
            method,
            uri: format!("http://{host}{path}{query}"),
            headers,
            body,
            with_token,
            states_digest,
            expires,
            region,
            service: "kinesis",
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_aws_signs_is_accepted(draft in drafts()) {
        let (mut head, body) = draft.sign();
        prop_assert_eq!(check(&head, &body), Ok(()));
        // The same over HTTP/2.
        let host = head.headers.remove("host").unwrap();
        let uri = format!("http://{}{}", host.to_str().unwrap(), head.uri);
        head.uri = uri.parse().unwrap();
        prop_assert_eq!(check(&head, &body), Ok(()));
    }

    #[test]
    fn one_changed_byte_is_refused(
        draft in drafts(),
        place in any::<prop::sample::Index>(),
        flip in 1u8..=255,
    ) {
        let (head, body) = draft.sign();
        let signed = match &Claim::read(&head.headers, &head.uri) {
            Ok(claim) => claim.signed_headers.split(';').map(str::to_owned).collect::<Vec<_>>(),
            Err(_) => unreachable!("it was signed"),
        };
        // Every byte that counts, one after the other: the body, the target line, the headers.
        let mut places: Vec<(Option<String>, usize)> = Vec::new();
        places.extend((0..body.len()).map(|at| (Some(String::new()), at)));
        places.extend((1..head.uri.to_string().len()).map(|at| (None, at)));
        for (name, value) in &head.headers {
            if name == "authorization" || signed.iter().any(|signed| signed == name.as_str()) {
                places.extend((0..value.len()).map(|at| (Some(name.to_string()), at)));
            }
        }
        let (what, at) = place.get(&places).clone();
        let (mut changed, mut changed_body) = (head.clone(), body.clone());
        match what.as_deref() {
            Some("") => changed_body[at] ^= flip,
            None => {
                let mut uri = head.uri.to_string().into_bytes();
                uri[at] ^= flip;
                let Ok(uri) = Uri::try_from(uri) else {
                    // No server would have taken it.
                    return Ok(());
                };
                changed.uri = uri;
            }
            Some(name) => {
                let name: HeaderName = name.parse().unwrap();
                let mut value = head.headers[&name].as_bytes().to_vec();
                if at >= value.len() {
                    // A header that came twice; the first one is what is changed.
                    return Ok(());
                }
                value[at] ^= flip;
                let Ok(value) = HeaderValue::from_bytes(&value) else {
                    return Ok(());
                };
                changed.headers.insert(name, value);
            }
        }
        if says_the_same(&head, &changed) && body == changed_body {
            return Ok(());
        }
        prop_assert!(
            check(&changed, &changed_body).is_err(),
            "{what:?} {at} of {head:?} became {changed:?}"
        );
    }

    #[test]
    fn any_request_is_checked_without_a_panic(
        uri in "/[!-~]{0,60}",
        authorization in "[ -~]{0,120}",
        date in "[ -~]{0,20}",
    ) {
        let Ok(uri) = Uri::try_from(uri) else { return Ok(()) };
        let (mut head, body) = Draft::default().sign();
        let signed = head.clone();
        head.uri = uri;
        prop_assert!(says_the_same(&signed, &head) || check(&head, &body).is_err());
        head.headers.insert("x-amz-date", date.trim().parse().unwrap());
        prop_assert!(check(&head, &body).is_err());
        head.headers.insert("authorization", authorization.trim().parse().unwrap());
        prop_assert!(check(&head, &body).is_err());
    }
}

/// Whether two heads differ in nothing that has a meaning: another escape of the same byte, or
/// another blank where blanks part.
fn says_the_same(one: &Parts, other: &Parts) -> bool {
    let canonical = |head: &Parts| {
        let claim = Claim::read(&head.headers, &head.uri).ok()?;
        let signed = Signed {
            method: &head.method,
            uri: &head.uri,
            headers: &head.headers,
            names: &claim.signed_headers,
            body: &Digest::of(b""),
        };
        Some((
            signed.canonical()?,
            claim.credential.into_owned(),
            claim.signature.into_owned(),
            claim.algorithm.into_owned(),
        ))
    };
    let (one, other) = (canonical(one), canonical(other));
    one.is_some() && one == other
}

/// What a signature costs; the best of many, since the machine has other work.
/// `cargo test -p weir-gateway --release --lib what_a_signature_costs -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, not a test"]
fn what_a_signature_costs() {
    let best = |times: usize, mut act: Box<dyn FnMut()>| {
        let rounds = (0..times).map(|_| {
            let began = weir_reactor::monotonic();
            act();
            weir_reactor::monotonic().since(began)
        });
        rounds.min().unwrap()
    };
    let ring = KeyRing::parse(RING, "000000000000").unwrap();
    let signing_keys = SigningKeys::default();
    let body = vec![b'x'; 1_400];
    let (head, body) = Draft {
        body,
        ..Draft::default()
    }
    .sign();
    let once = best(
        20_000,
        Box::new(move || {
            let asked = Asked {
                head: &head,
                body: &Digest::of(&body),
                now: Timestamp::from_millis(NOW * 1000),
                ring: &ring,
                signing_keys: &signing_keys,
                region: None,
            };
            let claim = Claim::read(&head.headers, &head.uri).unwrap();
            verify(&claim, asked).unwrap();
        }),
    );
    println!("a body of 1,400 bytes: {once:?}");
    for bytes in [512 << 10, 14 << 20] {
        let body = vec![b'x'; bytes];
        let once = best(
            50,
            Box::new(move || {
                let _digest = std::hint::black_box(Digest::of(&body));
            }),
        );
        println!("digest of {bytes} bytes: {once:?}");
    }
}
