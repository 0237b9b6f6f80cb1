//! HTTP/1.1: requests one after another, broken clients, the end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ::http::Response;
use futures_util::future::{join, pending};
use weir_reactor::sim::{RunLimit, Sim, SimOptions};
use weir_reactor::{Reactor, Socket, Spares};

use super::service::{known, receive_all, serve_one};
use crate::caller::Caller;
use crate::http::body::BODY_BYTES_MAX;
use crate::http::serve::{HEAD_BYTES_MAX, serve};
use crate::http::{Ceiling, Hall, LeasedBody};

/// Sends `bytes`, then nothing more, and returns all that was answered.
fn exchange(seed: u64, bytes: Vec<u8>) -> String {
    let sim = Sim::new(seed, SimOptions::default());
    let (client, server) = sim.connect();
    let reactor = sim.reactor();
    let main = async move {
        let answers = Rc::new(RefCell::new(Vec::new()));
        let send = async {
            // The server may refuse the rest.
            let _refused = client.send(&bytes).await;
            client.finish();
        };
        let receive = receive_all(client.clone(), answers.clone());
        join(serve_one(server, reactor, pending()), join(send, receive)).await;
        answers.take()
    };
    let answers = sim.run(RunLimit::done(), main).unwrap();
    String::from_utf8(answers).unwrap()
}

#[test]
fn a_connection_carries_one_request_after_another() {
    for seed in 0..50 {
        let mut bytes = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello".to_vec();
        bytes.extend(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
        bytes.extend(b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
        bytes.extend(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 300000\r\n\r\n");
        bytes.extend(vec![b'x'; 300_000]);
        bytes.extend(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let answers = exchange(seed, bytes);
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 4, "{answers}");
        let lengths: Vec<_> = ["5 bytes", "7 bytes", "300000 bytes", "0 bytes"]
            .iter()
            .map(|text| answers.find(text).expect("each is answered"))
            .collect();
        assert!(lengths.is_sorted(), "{answers}");
    }
}

#[test]
fn a_client_that_waits_for_a_hundred_gets_it() {
    let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n";
    let sim = Sim::new(1, SimOptions::default());
    let (client, server) = sim.connect();
    let reactor = sim.reactor();
    let main = async move {
        let talk = async {
            client.send(head).await.unwrap();
            let mut answer = vec![0; 25];
            let mut at = 0;
            while at < 25 {
                at += client.receive(&mut answer[at..]).await.unwrap();
            }
            assert_eq!(answer, b"HTTP/1.1 100 Continue\r\n\r\n");
            client.send(b"ok").await.unwrap();
            client.finish();
            let rest = Rc::new(RefCell::new(Vec::new()));
            receive_all(client.clone(), rest.clone()).await;
            rest.take()
        };
        join(serve_one(server, reactor, pending()), talk).await.1
    };
    let rest = sim.run(RunLimit::done(), main).unwrap();
    assert!(String::from_utf8(rest).unwrap().ends_with("2 bytes"));
}

#[test]
fn what_is_too_long_or_no_http_is_refused() {
    let length = BODY_BYTES_MAX + 1;
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
    let mut bytes = head.into_bytes();
    bytes.resize(bytes.len() + length, b'x');
    let answer = exchange(2, bytes);
    assert!(answer.contains("the body is longer than"), "{answer}");

    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut bytes = format!("{head}{length:x}\r\n").into_bytes();
    bytes.resize(bytes.len() + length, b'x');
    let answer = exchange(3, bytes);
    assert!(answer.contains("the body is longer than"), "{answer}");

    let answer = exchange(4, b"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n".to_vec());
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
        "{answer}"
    );
    let long = "x".repeat(HEAD_BYTES_MAX);
    let answer = exchange(5, format!("GET /{long} HTTP/1.1\r\n\r\n").into_bytes());
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    let many = "a: b\r\n".repeat(101);
    let answer = exchange(6, format!("GET / HTTP/1.1\r\n{many}\r\n").into_bytes());
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[test]
fn silent_clients_are_given_up() {
    // What is sent before the silence, and when the server has had enough.
    for (sent, least, most) in [
        ("", 120, 130),
        ("POST / HT", 10, 20),
        ("POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc", 30, 40),
        ("POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc", 120, 130),
    ] {
        let sim = Sim::new(7, SimOptions::default());
        let (client, server) = sim.connect();
        let reactor = sim.reactor();
        let main = async move {
            client.send(sent.as_bytes()).await.unwrap();
            serve_one(server, reactor, pending()).await;
            drop(client);
        };
        sim.run(RunLimit::done(), main).unwrap();
        let waited = sim.elapsed().as_secs();
        assert!(
            (least..=most).contains(&waited),
            "{waited} s after {sent:?}"
        );
    }
}

#[test]
fn a_stranger_who_is_silent_is_given_up_earlier() {
    let sim = Sim::new(7, SimOptions::default());
    let (client, server) = sim.connect();
    let reactor = sim.reactor();
    let main = async move {
        let service = |_request| {
            let ceiling = Ceiling::new(1, Spares::default());
            std::future::ready(Response::new(LeasedBody::new(vec![b'x'; 9], &ceiling)))
        };
        // That it was answered something does not make it known.
        let ask = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        client.send(ask).await.unwrap();
        let stranger = Rc::new(Caller::new([192, 0, 2, 1].into()));
        let hall = Hall::new(reactor.clone());
        serve(server, &hall, stranger, service, pending()).await;
        drop(client);
    };
    sim.run(RunLimit::done(), main).unwrap();
    let waited = sim.elapsed().as_secs();
    assert!((30..=40).contains(&waited), "{waited} s");
}

/// Sends `head`, and then `bytes` bytes in pieces of `piece`, one a second; what is answered, and when
/// the connection is over.
fn trickle(head: &str, bytes: usize, piece: usize) -> (String, u64) {
    let sim = Sim::new(10, SimOptions::default());
    let (client, server) = sim.connect();
    let reactor = sim.reactor();
    let head = head.to_owned();
    let main = async move {
        let answers = Rc::new(RefCell::new(Vec::new()));
        let send = async {
            client.send(head.as_bytes()).await.unwrap();
            for piece in vec![b'x'; bytes].chunks(piece) {
                reactor.sleep(Duration::from_secs(1)).await;
                if client.send(piece).await.is_err() {
                    break;
                }
            }
            client.finish();
        };
        let receive = receive_all(client.clone(), answers.clone());
        let serve = serve_one(server, reactor.clone(), pending());
        join(serve, join(send, receive)).await;
        answers.take()
    };
    let answers = sim.run(RunLimit::done(), main).unwrap();
    let answers = String::from_utf8(answers).unwrap();
    (answers, sim.elapsed().as_secs())
}

#[test]
fn what_trickles_is_ended_and_who_is_slow_is_served() {
    let body = |bytes: usize| format!("POST / HTTP/1.1\r\ncontent-length: {bytes}\r\n\r\n");
    // A little below the least rate, and a little above it.
    let (answer, _) = trickle(&body(200_000), 200_000, 1_000);
    assert!(answer.contains("did not come in time"), "{answer}");
    let (answer, seconds) = trickle(&body(200_000), 200_000, 1_100);
    assert!(answer.ends_with("200000 bytes"), "{answer}");
    assert!(seconds >= 180, "{seconds} s");
    // A byte a second is seen soon, be it of the body or of the head.
    let (answer, seconds) = trickle(&body(100), 100, 1);
    assert!(answer.contains("did not come in time"), "{answer}");
    assert!((30..=110).contains(&seconds), "{seconds} s");
    let (answer, seconds) = trickle("POST /", 100, 1);
    assert!((10..=20).contains(&seconds), "{seconds} s, {answer}");
}

#[test]
fn a_stop_answers_the_request_in_flight_and_ends() {
    for (sent, answered) in [
        ("", false),
        ("POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nab", true),
    ] {
        let sim = Sim::new(8, SimOptions::default());
        let (client, server) = sim.connect();
        let reactor = sim.reactor();
        let stopped = Rc::new(Cell::new(false));
        let main = async move {
            let stop = {
                let (reactor, stopped) = (reactor.clone(), stopped.clone());
                async move {
                    reactor.sleep(Duration::from_secs(1)).await;
                    stopped.set(true);
                }
            };
            let answers = Rc::new(RefCell::new(Vec::new()));
            let talk = async {
                client.send(sent.as_bytes()).await.unwrap();
                if answered {
                    reactor.sleep(Duration::from_secs(2)).await;
                    assert!(stopped.get());
                    client.send(b"c").await.unwrap();
                }
                receive_all(client.clone(), answers.clone()).await;
            };
            join(serve_one(server, reactor.clone(), stop), talk).await;
            answers.take()
        };
        let answers = sim.run(RunLimit::done(), main).unwrap();
        let answers = String::from_utf8(answers).unwrap();
        assert_eq!(answers.ends_with("3 bytes"), answered, "{answers}");
        assert!(sim.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn a_client_that_takes_nothing_is_given_up() {
    let sim = Sim::new(9, SimOptions::default());
    let (client, server) = sim.connect();
    let reactor = sim.reactor();
    let main = async move {
        let ceiling = Ceiling::new(1, Spares::default());
        let service = |_request| {
            let body = LeasedBody::new(vec![b'x'; 1_000_000], &ceiling);
            std::future::ready(Response::new(body))
        };
        client
            .send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        serve(
            server,
            &Hall::new(reactor.clone()),
            known(),
            service,
            pending(),
        )
        .await;
        assert_eq!(ceiling.held_bytes(), 0, "all bytes were given back");
        drop(client);
    };
    sim.run(RunLimit::done(), main).unwrap();
    assert!(sim.elapsed() < Duration::from_secs(80));
}
