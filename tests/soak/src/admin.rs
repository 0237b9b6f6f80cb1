//! The admin port of a server, as a stranger sees it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// Health must be answered in this time, whatever else goes on.
const PATIENCE: Duration = Duration::from_secs(10);

/// The status and the text of one page, on a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nhost: soak\r\nconnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    socket
        .read_to_string(&mut text)
        .with_context(|| format!("{path} is not answered within {PATIENCE:?}"))?;
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    Ok((status.context("no status")?, body.unwrap_or_default()))
}

/// All that is measured, as it is printed.
pub(crate) struct Metrics(String);

impl Metrics {
    pub(crate) fn read(address: SocketAddr) -> Result<Self> {
        Ok(Self(get(address, "/metrics")?.1))
    }

    /// The sum over a name's lines whose labels hold `label`; 0 if there are none.
    pub(crate) fn sum(&self, name: &str, label: &str) -> f64 {
        let lines = self.0.lines().filter_map(|line| line.strip_prefix(name));
        let values = lines.filter_map(|line| {
            let (labels, value) = line.rsplit_once(' ')?;
            let is_it = (labels.is_empty() || labels.starts_with('{')) && labels.contains(label);
            is_it.then(|| value.parse::<f64>().ok()).flatten()
        });
        values.sum()
    }
}

#[cfg(test)]
mod proofs {
    use super::Metrics;

    #[test]
    fn lines_of_a_name_are_added() {
        let text = "# HELP a x\na{core=\"0\",protocol=\"http\"} 2\na{core=\"1\",protocol=\"http\"} 3\n\
                    a_total{core=\"0\"} 9\na{core=\"0\",protocol=\"binary\"} 4\nb 7\n";
        let metrics = Metrics(text.to_owned());
        assert!((metrics.sum("a", "http") - 5.0).abs() < 1e-9);
        assert!((metrics.sum("a", "") - 9.0).abs() < 1e-9);
        assert!((metrics.sum("b", "") - 7.0).abs() < 1e-9);
        assert!(metrics.sum("c", "").abs() < 1e-9);
    }
}
