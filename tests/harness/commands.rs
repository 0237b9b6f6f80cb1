//! Commands that end by themselves, within a time.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// What a command said, and its exit code; `None` if a signal ended it.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Panics with what it said unless it ended with 0.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(
            self.code,
            Some(0),
            "stdout: {}\nstderr: {}",
            self.text(),
            self.stderr
        );
        self
    }

    /// Panics unless it ended with `code` and one sentence on stderr that holds `said`.
    #[track_caller]
    pub(crate) fn refused(self, code: i32, said: &str) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout: {}\nstderr: {}",
            self.text(),
            self.stderr
        );
        assert!(
            self.stderr.contains(said),
            "expected {said:?} in: {}",
            self.stderr
        );
        assert!(
            !self.stderr.contains("panicked"),
            "a panic is no refusal: {}",
            self.stderr
        );
        self
    }
}

/// The program under test with `arguments`.
pub(crate) fn weir<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_victim"));
    command.args(arguments);
    // A developer's settings are not the test's.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"WEIR_") {
            command.env_remove(name);
        }
    }
    command
}

fn collect(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (to, collected) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is what there is to show.
        let _ = from.read_to_end(&mut bytes);
        let _ = to.send(bytes);
    });
    collected
}

/// Runs `command` with `input` on stdin to its end, which must come within `patience`.
#[track_caller]
pub(crate) fn run(command: &mut Command, input: impl Into<Vec<u8>>, patience: Duration) -> Ran {
    let until = Instant::now() + patience;
    let spawned = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let program = command.get_program().display().to_string();
    let mut child = spawned.unwrap_or_else(|error| panic!("{program}: {error}"));
    let input = input.into();
    let mut stdin = child.stdin.take().expect("stdin is piped");
    thread::spawn(move || {
        // A command may end without reading all of it.
        let _ = stdin.write_all(&input);
    });
    let stdout = collect(child.stdout.take().expect("stdout is piped"));
    let stderr = collect(child.stderr.take().expect("stderr is piped"));
    let left = |until: Instant| until.saturating_duration_since(Instant::now());
    let ended = stdout.recv_timeout(left(until)).and_then(|stdout| {
        let stderr = stderr.recv_timeout(left(until))?;
        Ok((stdout, stderr))
    });
    let Ok((stdout, stderr)) = ended else {
        end(&mut child);
        panic!("{command:?} did not end within {patience:?}");
    };
    let status = child.wait().expect("it is our child");
    Ran {
        code: status.code(),
        stdout,
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Sends a signal ("TERM", "INT", "STOP") to a process that we started and have not waited for.
pub(crate) fn signal(child: &Child, name: &str) {
    let line = format!("kill -s {name} {}", child.id());
    let status = Command::new("sh").args(["-c", &line]).status();
    assert!(status.is_ok_and(|status| status.success()), "{line}");
}
