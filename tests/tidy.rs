//! What must never slip in the source: crate edges as ARCHITECTURE.md draws them, no tokio under the
//! streams, the kernel in one crate, and each module says what it is.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Which crates of ours each crate may use; arrows point down only.
const EDGES: [(&str, &[&str]); 7] = [
    ("weir-protocol", &[]),
    ("weir-reactor", &[]),
    ("weir-log", &["weir-protocol", "weir-reactor"]),
    (
        "weir-stream",
        &["weir-log", "weir-protocol", "weir-reactor"],
    ),
    (
        "weir-gateway",
        &["weir-protocol", "weir-reactor", "weir-stream"],
    ),
    (
        "weir-server",
        &[
            "weir-gateway",
            "weir-log",
            "weir-protocol",
            "weir-reactor",
            "weir-stream",
        ],
    ),
    ("weir-loadgen", &["weir-protocol"]),
];

/// What only the reactor may name.
const KERNEL: [&str; 6] = [
    "core_affinity",
    "glommio",
    "io-uring",
    "libc",
    "memmap2",
    "rand",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn metadata(arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version", "1", "--locked", "--offline"]);
    let output = command.args(arguments).current_dir(root()).output();
    let output = output.expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo speaks JSON")
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

/// Names of what a package's program needs; tests may need more.
fn needs(package: &Value) -> BTreeSet<&str> {
    let dependencies = list(&package["dependencies"]).iter();
    let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
    normal.map(|dependency| text(&dependency["name"])).collect()
}

#[test]
fn crates_use_only_what_lies_below_them() {
    let metadata = metadata(&["--no-deps"]);
    let packages: HashMap<_, _> = list(&metadata["packages"])
        .iter()
        .map(|package| (text(&package["name"]), package))
        .collect();
    for (name, below) in EDGES {
        let package = packages
            .get(name)
            .unwrap_or_else(|| panic!("no crate {name}"));
        for need in needs(package) {
            assert!(
                !need.starts_with("weir-") || below.contains(&need),
                "{name} must not use {need}"
            );
            let allowed = match name {
                "weir-reactor" => &KERNEL[..],
                // Its own clock and sockets: an independent client.
                "weir-loadgen" => &["core_affinity"],
                _ => &[],
            };
            assert!(
                !KERNEL.contains(&need) || allowed.contains(&need),
                "{name} must not use {need}: that is the reactor's"
            );
        }
    }
    let ours = packages.keys().filter(|name| name.starts_with("weir-"));
    let known: BTreeSet<_> = EDGES.iter().map(|(name, _)| *name).collect();
    let unknown: Vec<_> = ours.filter(|name| !known.contains(**name)).collect();
    assert!(
        unknown.is_empty(),
        "{unknown:?} have no place in the layers"
    );
    let no_io = needs(packages["weir-protocol"]);
    for name in ["serde", "tokio", "futures-util"] {
        assert!(!no_io.contains(name), "the protocol needs no {name}");
    }
}

/// What a release must not have: packages that exist for tests, and the features that are theirs.
fn is_for_tests(package: &str) -> bool {
    package == "tests" || package == "benches" || package.starts_with("tests-")
}

const FOR_TESTS: [&str; 2] = ["fuzzing", "simulated"];

/// Ways by which a crate would bring what exists for tests into a release: a dependency of any kind, a
/// feature that is asked of one, a feature of its own that is on by default or turns another's on.
fn ways_for_plants(package: &Value) -> Vec<String> {
    let name = text(&package["name"]);
    let mut ways = Vec::new();
    for dependency in list(&package["dependencies"]) {
        let need = text(&dependency["name"]);
        if is_for_tests(need) {
            ways.push(format!("{name} must not use {need}"));
        }
        for feature in list(&dependency["features"]).iter().map(text) {
            if FOR_TESTS.contains(&feature) {
                ways.push(format!("{name} must not ask {need} for {feature}"));
            }
        }
    }
    let features = package["features"].as_object().expect("a table");
    for (feature, brings) in features {
        for brought in list(brings).iter().map(text) {
            let last = brought.rsplit('/').next().unwrap_or_default();
            if FOR_TESTS.contains(&last) && !FOR_TESTS.contains(&feature.as_str()) {
                ways.push(format!("{name}: {feature} must not bring {brought}"));
            }
        }
    }
    ways
}

#[test]
fn no_release_can_pull_in_what_is_for_tests() {
    let metadata = metadata(&["--no-deps"]);
    let packages = list(&metadata["packages"]).iter();
    let released: Vec<_> = packages
        .filter(|package| !is_for_tests(text(&package["name"])))
        .collect();
    assert_eq!(released.len(), EDGES.len(), "each is in the layers");
    let ways: Vec<_> = released.into_iter().flat_map(ways_for_plants).collect();
    assert!(ways.is_empty(), "{ways:#?}");
}

#[test]
fn every_way_for_plants_is_seen() {
    let package = |dependency: Value, features: Value| {
        let mut sound = serde_json::json!({ "name": "weir-log", "features": { "fuzzing": [] } });
        sound["dependencies"] = serde_json::json!([
            { "name": "weir-reactor", "kind": null, "features": ["real"] }
        ]);
        if !dependency.is_null() {
            let dependencies = sound["dependencies"].as_array_mut().expect("a list");
            dependencies.push(dependency);
        }
        if !features.is_null() {
            sound["features"] = features;
        }
        ways_for_plants(&sound).len()
    };
    let none = Value::Null;
    assert_eq!(package(none.clone(), none.clone()), 0);
    for name in ["tests-sim", "tests", "benches"] {
        for kind in [none.clone(), "dev".into(), "build".into()] {
            let planted = serde_json::json!({ "name": name, "kind": kind, "features": [] });
            assert_eq!(package(planted, none.clone()), 1, "{name}");
        }
    }
    for feature in FOR_TESTS {
        let asked =
            serde_json::json!({ "name": "weir-stream", "kind": null, "features": [feature] });
        assert_eq!(package(asked, none.clone()), 1);
        for brought in [feature.to_owned(), format!("weir-stream/{feature}")] {
            let features = serde_json::json!({ "fuzzing": [], "default": [brought] });
            assert_eq!(package(none.clone(), features), 1);
        }
    }
}

#[test]
fn nothing_heavy_hangs_below_the_server() {
    let metadata = metadata(&["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let names: HashMap<_, _> = list(&metadata["packages"])
        .iter()
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    let nodes: HashMap<_, _> = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| (text(&node["id"]), node))
        .collect();
    let start = names.iter().find(|(_, name)| **name == "weir-stream");
    let mut open = vec![*start.expect("there is a weir-stream").0];
    let mut below = BTreeSet::new();
    while let Some(id) = open.pop() {
        for dependency in list(&nodes[id]["deps"]) {
            let kinds = list(&dependency["dep_kinds"]);
            let id = text(&dependency["pkg"]);
            if kinds.iter().any(|kind| kind["kind"].is_null()) && below.insert(id) {
                open.push(id);
            }
        }
    }
    let below: BTreeSet<_> = below.into_iter().map(|id| names[id]).collect();
    assert!(
        below.contains("glommio"),
        "the walk finds what is there: {below:?}"
    );
    for name in ["tokio", "arrow", "datafusion", "openssl", "openssl-sys"] {
        assert!(!below.contains(name), "{name} hangs below weir-stream");
    }
}

pub(crate) fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder)
        .expect("a folder of the project")
        .flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                sources(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn every_module_begins_with_what_it_is() {
    let mut files = Vec::new();
    for folder in ["protocol", "engine", "loadgen", "benches", "tests"] {
        sources(&root().join(folder), &mut files);
    }
    assert!(files.len() > 100, "{} files", files.len());
    let silent: Vec<_> = files
        .iter()
        .filter(|file| {
            let source = fs::read_to_string(file).expect("sources are text");
            // A comment of the module comes first, before any attribute or item.
            !source.starts_with("//! ")
        })
        .collect();
    assert!(silent.is_empty(), "no //! at the top of {silent:#?}");
}
