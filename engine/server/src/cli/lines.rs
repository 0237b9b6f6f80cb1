//! Cuts a stream of bytes into lines.
//!
//! A line is what stands before a `\n`; the last one needs none. A `\r` before the `\n` belongs to
//! the line unless the caller strips it. Bytes that are not UTF-8 are bytes like any other. A line
//! longer than the limit is not kept: its bytes are counted and thrown away, so memory stays
//! bounded by the limit.

/// What the splitter found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// A line without its newline.
    Whole(&'a [u8]),
    /// A line of `bytes` bytes, more than the limit.
    TooLong {
        /// Its length without the newline, and without a carriage return that is stripped.
        bytes: u64,
    },
}

/// Holds the unfinished line between two pieces of input.
#[derive(Debug)]
pub(crate) struct LineSplitter {
    limit: usize,
    strip_carriage_return: bool,
    started: Vec<u8>,
    /// Bytes of a line that is already too long; 0 while there is none.
    overlong: u64,
    /// The last byte of that line so far is a carriage return to be stripped.
    overlong_return: bool,
}

impl LineSplitter {
    pub(crate) fn new(limit: usize, strip_carriage_return: bool) -> Self {
        Self {
            limit,
            strip_carriage_return,
            started: Vec::new(),
            overlong: 0,
            overlong_return: false,
        }
    }

    /// Takes in a piece of input and hands out the lines that end in it.
    pub(crate) fn push<E>(
        &mut self,
        mut piece: &[u8],
        mut each: impl FnMut(Line<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(end) = piece.iter().position(|b| *b == b'\n') {
            let (line, rest) = (&piece[..end], &piece[end + 1..]);
            if self.overlong == 0 && self.started.is_empty() {
                each(self.judge(line))?;
            } else {
                self.hold(line);
                self.emit(&mut each)?;
            }
            piece = rest;
        }
        self.hold(piece);
        Ok(())
    }

    /// The input ended: hands out the last line if it had no newline.
    pub(crate) fn finish<E>(
        &mut self,
        mut each: impl FnMut(Line<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.overlong > 0 || !self.started.is_empty() {
            self.emit(&mut each)?;
        }
        Ok(())
    }

    fn hold(&mut self, bytes: &[u8]) {
        // One byte over the limit may be the carriage return that is stripped later.
        let room = self.limit + usize::from(self.strip_carriage_return);
        if let Some(last) = bytes.last() {
            self.overlong_return = self.strip_carriage_return && *last == b'\r';
        }
        if self.overlong > 0 {
            self.overlong += bytes.len() as u64;
        } else if self.started.len() + bytes.len() > room {
            self.overlong = (self.started.len() + bytes.len()) as u64;
            self.started.clear();
        } else {
            self.started.extend_from_slice(bytes);
        }
    }

    fn emit<E>(&mut self, each: &mut impl FnMut(Line<'_>) -> Result<(), E>) -> Result<(), E> {
        let bytes = std::mem::take(&mut self.overlong);
        if bytes > 0 {
            let bytes = bytes - u64::from(self.overlong_return);
            return each(Line::TooLong { bytes });
        }
        let mut line = std::mem::take(&mut self.started);
        let outcome = each(self.judge(&line));
        line.clear();
        self.started = line;
        outcome
    }

    fn judge<'a>(&self, line: &'a [u8]) -> Line<'a> {
        let kept = match line.split_last() {
            Some((b'\r', before)) if self.strip_carriage_return => before,
            _ => line,
        };
        if kept.len() > self.limit {
            Line::TooLong {
                bytes: kept.len() as u64,
            }
        } else {
            Line::Whole(kept)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits `input` in pieces of `step` bytes; a line that is too long shows as its length.
    fn split(input: &[u8], step: usize, strip: bool) -> Vec<Result<Vec<u8>, u64>> {
        let mut splitter = LineSplitter::new(8, strip);
        let mut lines = Vec::new();
        let mut each = |line: Line<'_>| {
            lines.push(match line {
                Line::Whole(bytes) => Ok(bytes.to_vec()),
                Line::TooLong { bytes } => Err(bytes),
            });
            Ok::<(), ()>(())
        };
        for piece in input.chunks(step) {
            splitter.push(piece, &mut each).unwrap();
        }
        splitter.finish(&mut each).unwrap();
        lines
    }

    fn check(input: &[u8], strip: bool, expected: &[Result<&[u8], u64>]) {
        for step in 1..=input.len().max(1) {
            let lines = split(input, step, strip);
            let lines: Vec<_> = lines
                .iter()
                .map(|line| line.as_deref().map_err(|bytes| *bytes))
                .collect();
            assert_eq!(lines, expected, "{input:?} in pieces of {step}");
        }
    }

    #[test]
    fn lines_lose_their_newline_and_nothing_else() {
        check(b"", false, &[]);
        check(b"\n", false, &[Ok(b"")]);
        check(b"a\n\nb\n", false, &[Ok(b"a"), Ok(b""), Ok(b"b")]);
        check(b"a\nlast", false, &[Ok(b"a"), Ok(b"last")]);
        check(b"\xff\xfe\n\0", false, &[Ok(b"\xff\xfe"), Ok(b"\0")]);
    }

    #[test]
    fn carriage_returns_stay_unless_stripped() {
        check(b"a\r\nb\r", false, &[Ok(b"a\r"), Ok(b"b\r")]);
        check(b"a\r\n\r\nb\r", true, &[Ok(b"a"), Ok(b""), Ok(b"b")]);
        check(b"a\rb\r\r\n", true, &[Ok(b"a\rb\r")]);
    }

    #[test]
    fn a_line_over_the_limit_is_counted_not_kept() {
        check(b"12345678\n", false, &[Ok(b"12345678")]);
        check(b"123456789\nok\n", false, &[Err(9), Ok(b"ok")]);
        check(b"1234567890123", false, &[Err(13)]);
        check(b"12345678\r\n", true, &[Ok(b"12345678")]);
        check(b"123456789\r\nok", true, &[Err(9), Ok(b"ok")]);
    }
}
