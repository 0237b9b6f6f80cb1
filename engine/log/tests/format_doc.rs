//! Compares what `docs/format.md` says of segments with the code. The protocol's crate does the
//! same for batches and frames. `UPDATE_DOCS=1` rewrites the document instead.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use weir_log::{layout_of_footer, layout_of_header, layout_of_start_table, layout_of_trailer};

type Field = (usize, usize, &'static str);

fn table(fields: &[Field], end: usize) -> String {
    let mut out = String::from("| at | bytes | field |\n|---:|---:|---|\n");
    let mut place = 0;
    for (at, bytes, name) in fields {
        assert_eq!(*at, place, "{name} follows the field before it");
        place += bytes;
        let _ = writeln!(out, "| {at} | {bytes} | {name} |");
    }
    assert_eq!(place, end, "the fields fill their {end} bytes");
    let _ = writeln!(out, "| {end} | | end |");
    out
}

#[test]
fn the_format_document_says_what_the_code_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/format.md");
    let found = fs::read_to_string(&path).unwrap();
    let mut wanted = found.clone();
    let mut put = |name: &str, table: &str| {
        let start_mark = format!("<!-- table:{name} -->\n");
        let start = wanted.find(&start_mark);
        let start = start.unwrap_or_else(|| panic!("docs/format.md has no table {name:?}"));
        let start = start + start_mark.len();
        let length = wanted[start..].find("<!-- end -->");
        let length = length.unwrap_or_else(|| panic!("table {name:?} of docs/format.md ends"));
        wanted.replace_range(start..start + length, table);
    };
    let (fields, end) = layout_of_header();
    put("segment-header", &table(&fields, end));
    let (fields, end) = layout_of_start_table();
    put("start-entry", &table(&fields, end));
    let names = ["footer-shards", "footer-batches", "footer-holes"];
    for (name, (_, fields, end)) in names.iter().zip(layout_of_footer()) {
        put(name, &table(&fields, end));
    }
    let (fields, end) = layout_of_trailer();
    put("trailer", &table(&fields, end));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, wanted).unwrap();
        return;
    }
    assert!(
        found == wanted,
        "docs/format.md is not what the code says; UPDATE_DOCS=1 rewrites it:\n{wanted}"
    );
}
