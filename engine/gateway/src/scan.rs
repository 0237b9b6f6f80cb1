//! The body of a `PutRecords` call as SDKs send it, read in one pass and without a tree.
//!
//! Owns: speed for the call that carries nearly all bytes. Never: a refusal. Whatever is not
//! recognised at once, in form or in value, is `None`, and the general way, which looks at the body
//! from its beginning, decides about it: so both ways accept the same calls, and there is one place
//! for error texts.

use minicbor::Decoder;
use minicbor::data::Type;
use weir_protocol::limits::{PARTITION_KEY_CHARS_MAX, RECORD_BYTES_CEILING};
use weir_protocol::model::HashKey;

use crate::action::record::SentRecord;
use crate::encoding::Encoding;
use crate::member::Blob;

/// Most records of one call (AWS API reference).
const RECORDS_MAX: usize = 500;

/// Longest ARN (AWS API reference).
const ARN_BYTES_MAX: usize = 2048;

/// A `PutRecords` call whose records all have key and data and satisfy every constraint but those of
/// their stream, which is not looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PutRecordsCall<'b> {
    pub(crate) stream_name: Option<&'b str>,
    pub(crate) stream_arn: Option<&'b str>,
    pub(crate) records: Vec<SentRecord<'b>>,
}

/// Reads a call's body, if it is of the usual form.
pub(crate) fn put_records(encoding: Encoding, body: &[u8]) -> Option<PutRecordsCall<'_>> {
    match encoding {
        Encoding::Json => call(Json {
            rest: body,
            after_value: false,
        }),
        Encoding::Cbor => call(Cbor::new(body)),
    }
}

/// A document, read from its beginning; `None` is the end of this way.
trait Source<'b> {
    fn open_map(&mut self) -> Option<()>;
    /// The next member's name; an empty one at the map's end.
    fn member(&mut self) -> Option<&'b [u8]>;
    fn open_list(&mut self) -> Option<()>;
    /// Whether another item follows.
    fn item(&mut self) -> Option<bool>;
    fn text(&mut self) -> Option<&'b str>;
    fn blob(&mut self) -> Option<Blob<'b>>;
    /// Nothing follows.
    fn end(&mut self) -> Option<()>;
}

fn call<'b>(mut source: impl Source<'b>) -> Option<PutRecordsCall<'b>> {
    let mut call = PutRecordsCall::default();
    source.open_map()?;
    loop {
        match source.member()? {
            b"" => break,
            b"StreamName" => set(&mut call.stream_name, source.text()?)?,
            b"StreamARN" => {
                let arn = source.text()?;
                // Its region may be any text; what is long or odd is checked by the model.
                let is_usual =
                    arn.len() <= ARN_BYTES_MAX && arn.bytes().all(|b| b.is_ascii_graphic());
                set(&mut call.stream_arn, arn).filter(|()| is_usual)?;
            }
            b"Records" if call.records.is_empty() => {
                source.open_list()?;
                while source.item()? {
                    if call.records.len() == RECORDS_MAX {
                        return None;
                    }
                    call.records.push(record(&mut source)?);
                }
            }
            _ => return None,
        }
    }
    source.end()?;
    (!call.records.is_empty()).then_some(call)
}

fn record<'b>(source: &mut impl Source<'b>) -> Option<SentRecord<'b>> {
    let (mut key, mut explicit, mut data) = (None, None, None);
    source.open_map()?;
    loop {
        match source.member()? {
            b"" => break,
            b"PartitionKey" => set(&mut key, source.text()?)?,
            b"ExplicitHashKey" => set(&mut explicit, source.text()?)?,
            b"Data" => set(&mut data, source.blob()?)?,
            _ => return None,
        }
    }
    // A key of more bytes than it may have characters may still be short enough: not the usual form.
    key.filter(|key: &&str| (1..=PARTITION_KEY_CHARS_MAX).contains(&key.len()))?;
    data.filter(|data: &Blob<'_>| data.bytes() <= RECORD_BYTES_CEILING as usize)?;
    if let Some(explicit) = explicit {
        HashKey::parse_decimal(explicit).ok()?;
    }
    Some(SentRecord {
        key,
        explicit,
        data,
    })
}

/// A member that comes twice is not of the usual form.
fn set<T>(member: &mut Option<T>, value: T) -> Option<()> {
    member.replace(value).is_none().then_some(())
}

/// JSON whose strings have no escapes.
struct Json<'b> {
    rest: &'b [u8],
    /// Whether a comma comes before the next value of the innermost map or list.
    after_value: bool,
}

impl<'b> Json<'b> {
    /// The next byte that is no blank.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let (first, rest) = self.rest.split_first()?;
            if !matches!(first, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*first);
            }
            self.rest = rest;
        }
    }

    /// Whether the next byte is this one, which then is gone.
    fn takes(&mut self, byte: u8) -> Option<bool> {
        let found = self.peek()? == byte;
        if found {
            self.rest = &self.rest[1..];
        }
        Some(found)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.takes(byte)?.then_some(())
    }

    /// What is between quotes, without the quotes.
    fn quoted(&mut self) -> Option<&'b [u8]> {
        self.expect(b'"')?;
        let end = memchr::memchr2(b'"', b'\\', self.rest)?;
        let (quoted, rest) = self.rest.split_at(end);
        self.rest = rest.strip_prefix(b"\"")?;
        Some(quoted)
    }

    /// Whether another member or item follows, up to which the comma is taken.
    fn goes_on(&mut self, end: u8) -> Option<bool> {
        if self.takes(end)? {
            self.after_value = true;
            return Some(false);
        }
        if self.after_value {
            self.expect(b',')?;
            // A comma before the end is no JSON.
            if self.peek()? == end {
                return None;
            }
        }
        self.after_value = true;
        Some(true)
    }
}

impl<'b> Source<'b> for Json<'b> {
    fn open_map(&mut self) -> Option<()> {
        self.after_value = false;
        self.expect(b'{')
    }

    fn member(&mut self) -> Option<&'b [u8]> {
        if !self.goes_on(b'}')? {
            return Some(b"");
        }
        let name = self.quoted().filter(|name| !name.is_empty())?;
        self.expect(b':')?;
        Some(name)
    }

    fn open_list(&mut self) -> Option<()> {
        self.after_value = false;
        self.expect(b'[')
    }

    fn item(&mut self) -> Option<bool> {
        self.goes_on(b']')
    }

    fn text(&mut self) -> Option<&'b str> {
        let text = self.quoted()?;
        let is_plain = text.iter().all(|byte| *byte >= 0x20);
        std::str::from_utf8(text).ok().filter(|_| is_plain)
    }

    fn blob(&mut self) -> Option<Blob<'b>> {
        self.quoted().and_then(Blob::of_base64)
    }

    fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }
}

/// CBOR whose strings have their length in front.
struct Cbor<'b> {
    decoder: Decoder<'b>,
    /// What is left of the maps and lists that are open, outermost first; `None` where a break
    /// ends it.
    open: [Option<u64>; 3],
    depth: usize,
}

impl<'b> Cbor<'b> {
    fn new(body: &'b [u8]) -> Self {
        Self {
            decoder: Decoder::new(body),
            open: [None; 3],
            depth: 0,
        }
    }

    fn open(&mut self, length: Option<u64>) -> Option<()> {
        *self.open.get_mut(self.depth)? = length;
        self.depth += 1;
        Some(())
    }

    /// Whether the innermost map or list goes on; if not, it is closed.
    fn goes_on(&mut self) -> Option<bool> {
        let left = self.open.get_mut(self.depth.checked_sub(1)?)?;
        let goes_on = match left {
            None if self.decoder.datatype().ok()? == Type::Break => {
                self.decoder.skip().ok()?;
                false
            }
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        };
        self.depth -= usize::from(!goes_on);
        Some(goes_on)
    }
}

impl<'b> Source<'b> for Cbor<'b> {
    fn open_map(&mut self) -> Option<()> {
        let length = self.decoder.map().ok()?;
        self.open(length)
    }

    fn member(&mut self) -> Option<&'b [u8]> {
        if !self.goes_on()? {
            return Some(b"");
        }
        let name = self.decoder.str().ok()?;
        (!name.is_empty()).then_some(name.as_bytes())
    }

    fn open_list(&mut self) -> Option<()> {
        let length = self.decoder.array().ok()?;
        self.open(length)
    }

    fn item(&mut self) -> Option<bool> {
        self.goes_on()
    }

    fn text(&mut self) -> Option<&'b str> {
        self.decoder.str().ok()
    }

    fn blob(&mut self) -> Option<Blob<'b>> {
        self.decoder.bytes().ok().map(Blob::Raw)
    }

    fn end(&mut self) -> Option<()> {
        (self.decoder.position() == self.decoder.input().len()).then_some(())
    }
}

/// What the general way makes of the same body.
#[cfg(any(test, feature = "fuzzing"))]
fn generally<'v>(
    encoding: Encoding,
    value: &'v crate::document::Value<'v>,
) -> Option<PutRecordsCall<'v>> {
    let members = crate::member::Members::of_request(value, encoding).ok()?;
    let mut records = Vec::new();
    for item in members.list("Records")? {
        let record = members.inner(item).ok()?;
        records.push(SentRecord {
            key: record.text("PartitionKey"),
            explicit: record.text("ExplicitHashKey"),
            data: record.blob("Data"),
        });
    }
    Some(PutRecordsCall {
        stream_name: members.text("StreamName"),
        stream_arn: members.text("StreamARN"),
        records,
    })
}

/// Whether the body is of the usual form; if it is, both ways read the same.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn agrees(encoding: Encoding, body: &[u8]) -> bool {
    let Some(scanned) = put_records(encoding, body) else {
        return false;
    };
    let value = encoding
        .parse(body)
        .expect("what was scanned is a document");
    assert_eq!(Some(scanned), generally(encoding, &value));
    true
}

#[cfg(test)]
mod tests {
    use base64_simd::STANDARD;
    use minicbor::Encoder;
    use proptest::prelude::*;

    use super::*;

    fn json(records: &[(String, Option<u128>, Vec<u8>)]) -> Vec<u8> {
        let records: Vec<_> = records
            .iter()
            .map(|(key, explicit, data)| {
                let data = STANDARD.encode_to_string(data);
                let mut record = serde_json::json!({"PartitionKey": key, "Data": data});
                if let Some(explicit) = explicit {
                    record["ExplicitHashKey"] = explicit.to_string().into();
                }
                record
            })
            .collect();
        let call = serde_json::json!({"StreamName": "logs", "Records": records});
        call.to_string().into_bytes()
    }

    fn cbor(records: &[(String, Option<u128>, Vec<u8>)], definite: bool) -> Vec<u8> {
        let mut body = Vec::new();
        let mut out = Encoder::new(&mut body);
        let open = |out: &mut Encoder<&mut Vec<u8>>, members: u64| {
            let opened = if definite {
                out.map(members)
            } else {
                out.begin_map()
            };
            opened.unwrap();
        };
        open(&mut out, 2);
        out.str("StreamName").unwrap().str("logs").unwrap();
        out.str("Records").unwrap();
        if definite {
            out.array(records.len() as u64).unwrap();
        } else {
            out.begin_array().unwrap();
        }
        for (key, explicit, data) in records {
            open(&mut out, 2 + u64::from(explicit.is_some()));
            out.str("PartitionKey").unwrap().str(key).unwrap();
            out.str("Data").unwrap().bytes(data).unwrap();
            if let Some(explicit) = explicit {
                let explicit = explicit.to_string();
                out.str("ExplicitHashKey").unwrap().str(&explicit).unwrap();
            }
            if !definite {
                out.end().unwrap();
            }
        }
        if !definite {
            out.end().unwrap().end().unwrap();
        }
        body
    }

    fn records() -> impl Strategy<Value = Vec<(String, Option<u128>, Vec<u8>)>> {
        let key = "[a-zü0-9]{1,20}";
        let data = prop::collection::vec(any::<u8>(), 0..40);
        prop::collection::vec((key, any::<Option<u128>>(), data), 1..6)
    }

    proptest! {
        #[test]
        fn what_clients_send_is_recognised(records in records()) {
            prop_assert!(agrees(Encoding::Json, &json(&records)));
            prop_assert!(agrees(Encoding::Cbor, &cbor(&records, true)));
            prop_assert!(agrees(Encoding::Cbor, &cbor(&records, false)));
        }

        #[test]
        fn a_changed_body_is_read_alike_or_left_alone(
            records in records(),
            changes in prop::collection::vec(
                (any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..4),
        ) {
            for (encoding, mut body) in [
                (Encoding::Json, json(&records)),
                (Encoding::Cbor, cbor(&records, true)),
                (Encoding::Cbor, cbor(&records, false)),
            ] {
                for (at, byte, how) in &changes {
                    let at = at.index(body.len());
                    match how {
                        0 => body[at] = *byte,
                        1 => body.insert(at, b",:{}[]\"\\ a"[usize::from(*byte) % 10]),
                        _ => drop(body.remove(at)),
                    }
                }
                agrees(encoding, &body);
            }
        }
    }

    #[test]
    fn arns_that_the_model_refuses_are_left_alone() {
        let body = |region: &str| {
            let arn = format!("arn:aws:kinesis:{region}:000000000000:stream/s");
            format!(r#"{{"StreamARN":"{arn}","Records":[{{"PartitionKey":"a","Data":"AAAA"}}]}}"#)
        };
        assert!(agrees(Encoding::Json, body("eu-west-1").as_bytes()));
        for region in ["x".repeat(2048), "\u{85}".to_owned(), "\u{2028}".to_owned()] {
            let body = body(&region);
            assert_eq!(put_records(Encoding::Json, body.as_bytes()), None);
        }
    }

    #[test]
    fn unusual_bodies_are_left_alone() {
        let record = r#"{"PartitionKey":"a","Data":"AAAA"}"#;
        let with = |records: &str| format!(r#"{{"StreamName":"s","Records":[{records}]}}"#);
        assert!(agrees(Encoding::Json, with(record).as_bytes()));
        assert!(agrees(
            Encoding::Json,
            with(&format!(" {record}\n,\t{record}")).as_bytes()
        ));
        for body in [
            String::new(),
            "{}".to_owned(),
            with(""),
            with(&format!("{record},")),
            with(&format!(",{record}")),
            with(&format!("{record} {record}")),
            with(r#"{"PartitionKey":"","Data":""}"#),
            with(r#"{"PartitionKey":"\u0061","Data":""}"#),
            with(r#"{"PartitionKey":"a","Data":"AAA"}"#),
            with(r#"{"PartitionKey":"a","Data":null}"#),
            with(r#"{"PartitionKey":"a","PartitionKey":"b","Data":""}"#),
            with(r#"{"PartitionKey":"a","ExplicitHashKey":"01","Data":""}"#),
            with(r#"{"PartitionKey":"a","Unknown":"b","Data":""}"#),
            format!("{}x", with(record)),
            with(record).replace("\"StreamName\"", "\"DryRun\""),
            with(&vec![record; 501].join(",")),
        ] {
            assert_eq!(put_records(Encoding::Json, body.as_bytes()), None, "{body}");
        }
    }
}
