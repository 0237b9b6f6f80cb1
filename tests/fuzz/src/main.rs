//! One fuzzer for all targets: `WEIR_FUZZ_TARGET` names the one that gets the bytes.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use tests_fuzz::{Target, target};

fuzz_target!(|data: &[u8]| {
    static CHOSEN: OnceLock<&Target> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let name = std::env::var("WEIR_FUZZ_TARGET").expect("WEIR_FUZZ_TARGET names a target");
        target(&name).expect("it is one of the targets")
    });
    (chosen.run)(data);
});
