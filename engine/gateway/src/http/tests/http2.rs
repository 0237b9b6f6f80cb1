//! HTTP/2 by prior knowledge: requests beside each other, broken clients, the end.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ::http::{Request, Response};
use futures_util::future::{join, join_all, pending};
use h2::client::{SendRequest, handshake};
use hyper::body::Bytes;
use weir_reactor::sim::{RunLimit, Sim, SimOptions, SimReactor, SimSocket};
use weir_reactor::{Lane, Reactor, Socket, Spares};

use super::service::{ClientIo, receive_all, serve_one};
use crate::caller::Caller;
use crate::http::{Ceiling, Hall, LeasedBody, serve};

/// What every HTTP/2 client sends first: the preface and its settings, here none.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

pub(super) async fn connect(socket: SimSocket, reactor: &SimReactor) -> SendRequest<Bytes> {
    let (requests, connection) = handshake(ClientIo(socket)).await.unwrap();
    reactor.spawn(Lane::Network, async move {
        let _ended = connection.await;
    });
    requests
}

/// Sends a request and returns the answer: its head, and its body as text.
async fn ask(
    requests: SendRequest<Bytes>,
    path: &str,
    body: Vec<u8>,
) -> Result<(::http::response::Parts, String), h2::Error> {
    let mut requests = requests.ready().await?;
    let uri = format!("http://server{path}");
    let request = Request::post(uri).body(()).unwrap();
    let (answer, mut out) = requests.send_request(request, false)?;
    out.send_data(body.into(), true)?;
    let (head, mut body) = answer.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok((head, String::from_utf8(bytes).unwrap()))
}

#[test]
fn heads_without_bodies_take_no_memory_from_others() {
    let sim = Sim::new(1, SimOptions::default());
    let (client, server) = sim.connect();
    let reactor = sim.reactor();
    let main = async move {
        let talk = async {
            let requests = connect(client, &reactor).await;
            let mut silent = Vec::new();
            for _ in 0..200 {
                let mut requests = requests.clone().ready().await.unwrap();
                let request = Request::post("http://server/").header("content-length", 1_048_576);
                let request = request.body(()).unwrap();
                silent.push(requests.send_request(request, false).unwrap());
            }
            let (_, text) = ask(requests.clone(), "/", vec![b'y'; 2_000_000])
                .await
                .unwrap();
            assert_eq!(text, "2000000 bytes");
            drop((silent, requests));
        };
        join(serve_one(server, reactor.clone(), pending()), talk).await;
    };
    sim.run(RunLimit::done(), main).unwrap();
}

#[test]
fn requests_beside_each_other_are_all_answered() {
    for seed in 0..20 {
        let sim = Sim::new(seed, SimOptions::default());
        let (client, server) = sim.connect();
        let reactor = sim.reactor();
        let main = async move {
            let talk = async {
                let requests = connect(client, &reactor).await;
                let lengths = (0..150_usize).map(|i| if i == 75 { 2_000_000 } else { i * 100 });
                let answers = lengths.map(|length| {
                    let answer = ask(requests.clone(), "/", vec![b'y'; length]);
                    async move { (length, answer.await.unwrap()) }
                });
                for (length, (head, text)) in join_all(answers).await {
                    assert_eq!(
                        (head.status.as_u16(), text),
                        (200, format!("{length} bytes"))
                    );
                    assert!(head.headers.contains_key("content-length"));
                }
                let (head, text) = ask(requests.clone(), "/bytes/0", vec![]).await.unwrap();
                assert_eq!(
                    (head.headers["content-length"].as_bytes(), text.len()),
                    (&b"0"[..], 0)
                );
                let (_, text) = ask(requests.clone(), "/bytes/1000000", vec![])
                    .await
                    .unwrap();
                assert_eq!(text.len(), 1_000_000);
                let (head, _) = ask(requests.clone(), "/close", vec![]).await.unwrap();
                assert!(!head.headers.contains_key("connection"));
                drop(requests);
            };
            join(serve_one(server, reactor.clone(), pending()), talk).await;
        };
        sim.run(RunLimit::done(), main).unwrap();
    }
}

#[test]
fn bodies_over_the_limit_are_refused_and_others_go_on() {
    let sim = Sim::new(2, SimOptions::default());
    let (client, server) = sim.connect();
    let reactor = sim.reactor();
    let main = async move {
        let talk = async {
            let requests = connect(client, &reactor).await;
            let long = ask(requests.clone(), "/", vec![b'y'; 16 * 1024 * 1024 + 1]);
            let (long, short) = join(long, ask(requests.clone(), "/", vec![1])).await;
            assert!(long.unwrap().1.contains("is longer than"));
            assert_eq!(short.unwrap().1, "1 bytes");
        };
        join(serve_one(server, reactor.clone(), pending()), talk).await;
    };
    sim.run(RunLimit::done(), main).unwrap();
}

/// Sends `bytes` and nothing more; what the server says until it gives up, and when it does.
fn say(bytes: &[u8]) -> (Vec<u8>, u64) {
    let sim = Sim::new(7, SimOptions::default());
    let (client, server) = sim.connect();
    let reactor = sim.reactor();
    let bytes = bytes.to_vec();
    let main = async move {
        let said = Rc::new(RefCell::new(Vec::new()));
        let talk = async {
            // A byte at a time, the hello too.
            for byte in &bytes {
                if client.send(std::slice::from_ref(byte)).await.is_err() {
                    break;
                }
                reactor.sleep(Duration::from_millis(1)).await;
            }
            receive_all(client.clone(), said.clone()).await;
        };
        join(serve_one(server, reactor.clone(), pending()), talk).await;
        said.take()
    };
    let said = sim.run(RunLimit::done(), main).unwrap();
    (said, sim.elapsed().as_secs())
}

/// A frame of a kind, with flags, on stream 1.
fn frame(kind: u8, flags: u8, announced: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = HELLO.to_vec();
    bytes.extend([0, 0, announced, kind, flags, 0, 0, 0, 1]);
    bytes.extend(payload);
    bytes
}

#[test]
fn silent_clients_are_given_up() {
    // POST http / of the static table; END_STREAM is 1, END_HEADERS is 4.
    let head = [0x83, 0x86, 0x84];
    let mut half_body = frame(1, 4, 3, &head);
    half_body.extend([0, 0, 50, 0, 0, 0, 0, 0, 1, b'a']);
    for (name, sent, least, most) in [
        ("half a preface", HELLO[..10].to_vec(), 10, 20),
        ("an idle connection", HELLO.to_vec(), 120, 145),
        ("half a header", HELLO[..30].to_vec(), 10, 20),
        ("half a frame", frame(1, 4, 50, &head), 10, 20),
        ("half a frame of a body", half_body, 30, 40),
        ("a head without an end", frame(1, 0, 3, &head), 10, 20),
        ("a body without an end", frame(1, 4, 3, &head), 150, 180),
        ("a request without a body", frame(1, 5, 3, &head), 120, 145),
    ] {
        let (_, waited) = say(&sent);
        assert!((least..=most).contains(&waited), "{waited} s after {name}");
    }
}

#[test]
fn a_connection_has_so_many_requests_at_a_time() {
    let head = [0x83, 0x86, 0x84];
    let mut bytes = HELLO.to_vec();
    for nth in 0..257_u16 {
        let [low, high] = (2 * nth + 1).to_le_bytes();
        bytes.extend([0, 0, 3, 1, 4, 0, 0, high, low]);
        bytes.extend(head);
    }
    let (said, _) = say(&bytes);
    let mut refused = Vec::new();
    let mut rest = &said[..];
    while let [_, high, low, kind, _, _, _, c, d, payload @ ..] = rest {
        let (payload, behind) = payload.split_at(usize::from(*high) << 8 | usize::from(*low));
        // RST_STREAM with REFUSED_STREAM.
        if (*kind, payload) == (3, &[0, 0, 0, 7][..]) {
            refused.push(u32::from(*c) << 8 | u32::from(*d));
        }
        rest = behind;
    }
    assert_eq!(refused, [513]);
}

#[test]
fn nonsense_after_the_preface_ends_the_connection() {
    let mut nonsense = HELLO[..24].to_vec();
    nonsense.extend(b"GET / HTTP/1.1\r\n\r\n");
    let mut large = HELLO.to_vec();
    large.extend([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]);
    let unasked = frame(0, 0, 3, b"abc");
    for sent in [nonsense, large, unasked] {
        let (_, waited) = say(&sent);
        assert!(waited < 10, "{waited} s");
    }
}

#[test]
fn heads_have_a_longest_length() {
    let sim = Sim::new(3, SimOptions::default());
    let (client, server) = sim.connect();
    let reactor = sim.reactor();
    let main = async move {
        let talk = async {
            let mut requests = connect(client, &reactor).await.ready().await.unwrap();
            let long = "x".repeat(40 * 1024);
            let request = Request::get("http://server/").header("long", long);
            let (answer, _) = requests
                .send_request(request.body(()).unwrap(), true)
                .unwrap();
            let refused = answer.await.map(|answer| answer.status().as_u16());
            assert!(!matches!(refused, Ok(200)), "{refused:?}");
        };
        join(serve_one(server, reactor.clone(), pending()), talk).await;
    };
    sim.run(RunLimit::done(), main).unwrap();
}

#[test]
fn a_stop_answers_what_is_in_flight_and_says_goodbye() {
    let sim = Sim::new(8, SimOptions::default());
    let (client, server) = sim.connect();
    let reactor = sim.reactor();
    let main = async move {
        let stop = reactor.sleep(Duration::from_secs(1));
        let talk = async {
            let requests = connect(client, &reactor).await;
            let mut ready = requests.clone().ready().await.unwrap();
            let request = Request::post("http://server/").body(()).unwrap();
            let (answer, mut out) = ready.send_request(request, false).unwrap();
            out.send_data(Bytes::from_static(b"ab"), false).unwrap();
            reactor.sleep(Duration::from_secs(2)).await;
            out.send_data(Bytes::from_static(b"c"), true).unwrap();
            let mut body = answer.await.unwrap().into_body();
            assert_eq!(body.data().await.unwrap().unwrap(), "3 bytes");
            drop(ready);
            assert!(
                ask(requests, "/", vec![1]).await.is_err(),
                "nothing new is taken"
            );
        };
        join(serve_one(server, reactor.clone(), stop), talk).await;
    };
    sim.run(RunLimit::done(), main).unwrap();
    assert!(sim.elapsed() < Duration::from_secs(10));
}

#[test]
fn who_is_turned_away_is_answered_and_told_to_go() {
    let sim = Sim::new(10, SimOptions::default());
    let (client, server) = sim.connect();
    let reactor = sim.reactor();
    let main = async move {
        let caller = Rc::new(Caller::new([192, 0, 2, 1].into()));
        let service = |_request| {
            caller.turn_away();
            let ceiling = Ceiling::new(1, Spares::default());
            std::future::ready(Response::new(LeasedBody::new(vec![b'x'; 9], &ceiling)))
        };
        let talk = async {
            let requests = connect(client, &reactor).await;
            let (_, text) = ask(requests.clone(), "/", vec![1]).await.unwrap();
            assert_eq!(text, "xxxxxxxxx");
            // It has one stream open without an end, which would keep an idle connection.
            let mut ready = requests.clone().ready().await.unwrap();
            let request = Request::post("http://server/").body(()).unwrap();
            let open = ready.send_request(request, false).unwrap();
            reactor.sleep(Duration::from_secs(6)).await;
            assert!(ask(requests.clone(), "/", vec![1]).await.is_err());
            drop((open, ready, requests));
        };
        let hall = Hall::new(reactor.clone());
        let serve = serve(server, &hall, caller.clone(), service, pending());
        join(serve, talk).await;
    };
    sim.run(RunLimit::done(), main).unwrap();
    assert!(sim.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_flood_of_cancelled_requests_ends() {
    let head = [0x83, 0x86, 0x84];
    let mut bytes = HELLO.to_vec();
    for i in 0..20_000_u16 {
        let [low, high] = (2 * i + 1).to_le_bytes();
        bytes.extend([0, 0, 3, 1, 4, 0, 0, high, low]);
        bytes.extend(head);
        bytes.extend([0, 0, 4, 3, 0, 0, 0, high, low, 0, 0, 0, 8]);
    }
    let sim = Sim::new(9, SimOptions::default());
    let (client, server) = sim.connect();
    let reactor = sim.reactor();
    let main = async move {
        let said = Rc::new(RefCell::new(Vec::new()));
        let talk = async {
            let refused = client.send(&bytes).await.is_err();
            client.finish();
            receive_all(client.clone(), said.clone()).await;
            refused
        };
        join(serve_one(server, reactor, pending()), talk).await.1
    };
    let _cut_off_or_served = sim.run(RunLimit::done(), main).unwrap();
    assert!(sim.elapsed() < Duration::from_mins(1));
}
