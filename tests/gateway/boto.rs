//! boto3 against the server: the checks are in `boto.py`, next to this file.

use std::time::Duration;

use crate::harness::{Setup, python_with_boto, run, temporary};

#[test]
fn boto3_reads_what_it_wrote_from_every_place() {
    let folder = temporary("boto");
    let victim = Setup::new(folder.path()).start_on(2);
    let mut script = python_with_boto("gateway/boto.py", "us-east-1");
    script.arg(format!("http://{}", victim.http));
    let ran = run(&mut script, [], Duration::from_mins(2)).succeeded();
    print!("{}", ran.text());
    victim.stop();
}
