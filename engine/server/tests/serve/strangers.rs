//! Connections that show nothing, and room for those that do.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use weir_protocol::wire::hello::{CORE_ANY, ClientHello, HELLO_BYTES};

use crate::server::{Server, folder, get};

const PATIENCE: Duration = Duration::from_secs(20);
/// What a server with room for so many of them is given.
const MAX: usize = 4;
const CROWD: usize = 60;

fn connect(address: &str) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Asks on a connection that stays; the status, or nothing if the connection is over.
fn ask(socket: &mut TcpStream) -> Option<u16> {
    let call = "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-amz-json-1.1\r\n\
                X-Amz-Target: Kinesis_20131202.ListStreams\r\nX-Amz-Date: 20260101T000000Z\r\n\
                Authorization: AWS4-HMAC-SHA256 \
                Credential=AKIDEXAMPLE/20260101/eu-west-1/kinesis/aws4_request, \
                SignedHeaders=host;x-amz-date, Signature=0\r\nContent-Length: 2\r\n\r\n{}";
    socket.write_all(call.as_bytes()).ok()?;
    let mut text = Vec::new();
    while !text.ends_with(b"}") {
        let mut piece = [0; 4096];
        match socket.read(&mut piece) {
            Ok(count @ 1..) => text.extend_from_slice(&piece[..count]),
            Ok(_) => return None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error}"),
        }
    }
    let text = String::from_utf8(text).unwrap();
    text.split(' ').nth(1).and_then(|word| word.parse().ok())
}

fn is_over(socket: &TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    match socket.peek(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

fn until(what: &str, mut is_done: impl FnMut() -> bool) {
    let late = Instant::now() + PATIENCE;
    while !is_done() {
        assert!(Instant::now() < late, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn metric(server: &Server, name: &str) -> usize {
    let (_, text) = get(&server.admin, "/metrics");
    let values = text
        .lines()
        .filter(|line| line.starts_with(&format!("{name}{{")))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
    values.sum::<f64>() as usize
}

#[test]
fn strangers_leave_room_for_those_who_show_who_they_are() {
    let folder = folder();
    let max = MAX.to_string();
    let flags = ["--cores", "1", "--connections-of-strangers", &max];
    let server = Server::start(&folder, &flags);
    let mut known = connect(&server.http);
    assert_eq!(ask(&mut known), Some(200));
    let mut hello = connect(&server.wire);
    hello
        .write_all(&ClientHello::new(CORE_ANY).encode())
        .unwrap();
    hello.read_exact(&mut [0; HELLO_BYTES]).unwrap();

    let crowd: Vec<_> = (0..CROWD)
        .map(|nth| {
            let (address, words) = match nth % 3 {
                0 => (&server.http, &b""[..]),
                1 => (&server.http, &b"POST / HTTP/1.1\r\nHo"[..]),
                _ => (&server.wire, &b"WEI"[..]),
            };
            let mut socket = connect(address);
            // It may be gone already.
            let _ = socket.write_all(words);
            socket
        })
        .collect();
    let over = || crowd.iter().filter(|socket| is_over(socket)).count();
    until("the end of all but a few", || over() >= CROWD - MAX);
    assert!(metric(&server, "weir_strangers_sent_away_total") >= CROWD - MAX);
    assert!(metric(&server, "weir_strangers") <= MAX);
    // Who was there before is there still, and who comes now gets in.
    assert_eq!(ask(&mut known), Some(200));
    assert!(!is_over(&hello));
    until("an answer for a newcomer", || {
        ask(&mut connect(&server.http)) == Some(200)
    });
    assert_eq!(get(&server.admin, "/healthz").0, 200);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn this_machine_may_be_silent_where_nothing_is_said() {
    let folder = folder();
    let server = Server::start(&folder, &["--cores", "1"]);
    let crowd: Vec<_> = (0..1_100).map(|_| connect(&server.http)).collect();
    until("the arrival of all", || {
        metric(&server, "weir_connections") >= crowd.len()
    });
    assert_eq!(metric(&server, "weir_strangers"), 0);
    assert!(crowd.iter().all(|socket| !is_over(socket)));
}
