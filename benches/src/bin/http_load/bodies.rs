//! Whole requests, made before anything is timed.

use std::convert::Infallible;

use base64_simd::STANDARD;
use minicbor::Encoder;
use minicbor::encode::Error;

use crate::arguments::{Arguments, Encoding, Operation};

type Cbor<'b> = Encoder<&'b mut Vec<u8>>;
type CborError = Error<Infallible>;

/// Different put requests that are sent in turn.
const VARIANTS: usize = 16;

/// A request with its head.
pub(crate) fn request(arguments: &Arguments, operation: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nX-Amz-Target: Kinesis_20131202.{operation}\r\n\
         Content-Type: {}\r\nX-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/kinesis/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature={:064x}\r\n\
         Content-Length: {}\r\n\r\n",
        arguments.server,
        arguments.encoding.content_type(),
        1,
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// A `PutRecords` request of its own number, and the data of its first record.
pub(crate) fn put_many(arguments: &Arguments, variant: usize) -> (Vec<u8>, Vec<u8>) {
    let body = many(arguments, variant);
    let first = data(arguments, variant * arguments.records);
    (request(arguments, "PutRecords", &body), first)
}

/// The put requests.
pub(crate) fn puts(arguments: &Arguments) -> Vec<Vec<u8>> {
    let bodies = (0..VARIANTS).map(|variant| match arguments.operation {
        Operation::PutRecords => many(arguments, variant),
        Operation::PutRecord | Operation::GetRecords | Operation::Subscribe => {
            one(arguments, variant)
        }
    });
    bodies
        .map(|body| request(arguments, arguments.operation.name(), &body))
        .collect()
}

/// Data that does not compress, different for each record.
fn data(arguments: &Arguments, seed: usize) -> Vec<u8> {
    let mut state = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let mut data = Vec::with_capacity(arguments.bytes + 8);
    while data.len() < arguments.bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.extend_from_slice(&state.to_le_bytes());
    }
    data.truncate(arguments.bytes);
    data
}

fn one(arguments: &Arguments, variant: usize) -> Vec<u8> {
    let mut out = Body::new(arguments.encoding);
    out.open();
    out.text("StreamName", &arguments.stream);
    record(&mut out, arguments, variant);
    out.close();
    out.bytes
}

fn many(arguments: &Arguments, variant: usize) -> Vec<u8> {
    let mut out = Body::new(arguments.encoding);
    out.open();
    out.text("StreamName", &arguments.stream);
    out.open_list("Records");
    for number in 0..arguments.records {
        out.item();
        record(&mut out, arguments, variant * arguments.records + number);
        out.close();
    }
    out.close_list();
    out.close();
    out.bytes
}

fn record(out: &mut Body, arguments: &Arguments, number: usize) {
    out.blob("Data", &data(arguments, number));
    out.text("PartitionKey", &format!("key-{number:08}"));
}

/// A body in the making, as SDKs write it: JSON without blanks, CBOR with indefinite maps.
struct Body {
    encoding: Encoding,
    bytes: Vec<u8>,
    first: bool,
}

impl Body {
    fn new(encoding: Encoding) -> Self {
        let (bytes, first) = (Vec::new(), true);
        Self {
            encoding,
            bytes,
            first,
        }
    }

    fn open(&mut self) {
        let byte = if self.is_json() { b'{' } else { 0xbf };
        self.bytes.push(byte);
        self.first = true;
    }

    fn close(&mut self) {
        let byte = if self.is_json() { b'}' } else { 0xff };
        self.bytes.push(byte);
        self.first = false;
    }

    fn item(&mut self) {
        self.comma();
        self.open();
    }

    fn open_list(&mut self, name: &str) {
        self.name(name);
        let byte = if self.is_json() { b'[' } else { 0x9f };
        self.bytes.push(byte);
        self.first = true;
    }

    fn close_list(&mut self) {
        let byte = if self.is_json() { b']' } else { 0xff };
        self.bytes.push(byte);
        self.first = false;
    }

    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.plain(value);
    }

    fn blob(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        if self.is_json() {
            let text = STANDARD.encode_to_string(value);
            self.plain(&text);
        } else {
            self.cbor(|cbor| cbor.bytes(value).map(drop));
        }
    }

    fn cbor(&mut self, write: impl FnOnce(&mut Cbor<'_>) -> Result<(), CborError>) {
        write(&mut Encoder::new(&mut self.bytes)).expect("a vector takes every byte");
    }

    fn is_json(&self) -> bool {
        self.encoding == Encoding::Json
    }

    fn comma(&mut self) {
        if self.is_json() && !self.first {
            self.bytes.push(b',');
        }
        self.first = false;
    }

    fn name(&mut self, name: &str) {
        self.comma();
        self.plain(name);
        if self.is_json() {
            self.bytes.push(b':');
        }
    }

    fn plain(&mut self, value: &str) {
        if self.is_json() {
            self.bytes.push(b'"');
            self.bytes.extend_from_slice(value.as_bytes());
            self.bytes.push(b'"');
        } else {
            self.cbor(|cbor| cbor.str(value).map(drop));
        }
    }
}
