//! What others wrote and we build with: each licence is one we may ship under Apache-2.0, and what
//! docs/advisories.md says of packages with an advisory is still so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::tidy::{list, metadata, sources, text};

/// Licences that ask for their own text to be kept, and for nothing else.
const LICENCES: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "BlueOak-1.0.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages that may have another licence, and which; the reason beside each.
const EXCEPTIONS: [(&str, &str); 1] = [
    // Its files stay open if they are changed; we change none, and none is linked (see `UNUSED`).
    ("bitmaps", "MPL-2.0+"),
];

/// Packages with an advisory that has no mended version: who may need them. No code of theirs is in
/// our programs, for the one at the root, glommio, names them in its manifest only.
const UNUSED: [(&str, &str); 3] = [
    ("bitmaps", "glommio"),
    ("lockfree", "glommio"),
    ("owned-alloc", "lockfree"),
];

/// What is built: packages of other systems are in the lock file, but never on this disk.
fn linux() -> Value {
    metadata(&["--filter-platform", "x86_64-unknown-linux-gnu"])
}

/// Whether an SPDX expression can be met by the licences above. A slash is the older way to write OR,
/// and what WITH adds only permits more.
fn is_permitted(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ");
    let spaced = spaced.replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let permitted = one_of(&mut words);
    // Whatever was not understood is not permitted.
    permitted && words.next().is_none()
}

type Words<'w> = std::iter::Peekable<std::str::SplitWhitespace<'w>>;

fn one_of(words: &mut Words) -> bool {
    let mut permitted = all_of(words);
    while words.next_if_eq(&"OR").is_some() {
        permitted |= all_of(words);
    }
    permitted
}

fn all_of(words: &mut Words) -> bool {
    let mut permitted = licence(words);
    while words.next_if_eq(&"AND").is_some() {
        permitted &= licence(words);
    }
    permitted
}

fn licence(words: &mut Words) -> bool {
    let permitted = match words.next() {
        Some("(") => one_of(words) && words.next_if_eq(&")").is_some(),
        Some(name) => LICENCES.contains(&name),
        None => false,
    };
    if words.next_if_eq(&"WITH").is_some() {
        words.next();
    }
    permitted
}

/// What is wrong with a package's licence, in a sentence.
fn objection(package: &Value) -> Option<String> {
    let (name, version) = (text(&package["name"]), text(&package["version"]));
    let licence = package["license"].as_str();
    if licence.is_some_and(|l| is_permitted(l) || EXCEPTIONS.contains(&(name, l))) {
        return None;
    }
    let licence = licence.unwrap_or("no licence that its manifest names");
    Some(format!(
        "{name} {version} has {licence}: use another package, or, if we may ship it under \
         Apache-2.0, add it to tests/dependencies.rs with the reason"
    ))
}

#[test]
fn every_licence_is_one_we_may_ship() {
    let metadata = linux();
    let packages = list(&metadata["packages"]);
    assert!(packages.len() > 200, "{} packages", packages.len());
    let objections: Vec<_> = packages.iter().filter_map(objection).collect();
    assert!(objections.is_empty(), "{objections:#?}");
}

#[test]
fn licences_are_read_as_they_are_written() {
    for permitted in [
        "MIT",
        "MIT/GPL-3.0",
        "Apache-2.0 AND ISC",
        "(MIT OR GPL-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        "MIT OR Apache-2.0 OR LGPL-2.1-or-later",
    ] {
        assert!(is_permitted(permitted), "{permitted}");
    }
    for refused in [
        "",
        "GPL-3.0",
        "AGPL-3.0-only",
        "MIT AND GPL-3.0",
        "GPL-3.0 OR MIT AND GPL-2.0",
        "(MIT OR Apache-2.0) AND MPL-2.0",
        "GPL-2.0 WITH Classpath-exception-2.0",
        "MIT Apache-2.0",
        "(MIT",
    ] {
        assert!(!is_permitted(refused), "{refused}");
    }
    let of = |licence: Value| {
        let package = serde_json::json!({ "name": "some", "version": "1.0.0", "license": licence });
        objection(&package)
    };
    assert_eq!(of("ISC".into()), None);
    let said = of("SSPL-1.0".into()).expect("it is refused");
    assert!(said.starts_with("some 1.0.0 has SSPL-1.0: "), "{said}");
    let said = of(Value::Null).expect("it is refused");
    assert!(said.contains("no licence"), "{said}");
    // What one package may have is not for another.
    assert!(of("MPL-2.0+".into()).is_some());
}

#[test]
fn packages_with_an_open_advisory_are_not_linked() {
    let metadata = linux();
    let mut needed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in list(&metadata["packages"]) {
        for dependency in list(&package["dependencies"]) {
            let by = needed.entry(text(&dependency["name"])).or_default();
            by.insert(text(&package["name"]));
        }
    }
    for (package, by) in UNUSED {
        let expected = BTreeSet::from([by]);
        assert_eq!(
            needed.get(package),
            Some(&expected),
            "docs/advisories.md says who needs {package}: judge its advisories again"
        );
    }
    let mut packages = list(&metadata["packages"]).iter();
    let glommio = packages.find(|package| text(&package["name"]) == "glommio");
    let manifest = text(&glommio.expect("the runtime")["manifest_path"]);
    let mut files = Vec::new();
    let folder = Path::new(manifest).parent().expect("its folder");
    sources(&folder.join("src"), &mut files);
    assert!(files.len() > 20, "{} files", files.len());
    for file in files {
        let source = fs::read_to_string(&file).expect("sources are text");
        for path in ["bitmaps::", "lockfree::"] {
            assert!(
                !source.contains(path),
                "{} uses {path}: judge its advisories again",
                file.display()
            );
        }
    }
}
