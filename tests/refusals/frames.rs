//! Bytes that are no protocol, and requests that cannot be: typed answers, and the server lives.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use weir_protocol::batch::{BATCH_HEADER_BYTES, BatchBuilder, ProducerMark};
use weir_protocol::limits::{RECORD_BYTES_MAX, WIRE_FRAME_BYTES_MAX};
use weir_protocol::model::{ShardId, ShardIndex, StreamId};
use weir_protocol::wire::error::ErrorCode;
use weir_protocol::wire::frame::{Correlation, decode};
use weir_protocol::wire::hello::{
    CORE_ANY, ClientHello, HELLO_BYTES, HelloStatus, ServerHello, WIRE_VERSION,
};
use weir_protocol::wire::request::{ReadFrom, ReadRequest, Request, kind};
use weir_protocol::wire::response::{AppendOutcome, Response};

use super::connect;
use crate::harness::{Reader, Setup, Victim, Wire, name, temporary};

const PATIENCE: Duration = Duration::from_secs(15);

fn raw(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("the server takes connections");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// What comes until the server closes; a reset counts as closing.
fn rest(mut socket: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            panic!("the server did not close within {PATIENCE:?}")
        }
        _ => bytes,
    }
}

fn greeting(socket: &mut TcpStream, hello: &ClientHello) -> ServerHello {
    socket.write_all(&hello.encode()).unwrap();
    let mut answer = [0; HELLO_BYTES];
    socket
        .read_exact(&mut answer)
        .expect("an answer to the hello");
    ServerHello::decode(&answer).expect("a hello")
}

/// Sends `frame` after a good hello; the error the server answers before it closes.
fn refused_frame(victim: &Victim, frame: &[u8]) -> ErrorCode {
    let mut socket = raw(victim.wire);
    assert_eq!(
        greeting(&mut socket, &ClientHello::new(CORE_ANY)).status,
        HelloStatus::Welcome
    );
    socket.write_all(frame).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let bytes = rest(socket);
    let frame = decode(&bytes)
        .expect("a frame")
        .expect("an answer before the end")
        .0;
    match Response::decode(&frame).expect("an answer") {
        Response::Error(error) => {
            assert!(!error.text.is_empty(), "it says why");
            error.code
        }
        other => panic!("not a refusal: {other:?}"),
    }
}

/// A record goes in and comes out: the server lives, and nothing is lost.
fn lives(victim: &Victim) {
    let mut wire = connect(victim);
    let stream = wire.describe("alive");
    let shard = ShardId::new(stream.id, ShardIndex(0));
    let outcome = wire.append(&batch(shard, b"still here"), 1).unwrap()[0];
    let AppendOutcome::Stored { first_offset, .. } = outcome else {
        panic!("{outcome:?}");
    };
    let mut found = Vec::new();
    let from = ReadFrom::Offset(first_offset);
    Reader::new(victim.wire).all(&stream, 0, from, |record| found.push(record.data.to_vec()));
    assert_eq!(found, [b"still here"]);
}

fn batch(shard: ShardId, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut builder = BatchBuilder::new(&mut out, shard, 1, ProducerMark::default());
    builder.push("k", data).unwrap();
    builder.finish();
    out
}

fn ping() -> Vec<u8> {
    let mut frame = Vec::new();
    Request::Ping.encode(Correlation(7), &mut frame);
    frame
}

fn server(folder: &tempfile::TempDir) -> Victim {
    Setup::new(folder.path())
        .with("--stream", "alive:1")
        .start()
}

#[test]
fn hellos_that_are_none_are_closed_and_others_are_answered() {
    let folder = temporary("hellos");
    let victim = server(&folder);
    for garbage in [
        &[0; HELLO_BYTES][..],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\xff",
    ] {
        let mut socket = raw(victim.wire);
        socket.write_all(garbage).unwrap();
        let _ = socket.shutdown(Shutdown::Write);
        rest(socket);
    }
    let newer = ClientHello {
        version: WIRE_VERSION + 1,
        ..ClientHello::new(CORE_ANY)
    };
    let answer = greeting(&mut raw(victim.wire), &newer);
    assert_eq!(
        (answer.status, answer.version),
        (HelloStatus::UnknownVersion, WIRE_VERSION)
    );
    let answer = greeting(&mut raw(victim.wire), &ClientHello::new(99));
    assert_eq!((answer.status, answer.cores), (HelloStatus::UnknownCore, 1));
    lives(&victim);
    victim.stop();
}

#[test]
fn a_client_that_never_says_hello_is_closed() {
    let folder = temporary("silent");
    let victim = server(&folder);
    let mut socket = raw(victim.wire);
    socket
        .write_all(&ClientHello::new(CORE_ANY).encode()[..10])
        .unwrap();
    let began = Instant::now();
    assert!(rest(socket).is_empty());
    assert!(
        began.elapsed() < Duration::from_secs(12),
        "the deadline is 5 s"
    );
    lives(&victim);
    victim.stop();
}

#[test]
fn frames_that_are_none_are_answered_and_closed() {
    let folder = temporary("frames");
    let victim = server(&folder);
    let mut damaged = ping();
    damaged[8] ^= 1;
    assert_eq!(refused_frame(&victim, &damaged), ErrorCode::Malformed);
    let mut huge = ping();
    huge[0..4].copy_from_slice(&(WIRE_FRAME_BYTES_MAX + 1).to_le_bytes());
    assert_eq!(refused_frame(&victim, &huge), ErrorCode::Malformed);
    let mut short = ping();
    short[0..4].copy_from_slice(&3_u32.to_le_bytes());
    assert_eq!(refused_frame(&victim, &short), ErrorCode::Malformed);
    assert_eq!(refused_frame(&victim, &[0xff; 64]), ErrorCode::Malformed);
    // A whole frame of a kind nobody knows.
    let mut unknown = Vec::new();
    weir_protocol::wire::frame::FrameWriter::start(&mut unknown, 77, Correlation(1))
        .finish(&mut unknown);
    let code = refused_frame(&victim, &unknown);
    assert!(
        matches!(code, ErrorCode::UnknownRequest | ErrorCode::Malformed),
        "{code:?}"
    );
    // A frame that never ends.
    let mut socket = raw(victim.wire);
    greeting(&mut socket, &ClientHello::new(CORE_ANY));
    socket.write_all(&ping()[..20]).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    rest(socket);
    lives(&victim);
    victim.stop();
}

#[test]
fn batches_that_cannot_be_are_refused_one_by_one() {
    let folder = temporary("batches");
    let victim = server(&folder);
    let mut wire = connect(&victim);
    let stream = wire.describe("alive");
    let shard = ShardId::new(stream.id, ShardIndex(0));

    let largest = vec![b'x'; RECORD_BYTES_MAX as usize - 1];
    let too_large = vec![b'x'; RECORD_BYTES_MAX as usize];
    let mut damaged = batch(shard, b"damaged");
    damaged[BATCH_HEADER_BYTES + 10] ^= 1;
    let unknown_stream = ShardId::new(StreamId::new(4_711), ShardIndex(0));
    let unknown_shard = ShardId::new(stream.id, ShardIndex(9));
    let cases = [
        (batch(shard, b"good"), None),
        (batch(shard, &too_large), Some(ErrorCode::InvalidBatch)),
        (damaged, Some(ErrorCode::InvalidBatch)),
        (batch(unknown_stream, b"x"), Some(ErrorCode::StreamNotFound)),
        (batch(unknown_shard, b"x"), Some(ErrorCode::ShardNotFound)),
        (batch(shard, &largest), None),
    ];
    for (bytes, expected) in &cases {
        let code = match wire.append(bytes, 1) {
            Ok(outcomes) => match outcomes[0] {
                AppendOutcome::Stored { .. } => None,
                AppendOutcome::Refused { code, .. } => Some(code),
            },
            Err(error) => Some(error.code),
        };
        assert_eq!(code, *expected, "a batch of {} bytes", bytes.len());
    }
    let mut lengths = Vec::new();
    Reader::new(victim.wire).all(&stream, 0, ReadFrom::TrimHorizon, |record| {
        lengths.push(record.data.len());
    });
    assert_eq!(lengths, [4, largest.len()], "what was refused left nothing");

    // What frames its batches wrongly is refused as a whole, or batch by batch.
    let nonsense = wire.append(b"not a batch at all", 1);
    match nonsense {
        Ok(outcomes) => assert!(matches!(outcomes[0], AppendOutcome::Refused { .. })),
        Err(error) => assert!(
            matches!(error.code, ErrorCode::Malformed | ErrorCode::InvalidBatch),
            "{error:?}"
        ),
    }
    lives(&victim);
    victim.stop();
}

#[test]
fn streams_that_are_not_there_are_named() {
    let folder = temporary("unknown-stream");
    let victim = server(&folder);
    let mut wire = connect(&victim);
    let refused = |wire: &mut Wire, request: &Request<'_>| {
        let answered = wire.call(request, |response| match response {
            Response::Error(error) => error,
            other => panic!("not a refusal: {other:?}"),
        });
        answered.expect("an answer")
    };
    for request in [
        Request::Describe(name("nowhere")),
        Request::Delete(name("nowhere")),
    ] {
        let error = refused(&mut wire, &request);
        assert_eq!(error.code, ErrorCode::StreamNotFound);
        assert!(error.text.contains("nowhere"), "{}", error.text);
    }
    let read = |stream| {
        Request::Read(ReadRequest {
            shard: ShardId::new(StreamId::new(stream), ShardIndex(0)),
            from: ReadFrom::TrimHorizon,
            bytes_max: 1_000,
            wait_ms: 0,
        })
    };
    assert_eq!(
        refused(&mut wire, &read(4_711)).code,
        ErrorCode::StreamNotFound
    );
    let error = wire.stream(&Request::Create(
        weir_protocol::wire::request::CreateRequest {
            name: name("alive"),
            shards: 1,
            mode: weir_protocol::model::StreamMode::OnDemand,
            retention_ms: None,
            retain_bytes: None,
        },
    ));
    assert_eq!(error.unwrap_err().code, ErrorCode::StreamExists);
    assert_eq!(kind::ERROR, 0x80ff, "the kind that clients are told of");

    // The command line says the same in a sentence.
    let said =
        |arguments: &[&str]| crate::harness::run(&mut victim.stream(arguments), [], PATIENCE);
    for verb in ["describe", "delete", "tail", "put"] {
        said(&[verb, "nowhere"]).refused(1, "nowhere");
    }
    said(&["create", "not a name", "--shards", "1"]).refused(2, "not a name");
    said(&["create", "alive", "--shards", "1"]).refused(1, "alive");
    lives(&victim);
    victim.stop();
}
