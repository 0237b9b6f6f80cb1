//! Bytes as the server reads them from a socket, and as a client does.
//!
//! The first byte holds switches: whether checksums are mended first, so that what lies behind them
//! is reached, and which side reads.

use weir_protocol::batch::BatchView;
use weir_protocol::bytes::u32_at;
use weir_protocol::checksum;
use weir_protocol::limits::{RECORD_BYTES_CEILING, WIRE_FRAME_BYTES_MAX};
use weir_protocol::wire::frame::{
    Correlation, WIRE_HEADER_BYTES, WireFrame, decode, field, frame_length,
};
use weir_protocol::wire::hello::{ClientHello, HELLO_BYTES, ServerHello};
use weir_protocol::wire::request::{Request, kind};
use weir_protocol::wire::response::Response;
use weir_protocol::wire::session::ClientSession;

use crate::batch;

const MENDED: u8 = 1;
const AS_CLIENT: u8 = 2;

/// A hello, then frames.
pub(crate) fn check(data: &[u8]) {
    let Some((&switches, stream)) = data.split_first() else {
        return;
    };
    let mut stream = stream.to_vec();
    if switches & MENDED != 0 {
        mend(&mut stream);
    }
    if switches & AS_CLIENT == 0 {
        as_server(&stream);
    } else {
        as_client(&stream, switches >> 2);
    }
}

/// Gives the hello and every frame behind it the checksums that they should have.
fn mend(stream: &mut [u8]) {
    let Some((hello, mut rest)) = stream.split_at_mut_checked(HELLO_BYTES) else {
        return;
    };
    let end = HELLO_BYTES - 4;
    let crc = checksum::crc(&hello[..end]);
    hello[end..].copy_from_slice(&crc.to_le_bytes());
    while let Ok(Some(length)) = frame_length(rest) {
        let Some((frame, behind)) = rest.split_at_mut_checked(length) else {
            return;
        };
        let control = u32_at(frame, field::CONTROL_BYTES) as usize;
        let crc = checksum::extend(
            checksum::crc(&frame[..field::CRC]),
            &frame[WIRE_HEADER_BYTES..WIRE_HEADER_BYTES + control],
        );
        frame[field::CRC..WIRE_HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        rest = behind;
    }
}

fn as_server(stream: &[u8]) {
    let Some((hello, mut rest)) = stream.split_first_chunk::<HELLO_BYTES>() else {
        return;
    };
    if let Ok(read) = ClientHello::decode(hello) {
        assert_eq!(ClientHello::decode(&read.encode()), Ok(read));
    }
    while let Some((frame, length)) = next(rest) {
        if let Ok(request) = Request::decode(&frame) {
            same_again(&request, frame.correlation);
            if let Request::Append { batches, .. } = request {
                append(batches);
            }
        }
        if let Ok(response) = Response::decode(&frame) {
            answer_again(&response, &frame);
        }
        rest = &rest[length..];
    }
}

/// The frame at the front; what its header alone says of its length is what the whole says.
fn next(bytes: &[u8]) -> Option<(WireFrame<'_>, usize)> {
    let claimed = frame_length(bytes);
    match decode(bytes) {
        Ok(Some((frame, length))) => {
            assert_eq!(claimed, Ok(Some(length)));
            assert!(length <= bytes.len() && length <= WIRE_FRAME_BYTES_MAX as usize);
            let inside = frame.control.len() + frame.bulk.len();
            assert_eq!(inside + WIRE_HEADER_BYTES, length);
            Some((frame, length))
        }
        Ok(None) => {
            let more = claimed.expect("a header that is refused is refused whole");
            assert!(more.is_none_or(|length| length > bytes.len()));
            None
        }
        Err(_) => None,
    }
}

fn same_again(request: &Request<'_>, correlation: Correlation) {
    let mut bytes = Vec::new();
    request.encode(correlation, &mut bytes);
    let (frame, length) = next(&bytes).expect("what was encoded decodes");
    assert_eq!((length, frame.correlation), (bytes.len(), correlation));
    assert_eq!(Request::decode(&frame).as_ref(), Ok(request));
}

fn answer_again(response: &Response<'_>, frame: &WireFrame<'_>) {
    // An error's text is mended while it is read, which may make it too long to be sent again.
    if matches!(response, Response::Error(error) if error.text.len() > usize::from(u16::MAX)) {
        return;
    }
    let mut bytes = Vec::new();
    let asked = frame.kind & !kind::ANSWER;
    response.encode(asked, frame.correlation, &mut bytes);
    let (again, _) = next(&bytes).expect("what was encoded decodes");
    assert_eq!(again.kind, frame.kind);
    assert_eq!(Response::decode(&again).as_ref(), Ok(response));
}

/// The bulk part of an append, taken apart as its server does.
fn append(mut batches: &[u8]) {
    while let Ok(view) = BatchView::decode(batches) {
        batch::is_sound(&view, RECORD_BYTES_CEILING);
        batches = &batches[view.as_bytes().len()..];
    }
}

/// A client hands out the same, however the bytes were cut on their way.
fn as_client(stream: &[u8], cut: u8) {
    if let Some((hello, _)) = stream.split_first_chunk::<HELLO_BYTES>()
        && let Ok(read) = ServerHello::decode(hello)
    {
        assert_eq!(ServerHello::decode(&read.encode()), Ok(read));
    }
    let whole = outcomes(stream, stream.len().max(1));
    assert_eq!(outcomes(stream, usize::from(cut) + 1), whole);
}

/// Every answer with its token, or what ended the session.
fn outcomes(stream: &[u8], piece: usize) -> Vec<String> {
    let mut session = ClientSession::new(ClientHello::new(0));
    for asked in asked() {
        session.request(&asked, asked.kind());
    }
    let mut out = Vec::new();
    for piece in stream.chunks(piece) {
        session.received(piece);
        loop {
            match session.poll() {
                Ok(Some((token, response))) => out.push(format!("{token}: {response:?}")),
                Ok(None) => break,
                Err(error) => {
                    out.push(error.to_string());
                    return out;
                }
            }
        }
    }
    assert_eq!(out.len() + session.in_flight(), asked().len());
    out
}

/// One request of every kind: their numbers begin at 1.
fn asked() -> Vec<Request<'static>> {
    let kinds = [
        kind::APPEND,
        kind::READ,
        kind::DESCRIBE,
        kind::DELETE,
        kind::LIST,
        kind::PING,
    ];
    let control = |kind: u16| -> &'static [u8] {
        match kind {
            kind::APPEND => &[1, 0, 0, 0],
            kind::READ => &[
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
                0,
            ],
            kind::LIST => &[1, 0, 0, 0, 0],
            kind::PING => &[],
            _ => &[1, 0, b'a'],
        }
    };
    let decoded = kinds.map(|kind| {
        let frame = WireFrame {
            kind,
            correlation: Correlation(0),
            control: control(kind),
            bulk: &[],
        };
        Request::decode(&frame).expect("it is a request")
    });
    decoded.into()
}

/// Seeds: every request and every answer that is easily made, whole and cut.
#[cfg(test)]
pub(crate) fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    let hello = ClientHello::new(0).encode();
    let mut all = vec![MENDED];
    all.extend_from_slice(&hello);
    for (i, request) in asked().into_iter().enumerate() {
        let mut one = vec![MENDED];
        one.extend_from_slice(&hello);
        let correlation = Correlation(i as u64 + 1);
        request.encode(correlation, &mut one);
        all.extend_from_slice(&one[1 + HELLO_BYTES..]);
        out.push((format!("request_{:02x}", request.kind()), one));
    }
    out.push(("requests_pipelined".into(), all));
    out.push(("append_of_two".into(), {
        let mut one = vec![MENDED];
        one.extend_from_slice(&hello);
        let batches = [batch::sample(1), batch::sample(3)].concat();
        let request = Request::Append {
            count: 2,
            batches: &batches,
        };
        request.encode(Correlation(1), &mut one);
        one
    }));
    for (name, control, kind, correlation) in answers() {
        let mut one = vec![MENDED | AS_CLIENT | 4 << 2];
        let welcome = ServerHello {
            version: 1,
            status: weir_protocol::wire::hello::HelloStatus::Welcome,
            features: 0,
            core: 0,
            cores: 1,
            frame_bytes_max: WIRE_FRAME_BYTES_MAX,
            in_flight_bytes_max: WIRE_FRAME_BYTES_MAX,
        };
        one.extend_from_slice(&welcome.encode());
        let frame = weir_protocol::wire::frame::FrameWriter::start(
            &mut one,
            kind | kind::ANSWER,
            Correlation(correlation),
        );
        one.extend_from_slice(&control);
        let end = one.len();
        frame.finish(&mut one[..end]);
        out.push((format!("answer_{name}"), one.clone()));
        one[0] &= !AS_CLIENT;
        out.push((format!("answer_{name}_read_by_all"), one));
    }
    out
}

/// Control parts of answers with their kinds and the numbers of the requests in [`asked`].
#[cfg(test)]
fn answers() -> Vec<(&'static str, Vec<u8>, u16, u64)> {
    let appended = |code: u8| {
        let mut control = vec![1, 0, 0, 0];
        control.extend_from_slice(&[code, 0, 0, 0, 1, 0, 0, 0]);
        control.extend_from_slice(&[7; 8].map(|b: u8| b & 0x3f));
        control.extend_from_slice(&[0; 8]);
        control
    };
    let mut stream = vec![1, 0, b'a'];
    stream.extend_from_slice(&[0; 8]);
    stream.extend_from_slice(&[2, 1]);
    stream.extend_from_slice(&[0; 16]);
    stream.push(1);
    stream.extend_from_slice(&[0; 4 + 8 + 4 + 4]);
    stream.extend_from_slice(&[1, 0, 0, 0]);
    stream.extend_from_slice(&[0; 49]);
    let mut streams = vec![0, 1, 0, 0, 0, 1, 0, b'a'];
    streams.extend_from_slice(&[0; 8]);
    streams.extend_from_slice(&[2, 1]);
    streams.extend_from_slice(&[0; 12]);
    let mut error = vec![9, 0, 1, 0];
    error.extend_from_slice(&[0; 8]);
    error.extend_from_slice(&[2, 0, b'n', b'o']);
    vec![
        ("stored", appended(0), kind::APPEND, 1),
        ("refused", appended(8), kind::APPEND, 1),
        ("records", vec![0; 29], kind::READ, 2),
        ("stream", stream, kind::DESCRIBE, 3),
        ("deleted", Vec::new(), kind::DELETE, 4),
        ("streams", streams, kind::LIST, 5),
        ("pong", Vec::new(), kind::PING, 6),
        ("error", error, kind::ERROR, 2),
    ]
}
