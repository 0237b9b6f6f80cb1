//! Machines without what io_uring needs: `confine.py` takes it away from the one process.

use super::refused;
use crate::harness::{Setup, launcher, temporary};

#[test]
fn a_seccomp_profile_without_io_uring_is_named() {
    let folder = temporary("seccomp");
    let setup = Setup::new(folder.path());
    let confined = setup
        .clone()
        .through(launcher("refusals/confine.py", &["seccomp"]));
    refused(confined.try_start_on(1), 1, &["io_uring", "seccomp"]);
    setup.start().stop();
}

#[test]
fn too_little_locked_memory_is_named_with_the_way_out() {
    let folder = temporary("memlock");
    let setup = Setup::new(folder.path());
    let confined = setup
        .clone()
        .through(launcher("refusals/confine.py", &["memlock"]));
    refused(confined.try_start_on(1), 1, &["LimitMEMLOCK", "ulimit -l"]);
    setup.start().stop();
}
