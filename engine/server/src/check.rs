//! `weir check`: looks at a folder that no server uses, and says what it found.
//!
//! Owns: the report, for people and for programs. Never: the looking, which the engine does.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use weir_reactor::preflight;
use weir_stream::{
    CheckedDamage, CheckedFolder, CheckedGivenUp, CheckedShard, DamageKind, GivenUpAs, LogCheck,
    check_folder,
};

use crate::catalog_panic;
use crate::cli::failure::Failure;
use crate::repair;
use crate::units::{show_count, show_counted, show_size_about};

pub(crate) const ABOUT: &str = "\
Verify a data folder that no server uses: every byte that counts, and what catalog and segments say \
of each other. Changes nothing.

A torn tail is what a crash leaves and no damage: the next start drops it. Rot in the newest frames, \
those that no later frame's mark covers (the next commit, or one second), cannot be told from it. \
Ends with code 0 if nothing damaged was found, 5 if something is damaged, 1 if the folder could \
not be looked at: it is in use, it is not Weir's, or the disk refused a read.";

/// What `weir check` is told.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// The data folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Checks, prints what was found, and fails with code 5 if something is damaged.
pub(crate) fn run(arguments: &CheckArguments) -> Result<(), Failure> {
    let could_not = |text: String| Failure::could_not_run(text);
    preflight::check_io_uring().map_err(|error| could_not(error.to_string()))?;
    preflight::check_locked_memory(1).map_err(|error| could_not(error.to_string()))?;
    tell_rot_from_panics(arguments.json);
    let checked = check_folder(&arguments.folder).map_err(|error| could_not(error.to_string()))?;
    let text = if arguments.json {
        format!("{}\n", as_json(&checked))
    } else {
        as_text(&checked)
    };
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| could_not(format!("the report could not be written: {error}")))?;
    if checked.is_sound() {
        return Ok(());
    }
    let damages = checked.damage.len() as u64 + checked.more_damage;
    Err(Failure::data_wrong(format!(
        "{} is damaged in {}: copy the folder, look at the disk, and see \"weir repair\" in \
         docs/operations.md",
        arguments.folder.display(),
        show_counted(damages, "place")
    )))
}

/// redb panics where a page of the catalog makes no sense to it. That is a finding: it is told as one,
/// with the code for damage.
fn tell_rot_from_panics(is_json: bool) {
    catalog_panic::tell_instead(move |found| {
        let damage = CheckedDamage {
            log: None,
            file: "catalog".to_owned(),
            at: 0,
            bytes: 0,
            what: format!(
                "it cannot be read ({found}), so the logs were not looked at: put it back from a \
                 backup of the whole folder"
            ),
            lost: Vec::new(),
            generation: None,
            kind: DamageKind::Contradiction,
        };
        let checked = CheckedFolder {
            segment_bytes: 0,
            streams: 0,
            shards: 0,
            logs: Vec::new(),
            damage: vec![damage],
            more_damage: 0,
            given_up: Vec::new(),
        };
        let text = if is_json {
            format!("{}\n", as_json(&checked))
        } else {
            as_text(&checked)
        };
        // The code tells what a reader that has gone does not hear.
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        let _ = writeln!(io::stderr(), "weir: the catalog is damaged in 1 place");
        5
    });
}

fn as_text(checked: &CheckedFolder) -> String {
    let mut out = format!(
        "catalog: {}, {}\n",
        show_counted(checked.streams as u64, "stream"),
        show_counted(checked.shards as u64, "shard")
    );
    for log in &checked.logs {
        out.push_str(&line_of(log));
    }
    for damage in &checked.damage {
        let CheckedDamage {
            file,
            at,
            bytes,
            what,
            ..
        } = damage;
        // Writing to a string cannot fail.
        let _ = write!(out, "DAMAGE {file}");
        if *bytes > 0 {
            let _ = write!(out, " at byte {at}, {bytes} bytes");
        }
        let _ = writeln!(out, ": {what}");
        for lost in &damage.lost {
            let _ = writeln!(
                out,
                "  cannot be read: {}, numbers {} to {}",
                name_of(lost),
                lost.from.get(),
                lost.until.get().saturating_sub(1)
            );
        }
    }
    if checked.more_damage > 0 {
        let _ = writeln!(
            out,
            "and {} more",
            show_counted(checked.more_damage, "damage")
        );
    }
    for given_up in &checked.given_up {
        out.push_str(&repair::line_of(given_up));
    }
    let sum = |of: fn(&LogCheck) -> u64| checked.logs.iter().map(of).sum::<u64>();
    let _ = writeln!(
        out,
        "total: {} in {}, {} of segments read",
        show_counted(sum(|log| log.records), "record"),
        show_counted(sum(|log| log.batches), "batch").replace("batchs", "batches"),
        show_size_about(sum(|log| log.bytes))
    );
    if checked.is_sound() && !checked.given_up.is_empty() {
        out.push_str("sound, but for what was given up\n");
    } else if checked.is_sound() {
        out.push_str("sound: nothing damaged was found\n");
    }
    for log in checked.logs.iter().filter(|log| log.torn.is_some()) {
        let _ = writeln!(
            out,
            "log {} was not closed: rot in its newest frames, at log position {} or behind, cannot be told \
             from its torn tail",
            log.log.0, log.durable_mark.0
        );
    }
    out
}

fn line_of(log: &LogCheck) -> String {
    let mut line = format!(
        "log {}: {} sealed, {} settled, {} being written, {} free, {} half made; {} frames, {} \
         batches, {} records; durable below {}",
        log.log.0,
        show_count(log.sealed),
        show_count(log.settled),
        show_count(log.unsealed),
        show_count(log.free),
        show_count(log.half_made),
        show_count(log.frames),
        show_count(log.batches),
        show_count(log.records),
        log.durable_mark.0
    );
    if let Some(torn) = &log.torn {
        let _ = write!(
            line,
            "; stopped without warning at byte {} of {}, the next start drops {} of its torn tail \
             (normal after a crash)",
            torn.at,
            torn.file,
            show_counted(torn.dropped_frames, "frame")
        );
    }
    line.push('\n');
    line
}

pub(crate) fn name_of(lost: &CheckedShard) -> String {
    match &lost.stream {
        Some(stream) => format!("{stream}/{}", lost.shard.index),
        None => format!(
            "{} of stream number {}, which was deleted",
            lost.shard.index,
            lost.shard.stream.get()
        ),
    }
}

fn as_json(checked: &CheckedFolder) -> Value {
    json!({
        "sound": checked.is_sound(),
        "segment_bytes": checked.segment_bytes,
        "streams": checked.streams,
        "shards": checked.shards,
        "logs": checked.logs.iter().map(log_json).collect::<Vec<_>>(),
        "damage": checked.damage.iter().map(damage_json).collect::<Vec<_>>(),
        "more_damage": checked.more_damage,
        "given_up": checked.given_up.iter().map(given_up_json).collect::<Vec<_>>(),
    })
}

fn shard_json(lost: &CheckedShard) -> Value {
    json!({
        "stream": lost.stream,
        "stream_number": lost.shard.stream.get(),
        "shard": lost.shard.index.to_string(),
        "from": lost.from.get(),
        "until": lost.until.get(),
    })
}

/// Damage, for programs.
pub(crate) fn damage_json(damage: &CheckedDamage) -> Value {
    json!({
        "log": damage.log,
        "file": damage.file,
        "at": damage.at,
        "bytes": damage.bytes,
        "what": damage.what,
        "lost": damage.lost.iter().map(shard_json).collect::<Vec<_>>(),
    })
}

/// What was given up, for programs.
pub(crate) fn given_up_json(given_up: &CheckedGivenUp) -> Value {
    let given_up_as = match given_up.given_up_as {
        GivenUpAs::Records => "records",
        GivenUpAs::SetAside => "set_aside",
        GivenUpAs::MadeAnew => "made_anew",
        GivenUpAs::Kept => "kept",
    };
    json!({
        "as": given_up_as,
        "log": given_up.segment.map(|(log, _)| log),
        "generation": given_up.segment.map(|(_, generation)| generation),
        "records": given_up.records.as_ref().map(shard_json),
        "file": given_up.file,
        "at": given_up.at,
        "bytes": given_up.bytes,
        "what": given_up.what,
        "when_ms": given_up.when_ms,
    })
}

fn log_json(log: &LogCheck) -> Value {
    let torn = log.torn.as_ref().map(|torn| {
        json!({
            "file": torn.file,
            "at": torn.at,
            "dropped_frames": torn.dropped_frames,
            "rot_is_told_below": log.durable_mark.0,
        })
    });
    json!({
        "log": log.log.0,
        "sealed": log.sealed,
        "settled": log.settled,
        "unsealed": log.unsealed,
        "free": log.free,
        "half_made": log.half_made,
        "set_aside": log.set_aside,
        "bytes": log.bytes,
        "frames": log.frames,
        "batches": log.batches,
        "records": log.records,
        "durable_mark": log.durable_mark.0,
        "end": log.end.0,
        "torn": torn,
    })
}
