//! How the cores come to know what exists.
//!
//! Owns: which cores take publications, and the two steps of each. Never: what is published.

use std::sync::Arc;

use weir_reactor::{BlockingDisk, oneshot};

use super::control::ControlPlane;
use crate::cross_core::{CoreAddress, Present, Publication, PublicationStep};

/// How far a core is in its life.
pub(crate) enum CoreState {
    /// It opens its log, which may ask for the catalog: nobody may wait for it. It takes what
    /// exists when it has.
    Starting(CoreAddress),
    /// It takes publications.
    Listening(CoreAddress),
    /// It takes no more.
    Closed,
}

impl CoreState {
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

impl<D: BlockingDisk> ControlPlane<D> {
    /// What a core begins with; whatever comes later is published to it.
    pub(super) fn core_starts(&mut self, core: u32) -> Present {
        let state = &mut self.cores[core as usize];
        if let CoreState::Starting(address) = state {
            *state = CoreState::Listening(address.clone());
        }
        Present {
            streams: self.model.snapshot(),
            number: self.publications,
        }
    }

    /// Gives the present snapshot to every core that listens and waits until all work by it.
    pub(super) async fn publish(&mut self) {
        let streams = self.model.snapshot();
        self.publications += 1;
        let number = self.publications;
        // Once; if no core listens, the next time.
        let listens = |core: &CoreState| matches!(core, CoreState::Listening(_));
        let mut unfollowed = if self.cores.iter().any(listens) {
            self.unfollowed.take()
        } else {
            Vec::new()
        };
        for step in [PublicationStep::Home, PublicationStep::Show] {
            let mut taken = Vec::new();
            for core in &self.cores {
                let CoreState::Listening(address) = core else {
                    continue;
                };
                let (seen, wait) = oneshot();
                // A core that is gone does not take it; `wait` says so below.
                address
                    .publications
                    .send(Publication {
                        streams: Arc::clone(&streams),
                        number,
                        step,
                        unfollowed: match step {
                            PublicationStep::Home => Vec::new(),
                            PublicationStep::Show => std::mem::take(&mut unfollowed),
                        },
                        seen,
                    })
                    .ok();
                taken.push(wait);
            }
            for wait in taken {
                wait.await.ok();
            }
        }
    }
}
