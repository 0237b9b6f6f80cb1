//! `tail` as people leave it running: it follows, and ends clean on Ctrl-C and on a closed pipe.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::harness::{Setup, Victim, run, signal, temporary, wait_for};

const PATIENCE: Duration = Duration::from_secs(30);

fn put(victim: &Victim, line: &str) {
    let put = ["put", "live", "--key", "k"];
    run(&mut victim.stream(&put), format!("{line}\n"), PATIENCE).succeeded();
}

struct Following {
    child: Child,
    lines: Receiver<String>,
}

fn follow(victim: &Victim, flags: &[&str]) -> Following {
    let mut command = victim.stream(&[&["tail", "live", "--follow"], flags].concat());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program was built");
    let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let (to, lines) = channel();
    thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
    Following { child, lines }
}

impl Following {
    fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line comes")
    }

    /// Its exit code and what it said on stderr.
    fn ended(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        let stderr = self.child.stderr.as_mut().expect("stderr is piped");
        stderr.read_to_string(&mut said).expect("stderr is text");
        (self.child.wait().expect("it is our child").code(), said)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn follow_shows_lines_as_they_come_and_ends_clean_on_ctrl_c() {
    let folder = temporary("follow");
    let victim = Setup::new(folder.path()).with("--stream", "live:2").start();
    put(&victim, "before");
    let tail = follow(&victim, &["--from", "trim-horizon"]);
    assert_eq!(tail.next(), "before");
    put(&victim, "during");
    assert_eq!(tail.next(), "during");
    signal(&tail.child, "INT");
    let (code, said) = tail.ended();
    assert_eq!(
        (code, said.contains("panicked")),
        (Some(0), false),
        "{said}"
    );
    victim.stop();
}

/// `journalctl -f | weir stream put logs`: lines arrive although the input does not end.
#[test]
fn put_sends_lines_as_they_come_and_ends_with_its_input() {
    let folder = temporary("live-put");
    let victim = Setup::new(folder.path()).with("--stream", "live:2").start();
    let tail = follow(&victim, &["--from", "trim-horizon"]);
    let mut command = victim.stream(&["put", "live"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut put = command.spawn().expect("the program was built");
    let mut input = put.stdin.take().expect("stdin is piped");
    for number in 0..5 {
        writeln!(input, "line {number}").expect("put reads");
        assert_eq!(tail.next(), format!("line {number}"));
    }
    write!(input, "no newline").expect("put reads");
    drop(input);
    let output = put.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("6 records"),
        "{said}"
    );
    assert_eq!(tail.next(), "no newline");
    victim.stop();
}

/// All shards merged are the shards one by one, and a shard is named as AWS names it or by number.
#[test]
fn one_shard_is_part_of_all() {
    let folder = temporary("one-shard");
    let victim = Setup::new(folder.path())
        .with("--stream", "live:3")
        .start_on(2);
    let lines: String = ["alpha\n", "beta\n", "gamma\n"].concat().repeat(40);
    let put = ["put", "live", "--key-regex", ".*"];
    run(&mut victim.stream(&put), lines.clone(), PATIENCE).succeeded();
    let tail = |flags: &[&str]| {
        let arguments = [&["tail", "live", "--from", "trim-horizon"], flags].concat();
        run(&mut victim.stream(&arguments), [], PATIENCE)
            .succeeded()
            .text()
    };
    let mut parts = String::new();
    for shard in ["0", "shardId-000000000001", "2"] {
        parts += &tail(&["--shard", shard]);
    }
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&parts), sorted(&lines));
    assert_eq!(sorted(&tail(&[])), sorted(&lines));
    victim.stop();
}

#[test]
fn a_closed_pipe_ends_tail_clean() {
    let folder = temporary("pipe");
    let victim = Setup::new(folder.path()).with("--stream", "live:1").start();
    let line = "x".repeat(100_000);
    put(&victim, &line);
    let mut tail = follow(&victim, &["--from", "trim-horizon"]);
    assert_eq!(tail.next(), line);
    // Nobody reads from here on: the thread behind it ends with the next line, and the pipe with it.
    tail.lines = channel().1;
    let ended = wait_for("the end of tail", PATIENCE, || {
        put(&victim, &line);
        tail.child.try_wait().expect("it is our child")
    });
    assert_eq!(ended.code(), Some(0));
    victim.stop();
}

#[test]
fn a_server_that_goes_ends_tail_with_a_sentence() {
    let folder = temporary("gone");
    let victim = Setup::new(folder.path()).with("--stream", "live:1").start();
    put(&victim, "last");
    let tail = follow(&victim, &["--from", "trim-horizon"]);
    assert_eq!(tail.next(), "last");
    victim.kill();
    let (code, said) = tail.ended();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.starts_with("weir: ") && said.lines().count() == 1,
        "{said}"
    );
}
