//! R1 is a program of its own: this calls it.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::rig::{Done, Order};

pub(crate) fn run(order: &Order) -> Result<Done> {
    let (from, count) = (order.seed.to_string(), order.count.to_string());
    let output = Command::new("cargo")
        .args([
            "run",
            "--quiet",
            "--locked",
            "-p",
            "tests-sim",
            "--",
            &from,
            &count,
        ])
        .output()
        .context("cargo does not run")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = said.lines().last().unwrap_or_default();
    ensure!(
        output.status.success(),
        "{said} {errors}; replay: ./scripts/soak sim --seed {from} --count {count}"
    );
    Ok(Done::new(order.count, last.to_owned()))
}
