//! A real log file of 100 MB in over stdin, and back out byte for byte, per key in order.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::harness::{Setup, alone, mib, run, temporary};

const BYTES: usize = 100_000_000;
const PATIENCE: Duration = Duration::from_mins(2);

/// The lines of what logs this machine has, else of the project's own license.
fn log_lines() -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    gather(Path::new("/var/log"), &mut files);
    files.sort();
    let mut text = Vec::new();
    for file in files {
        if let Ok(bytes) = fs::read(&file)
            && std::str::from_utf8(&bytes).is_ok()
        {
            text.extend_from_slice(&bytes);
        }
    }
    if text.len() < 10_000 {
        println!("no logs can be read here: the license's text serves");
        let license = Path::new(env!("CARGO_MANIFEST_DIR")).join("../LICENSE");
        text.extend(fs::read(license).expect("the project has a license"));
    }
    let lines = text.split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

/// Log files of at most 4 MiB, two folders deep.
fn gather(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let Ok(about) = fs::metadata(&path) else {
            continue;
        };
        if about.is_dir() && folder == Path::new("/var/log") {
            gather(&path, files);
        } else if about.is_file() && about.len() <= 4 << 20 {
            files.push(path);
        }
    }
}

/// What `--key-regex 'status (\S+)'` finds, without regular expressions.
fn key(line: &[u8]) -> &[u8] {
    let before = b"status ";
    let mut at = 0;
    while let Some(found) = line[at..].windows(before.len()).position(|w| w == before) {
        let start = at + found + before.len();
        let rest = &line[start..];
        let end = rest
            .iter()
            .position(u8::is_ascii_whitespace)
            .unwrap_or(rest.len());
        if end > 0 {
            return &rest[..end];
        }
        at = start;
    }
    b"-"
}

fn by_key<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HashMap<&'a [u8], Vec<&'a [u8]>> {
    let mut keys: HashMap<_, Vec<_>> = HashMap::new();
    for line in lines {
        keys.entry(key(line)).or_default().push(line);
    }
    keys
}

#[test]
fn a_hundred_megabytes_of_logs_come_back_byte_for_byte() {
    let _machine = alone();
    let folder = temporary("log-file");
    let victim = Setup::new(folder.path())
        .with("--segment-bytes", "16MiB")
        .start_on(2);
    run(
        &mut victim.stream(&["create", "logs", "--shards", "4"]),
        [],
        PATIENCE,
    )
    .succeeded();

    let lines = log_lines();
    let mut input = Vec::with_capacity(BYTES + 4096);
    for (number, line) in (1..).zip(lines.iter().cycle()) {
        input.extend_from_slice(format!("{number} ").as_bytes());
        input.extend_from_slice(line);
        input.push(b'\n');
        if input.len() >= BYTES {
            break;
        }
    }
    let began = Instant::now();
    let put = ["put", "logs", "--key-regex", r"status (\S+)"];
    let put = run(&mut victim.stream(&put), input.clone(), PATIENCE).succeeded();
    let put_took = began.elapsed();
    assert!(put.stderr.contains("all acknowledged"), "{}", put.stderr);
    assert!(
        put.stdout.is_empty(),
        "data goes to stdout, and there is none"
    );

    let began = Instant::now();
    let tail = ["tail", "logs", "--from", "trim-horizon"];
    let tail = run(&mut victim.stream(&tail), [], PATIENCE).succeeded();
    let tail_took = began.elapsed();
    assert_eq!(
        tail.stdout.len(),
        input.len(),
        "as many bytes come out: {}",
        tail.stderr
    );

    let split = |text: &'static [u8]| {
        text.strip_suffix(b"\n")
            .unwrap_or(text)
            .split(|b| *b == b'\n')
    };
    let (input, output): (&'static [u8], &'static [u8]) = (input.leak(), tail.stdout.leak());
    let (sent, got) = (by_key(split(input)), by_key(split(output)));
    assert_eq!(sent.len(), got.len());
    let mut count = 0;
    for (key, sent) in &sent {
        let got = got.get(key).map_or(&[][..], Vec::as_slice);
        let differs = sent.iter().zip(got).position(|(sent, got)| sent != got);
        let key = String::from_utf8_lossy(key);
        assert_eq!(differs, None, "key {key:?}: the first difference");
        assert_eq!(sent.len(), got.len(), "key {key:?}");
        count += sent.len();
    }
    println!(
        "{count} lines, {} MiB, {} keys: put in {put_took:?}, tail in {tail_took:?}",
        mib(input.len() as u64),
        sent.len()
    );
    victim.stop();
}
