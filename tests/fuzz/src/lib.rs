//! Fuzz targets: bytes of strangers against the gateway's decoders and its verifier.
//!
//! `scripts/fuzz TARGET SECONDS` looks for new cases with libFuzzer; those worth keeping lie in
//! `corpus/TARGET`, and an ordinary test replays them.

mod signature;

use weir_gateway::fuzzing;

/// What bytes are thrown at.
#[derive(Debug)]
pub struct Target {
    /// Its name, and its folder's in `corpus`.
    pub name: &'static str,
    /// Panics if the bytes break a promise.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 4] = [
    Target {
        name: "json_body",
        run: |data| fuzzing::body(false, data),
    },
    Target {
        name: "cbor_body",
        run: |data| fuzzing::body(true, data),
    },
    Target {
        name: "signature",
        run: signature::check,
    },
    Target {
        name: "token",
        run: fuzzing::token,
    },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
