//! The server's log, on stderr: text for people or JSON lines for machines. Never record data.

use tracing_subscriber::EnvFilter;

use crate::cli::failure::Failure;
use crate::config::{Config, LogFormat};

/// Starts logging, and has a panic anywhere end the process: recovery is the tested path.
pub(crate) fn start(config: &Config) -> Result<(), Failure> {
    let filter = EnvFilter::builder()
        .parse(&config.log_level)
        .map_err(|error| Failure::usage(format!("--log-level {}: {error}", config.log_level)))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let color = std::io::IsTerminal::is_terminal(&std::io::stderr())
        && std::env::var_os("NO_COLOR").is_none();
    let started = match config.log {
        LogFormat::Text => log.with_ansi(color).with_target(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    // Somebody else in this process logs already: a test, or a program around us.
    drop(started);
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    Ok(())
}
