//! The command line: which words there are, and what the shell is told at the end.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::check::CheckArguments;
use crate::cli;
use crate::cli::arguments::StreamCommand;
use crate::config::ServeArguments;
use crate::repair::RepairArguments;
use crate::{boot, check, logs, repair};

const EXAMPLES: &str = "Examples:
  weir serve --data-dir ./weir-data
  weir stream create logs --shards 4
  journalctl -f | weir stream put logs

Exit codes: 0 done; 1 could not run; 2 bad usage; 3 ran, but something was refused; 5 data wrong";

/// Weir, a self-hosted Kinesis: the server and its tools
#[derive(Debug, Parser)]
#[command(name = "weir", version, propagate_version = true, after_help = EXAMPLES)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until SIGTERM or Ctrl-C
    #[command(after_help = "Examples:
  weir serve
  weir serve --data-dir /var/lib/weir --reserve 8GiB --stream logs:4
  weir serve --http 0.0.0.0:4567 --insecure-listen --quota aws --log json")]
    Serve(Box<ServeArguments>),
    /// Work with streams: create, ls, describe, put, tail, set, split, merge, scale,
    /// delete
    #[command(after_help = "Examples:
  weir stream create logs --shards 4
  weir stream put logs --key-regex 'status (\\S+)' /var/log/dpkg.log
  weir stream tail logs --from trim-horizon")]
    Stream {
        #[command(subcommand)]
        command: StreamCommand,
    },
    /// Verify a data folder that no server uses
    #[command(long_about = check::ABOUT, after_help = "Examples:
  weir check ./weir-data
  weir check /var/lib/weir --json
  weir check ./backup && echo sound")]
    Check(CheckArguments),
    /// Give up what is damaged in a data folder that no server uses
    #[command(long_about = repair::ABOUT, after_help = "Examples:
  weir repair ./weir-data --shard logs/shardId-000000000002 --dry-run
  weir repair ./weir-data --shard logs/2 --skip-damaged
  weir repair ./weir-data --log 0 --skip-damaged --json")]
    Repair(RepairArguments),
    /// Print the version
    #[command(after_help = "Examples:
  weir version
  weir --version
  weir version | cut -d' ' -f2")]
    Version,
}

/// Runs the program with `arguments`, the program's own name first. Errors end as one line on
/// stderr.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = without_empty_variables(CommandLine::command());
    let parsed = command
        .try_get_matches_from(arguments)
        .and_then(|matches| CommandLine::from_arg_matches(&matches));
    let command_line = match parsed {
        Ok(command_line) => command_line,
        Err(error) => {
            // Help goes to stdout and is no failure; all else is bad usage. A closed pipe is the
            // reader's affair.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let outcome = match command_line.command {
        Command::Serve(arguments) => arguments.check().and_then(|config| {
            logs::start(&config)?;
            boot::serve(&config)
        }),
        Command::Stream { command } => cli::run(&command),
        Command::Check(arguments) => check::run(&arguments),
        Command::Repair(arguments) => repair::run(&arguments),
        Command::Version => {
            println!("weir {}", version());
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("weir: {failure}");
            failure.exit_code()
        }
    }
}

/// A variable that is set to nothing counts as one that is not set.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &std::ffi::OsStr| std::env::var_os(name).is_some_and(|v| v.is_empty());
    command
        .mut_args(|argument| match argument.get_env() {
            Some(name) if is_empty(name) => argument.env(None::<&'static str>),
            _ => argument,
        })
        .mut_subcommands(without_empty_variables)
}

/// The version, with the commit if the build was told.
pub(crate) fn version() -> String {
    let number = env!("CARGO_PKG_VERSION");
    match option_env!("WEIR_COMMIT") {
        Some(commit) => format!("{number} ({commit})"),
        None => number.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_command_ends_its_help_with_three_examples() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            let examples = help.lines().filter(|line| line.starts_with("  ")).count();
            assert_eq!(examples, 3, "examples of \"{}\"", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&CommandLine::command());
    }
}
