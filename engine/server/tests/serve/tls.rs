//! TLS as an operator sets it up, seen by a client that trusts one certificate.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::server::{Server, WEIR, folder};

/// GET / as a client that trusts `certificate` and calls the server `name`.
fn get(address: &str, name: &str, certificate: &Path) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(certificate).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut stream = StreamOwned::new(session, socket);
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn a_certificate_of_our_own_is_kept() {
    let folder = folder();
    let flags = [
        "--cores",
        "1",
        "--https",
        "127.0.0.1:0",
        "--tls-self-signed",
    ];
    let certificate = folder.path().join("tls-self-signed.pem");
    let mut first = String::new();
    for _ in 0..2 {
        let server = Server::start(&folder, &flags);
        let text = fs::read_to_string(&certificate).unwrap();
        assert!(first.is_empty() || first == text, "it is another");
        first = text;
        for name in ["localhost", "127.0.0.1", "::1"] {
            let answer = get(&server.https, name, &certificate).unwrap();
            assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        }
        assert!(get(&server.https, "example.org", &certificate).is_err());
        assert_eq!(server.stop(), Some(0));
    }
    let key = fs::metadata(folder.path().join("tls-self-signed.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_new_certificate_is_taken_at_a_hangup() {
    // Two folders with a certificate each, to take them from.
    let makers = [folder(), folder()].map(|folder| {
        let flags = [
            "--cores",
            "1",
            "--https",
            "127.0.0.1:0",
            "--tls-self-signed",
        ];
        drop(Server::start(&folder, &flags));
        folder
    });
    let place = folder();
    let paths = ["cert.pem", "key.pem"].map(|name| place.path().join(name));
    let install = |maker: usize| {
        let names = ["tls-self-signed.pem", "tls-self-signed.key"];
        for (from, to) in names.iter().zip(&paths) {
            fs::copy(makers[maker].path().join(from), to).unwrap();
        }
    };
    install(0);
    let folder = folder();
    let [certificate, key] = paths.each_ref().map(|path| path.to_str().unwrap());
    let flags = [
        "--tls-cert",
        certificate,
        "--tls-key",
        key,
        "--https",
        "127.0.0.1:0",
    ];
    let server = Server::start(&folder, &flags);
    let trusted = makers
        .each_ref()
        .map(|maker| maker.path().join("tls-self-signed.pem"));
    get(&server.https, "localhost", &trusted[0]).unwrap();
    assert!(get(&server.https, "localhost", &trusted[1]).is_err());

    // One that is broken changes nothing; there is no event that tells so.
    fs::write(&paths[0], "nothing").unwrap();
    server.signal("-HUP");
    std::thread::sleep(Duration::from_millis(200));
    get(&server.https, "localhost", &trusted[0]).unwrap();

    install(1);
    server.signal("-HUP");
    let late = Instant::now() + Duration::from_secs(20);
    while get(&server.https, "localhost", &trusted[1]).is_err() {
        assert!(Instant::now() < late, "the certificate stays the old one");
    }
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_wrong_file_ends_the_start_before_the_folder_is_touched() {
    let place = folder();
    let file = place.path().join("file.pem");
    fs::write(&file, "nothing").unwrap();
    let file = file.to_str().unwrap();
    for (flags, exit, word) in [
        (
            &["--tls-cert", file, "--tls-key", file][..],
            1,
            "no certificate in it",
        ),
        (
            &["--tls-cert", "nowhere.pem", "--tls-key", file],
            1,
            "nowhere.pem: No such",
        ),
        (&["--tls-cert", file], 2, "--tls-key"),
        (&["--https", "127.0.0.1:0"], 2, "--tls-self-signed"),
    ] {
        let folder = place.path().join("data");
        let output = Command::new(WEIR)
            .args(["serve", "--data-dir"])
            .arg(&folder)
            .args(flags)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{flags:?}: {said}");
        assert!(said.contains(word), "{word} in {said}");
        assert!(!folder.exists(), "the folder was made");
    }
}
