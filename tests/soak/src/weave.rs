//! R11 is a program of its own: this calls it. Nothing in it is drawn, so the seed says nothing.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::rig::{Done, Order};

pub(crate) fn run(order: &Order) -> Result<Done> {
    let (mut models, mut said) = (0, Vec::new());
    for round in 0..order.count {
        if round > 0 && order.is_over() {
            break;
        }
        let mut command = Command::new("cargo");
        command.args(["run", "--quiet", "--locked", "-p", "tests-weave"]);
        // Each further round allows one more interruption.
        let interruptions = (2 + round).to_string();
        command.args(["--", "--interruptions", &interruptions]);
        let output = command.output().context("cargo does not run")?;
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.success(),
            "{} {}",
            lines.trim(),
            errors.trim()
        );
        models += 1;
        said = lines.lines().map(str::to_owned).collect();
    }
    Ok(Done::new(models, said.join("; ")))
}
