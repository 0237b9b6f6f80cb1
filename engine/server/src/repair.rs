//! `weir repair`: says what would be given up, and gives it up when told to.
//!
//! Owns: the words, for people and for programs. Never: finding damage or giving it up, which the
//! engine does.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use weir_protocol::model::{ShardIndex, StreamName};
use weir_reactor::preflight;
use weir_stream::{
    CheckedDamage, CheckedGivenUp, GivenUpAs, RepairPlan, RepairTarget, plan_repair,
};

use crate::catalog_panic;
use crate::check::{damage_json, given_up_json, name_of};
use crate::cli::failure::Failure;
use crate::units::show_counted;

pub(crate) const ABOUT: &str = "\
Give up what is damaged in a data folder that no server uses, so that everything else can be read \
and the server starts. \"weir check DIR\" says what is damaged.

With --shard, readers of the shard step over the records that cannot be read, for good. With --log, \
segments that are gone or make no sense count no more, footers that do not verify are made anew, \
and damage that costs no record is noted. The decision is written into the catalog in one \
transaction; no byte of a segment is changed, moved or deleted.

What is given up is printed first. Ends with code 0 if it was given up or there was nothing to give \
up, 5 if damage is left that this does not help against, 1 if the folder could not be looked at.";

/// What `weir repair` is told.
#[derive(Debug, Args)]
pub(crate) struct RepairArguments {
    /// The data folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Give up the records of this shard that cannot be read; may repeat
    #[arg(long, value_name = "STREAM/SHARD", value_parser = parse_shard)]
    shard: Vec<(StreamName, ShardIndex)>,
    /// Give up segments of this log that cannot be used; may repeat
    #[arg(long, value_name = "N")]
    log: Vec<u32>,
    /// Yes: readers shall skip what is damaged, for good
    #[arg(long)]
    skip_damaged: bool,
    /// Only print what would be given up
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn parse_shard(text: &str) -> Result<(StreamName, ShardIndex), String> {
    let wrong = || format!("{text:?} names no shard: write for example logs/shardId-000000000002");
    let (stream, shard) = text.split_once('/').ok_or_else(wrong)?;
    let stream = StreamName::new(stream).map_err(|error| error.to_string())?;
    let shard = ShardIndex::parse(shard).ok_or_else(wrong)?;
    Ok((stream, shard))
}

/// Looks, prints, and gives up.
pub(crate) fn run(arguments: &RepairArguments) -> Result<(), Failure> {
    let shards = arguments.shard.iter().map(|(stream, shard)| {
        let (stream, shard) = (stream.clone(), *shard);
        RepairTarget::Shard { stream, shard }
    });
    let logs = arguments.log.iter().copied().map(RepairTarget::Log);
    // Logs first: what a whole segment explains is not asked of a shard.
    let targets: Vec<RepairTarget> = logs.chain(shards).collect();
    if targets.is_empty() {
        return Err(Failure::usage(
            "nothing is named: say --shard STREAM/SHARD or --log N; \"weir check\" tells which",
        ));
    }
    if !arguments.skip_damaged && !arguments.dry_run {
        return Err(Failure::usage(
            "--skip-damaged is missing: with it, records that cannot be read are given up for good \
             and readers step over them; --dry-run shows which",
        ));
    }
    let could_not = |text: String| Failure::could_not_run(text);
    preflight::check_io_uring().map_err(|error| could_not(error.to_string()))?;
    preflight::check_locked_memory(1).map_err(|error| could_not(error.to_string()))?;
    let folder = arguments.folder.display().to_string();
    catalog_panic::tell_instead(move |found| {
        eprintln!(
            "weir: the catalog of {folder} cannot be read: {found}: put it back from a backup of \
             the whole folder"
        );
        1
    });
    let plan = plan_repair(&arguments.folder, &targets).map_err(|e| could_not(e.to_string()))?;
    let text = if arguments.json {
        format!("{}\n", as_json(&plan, arguments.dry_run))
    } else {
        as_text(&plan, arguments.dry_run)
    };
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    // What nobody could read is not given up.
    written.map_err(|error| could_not(format!("the report could not be written: {error}")))?;
    let left = plan.left.len() as u64;
    if !plan.is_empty() && !arguments.dry_run {
        plan.write().map_err(|error| could_not(error.to_string()))?;
        eprintln!("weir: given up; \"weir check\" tells it from damage from now on");
    }
    if left == 0 {
        return Ok(());
    }
    let places = show_counted(left, "place");
    Err(Failure::data_wrong(format!(
        "{places} of what was named stayed damaged: see the lines that say LEFT"
    )))
}

fn as_text(plan: &RepairPlan, is_dry: bool) -> String {
    let mut out = String::new();
    for given_up in &plan.gives_up {
        out.push_str(&line_of(given_up));
    }
    for (damage, advice) in &plan.left {
        let CheckedDamage { file, at, what, .. } = damage;
        // Writing to a string cannot fail.
        let _ = writeln!(out, "LEFT {file} at byte {at}: {what}\n  {advice}");
    }
    if plan.is_empty() {
        out.push_str("nothing to give up: nothing was written\n");
    } else if is_dry {
        out.push_str("dry run: nothing was written\n");
    }
    out
}

/// A line about what is given up, and one about where.
pub(crate) fn line_of(given_up: &CheckedGivenUp) -> String {
    let what = match (given_up.given_up_as, &given_up.records, given_up.segment) {
        (_, Some(records), _) => {
            let (from, until) = (records.from, records.until);
            let many = if from.epoch() == until.epoch() {
                format!("at most {}", show_counted(until - from, "record"))
            } else {
                "nobody knows how many records".to_owned()
            };
            let last = until.get().saturating_sub(1);
            format!(
                "{}, numbers {} to {last}: {many}",
                name_of(records),
                from.get()
            )
        }
        (fate, None, segment) => {
            let (log, generation) = segment.unwrap_or_default();
            let fate = match fate {
                GivenUpAs::SetAside => {
                    "counts no more: records of any shard of the log may be missing; its file, if \
                     there is one, stays as it is"
                }
                GivenUpAs::MadeAnew => "gets its footer anew from its frames at the next start",
                GivenUpAs::Kept | GivenUpAs::Records => "stays as it is: no record is lost by this",
            };
            format!("segment {generation} of log {log} {fate}")
        }
    };
    let CheckedGivenUp {
        file, at, bytes, ..
    } = given_up;
    let found = &given_up.what;
    format!("GIVEN UP {what}\n  {file} at byte {at}, {bytes} bytes: {found}\n")
}

fn as_json(plan: &RepairPlan, is_dry: bool) -> Value {
    let left = |(damage, advice): &(CheckedDamage, String)| {
        let mut object = damage_json(damage);
        object["advice"] = json!(advice);
        object
    };
    json!({
        "dry_run": is_dry,
        "gives_up": plan.gives_up.iter().map(given_up_json).collect::<Vec<_>>(),
        "left": plan.left.iter().map(left).collect::<Vec<_>>(),
    })
}
