//! A client of the Kinesis HTTP API for rigs: one connection, JSON, no retries, signed if it has a key.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::Value;

/// Longer than anything the server does before it answers.
const PATIENCE: Duration = Duration::from_mins(1);

/// A key that the server knows, and the file it knows it from.
pub(crate) const KEY: &str = "AKIARIG";
const SECRET: &str = "a secret of nobody";
pub(crate) const KEYS_FILE: &str =
    "[rig]\naws_access_key_id = AKIARIG\naws_secret_access_key = a secret of nobody\n";

pub(crate) struct Client {
    socket: BufReader<TcpStream>,
    address: SocketAddr,
    /// What the server's clock shows, for one that checks signatures.
    signed_at: Option<SystemTime>,
}

/// An answer: its status and its body.
pub(crate) type Answer = (u16, Value);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            socket: BufReader::new(socket),
            address,
            signed_at: None,
        })
    }

    pub(crate) fn signing_at(mut self, moment: SystemTime) -> Self {
        self.signed_at = Some(moment);
        self
    }

    /// Calls an operation that must succeed.
    pub(crate) fn must(&mut self, operation: &str, body: &Value) -> Result<Value> {
        let (status, answer) = self.call(operation, body)?;
        let why = short(&answer);
        ensure!(status == 200, "{operation} {}: {status} {why}", short(body));
        Ok(answer)
    }

    pub(crate) fn call(&mut self, operation: &str, body: &Value) -> Result<Answer> {
        let request = self.request(operation, body)?;
        self.send(&request)?;
        self.receive().with_context(|| operation.to_owned())
    }

    /// The bytes of a call.
    pub(crate) fn request(&self, operation: &str, body: &Value) -> Result<Vec<u8>> {
        let body = body.to_string();
        let host = self.address.to_string();
        let target = format!("Kinesis_20131202.{operation}");
        let headers = [
            ("host", host.as_str()),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", target.as_str()),
        ];
        let mut head = "POST / HTTP/1.1\r\n".to_owned();
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if let Some(moment) = self.signed_at {
            for (name, value) in signature(&host, &headers, body.as_bytes(), moment)? {
                let _ = write!(head, "{name}: {value}\r\n");
            }
        }
        let _ = write!(head, "content-length: {}\r\n\r\n", body.len());
        Ok([head, body].concat().into_bytes())
    }

    pub(crate) fn send(&mut self, request: &[u8]) -> Result<()> {
        Ok(self.socket.get_mut().write_all(request)?)
    }

    /// Reads an answer whose length is known.
    pub(crate) fn receive(&mut self) -> Result<Answer> {
        let (status, length) = self.head()?;
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body)?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// Reads the head of an answer: its status, and the length of its body or 0.
    pub(crate) fn head(&mut self) -> Result<(u16, usize)> {
        let (mut status, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            if self.socket.read_line(&mut line)? == 0 {
                bail!("the server closed the connection");
            }
            let line = line.trim_end().to_ascii_lowercase();
            if status.is_none() {
                status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
            } else if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            } else if line.is_empty() {
                return Ok((status.context("not HTTP")?, length));
            }
        }
    }

    /// Reads what comes until `sought` was in it.
    pub(crate) fn read_until(&mut self, sought: &[u8], patience: Duration) -> Result<()> {
        self.socket.get_ref().set_read_timeout(Some(patience))?;
        let mut seen = Vec::new();
        loop {
            let more = self.socket.fill_buf().context("nothing came")?;
            ensure!(!more.is_empty(), "the stream ended");
            let count = more.len();
            seen.extend_from_slice(more);
            self.socket.consume(count);
            if seen.windows(sought.len()).any(|found| found == sought) {
                return Ok(());
            }
            let keep = seen.len().saturating_sub(sought.len());
            seen.drain(..keep);
        }
    }
}

/// As much of a document as a person reads.
pub(crate) fn short(document: &Value) -> String {
    document.to_string().chars().take(300).collect()
}

/// The headers that AWS's own signer adds.
fn signature(
    host: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    moment: SystemTime,
) -> Result<Vec<(String, String)>> {
    let identity = Credentials::new(KEY, SECRET, None, None, "rig").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("kinesis")
        .time(moment)
        .settings(SigningSettings::default())
        .build()?
        .into();
    let uri = format!("http://{host}/");
    let body = SignableBody::Bytes(body);
    let request = SignableRequest::new("POST", &uri, headers.iter().copied(), body)?;
    let (instructions, _) = sign(request, &params)?.into_parts();
    let added = instructions.headers();
    Ok(added
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}
