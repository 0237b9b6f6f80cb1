//! Writes the structured cases of the corpus: with `UPDATE_SEEDS=1`, as when a format changes.

use std::fs;
use std::path::Path;

use crate::{batch, log_frame, recovery, segment, target, wire};

fn catalog_rows() -> Vec<(String, Vec<u8>)> {
    let seeds = weir_stream::fuzzing::catalog_seeds().into_iter();
    seeds
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .collect()
}

/// The kept cases under these names are what today's formats make of them.
#[test]
fn seeds_are_of_todays_formats() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let all = [
        ("wire_frame", wire::seeds()),
        ("batch", batch::seeds()),
        ("log_frame", log_frame::seeds()),
        ("segment", segment::seeds()),
        ("recovery", recovery::seeds()),
        ("catalog_row", catalog_rows()),
    ];
    for (name, seeds) in all {
        let run = target(name).expect("it is a target").run;
        for (case, bytes) in seeds {
            println!("{name}/{case}");
            run(&bytes);
            let path = corpus.join(name).join(format!("seed_{case}"));
            if std::env::var_os("UPDATE_SEEDS").is_some() {
                fs::create_dir_all(corpus.join(name)).unwrap();
                fs::write(&path, &bytes).unwrap();
            }
            let kept = fs::read(&path).unwrap();
            assert!(
                kept == bytes,
                "{path:?} is not of today; UPDATE_SEEDS=1 writes it anew"
            );
        }
    }
}
