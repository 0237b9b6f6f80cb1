//! R1 is a program of its own: this calls it.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::rig::{Done, Order};

pub(crate) fn run(order: &Order) -> Result<Done> {
    let (from, count) = (order.seed.to_string(), order.count.to_string());
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "--locked", "-p", "tests-sim", "--"]);
    command.args(["--story", "all", "--from", &from, "--seeds", &count]);
    if let Some(until) = order.until {
        let left = until.saturating_duration_since(Instant::now());
        command.args(["--seconds", &left.as_secs().to_string()]);
    }
    let output = command.output().context("cargo does not run")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{} {}", said.trim(), errors.trim());
    // The last line says how many were told, since time may have cut them.
    let last = said.lines().last().unwrap_or_default();
    let told = last
        .split("told ")
        .nth(1)
        .and_then(|rest| rest.split(',').next());
    let told = told.and_then(|told| told.parse().ok());
    let told = told.with_context(|| format!("no count in: {last}"))?;
    Ok(Done::new(told, said.lines().collect::<Vec<_>>().join("; ")))
}
