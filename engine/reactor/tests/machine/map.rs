//! Maps: nothing may be touched that was not populated, and what was populated is right.

use std::rc::Rc;

use weir_reactor::{Disk, File, Map, Reactor};

use super::{folder, on_core};

#[test]
fn populated_ranges_are_resident_and_right() {
    let folder = folder();
    on_core(folder.path().to_owned(), |reactor| async move {
        let bytes = (1 << 20) + 4_096;
        reactor
            .disk()
            .create_written("a", bytes as u64)
            .await
            .unwrap();
        let file = reactor.disk().open("a").await.unwrap();
        let mut buffer = file.buffer(bytes);
        for (index, byte) in buffer.as_mut().iter_mut().enumerate() {
            *byte = (index / 4_096) as u8;
        }
        file.write(Rc::new(buffer), 0).await.unwrap();
        file.forget_pages().await.unwrap();

        let map = file.map().await.unwrap().expect("the real disk has maps");
        assert!(!map.is_resident(0..1), "nothing was populated");
        map.populate(70_000..200_000).await.unwrap();
        assert!(map.is_resident(70_000..200_000));
        assert!(!map.is_resident(0..bytes));
        assert!(!map.is_resident(200_000..400_000));
        for (index, &byte) in map.slice(70_000..200_000).iter().enumerate() {
            assert_eq!(byte, ((index + 70_000) / 4_096) as u8);
        }
        map.populate(0..bytes).await.unwrap();
        assert!(map.is_resident(0..bytes));
        assert!(map.is_resident(bytes..bytes));
        assert_eq!(map.slice(bytes - 1..bytes), [0]);
    });
}

#[test]
fn a_page_past_the_end_is_an_error_where_a_touch_would_kill() {
    let folder = folder();
    let path = folder.path().join("a");
    on_core(folder.path().to_owned(), move |reactor| {
        let path = path.clone();
        async move {
            reactor.disk().create_written("a", 1 << 20).await.unwrap();
            let file = reactor.disk().open("a").await.unwrap();
            let map = file.map().await.unwrap().unwrap();
            // What a foreign hand may do to a data folder.
            std::fs::OpenOptions::new()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(65_536)
                .unwrap();
            map.populate(0..65_536).await.unwrap();
            let error = map.populate(131_072..262_144).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(5), "{error}");
            assert!(!map.is_resident(131_072..262_144));
        }
    });
}
