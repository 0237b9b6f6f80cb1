//! TLS: what is negotiated and what is spoken, both ways.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::http::Request;
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use futures_util::future::{join, pending};
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use hyper::body::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use weir_reactor::sim::{RunLimit, Sim, SimOptions, SimReactor, SimSocket};
use weir_reactor::{Lane, Reactor, Socket};

use super::service::{Seen, receive_all, serve_seen_tls};
use crate::http::{SelfSigned, Tls};

/// A simulated socket as the TLS client wants it.
struct PlainIo(SimSocket);

impl AsyncRead for PlainIo {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_receive(context, into)
    }
}

impl AsyncWrite for PlainIo {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_send(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.finish();
        Poll::Ready(Ok(()))
    }
}

/// The TLS client's bytes as the HTTP/2 client wants them.
struct SecretIo(TlsStream<PlainIo>);

impl tokio::io::AsyncRead for SecretIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = into.initialize_unfilled();
        let count = ready!(Pin::new(&mut self.0).poll_read(context, room))?;
        into.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for SecretIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}

/// A server's certificate, and a client that trusts it.
struct Pair {
    tls: Tls,
    client: ClientConfig,
}

fn pair(versions: &[&'static rustls::SupportedProtocolVersion]) -> Pair {
    let made = SelfSigned::new(vec!["localhost".to_owned()]).unwrap();
    let tls = Tls::new(made.certificate.as_bytes(), made.key.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Pair { tls, client }
}

async fn greet(socket: SimSocket, config: ClientConfig, spoken: &[&str]) -> TlsStream<PlainIo> {
    let mut config = config;
    config.alpn_protocols = spoken.iter().map(|name| name.as_bytes().to_vec()).collect();
    greet_with(socket, Arc::new(config)).await
}

async fn greet_with(socket: SimSocket, config: Arc<ClientConfig>) -> TlsStream<PlainIo> {
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = TlsConnector::from(config).connect(name, PlainIo(socket));
    connecting.await.unwrap()
}

/// Posts a body over HTTP/2 and takes a longer answer.
async fn exchange_http2(stream: TlsStream<PlainIo>, reactor: &SimReactor) {
    let (requests, connection) = h2::client::handshake(SecretIo(stream)).await.unwrap();
    reactor.spawn(Lane::Network, async move {
        let _ended = connection.await;
    });
    let mut requests = requests.ready().await.unwrap();
    let request = Request::post("https://server/").body(()).unwrap();
    let (answer, mut out) = requests.send_request(request, false).unwrap();
    out.send_data(Bytes::from(vec![b'y'; 1_500_000]), true)
        .unwrap();
    let mut body = answer.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "1500000 bytes");
    let mut requests = requests.ready().await.unwrap();
    let request = Request::get("https://server/bytes/1000000")
        .body(())
        .unwrap();
    let (answer, _) = requests.send_request(request, true).unwrap();
    let mut body = answer.await.unwrap().into_body();
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        length += data.len();
    }
    assert_eq!(length, 1_000_000);
}

async fn exchange_http1(mut stream: TlsStream<PlainIo>) {
    let mut bytes = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 600000\r\n\r\n".to_vec();
    bytes.resize(bytes.len() + 600_000, b'x');
    bytes.extend(b"GET /bytes/700000 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(&bytes).await.unwrap();
    stream.flush().await.unwrap();
    let mut answers = Vec::new();
    // The server says goodbye: a cut would be an error.
    stream.read_to_end(&mut answers).await.unwrap();
    let text = String::from_utf8(answers).unwrap();
    assert!(text.contains("600000 bytes"));
    assert_eq!(text.matches('x').count(), 700_000);
}

#[test]
fn every_negotiation_ends_in_what_is_spoken() {
    let versions = [&rustls::version::TLS12, &rustls::version::TLS13];
    for (seed, (negotiated, speaks_http2)) in [
        (&["h2", "http/1.1"][..], true),
        (&["http/1.1"], false),
        (&["h2"], true),
        // Java assumes HTTP/2, others HTTP/1.1.
        (&[], true),
        (&[], false),
        (&["h2"], false),
    ]
    .into_iter()
    .enumerate()
    {
        for version in versions {
            let Pair { tls, client } = pair(&[version]);
            let sim = Sim::new(seed as u64, SimOptions::default());
            let (near, far) = sim.connect();
            let reactor = sim.reactor();
            let seen = Rc::new(Seen::default());
            let main = async move {
                let talk = async {
                    let stream = greet(near, client, negotiated).await;
                    let chosen = stream.get_ref().1.alpn_protocol();
                    assert_eq!(chosen, negotiated.first().map(|name| name.as_bytes()));
                    if speaks_http2 {
                        exchange_http2(stream, &reactor).await;
                    } else {
                        exchange_http1(stream).await;
                    }
                };
                let serving = serve_seen_tls(far, &tls, reactor.clone(), pending(), seen.clone());
                join(serving, talk).await;
                assert!(seen.all_given_back.get());
            };
            sim.run(RunLimit::done(), main).unwrap();
        }
    }
}

#[test]
fn a_session_is_taken_up_again_also_with_a_new_certificate() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let Pair { tls, client } = pair(&[version]);
        let made = SelfSigned::new(vec!["localhost".to_owned()]).unwrap();
        let renewed = tls
            .renewed(made.certificate.as_bytes(), made.key.as_bytes())
            .unwrap();
        let client = Arc::new(client);
        let mut kinds = Vec::new();
        for tls in [&tls, &tls, &renewed] {
            let sim = Sim::new(1, SimOptions::default());
            let (near, far) = sim.connect();
            let (reactor, client, tls) = (sim.reactor(), client.clone(), tls.clone());
            let main = async move {
                let talk = async {
                    let mut stream = greet_with(near, client).await;
                    let kind = stream.get_ref().1.handshake_kind().unwrap();
                    let request = b"GET /bytes/1 HTTP/1.1\r\nconnection: close\r\n\r\n";
                    stream.write_all(request).await.unwrap();
                    stream.read_to_end(&mut Vec::new()).await.unwrap();
                    kind
                };
                let seen = Rc::new(Seen::default());
                let serving = serve_seen_tls(far, &tls, reactor, pending(), seen);
                join(serving, talk).await.1
            };
            kinds.push(sim.run(RunLimit::done(), main).unwrap());
        }
        let again = HandshakeKind::Resumed;
        assert_eq!(kinds, [HandshakeKind::Full, again, again], "{version:?}");
    }
}

#[test]
fn handshakes_that_are_none_end_soon() {
    for (sent, least, most) in [
        (&b""[..], 10, 11),
        (&[0x16, 3, 1, 0, 200, 1][..], 10, 11),
        (&[0x16, 3, 1, 0, 4, 9, 9, 9, 9][..], 0, 1),
        (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", 0, 1),
    ] {
        let Pair { tls, .. } = pair(&[&rustls::version::TLS13]);
        let sim = Sim::new(2, SimOptions::default());
        let (near, far) = sim.connect();
        let reactor = sim.reactor();
        let main = async move {
            let said = Rc::new(RefCell::new(Vec::new()));
            let talk = async {
                near.send(sent).await.unwrap();
                receive_all(near.clone(), said.clone()).await;
            };
            let seen = Rc::new(Seen::default());
            join(serve_seen_tls(far, &tls, reactor, pending(), seen), talk).await;
            said.take()
        };
        let said = sim.run(RunLimit::done(), main).unwrap();
        let waited = sim.elapsed().as_secs();
        assert!(
            (least..=most).contains(&waited),
            "{waited} s after {sent:?}"
        );
        if sent.starts_with(b"GET") {
            let text = String::from_utf8(said).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
            assert!(
                head.contains(&format!("content-length: {}", body.len())),
                "{head}"
            );
        }
    }
}
