//! Answers without an end: asked for only when there is room, ended when nobody listens.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use ::http::Request;
use futures_util::future::{join, pending, select};
use hyper::body::Bytes;
use weir_reactor::sim::{RunLimit, Sim, SimOptions};
use weir_reactor::{Reactor, Socket};

use super::http2::connect;
use super::service::{ClientIo, Seen, receive_all, serve_seen};

const SECOND: Duration = Duration::from_secs(1);

async fn subscribe(requests: &h2::client::SendRequest<Bytes>, path: &str) -> h2::RecvStream {
    let mut requests = requests.clone().ready().await.unwrap();
    let request = Request::post(format!("http://server{path}"))
        .body(())
        .unwrap();
    let (answer, _) = requests.send_request(request, true).unwrap();
    let answer = answer.await.unwrap();
    assert!(!answer.headers().contains_key("content-length"));
    answer.into_body()
}

#[test]
fn a_cancelled_stream_is_dropped_at_once() {
    let sim = Sim::new(1, SimOptions::default());
    let (client, server) = sim.connect();
    let reactor = sim.reactor();
    let seen = Rc::new(Seen::default());
    let watched = seen.clone();
    let main = async move {
        let talk = async {
            let requests = connect(client, &reactor).await;
            let mut silent = subscribe(&requests, "/events/100/3600000").await;
            let mut body = subscribe(&requests, "/events/100/50").await;
            for _ in 0..10 {
                let event = body.data().await.unwrap().unwrap();
                body.flow_control().release_capacity(event.len()).unwrap();
            }
            assert_eq!(seen.dropped.get(), 0);
            drop(body);
            reactor.sleep(Duration::from_millis(10)).await;
            assert_eq!(seen.dropped.get(), 1, "one that is busy");
            // A silent one is no reason to end the connection.
            reactor.sleep(SECOND * 1200).await;
            assert!(futures_util::FutureExt::now_or_never(silent.data()).is_none());
            drop(silent);
            reactor.sleep(Duration::from_millis(10)).await;
            assert_eq!(seen.dropped.get(), 2, "one that is silent");
            drop(requests);
        };
        join(
            serve_seen(server, reactor.clone(), pending(), seen.clone()),
            talk,
        )
        .await;
    };
    sim.run(RunLimit::done(), main).unwrap();
    assert!(watched.all_given_back.get());
}

#[test]
fn a_stream_that_is_not_read_is_not_asked_and_ends_alone() {
    let sim = Sim::new(2, SimOptions::default());
    let (client, server) = sim.connect();
    let reactor = sim.reactor();
    let seen = Rc::new(Seen::default());
    let main = async move {
        let talk = async {
            let requests = connect(client, &reactor).await;
            // The client's window is 64 KiB: six events and a part of the seventh.
            let mut stuck = subscribe(&requests, "/events/10000/1").await;
            reactor.sleep(SECOND * 30).await;
            assert_eq!(seen.events.get(), 7);
            assert_eq!(seen.dropped.get(), 0);
            reactor.sleep(SECOND * 40).await;
            assert_eq!((seen.events.get(), seen.dropped.get()), (7, 1));
            let mut end = stuck.data().await;
            while let Some(Ok(_)) = end {
                end = stuck.data().await;
            }
            assert!(matches!(end, Some(Err(_))), "it is not a clean end");
            drop(stuck);
            // The connection lives on.
            assert_eq!(
                subscribe_bytes(&requests, 10)
                    .await
                    .data()
                    .await
                    .unwrap()
                    .unwrap()
                    .len(),
                10
            );
            drop(requests);
        };
        join(
            serve_seen(server, reactor.clone(), pending(), seen.clone()),
            talk,
        )
        .await;
        assert!(seen.all_given_back.get());
    };
    sim.run(RunLimit::done(), main).unwrap();
}

/// Serves a client that takes nothing of its answers and never says anything again; returns when
/// it was given up.
fn given_up_after(window: u32, connection_window: u32, answers: &'static [usize]) -> Duration {
    let sim = Sim::new(6, SimOptions::default());
    let (client, server) = sim.connect();
    let reactor = sim.reactor();
    let seen = Rc::new(Seen::default());
    let main = async move {
        let talk = async {
            let (requests, connection) = h2::client::Builder::new()
                .initial_window_size(window)
                .initial_connection_window_size(connection_window)
                .handshake::<_, Bytes>(ClientIo(client))
                .await
                .unwrap();
            let asking = async {
                let mut held = Vec::new();
                for bytes in answers {
                    held.push(subscribe_bytes(&requests, *bytes).await);
                }
                pending::<()>().await;
            };
            select(pin!(asking), connection).await;
        };
        join(
            serve_seen(server, reactor.clone(), pending(), seen.clone()),
            talk,
        )
        .await;
        assert!(seen.all_given_back.get());
    };
    sim.run(RunLimit::done(), main).unwrap();
    sim.elapsed()
}

#[test]
fn a_client_that_opens_no_window_is_given_up() {
    for (window, connection_window, answers) in [
        // Nothing fits.
        (0, 65_535, &[100][..]),
        (0, 65_535, &[100, 300_000, 1_000_000]),
        // A byte fits, and the rest of a short answer waits behind it.
        (1, 65_535, &[100, 100]),
        // Two that share the connection's window.
        (1_000_000, 65_535, &[65_535, 100]),
        (1_000_000, 65_535, &[60_000, 200_000]),
    ] {
        let elapsed = given_up_after(window, connection_window, answers).as_secs();
        assert!(
            (60..100).contains(&elapsed),
            "{window} {answers:?}: {elapsed} s"
        );
    }
}

#[test]
fn streams_that_are_not_read_end_alone_while_others_are() {
    let sim = Sim::new(8, SimOptions::default());
    let (client, server) = sim.connect();
    let reactor = sim.reactor();
    let seen = Rc::new(Seen::default());
    let main = async move {
        let talk = async {
            let (requests, connection) = h2::client::Builder::new()
                .initial_window_size(20_000)
                .initial_connection_window_size(1_000_000)
                .handshake::<_, Bytes>(ClientIo(client))
                .await
                .unwrap();
            let asking = async {
                let mut stuck = vec![subscribe(&requests, "/events/10000/1").await];
                // The last is so short that all of it is handed over when its window closes.
                for bytes in [1_000_000, 300_000, 100_000, 25_000] {
                    stuck.push(subscribe_bytes(&requests, bytes).await);
                }
                assert!(!seen.holds_at_most(1_000_000));
                for second in 0..300 {
                    let mut body = subscribe_bytes(&requests, 10).await;
                    let data = body.data().await.unwrap().unwrap();
                    assert_eq!(data.len(), 10, "after {second} s");
                    reactor.sleep(SECOND).await;
                    // What cannot be taken back of the last one is no more than a tail.
                    assert!(second < 75 || seen.holds_at_most(0), "after {second} s");
                }
                let short = stuck.pop();
                for (nth, mut body) in stuck.into_iter().enumerate() {
                    let mut end = body.data().await;
                    while let Some(Ok(_)) = end {
                        end = body.data().await;
                    }
                    assert!(matches!(end, Some(Err(_))), "stream {nth} was reset");
                }
                assert_eq!(seen.dropped.get(), 1);
                // That one still comes whole.
                let mut body = short.unwrap();
                let mut bytes = 0;
                while let Some(data) = body.data().await {
                    let data = data.unwrap();
                    body.flow_control().release_capacity(data.len()).unwrap();
                    bytes += data.len();
                }
                assert_eq!(bytes, 25_000);
            };
            select(pin!(asking), connection).await;
            drop(requests);
        };
        join(
            serve_seen(server, reactor.clone(), pending(), seen.clone()),
            talk,
        )
        .await;
        assert!(seen.all_given_back.get());
    };
    sim.run(RunLimit::done(), main).unwrap();
    assert!(sim.elapsed() > SECOND * 300);
}

async fn subscribe_bytes(
    requests: &h2::client::SendRequest<Bytes>,
    bytes: usize,
) -> h2::RecvStream {
    let mut requests = requests.clone().ready().await.unwrap();
    let request = Request::post(format!("http://server/bytes/{bytes}"));
    let (answer, _) = requests
        .send_request(request.body(()).unwrap(), true)
        .unwrap();
    answer.await.unwrap().into_body()
}

#[test]
fn a_stop_ends_streams_cleanly() {
    let sim = Sim::new(3, SimOptions::default());
    let (client, server) = sim.connect();
    let reactor = sim.reactor();
    let seen = Rc::new(Seen::default());
    let main = async move {
        let stop = reactor.sleep(SECOND);
        let talk = async {
            let requests = connect(client, &reactor).await;
            let mut body = subscribe(&requests, "/events/100/3600000").await;
            let mut end = body.data().await;
            if matches!(&end, Some(Ok(data)) if data.is_empty()) {
                end = body.data().await;
            }
            assert!(end.is_none(), "an end, not an error");
            drop(requests);
        };
        join(
            serve_seen(server, reactor.clone(), stop, seen.clone()),
            talk,
        )
        .await;
    };
    sim.run(RunLimit::done(), main).unwrap();
    assert!(sim.elapsed() < SECOND * 5);
}

#[test]
fn streams_over_http1_come_in_chunks_and_end() {
    for (stops, gone_ms) in [(true, 60_000), (false, 1_000)] {
        let sim = Sim::new(4, SimOptions::default());
        let (client, server) = sim.connect();
        let reactor = sim.reactor();
        let seen = Rc::new(Seen::default());
        let main = async move {
            let stop_after = if stops { SECOND } else { SECOND * 3600 };
            let stop = reactor.sleep(stop_after);
            let received = Rc::new(RefCell::new(Vec::new()));
            let talk = async {
                let head = b"POST /events/10/300 HTTP/1.1\r\nhost: a\r\n\r\n";
                client.send(head).await.unwrap();
                let receiving = receive_all(client.clone(), received.clone());
                let leaving = async {
                    reactor.sleep(Duration::from_millis(gone_ms)).await;
                    client.finish();
                };
                if stops {
                    receiving.await;
                } else {
                    join(receiving, leaving).await;
                }
            };
            let serving = serve_seen(server, reactor.clone(), stop, seen.clone());
            join(serving, talk).await;
            assert_eq!(seen.dropped.get(), 1);
            received.take()
        };
        let text = String::from_utf8(sim.run(RunLimit::done(), main).unwrap()).unwrap();
        assert!(text.contains("transfer-encoding: chunked"), "{text}");
        assert_eq!(text.matches("A\r\neeeeeeeeee\r\n").count(), 3, "{text}");
        assert_eq!(text.ends_with("\r\n0\r\n\r\n"), stops, "{text}");
        assert!(sim.elapsed() < Duration::from_millis(1_200));
    }
}

#[test]
fn a_stream_over_http1_that_is_not_read_is_given_up() {
    let sim = Sim::new(5, SimOptions::default());
    let (client, server) = sim.connect();
    let reactor = sim.reactor();
    let seen = Rc::new(Seen::default());
    let main = async move {
        let head = b"POST /events/100000/1 HTTP/1.1\r\nhost: a\r\n\r\n";
        client.send(head).await.unwrap();
        serve_seen(server, reactor, pending(), seen.clone()).await;
        drop(client);
        assert!(seen.events.get() <= 2, "{seen:?}");
        assert!(seen.all_given_back.get());
    };
    sim.run(RunLimit::done(), main).unwrap();
    assert!((60..80).contains(&sim.elapsed().as_secs()));
}
