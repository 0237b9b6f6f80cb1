//! Files: what was written is read, errors are typed, half-made files never show.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;

use weir_reactor::{BlockingDisk, BlockingFile, Buffer, Disk, File, Lane, PlainDisk, Reactor};

use super::{folder, on_core};

const FILE_BYTES: u64 = 4 << 20;

#[test]
fn written_bytes_are_read_back() {
    let folder = folder();
    let path = folder.path().to_owned();
    on_core(path, |reactor| async move {
        let disk = reactor.disk();
        disk.make_folder("log/0").await.unwrap();
        disk.create_written("log/0/a", FILE_BYTES).await.unwrap();
        let file = disk.open("log/0/a").await.unwrap();
        assert_eq!(file.bytes(), FILE_BYTES);
        for (bytes, fill) in [
            (4_096_usize, 1_u8),
            (512 << 10, 2),
            (2 << 20, 3),
            (12_288, 4),
        ] {
            let mut buffer = file.buffer(bytes + 4_096);
            buffer.as_mut().fill(fill);
            buffer.truncate(bytes);
            file.write(Rc::new(buffer), 8_192).await.unwrap();
            let read = file.read(8_192, bytes).await.unwrap();
            assert!(read.as_ref().iter().all(|&byte| byte == fill), "{bytes}");
        }
        let zeros = file.read(FILE_BYTES - 4_096, 4_096).await.unwrap();
        assert_eq!(zeros.as_ref(), [0; 4_096]);
        file.flush().await.unwrap();
        file.forget_pages().await.unwrap();
        file.close().await.unwrap();
    });
}

#[test]
fn four_writes_in_flight_all_land() {
    let folder = folder();
    on_core(folder.path().to_owned(), |reactor| async move {
        reactor
            .disk()
            .create_reserved("a", FILE_BYTES)
            .await
            .unwrap();
        let file = Rc::new(reactor.disk().open("a").await.unwrap());
        let before = reactor.monotonic();
        let write = |block: u64| {
            let file = Rc::clone(&file);
            async move {
                let mut buffer = file.buffer(65_536);
                buffer.as_mut().fill(block as u8 + 1);
                file.write(Rc::new(buffer), block * 65_536).await.unwrap();
            }
        };
        for group in 0..16 {
            let first = group * 4;
            futures_util::join!(
                write(first),
                write(first + 1),
                write(first + 2),
                write(first + 3)
            );
        }
        let took = reactor.monotonic().since(before);
        assert!(took.as_secs() < 30, "64 writes took {took:?}");
        let read = file.read(0, FILE_BYTES as usize).await.unwrap();
        for (block, bytes) in read.as_ref().chunks(65_536).enumerate() {
            assert!(
                bytes.iter().all(|&byte| byte == block as u8 + 1),
                "block {block}"
            );
        }
    });
}

#[test]
fn errors_are_typed_and_leave_nothing_behind() {
    let folder = folder();
    let path = folder.path().to_owned();
    on_core(path, |reactor| async move {
        let disk = reactor.disk();
        let kind = |error: std::io::Error| error.kind();
        assert_eq!(
            disk.open("no").await.map(drop).map_err(kind),
            Err(ErrorKind::NotFound)
        );
        assert_eq!(
            disk.list("no").await.map_err(kind),
            Err(ErrorKind::NotFound)
        );
        assert_eq!(
            disk.remove("no").await.map_err(kind),
            Err(ErrorKind::NotFound)
        );
        let space = disk.space().await.unwrap();
        let large = disk
            .create_reserved("large", space.total.next_multiple_of(4_096) * 2)
            .await;
        assert_eq!(large.map_err(kind), Err(ErrorKind::StorageFull));
        disk.create_written("a", 8_192).await.unwrap();
        assert_eq!(
            disk.create_written("a", 8_192).await.map_err(kind),
            Err(ErrorKind::AlreadyExists)
        );
        let found = disk.list("").await.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].name.as_str(), found[0].bytes, found[0].is_folder),
            ("a", 8_192, false)
        );
        disk.remove("a").await.unwrap();
        assert_eq!(disk.list("").await.unwrap(), []);
    });
}

#[test]
fn a_created_file_has_all_its_blocks_and_is_private() {
    let folder = folder();
    on_core(folder.path().to_owned(), |reactor| async move {
        reactor
            .disk()
            .create_written("written", FILE_BYTES + 4_096)
            .await
            .unwrap();
        reactor
            .disk()
            .create_reserved("reserved", FILE_BYTES)
            .await
            .unwrap();
    });
    for name in ["written", "reserved"] {
        let about = std::fs::metadata(folder.path().join(name)).unwrap();
        assert!(about.blocks() * 512 >= about.len(), "{name}");
        assert_eq!(about.mode() & 0o777, 0o600, "{name}");
    }
}

#[test]
fn lanes_run_and_sleeps_end() {
    let folder = folder();
    on_core(folder.path().to_owned(), |reactor| async move {
        let (done, finished) = weir_reactor::mailbox(4);
        let mut finished = finished;
        for lane in [Lane::Network, Lane::Commit, Lane::Read, Lane::Background] {
            let (worker, done) = (reactor.clone(), done.clone());
            reactor.spawn(lane, async move {
                worker.sleep(std::time::Duration::from_millis(3)).await;
                worker.yield_now().await;
                done.send(worker.core()).unwrap();
            });
        }
        for _ in 0..4 {
            assert_eq!(finished.receive().await, Some(0));
        }
        assert_ne!(reactor.random(), reactor.random());
    });
}

#[test]
fn plain_files_for_the_catalog() {
    let folder = folder();
    let disk = PlainDisk::new(folder.path());
    assert!(!disk.exists("catalog").unwrap());
    let file = disk.create("catalog").unwrap();
    assert_eq!(
        disk.create("catalog").unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    file.write_at(10, b"words").unwrap();
    file.set_bytes(100).unwrap();
    file.sync().unwrap();
    disk.rename("catalog", "other").unwrap();
    let again = disk.open("other").unwrap();
    assert_eq!(again.bytes().unwrap(), 100);
    let mut read = [1; 8];
    again.read_at(8, &mut read).unwrap();
    assert_eq!(&read, b"\0\0words\0");
    assert!(again.read_at(96, &mut read).is_err());
    disk.remove("other").unwrap();
    assert!(!disk.exists("other").unwrap());
}
