//! The gateway's table of operations against the API model it was generated from.

use std::path::Path;
use std::process::Command;

/// Where the model's package may be: in the environment of the clients' tests, or the system's.
const PYTHONS: [&str; 2] = ["target/venv/bin/python3", "python3"];

#[test]
fn the_table_is_that_of_the_model() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let generate = |python: &str| {
        let mut command = Command::new(python);
        command.arg("scripts/model/generate.py").current_dir(root);
        let ran = command.output().ok()?;
        ran.status.success().then_some(ran.stdout)
    };
    let Some(generated) = PYTHONS.iter().find_map(|python| generate(python)) else {
        println!("skipped: no botocore of the table's version; see scripts/model/generate.py");
        return;
    };
    let table = std::fs::read(root.join("engine/gateway/src/model/table.rs")).unwrap();
    assert!(
        generated == table,
        "run scripts/model/generate.py engine/gateway/src/model/table.rs"
    );
}
