//! The server's process: started, asked, killed, always reaped.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::commands::{signal, weir};

/// How long a start may take; recovery after a kill is part of it.
const START_PATIENCE: Duration = Duration::from_mins(1);
/// How long a stop may take: 5 s of drain, and closing.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// How to start a server.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    folder: PathBuf,
    flags: Vec<OsString>,
    launcher: Vec<OsString>,
}

/// A server that did not come up.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
}

impl Setup {
    /// One core, segments of 4 MiB, 512 MiB of memory; data in `folder`/data, what it logs beside it.
    pub(crate) fn new(folder: &Path) -> Self {
        let flags = ["--memory", "512MiB", "--segment-bytes", "4MiB"];
        Self {
            folder: folder.to_owned(),
            flags: flags.iter().map(Into::into).collect(),
            launcher: Vec::new(),
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Gives a flag its value, in place of one it had.
    pub(crate) fn with(mut self, flag: &str, value: &str) -> Self {
        match self.flags.iter().position(|given| given == flag) {
            Some(at) => self.flags[at + 1] = value.into(),
            None => self.flags.extend([flag.into(), value.into()]),
        }
        self
    }

    /// Gives a flag that has no value.
    pub(crate) fn switch(mut self, flag: &str) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Starts the server through another program, which gets its path and arguments.
    pub(crate) fn through(mut self, launcher: Vec<OsString>) -> Self {
        self.launcher = launcher;
        self
    }

    fn command(&self, cores: u32) -> Command {
        let mut command = weir([]);
        if let [program, arguments @ ..] = self.launcher.as_slice() {
            let mut launched = Command::new(program);
            launched.args(arguments).arg(command.get_program());
            command = launched;
        }
        command.args(["serve", "--cores", &cores.to_string()]);
        for flag in ["--http", "--wire", "--admin"] {
            if !self.flags.iter().any(|given| given == flag) {
                command.args([flag, "127.0.0.1:0"]);
            }
        }
        command.arg("--data-dir").arg(self.data());
        command.args(&self.flags);
        command
    }

    /// Starts it on `cores` cores and waits until it is ready.
    #[track_caller]
    pub(crate) fn start_on(&self, cores: u32) -> Victim {
        match self.try_start_on(cores) {
            Ok(victim) => victim,
            Err(ended) => panic!("the server ended with {:?}: {}", ended.code, ended.said),
        }
    }

    /// Starts it on one core and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(&self) -> Victim {
        self.start_on(1)
    }

    /// Starts it and does not wait for anything.
    pub(crate) fn spawn_on(&self, cores: u32) -> Starting {
        let log = self.folder.join("server.log");
        let stderr = File::options().create(true).append(true).open(&log);
        let logged = fs::metadata(&log).map_or(0, |about| about.len());
        let spawned = self
            .command(cores)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr.expect("the test's folder can be written"))
            .spawn();
        let mut child = spawned.expect("the program under test was built");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (to, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Read on although nobody listens: a full pipe would stop the server.
                let _ = to.send(line);
            }
        });
        Starting {
            process: Process { child, lines },
            data: self.data(),
            log,
            logged,
        }
    }

    /// Starts it and waits until it is ready, or has ended.
    pub(crate) fn try_start_on(&self, cores: u32) -> Result<Victim, Ended> {
        self.spawn_on(cores).ready()
    }
}

/// A process and the lines it prints; reaped when dropped.
#[derive(Debug)]
struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    /// Waits until it has ended: its stdout closes then.
    #[track_caller]
    fn ended(&mut self, patience: Duration) -> ExitStatus {
        loop {
            match self.lines.recv_timeout(patience) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return self.child.wait().expect("it is our child");
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("the server did not end within {patience:?}")
                }
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that was started and is not known to be ready.
#[derive(Debug)]
pub(crate) struct Starting {
    process: Process,
    data: PathBuf,
    log: PathBuf,
    /// Where this life begins in the log.
    logged: u64,
}

impl Starting {
    /// SIGKILL, at once.
    pub(crate) fn kill(mut self) {
        self.process.child.kill().expect("it can be killed");
        self.process.ended(STOP_PATIENCE);
    }

    fn said(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let from = (self.logged as usize).min(text.len());
        String::from_utf8_lossy(&text[from..]).into_owned()
    }

    fn ready(mut self) -> Result<Victim, Ended> {
        match self.process.lines.recv_timeout(START_PATIENCE) {
            Ok(line) => {
                let [http, wire, admin] = endpoints(&line);
                Ok(Victim {
                    starting: self,
                    http,
                    https: address(&line, "kinesis-tls=https://"),
                    wire,
                    admin,
                })
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.process.ended(STOP_PATIENCE);
                Err(Ended {
                    code: status.code(),
                    said: self.said(),
                })
            }
            Err(RecvTimeoutError::Timeout) => {
                panic!(
                    "the server was not ready within {START_PATIENCE:?}: {}",
                    self.said()
                )
            }
        }
    }
}

/// Addresses out of "weir ready: kinesis=http://A binary=B admin=http://C ...".
fn endpoints(line: &str) -> [SocketAddr; 3] {
    ["kinesis=http://", "binary=", "admin=http://"].map(|label| {
        address(line, label).unwrap_or_else(|| panic!("no {label} in the ready line: {line}"))
    })
}

fn address(line: &str, label: &str) -> Option<SocketAddr> {
    let word = line.split(' ').find_map(|word| word.strip_prefix(label));
    word.and_then(|word| word.parse().ok())
}

/// A server that is ready.
#[derive(Debug)]
pub(crate) struct Victim {
    starting: Starting,
    pub(crate) http: SocketAddr,
    /// Where TLS listens, if it does.
    pub(crate) https: Option<SocketAddr>,
    pub(crate) wire: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Victim {
    /// SIGKILL: nothing in the process runs after this.
    pub(crate) fn kill(mut self) {
        self.starting
            .process
            .child
            .kill()
            .expect("it can be killed");
        self.starting.process.ended(STOP_PATIENCE);
    }

    /// SIGTERM, and waits for the end it asks for.
    #[track_caller]
    pub(crate) fn terminate(mut self) -> Ended {
        self.signal("TERM");
        let status = self.starting.process.ended(STOP_PATIENCE);
        Ended {
            code: status.code(),
            said: self.starting.said(),
        }
    }

    /// SIGTERM, and everything in order.
    #[track_caller]
    pub(crate) fn stop(self) {
        let ended = self.terminate();
        assert_eq!(ended.code, Some(0), "{}", ended.said);
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.starting.process.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(&self.starting.process.child, name);
    }

    /// Where it keeps its data.
    pub(crate) fn data(&self) -> &Path {
        &self.starting.data
    }

    /// What this life has logged.
    pub(crate) fn said(&self) -> String {
        self.starting.said()
    }

    /// A `weir stream` command against this server.
    pub(crate) fn stream(&self, arguments: &[&str]) -> Command {
        let mut command = weir(["stream"].into_iter().chain(arguments.iter().copied()));
        command.args(["--server", &self.wire.to_string()]);
        command
    }

    /// Status and body of a page of the admin port.
    pub(crate) fn admin_page(&self, path: &str) -> (u16, String) {
        get(self.admin, path)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if thread::panicking() {
            let said = self.said();
            let lines: Vec<_> = said.lines().rev().take(20).collect();
            eprintln!("the server's last lines:");
            for line in lines.iter().rev() {
                eprintln!("  {line}");
            }
        }
    }
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).expect("the admin port takes connections");
    let patience = Some(Duration::from_secs(10));
    socket
        .set_read_timeout(patience)
        .expect("a socket has a timeout");
    let request = format!("GET {path} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n");
    socket
        .write_all(request.as_bytes())
        .expect("the request is sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer comes");
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.expect("an HTTP status"), body.to_owned())
}
