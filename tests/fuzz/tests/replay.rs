//! Every kept case, on every build: no libFuzzer is needed.

use std::fs;
use std::path::Path;

use tests_fuzz::{TARGETS, target};

#[test]
fn kept_cases_break_nothing() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in &TARGETS {
        let folder = corpus.join(target.name);
        let cases = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let mut count = 0;
        for case in cases {
            let path = case.unwrap().path();
            println!("{}", path.display());
            (target.run)(&fs::read(&path).unwrap());
            count += 1;
        }
        assert!(count > 0, "{} has no cases", target.name);
    }
}

/// A folder of another name would never be replayed.
#[test]
fn every_folder_is_of_a_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for folder in fs::read_dir(corpus).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(target(&name).is_some(), "{name} is no target");
    }
}
