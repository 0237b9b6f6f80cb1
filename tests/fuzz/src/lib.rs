//! Fuzz targets: bytes of strangers, and of damaged disks, against everything that decodes them.
//!
//! `scripts/fuzz TARGET SECONDS` looks for new cases with libFuzzer; those worth keeping lie in
//! `corpus/TARGET`, and an ordinary test replays them.

mod batch;
mod log_frame;
pub mod recovery;
#[cfg(test)]
mod seeds;
mod segment;
mod signature;
mod wire;

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
pub const TARGETS: [Target; 12] = [
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
    Target {
        name: "http",
        run: weir_gateway::fuzzing_http::connection,
    },
    Target {
        name: "settings",
        run: weir_server::fuzzing::settings,
    },
    Target {
        name: "catalog_row",
        run: weir_stream::fuzzing::catalog_row,
    },
    Target {
        name: "wire_frame",
        run: wire::check,
    },
    Target {
        name: "batch",
        run: batch::check,
    },
    Target {
        name: "log_frame",
        run: log_frame::check,
    },
    Target {
        name: "segment",
        run: segment::check,
    },
    Target {
        name: "recovery",
        run: recovery::check,
    },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
