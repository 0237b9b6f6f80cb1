//! What is signed: a request written in the one way that both sides agree on.
//!
//! Owns: the canonical request, escapes, digests. Never: keys.

use std::borrow::Cow;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use sha2::{Digest as _, Sha256};
use weir_reactor::Reactor;

/// Bytes of a body that are digested before others of the core may run: 0.3 ms where the CPU has SHA
/// instructions, some 2 ms where it has not.
const DIGEST_STEP_BYTES: usize = 512 * 1024;

/// SHA-256 in lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest([u8; 64]);

impl Digest {
    /// Of bytes that are few.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::written(&Sha256::digest(bytes).into())
    }

    /// Of a body; others of the core run in between.
    pub(crate) async fn of_body<R: Reactor>(body: &[u8], reactor: &R) -> Self {
        let mut state = Sha256::new();
        let mut steps = body.chunks(DIGEST_STEP_BYTES).peekable();
        while let Some(step) = steps.next() {
            state.update(step);
            if steps.peek().is_some() {
                reactor.yield_now().await;
            }
        }
        Self::written(&state.finalize().into())
    }

    fn written(bytes: &[u8; 32]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 64];
        for (byte, pair) in bytes.iter().zip(digits.chunks_exact_mut(2)) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Self(digits)
    }

    /// The digits.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A request as it was signed.
#[derive(Clone, Copy)]
pub(super) struct Signed<'r> {
    pub(super) method: &'r Method,
    pub(super) uri: &'r Uri,
    pub(super) headers: &'r HeaderMap,
    /// Names in lower case and in order, with `;` between.
    pub(super) names: &'r str,
    pub(super) body: &'r Digest,
}

impl Signed<'_> {
    /// The canonical request; `None` if a header that is said to be signed is not there, or the
    /// names are not in order: a name that comes twice would let a short head make a long text.
    pub(super) fn canonical(&self) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.push(b'\n');
        write_path(&mut out, self.uri.path());
        out.push(b'\n');
        write_query(&mut out, self.uri.query().unwrap_or_default());
        out.push(b'\n');
        let names = self.names.split(';');
        if !names.clone().is_sorted_by(|one, next| one < next) {
            return None;
        }
        for name in names {
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            self.write_values(&mut out, name)?;
            out.push(b'\n');
        }
        out.push(b'\n');
        out.extend_from_slice(self.names.as_bytes());
        out.push(b'\n');
        out.extend_from_slice(self.body.as_bytes());
        Some(out)
    }

    /// All values of a header, in the order they came. HTTP/2 has the host in a place of its own,
    /// and clients sign it by either name.
    fn write_values(&self, out: &mut Vec<u8>, name: &str) -> Option<()> {
        let authority = self.uri.authority().map(|a| a.as_str().as_bytes());
        let host = self.headers.get(header::HOST).map(HeaderValue::as_bytes);
        match name {
            ":authority" => fold_blanks(out, authority.or(host)?),
            "host" if host.is_none() => fold_blanks(out, authority?),
            _ => {
                let name = HeaderName::from_lowercase(name.as_bytes()).ok()?;
                let mut values = self.headers.get_all(name).iter();
                fold_blanks(out, values.next()?.as_bytes());
                for value in values {
                    out.push(b',');
                    fold_blanks(out, value.as_bytes());
                }
            }
        }
        Some(())
    }
}

/// Writes a value without blanks at its ends, and with one where there are several.
fn fold_blanks(out: &mut Vec<u8>, value: &[u8]) {
    let start = out.len();
    let mut blank = true;
    for &byte in value {
        let again = blank && byte == b' ';
        blank = byte == b' ';
        if !again {
            out.push(byte);
        }
    }
    if out.len() > start && blank {
        out.pop();
    }
}

/// Writes the path, which is escaped already as it was sent, without `.` and `..`, and escaped once
/// more.
fn write_path(out: &mut Vec<u8>, path: &str) {
    let mut segments = Vec::new();
    let mut folder = true;
    for segment in path.split('/') {
        folder = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    if segments.is_empty() {
        out.push(b'/');
        return;
    }
    for segment in segments {
        out.push(b'/');
        escape(out, segment.as_bytes());
    }
    if folder {
        out.push(b'/');
    }
}

/// Writes the parameters by name and then by value, without the signature itself.
fn write_query(out: &mut Vec<u8>, query: &str) {
    let mut signature = false;
    let mut written: Vec<_> = pairs(query)
        // The first one is taken for the signature; a second one is a parameter that nobody signed.
        .filter(|(name, _)| {
            let is_it = !signature && **name == *b"X-Amz-Signature";
            signature |= is_it;
            !is_it
        })
        .map(|(name, value)| {
            let [mut key, mut text] = [Vec::new(), Vec::new()];
            escape(&mut key, &name);
            escape(&mut text, &value);
            (key, text)
        })
        .collect();
    written.sort_unstable();
    for (number, (name, value)) in written.iter().enumerate() {
        if number > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value);
    }
}

/// The parameters of a query, unescaped.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (unescape(name), unescape(value))
    })
}

/// Undoes escapes; what is no escape stays as it is.
fn unescape(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if memchr::memchr2(b'%', b'+', bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, further @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digit = |digit: u8| (digit as char).to_digit(16).unwrap_or_default() as u8;
                out.push(digit(*high) << 4 | digit(*low));
                rest = further;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(*first),
        }
    }
    Cow::Owned(out)
}

fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(byte);
        } else {
            let digits = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
            out.push(b'%');
            out.extend_from_slice(&digits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(uri: &str, headers: &[(&str, &str)], names: &str) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, value.parse().unwrap());
        }
        let signed = Signed {
            method: &Method::POST,
            uri: &uri.parse().unwrap(),
            headers: &map,
            names,
            body: &Digest::of(b""),
        };
        let text = String::from_utf8(signed.canonical()?).unwrap();
        let empty = "\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        Some(text.strip_suffix(empty).unwrap().to_owned())
    }

    #[test]
    fn headers_are_folded_and_joined() {
        let headers = [
            ("x-b", "  two   blanks "),
            ("host", "a:4567"),
            ("x-a", "1"),
            ("x-a", "2"),
        ];
        assert_eq!(
            canonical("/", &headers, "host;x-a;x-b").unwrap(),
            "POST\n/\n\nhost:a:4567\nx-a:1,2\nx-b:two blanks\n\nhost;x-a;x-b"
        );
        // Not there, not in order, twice, not in lower case, no name at all.
        for names in ["host;x-c", "x-a;host", "x-a;x-a", "Host", ""] {
            assert_eq!(canonical("/", &headers, names), None, "{names}");
        }
    }

    #[test]
    fn the_host_of_http2_has_two_names() {
        let uri = "http://127.0.0.1:4567/";
        for names in [":authority", "host"] {
            assert_eq!(
                canonical(uri, &[], names).unwrap(),
                format!("POST\n/\n\n{names}:127.0.0.1:4567\n\n{names}")
            );
        }
        assert_eq!(
            canonical("/", &[("host", "a")], ":authority").unwrap(),
            "POST\n/\n\n:authority:a\n\n:authority"
        );
        assert_eq!(canonical("/", &[], ":authority"), None);
    }

    #[test]
    fn paths_lose_their_dots_and_are_escaped_once_more() {
        let path = |path: &str| {
            let mut out = Vec::new();
            write_path(&mut out, path);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(path(""), "/");
        assert_eq!(path("/"), "/");
        assert_eq!(path("/a/./b//../c/"), "/a/c/");
        assert_eq!(path("/../a"), "/a");
        assert_eq!(path("/a/.."), "/");
        assert_eq!(path("/a%20b/(c)"), "/a%2520b/%28c%29");
    }

    #[test]
    fn parameters_are_sorted_as_they_are_written() {
        let query = |query: &str| {
            let mut out = Vec::new();
            write_query(&mut out, query);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(query("b=2&a=2&a=1&&c"), "a=1&a=2&b=2&c=");
        assert_eq!(query("a=%7e+%2f%zz&%61b=c%"), "a=~%20%2F%25zz&ab=c%25");
        assert_eq!(
            query("X-Amz-Signature=1&a=&X-Amz-Signature=2"),
            "X-Amz-Signature=2&a="
        );
    }
}
