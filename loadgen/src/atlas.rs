//! The shard map that the load works by, and how it gets a newer one.
//!
//! Owns: one thread that asks the server for the map when a worker was told that a shard is closed,
//! so that no worker waits for an answer. Never: what a worker does with the map.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mio::Waker;
use weir_protocol::model::{StreamId, StreamName};
use weir_protocol::wire::hello::CORE_ANY;
use weir_protocol::wire::response::StreamDescription;

use crate::client::control::Control;
use crate::shards::Map;

/// Between two looks at a map that is not yet the one the server spoke of.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// The newest map, for all threads.
pub(crate) struct Atlas {
    version: AtomicU32,
    current: Mutex<Arc<Map>>,
    /// One for each worker that sleeps on its sockets.
    wakers: Mutex<Vec<Waker>>,
}

/// Whose map it is, and where it is asked for.
pub(crate) struct Source<'a> {
    pub(crate) server: SocketAddr,
    pub(crate) name: &'a StreamName,
    pub(crate) id: StreamId,
    pub(crate) timeout: Duration,
}

impl Atlas {
    pub(crate) fn new(map: Map) -> Self {
        Self {
            version: AtomicU32::new(map.version),
            current: Mutex::new(Arc::new(map)),
            wakers: Mutex::new(Vec::new()),
        }
    }

    /// Version of the newest map: one load, for every turn of a worker's loop.
    pub(crate) fn version(&self) -> u32 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn current(&self) -> Arc<Map> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has a worker woken when there is a newer map.
    pub(crate) fn watch(&self, waker: Waker) {
        self.wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(waker);
    }

    /// Gets maps as they are asked for, by their least version, until nobody can ask any more.
    pub(crate) fn keep(&self, source: &Source<'_>, wanted: &Receiver<u32>) -> Result<(), String> {
        while let Ok(version) = wanted.recv() {
            if version <= self.version() {
                continue;
            }
            let stream = source.map(version)?;
            let map = Arc::new(self.current().redrawn(&stream));
            *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&map);
            self.version.store(map.version, Ordering::Release);
            let wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            for waker in wakers.iter() {
                // A worker that cannot be woken looks by itself soon.
                let _ = waker.wake();
            }
        }
        Ok(())
    }
}

impl Source<'_> {
    /// The stream as it is now.
    pub(crate) fn stream(&self) -> Result<StreamDescription, String> {
        let described = Control::connect(self.server, CORE_ANY, self.timeout)
            .and_then(|mut control| control.describe(self.name));
        match described {
            Ok(Some(stream)) if stream.id == self.id => Ok(stream),
            Ok(_) => Err(format!("stream {} was deleted during the run", self.name)),
            Err(error) => Err(format!("the shard map cannot be had: {error}")),
        }
    }

    /// The stream by a map of `version` or later. The server speaks of a version when all its cores
    /// have it, so the first look finds it.
    fn map(&self, version: u32) -> Result<StreamDescription, String> {
        let give_up = Instant::now() + self.timeout;
        loop {
            let stream = self.stream()?;
            if stream.map_version >= version {
                return Ok(stream);
            }
            if Instant::now() >= give_up {
                return Err(format!(
                    "a shard was closed by map {version}, and the server still shows map {}",
                    stream.map_version
                ));
            }
            std::thread::sleep(LOOK_PAUSE);
        }
    }
}
