//! Ends the log in good order, so that the next start has nothing to recover.

use weir_protocol::model::Position;
use weir_reactor::Reactor;

use crate::discipline::Discipline;
use crate::log::{Log, Mode};

impl<R: Reactor, D: Discipline> Log<R, D> {
    /// Refuses further appends, waits until what was taken in is durable, and seals the log. If a
    /// write fails on the way, the log is left as it is and the next start recovers it.
    pub async fn close(&self) {
        let end = {
            let mut state = self.inner.state.borrow_mut();
            if state.mode != Mode::Open {
                state.mode = Mode::Closed;
                drop(state);
                return self.notify_all();
            }
            state.mode = Mode::Closing;
            self.close_open_frame(&mut state, false);
            state
                .closed
                .back()
                .map(|f| crate::append::end_of(&f.header))
                .or_else(|| {
                    state
                        .in_flight
                        .back()
                        .map(|f| crate::append::end_of(&f.header))
                })
                .unwrap_or(state.durable)
        };
        self.notify_all();
        if self.wait_durable(end).await.is_ok() {
            let end = self.write_last_frame();
            if self.wait_durable(end).await.is_ok() {
                self.seal_everything(end).await;
            }
        }
        self.inner.state.borrow_mut().mode = Mode::Closed;
        self.notify_all();
    }

    /// Ends the segment as a roll does, with a frame that says so and whose mark covers all before
    /// it: without it, rot in the trailer and in the newest records would look like a torn tail.
    fn write_last_frame(&self) -> Position {
        let mut state = self.inner.state.borrow_mut();
        if state.mode != Mode::Closing {
            return state.durable;
        }
        self.open_empty_frame(&mut state);
        self.close_open_frame(&mut state, true);
        let frame = state.closed.back().expect("it was just closed");
        let end = crate::append::end_of(&frame.header);
        drop(state);
        self.inner.kick.notify();
        end
    }

    async fn seal_everything(&self, end: Position) {
        // The sealing task may be at work on an older segment: let it finish those.
        loop {
            let seen = self.inner.seal.count();
            {
                let state = self.inner.state.borrow();
                if state.mode != Mode::Closing {
                    return;
                }
                if state.segments.len() == 1 {
                    break;
                }
            }
            self.inner.seal.after(seen).await;
        }
        {
            let mut state = self.inner.state.borrow_mut();
            assert_eq!(
                state.durable,
                end.max(state.durable),
                "nothing was appended meanwhile"
            );
            // From here on the sealing task must leave the last segment to us.
            state.mode = Mode::Closed;
            self.end_active(&mut state);
        }
        if let Err(error) = self.seal_oldest(true).await {
            tracing::warn!(log = self.inner.log.0, %error, "not closed cleanly");
        }
    }

    fn notify_all(&self) {
        let inner = &self.inner;
        for event in [
            &inner.kick,
            &inner.room,
            &inner.seal,
            &inner.pool,
            &inner.pool_ready,
            &inner.quiet,
        ] {
            event.notify();
        }
        let mut state = inner.state.borrow_mut();
        for shard in state.shards.values_mut() {
            shard.wake();
        }
        if state.mode == Mode::Closed {
            state.waiters.wake_all();
        }
    }
}
