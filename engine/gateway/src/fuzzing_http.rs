//! A door for fuzzers: bytes of a stranger on a connection, from the first one, as the server meets them.
//!
//! Panics if a promise is broken. Never in a release: the feature `fuzzing` is for `tests/fuzz` alone.

use std::cell::RefCell;
use std::rc::Rc;

use ::http::{Request, Response};
use futures_util::future::{join, pending};
use hyper::body::Incoming;
use weir_reactor::sim::{RunLimit, Sim, SimOptions, SimReactor, SimSocket};
use weir_reactor::{Reactor, Socket, Spares};

use crate::caller::Caller;
use crate::http::{AnswerBody, Ceiling, Hall, LeasedBody, collect, discard, serve};

const CEILING_BYTES: usize = 1 << 20;
const BODY_BYTES_MAX: usize = 64 << 10;
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n";

/// Within so many turns of the core all tasks of a connection that is over have ended.
const TURNS_MAX: u32 = 64;

/// The first byte says into how small pieces the rest is cut. However it is cut, the server reads the same
/// requests, ends in bounded time, and holds nothing afterwards.
pub fn connection(data: &[u8]) {
    let Some((&piece, bytes)) = data.split_first() else {
        return;
    };
    let whole = talk(1, bytes, bytes.len().max(1));
    if !whole.is_empty() && !bytes.starts_with(&HTTP2[..1]) {
        assert!(whole.starts_with(b"HTTP/1."), "{whole:?}");
    }
    let cut = talk(2, bytes, usize::from(piece % 16) + 1);
    // What HTTP/2 answers, and in which order, depends on when it hears what.
    if !bytes.starts_with(HTTP2) {
        assert_eq!(
            requests(&whole),
            requests(&cut),
            "arrival changes what is read"
        );
    }
}

/// What the answers say of the requests that were read.
fn requests(answers: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answers);
    let told = text.split("read:").skip(1);
    told.map(|told| told.split(';').next().unwrap_or_default().to_owned())
        .collect()
}

fn talk(seed: u64, bytes: &[u8], piece: usize) -> Vec<u8> {
    let sim = Sim::new(seed, SimOptions::default());
    let (client, server) = sim.connect();
    let reactor = sim.reactor();
    let bytes = bytes.to_vec();
    let main = async move {
        let ceiling = Ceiling::new(CEILING_BYTES, Spares::default());
        let answers = Rc::new(RefCell::new(Vec::new()));
        let send = async {
            for piece in bytes.chunks(piece) {
                // The server may refuse the rest.
                if client.send(piece).await.is_err() {
                    break;
                }
            }
            client.finish();
        };
        let receive = receive_all(&client, Rc::clone(&answers));
        let service = |request| answer(request, reactor.clone(), Rc::clone(&ceiling));
        let hall = Hall::new(reactor.clone());
        let caller = Rc::new(Caller::new([192, 0, 2, 1].into()));
        let serve = serve(server, &hall, caller, service, pending());
        join(serve, join(send, receive)).await;
        // Requests of HTTP/2 are tasks of their own: each learns in a turn of its own that the
        // connection is over, and none waits for a time.
        for _ in 0..TURNS_MAX {
            if ceiling.held_bytes() == 0 {
                break;
            }
            reactor.yield_now().await;
        }
        assert_eq!(ceiling.held_bytes(), 0, "bytes are held for nobody");
        answers.take()
    };
    sim.run(RunLimit::done(), main)
        .expect("a connection ends within an hour")
}

async fn receive_all(socket: &SimSocket, into: Rc<RefCell<Vec<u8>>>) {
    let mut piece = vec![0; 4096];
    while let Ok(count @ 1..) = socket.receive(&mut piece).await {
        into.borrow_mut().extend_from_slice(&piece[..count]);
    }
}

/// Says what was read: method, path, and the body's length, or that it did not come.
async fn answer(
    request: Request<Incoming>,
    reactor: SimReactor,
    ceiling: Rc<Ceiling>,
) -> Response<AnswerBody> {
    let said = format!("read:{} {} ", request.method(), request.uri());
    let mut body = request.into_body();
    let told = match collect(&mut body, BODY_BYTES_MAX, &reactor, &ceiling).await {
        Ok((bytes, _lease)) => format!("{said}{} {:x}", bytes.len(), sum(&bytes)),
        Err(error) => {
            discard(body, &reactor).await;
            format!("{said}{error}")
        }
    };
    let told = told.replace(';', ",") + ";";
    Response::new(AnswerBody::Whole(LeasedBody::new(
        told.into_bytes(),
        &ceiling,
    )))
}

/// So that bodies of one length are told apart.
fn sum(bytes: &[u8]) -> u64 {
    let add = |sum: u64, byte: &u8| sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
    bytes.iter().fold(7, add)
}
