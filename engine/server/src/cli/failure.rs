//! How a command ends when it does not end well: one sentence and an exit code.

use std::fmt;
use std::process::ExitCode;

/// Why a command failed, and what it says to the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// 1: could not run; 2: bad usage; 3: ran, but not all was as asked; 5: data wrong.
    pub exit: u8,
    /// One sentence for a person.
    pub text: String,
    /// The server takes no more connections now; another try may do.
    pub is_busy: bool,
}

impl Failure {
    /// The command could not run, or not to its end.
    pub fn could_not_run(text: impl Into<String>) -> Self {
        Self {
            exit: 1,
            text: text.into(),
            is_busy: false,
        }
    }

    /// The server takes no more connections now.
    pub fn busy(server: &str) -> Self {
        Self {
            is_busy: true,
            ..Self::could_not_run(format!(
                "the server at {server} is busy: too many connections or stopping"
            ))
        }
    }

    /// The command line makes no sense.
    pub fn usage(text: impl Into<String>) -> Self {
        Self {
            exit: 2,
            text: text.into(),
            is_busy: false,
        }
    }

    /// The command ran, and something was refused.
    pub fn refused(text: impl Into<String>) -> Self {
        Self {
            exit: 3,
            text: text.into(),
            is_busy: false,
        }
    }

    /// Data was damaged.
    pub fn data_wrong(text: impl Into<String>) -> Self {
        Self {
            exit: 5,
            text: text.into(),
            is_busy: false,
        }
    }

    /// The code for the shell.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}
