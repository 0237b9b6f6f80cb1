//! What subscriptions cost, by hand:
//! `cargo test -p weir-gateway --test session --release -- --ignored --nocapture fan_out_speed`.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use weir_stream::SubscriptionTimes;

use crate::fan_out::{create, latest, put, register};
use crate::rig::Server;
use crate::subscriber::Subscriber;

/// Processor time that the cores' threads have had, from the kernel's accounts.
fn cores_busy() -> Duration {
    let mut nanos = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        if name.starts_with("core-") {
            let account = std::fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            let busy = account.split(' ').next().unwrap_or("0");
            nanos += busy.parse::<u64>().unwrap_or(0);
        }
    }
    Duration::from_nanos(nanos)
}

fn share_of_a_core(over: Duration) -> f64 {
    let before = cores_busy();
    let began = Instant::now();
    std::thread::sleep(over);
    let busy = cores_busy().checked_sub(before).unwrap();
    busy.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0
}

#[test]
#[ignore = "a measurement, not a test"]
fn a_thousand_idle_subscriptions() {
    const OVER: Duration = Duration::from_secs(20);
    let server = Server::start_with(1, Duration::ZERO, SubscriptionTimes::default());
    let mut client = server.connect();
    create(&mut client, 50);
    let none = share_of_a_core(OVER);
    let resident = weir_reactor::resident_memory_bytes().unwrap();
    let mut open = Vec::new();
    for consumer in 0..20 {
        let arn = register(&server, &format!("app{consumer}"));
        for shard in 0..50 {
            open.push(Subscriber::open(&server, &arn, shard, latest()));
        }
    }
    let thousand = share_of_a_core(OVER);
    let more = weir_reactor::resident_memory_bytes().unwrap() - resident;
    println!(
        "idle: {none:.2} % of a core without subscriptions, {thousand:.2} % with {}; {} KiB each",
        open.len(),
        more / 1024 / open.len() as u64
    );
}

#[test]
#[ignore = "a measurement, not a test"]
fn from_a_put_to_a_waiting_subscriber() {
    const PUTS: usize = 3_000;
    for cores in [1, 2] {
        let server = Server::start_with(cores, Duration::ZERO, SubscriptionTimes::default());
        let mut client = server.connect();
        create(&mut client, 1);
        let arn = register(&server, "app");
        let mut events = Subscriber::open(&server, &arn, 0, latest());
        let (sent, came) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            for _ in 0..PUTS {
                events.next_records();
                sent.send(Instant::now()).unwrap();
            }
        });
        let (mut puts, mut beyond) = (Vec::new(), Vec::new());
        for nth in 0..PUTS {
            let began = Instant::now();
            put(&mut client, 0, 1, &nth.to_string());
            let answered = Instant::now();
            let event = came.recv().unwrap();
            puts.push(answered.duration_since(began));
            beyond.push(event.saturating_duration_since(answered));
        }
        thread.join().unwrap();
        puts.sort_unstable();
        beyond.sort_unstable();
        for (what, times) in [("PutRecord", &puts), ("event beyond it", &beyond)] {
            println!(
                "{cores} cores, {what}: p50 {:?}, p99 {:?}, max {:?}",
                times[PUTS / 2],
                times[PUTS * 99 / 100],
                times[PUTS - 1]
            );
        }
    }
}
