//! Turns a panic over a rotten catalog into a sentence.
//!
//! redb panics at pages that make no sense to it. A catalog is read on a thread of its own before it
//! is trusted, so a panic there is about the catalog, wherever in the code it comes from.

use std::panic;

use weir_stream::CATALOG_THREAD;

/// Has `tell` say what was found, instead of a panic's own words, and ends the process with the code
/// that it gives. Panics of other threads stay what they are.
pub(crate) fn tell_instead(tell: impl Fn(&str) -> u8 + Send + Sync + 'static) {
    let others = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() != Some(CATALOG_THREAD) {
            return others(panic);
        }
        let found = panic.payload_as_str().unwrap_or("a page makes no sense");
        let found = found.split_whitespace().collect::<Vec<_>>().join(" ");
        std::process::exit(i32::from(tell(&found)));
    }));
}
