//! Changes that nobody sees through.
//!
//! A change puts a stream on its way (CREATING, UPDATING, DELETING), and whoever asked for it has the
//! rest done. When the catalog can neither be written nor read, it is not known whether the change was
//! made, and who asked is told of an error. If the file, once it can be opened again, holds the change
//! after all, a core has to be found that sees it through: or else it stayed on its way until a restart.

use weir_protocol::model::StreamId;

use super::model::Model;
use crate::stream::Stream;

#[derive(Debug, Default)]
pub(crate) struct Unfollowed {
    /// As they would be, had the change been made.
    unknown: Vec<Stream>,
    found: Vec<StreamId>,
}

impl Unfollowed {
    /// Whoever asked for this was told of an error, and it may be written.
    pub(super) fn may_be_written(&mut self, stream: Stream) {
        self.unknown.push(stream);
    }

    /// The model is what the file holds.
    pub(super) fn look(&mut self, model: &Model) {
        let unknown = std::mem::take(&mut self.unknown);
        let made = unknown.iter().filter(|stream| model.holds(stream));
        self.found.extend(made.map(|stream| stream.id));
    }

    /// Somebody sees the stream through.
    pub(super) fn is_followed(&mut self, stream: StreamId) {
        self.found.retain(|found| *found != stream);
    }

    /// Streams that a core is to be told to see through.
    pub(super) fn take(&mut self) -> Vec<StreamId> {
        std::mem::take(&mut self.found)
    }
}
