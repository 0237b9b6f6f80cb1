//! A running server, and the program beside it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) const WEIR: &str = env!("CARGO_BIN_EXE_weir");
const READY_PATIENCE: Duration = Duration::from_mins(1);
const END_PATIENCE: Duration = Duration::from_secs(30);

/// A data folder on the disk that the build uses: `/tmp` may be in memory.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder")
}

pub(crate) struct Server {
    child: Child,
    pub(crate) wire: String,
    pub(crate) http: String,
    /// Empty without TLS.
    pub(crate) https: String,
    pub(crate) admin: String,
}

impl Server {
    /// Starts on ports of the system's choice, with small segments.
    pub(crate) fn start(folder: &TempDir, more: &[&str]) -> Self {
        let mut child = Command::new(WEIR)
            .args(["serve", "--http", "127.0.0.1:0", "--wire", "127.0.0.1:0"])
            .args(["--admin", "127.0.0.1:0", "--segment-bytes", "16MiB"])
            .args(["--log-level", "warn", "--data-dir"])
            .arg(folder.path())
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let out = child.stdout.take().expect("a pipe");
        let (lines, line) = mpsc::channel();
        std::thread::spawn(move || {
            let mut first = String::new();
            let _ = BufReader::new(out).read_line(&mut first);
            let _ = lines.send(first);
        });
        let line = line
            .recv_timeout(READY_PATIENCE)
            .expect("a ready line in time");
        let word = |name: &str| {
            let found = line
                .split_whitespace()
                .find_map(|word| word.strip_prefix(name));
            let found = found.unwrap_or_else(|| panic!("{name} in \"{line}\""));
            found.trim_start_matches("http://").to_owned()
        };
        let https = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("kinesis-tls=https://"));
        Self {
            https: https.unwrap_or_default().to_owned(),
            wire: word("binary="),
            http: word("kinesis="),
            admin: word("admin="),
            child,
        }
    }

    /// `weir stream ...` against this server.
    pub(crate) fn stream(&self, arguments: &[&str], input: &[u8]) -> Output {
        stream_at(&self.wire, arguments, input)
    }

    /// The same, which must end well; what it printed.
    pub(crate) fn done(&self, arguments: &[&str], input: &[u8]) -> String {
        let output = self.stream(arguments, input);
        assert!(output.status.success(), "{arguments:?}: {}", words(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &id]).status();
        assert!(sent.expect("kill runs").success());
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it ended");
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal("-TERM");
        self.wait()
    }

    pub(crate) fn wait(&mut self) -> Option<i32> {
        let late = Instant::now() + END_PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status.code();
            }
            assert!(Instant::now() < late, "the server does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn stream_at(wire: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(WEIR)
        .arg("stream")
        .args(arguments)
        .args(["--server", wire])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let feed = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("the client ends");
    feed.join().expect("the input was fed");
    output
}

pub(crate) fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// GET, and the status with the body.
pub(crate) fn get(address: &str, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).expect("it listens");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("an answer");
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    (status.expect("a status"), body.unwrap_or_default())
}
