//! A disk that fills up: appends are refused, reads go on, nothing acknowledged is lost, and room
//! made by deleting is used. Needs root and a loop device for a disk of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use weir_protocol::wire::error::ErrorCode;
use weir_protocol::wire::request::Request;
use weir_protocol::wire::response::StreamDescription;

use super::{connect, holds};
use crate::harness::{Load, Plan, Setup, Shape, Victim, alone, mib, name, temporary, wait_for};

const DISK_BYTES: u64 = 320 << 20;

/// A small ext4 in a file, mounted until dropped.
struct SmallDisk {
    mount: PathBuf,
}

impl SmallDisk {
    /// `None` where this process may not mount.
    fn new(folder: &Path) -> Option<Self> {
        let image = folder.join("disk.img");
        let mount = folder.join("mount");
        File::create(&image).unwrap().set_len(DISK_BYTES).unwrap();
        std::fs::create_dir(&mount).unwrap();
        let does = |program: &str, arguments: &[&Path]| {
            let output = Command::new(program).args(arguments).output();
            output.is_ok_and(|output| output.status.success())
        };
        let made = does("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), &image]);
        if !made || !does("mount", &["-o".as_ref(), "loop".as_ref(), &image, &mount]) {
            return None;
        }
        Some(Self { mount })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.mount).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
        }
    }
}

fn plan(victim: &Victim, stream: &StreamDescription, number: u64) -> Plan {
    Plan {
        address: victim.wire,
        stream: stream.clone(),
        number,
        connections: 1,
        in_flight: 4,
        shape: Shape {
            records: 50..=50,
            bytes: 1_000..=1_000,
        },
        bytes_per_second: Some(60_000_000),
    }
}

#[test]
fn a_full_disk_refuses_appends_and_loses_nothing() {
    let _machine = alone();
    let folder = temporary("full-disk");
    let Some(disk) = SmallDisk::new(folder.path()) else {
        println!("skipped: needs root, mkfs.ext4 and a loop device");
        return;
    };
    let setup = Setup::new(&disk.mount);
    let victim = setup.start();
    let filler = connect(&victim).create("filler", 2);
    let kept = connect(&victim).create("kept", 2);
    let small = Load::start(&plan(&victim, &kept, 1));
    small.wait_until_it_began();
    let small = small.stop();
    let load = Load::start(&plan(&victim, &filler, 2));
    wait_for("a full disk", Duration::from_mins(1), || {
        (load.refused() > 0).then_some(())
    });
    let (status, body) = victim.admin_page("/readyz");
    assert!(status == 503 && body.contains("full"), "{status} {body}");
    let noted = load.stop();
    assert!(
        noted.broken.is_empty(),
        "the server lives: {:?}",
        noted.broken
    );
    let codes: Vec<_> = noted.refused.keys().collect();
    assert_eq!(codes, [&ErrorCode::DiskFull], "{:?}", noted.refused);
    println!(
        "{} MiB acknowledged on a disk of {} MiB",
        mib(noted.bytes),
        mib(DISK_BYTES)
    );
    holds(&victim, &filler, &noted);
    holds(&victim, &kept, &small);

    // Killed on a full disk, it starts on a full disk, and everything is there.
    victim.kill();
    let victim = setup.start();
    let filler = connect(&victim).describe("filler");
    let kept = connect(&victim).describe("kept");
    holds(&victim, &filler, &noted);
    holds(&victim, &kept, &small);

    // Room that a deletion makes is used.
    let delete = Request::Delete(name("filler"));
    let deleted = connect(&victim).call(&delete, |response| format!("{response:?}"));
    assert_eq!(deleted.unwrap(), "Deleted");
    wait_for(
        "a server that is ready again",
        Duration::from_secs(30),
        || (victim.admin_page("/readyz").0 == 200).then_some(()),
    );
    let load = Load::start(&plan(&victim, &kept, 3));
    load.wait_until_it_began();
    let more = load.stop();
    assert!(
        more.refused.is_empty() && !more.stored.is_empty(),
        "{:?}",
        more.refused
    );
    holds(&victim, &kept, &small);
    holds(&victim, &kept, &more);
    victim.stop();
}

/// Nobody tells the server that somebody else made room; it has to look by itself, and appends that
/// were refused are taken again without a restart.
#[test]
fn room_that_somebody_else_frees_is_found() {
    let _machine = alone();
    let folder = temporary("freed-disk");
    let Some(disk) = SmallDisk::new(folder.path()) else {
        println!("skipped: needs root, mkfs.ext4 and a loop device");
        return;
    };
    let ballast = disk.mount.join("ballast");
    let written = std::fs::write(&ballast, vec![1; 64 << 20]);
    written.expect("the disk is empty yet");
    let victim = Setup::new(&disk.mount).start();
    let stream = connect(&victim).create("filler", 2);
    let load = Load::start(&plan(&victim, &stream, 1));
    wait_for("a full disk", Duration::from_mins(1), || {
        (load.refused() > 0).then_some(())
    });
    let noted = load.stop();
    assert!(noted.broken.is_empty(), "{:?}", noted.broken);
    assert_eq!(victim.admin_page("/readyz").0, 503);

    std::fs::remove_file(&ballast).expect("the ballast is ours");
    let freed = Instant::now();
    // The promise is a second on a machine that has nothing else to do.
    wait_for(
        "a server that takes appends",
        Duration::from_secs(10),
        || (victim.admin_page("/readyz").0 == 200).then_some(()),
    );
    println!("ready {:?} after there was room", freed.elapsed());
    let load = Load::start(&plan(&victim, &stream, 2));
    load.wait_until_it_began();
    let more = load.stop();
    assert!(more.refused.is_empty(), "{:?}", more.refused);
    holds(&victim, &stream, &noted);
    holds(&victim, &stream, &more);
    victim.stop();
}
