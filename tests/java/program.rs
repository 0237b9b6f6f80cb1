//! Our Java programs and moto, as processes whose lines are watched.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{run, wait_for, with_aws_environment};

const REGION: &str = "eu-central-1";
const COMPILE_PATIENCE: Duration = Duration::from_mins(3);

fn installed() -> PathBuf {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/java");
    assert!(
        place.join("installed").exists(),
        "this test needs AWS's Java clients: run ./scripts/test, which installs them"
    );
    place
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("java")
}

/// The folder of our classes, compiled once in a run of the tests.
fn classes() -> &'static Path {
    static CLASSES: OnceLock<PathBuf> = OnceLock::new();
    CLASSES.get_or_init(|| {
        let place = installed();
        let classes = place.join("classes");
        let folder = sources().join("src/weir");
        let files = fs::read_dir(folder).expect("the sources are there");
        let mut javac = Command::new("javac");
        javac
            .args(["-Xlint:all,-processing", "-Werror", "-d"])
            .arg(&classes)
            .arg("-cp")
            .arg(place.join("jars/*"))
            .args(files.flatten().map(|file| file.path()));
        run(&mut javac, [], COMPILE_PATIENCE).succeeded();
        classes
    })
}

/// `weir.NAME` of `src/`, with the credentials that every test uses.
pub(super) fn java(name: &str) -> Command {
    let mut command = Command::new("java");
    let jars = installed().join("jars/*");
    let path = format!("{}:{}", classes().display(), jars.display());
    // A small machine is shared with the server: one thread collects, one compiles.
    command
        .args(["-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg(format!(
            "-Dlogback.configurationFile={}",
            sources().join("logback.xml").display()
        ))
        .args(["-cp", &path, &format!("weir.{name}")]);
    with_aws_environment(&mut command, REGION);
    // The programs say themselves what is tried again.
    command.env_remove("AWS_MAX_ATTEMPTS");
    command
}

/// A process, the lines it prints, and its input; what it logs goes to a file. Reaped when dropped.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Program {
    /// Starts it; the log is `NAME.log` in `folder`.
    pub(super) fn start(command: &mut Command, folder: &Path, name: &str) -> Self {
        let log = folder.join(format!("{name}.log"));
        let stderr = File::create(&log).expect("the test's folder can be written");
        let spawned = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{name}: {error}"));
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (to, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Read on although nobody listens: a full pipe would stop the program.
                let _ = to.send(line);
            }
        });
        Self {
            input: child.stdin.take().expect("stdin is piped"),
            child,
            lines,
            log,
        }
    }

    /// The next line it prints; `None` if it has ended instead.
    #[track_caller]
    pub(super) fn line(&self, patience: Duration) -> Option<String> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("no line within {patience:?}: {}", self.logged())
            }
        }
    }

    pub(super) fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it listens");
    }

    /// The end of what it logged.
    pub(super) fn logged(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(&self.log) {
            // What can be read is what there is to show.
            let _ = file.read_to_end(&mut text);
        }
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().rev().take(60).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Panics unless it ends with 0 within `patience`.
    #[track_caller]
    pub(super) fn ends_well(mut self, patience: Duration) {
        let until = Instant::now() + patience;
        while let Some(line) = self.line(until.saturating_duration_since(Instant::now())) {
            println!("{line}");
        }
        let status = self.child.wait().expect("it is our child");
        assert_eq!(status.code(), Some(0), "{}", self.logged());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// moto: DynamoDB and `CloudWatch` for KCL, and where it listens.
pub(super) fn moto(folder: &Path) -> (Program, String) {
    let mut command = Command::new(installed().join("venv/bin/moto_server"));
    command.args(["-H", "127.0.0.1", "-p", "0"]);
    // Else its line waits in a buffer.
    command.env("PYTHONUNBUFFERED", "1");
    with_aws_environment(&mut command, REGION);
    let program = Program::start(&mut command, folder, "moto");
    let address = wait_for("moto's address", Duration::from_mins(1), || {
        let said = fs::read_to_string(&program.log).unwrap_or_default();
        let line = said.lines().find(|line| line.contains("Running on"))?;
        line.split_whitespace().last().map(str::to_owned)
    });
    (program, address)
}
