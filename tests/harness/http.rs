//! The smallest client of the Kinesis HTTP API: one connection, JSON, no retries.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longer than anything the server does before it answers.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Http {
    socket: BufReader<TcpStream>,
}

impl Http {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).expect("the server takes connections");
        socket.set_nodelay(true).expect("it is a socket");
        socket
            .set_read_timeout(Some(PATIENCE))
            .expect("it is a socket");
        Self {
            socket: BufReader::new(socket),
        }
    }

    /// The bytes of a call.
    pub(crate) fn request(operation: &str, body: &Value) -> Vec<u8> {
        let body = body.to_string();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-type: application/x-amz-json-1.1\r\n\
             x-amz-target: Kinesis_20131202.{operation}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body.as_bytes()].concat()
    }

    /// Calls an operation: its answer, or the error's type and text.
    pub(crate) fn ask(&mut self, operation: &str, body: &Value) -> Result<Value, (String, String)> {
        let request = Self::request(operation, body);
        self.socket
            .get_mut()
            .write_all(&request)
            .expect("the server reads");
        let (status, body) = self.answer();
        if status == 200 {
            return Ok(body);
        }
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        Err((text("__type"), text("message")))
    }

    /// Calls an operation that must succeed.
    #[track_caller]
    pub(crate) fn call(&mut self, operation: &str, body: &Value) -> Value {
        match self.ask(operation, body) {
            Ok(answer) => answer,
            Err(error) => panic!("{operation} {body}: {error:?}"),
        }
    }

    fn answer(&mut self) -> (u16, Value) {
        let mut line = || {
            let mut line = String::new();
            self.socket
                .read_line(&mut line)
                .expect("the server answers");
            line.trim_end().to_ascii_lowercase()
        };
        let status = line().split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut length = 0;
        loop {
            let header = line();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length is a number");
            }
        }
        let mut body = vec![0; length];
        self.socket
            .read_exact(&mut body)
            .expect("the body is as long as it says");
        let status = status.expect("an answer has a status");
        if body.is_empty() {
            return (status, Value::Null);
        }
        (
            status,
            serde_json::from_slice(&body).expect("answers are JSON"),
        )
    }
}
