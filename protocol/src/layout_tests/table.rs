//! Tables of bytes, and the documents they stand in.

use std::fmt::Write;
use std::fs;
use std::path::Path;

/// The fields of a header whose places are constants; each ends where the next one begins.
pub(super) fn fixed(fields: &[(usize, &str)], end: usize) -> String {
    let ends = fields.iter().skip(1).map(|(at, _)| *at).chain([end]);
    let rows = fields.iter().zip(ends).map(|((at, name), end)| {
        assert!(*at < end, "{name} has bytes");
        (at.to_string(), (end - at).to_string(), *name)
    });
    print(rows, Some(end))
}

/// One field as an encoder writes it.
pub(super) struct Part {
    name: &'static str,
    bytes: Vec<u8>,
    /// A length that varies has a letter in the table.
    varies: Option<&'static str>,
}

pub(super) fn part(name: &'static str, bytes: impl AsRef<[u8]>) -> Part {
    let bytes = bytes.as_ref().to_vec();
    Part {
        name,
        bytes,
        varies: None,
    }
}

pub(super) fn varying(name: &'static str, letter: &'static str, bytes: &[u8]) -> Part {
    let varies = Some(letter);
    Part {
        varies,
        ..part(name, bytes)
    }
}

/// The fields of something that was encoded: put together they are exactly its bytes.
pub(super) fn encoded(bytes: &[u8], parts: &[Part]) -> String {
    let joined: Vec<u8> = parts.iter().flat_map(|p| p.bytes.iter().copied()).collect();
    assert_eq!(joined, bytes, "the parts of {:?}", parts[0].name);
    let mut at = Some(0);
    let mut rows = Vec::new();
    for part in parts {
        let place = at.map_or("…".into(), |at: usize| at.to_string());
        let length = part.bytes.len();
        let size = part.varies.map_or(length.to_string(), str::to_owned);
        rows.push((place, size, part.name));
        at = at.filter(|_| part.varies.is_none()).map(|at| at + length);
    }
    print(rows.into_iter(), at)
}

fn print<'a>(rows: impl Iterator<Item = (String, String, &'a str)>, end: Option<usize>) -> String {
    let mut out = String::from("| at | bytes | field |\n|---:|---:|---|\n");
    for (at, bytes, name) in rows {
        let _ = writeln!(out, "| {at} | {bytes} | {name} |");
    }
    if let Some(end) = end {
        let _ = writeln!(out, "| {end} | | end |");
    }
    out
}

/// Rows of plain text under a head.
pub(super) fn plain(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
    out
}

/// Compares the tables with those that stand between their marks in `docs/`.
pub(super) fn compare(document: &str, tables: &[(&str, String)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(document);
    let found = fs::read_to_string(&path).expect("the document is there");
    let mut wanted = found.clone();
    for (name, table) in tables {
        let start_mark = format!("<!-- table:{name} -->\n");
        let start = wanted.find(&start_mark);
        let start = start.unwrap_or_else(|| panic!("docs/{document} has no table {name:?}"));
        let start = start + start_mark.len();
        let length = wanted[start..].find("<!-- end -->");
        let length = length.unwrap_or_else(|| panic!("table {name:?} of docs/{document} ends"));
        wanted.replace_range(start..start + length, table);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, wanted).expect("the document can be written");
        return;
    }
    assert!(
        found == wanted,
        "docs/{document} is not what the code says; UPDATE_DOCS=1 rewrites it:\n{wanted}"
    );
}
