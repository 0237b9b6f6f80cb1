//! What is over, until the last core lets go of it.
//!
//! Owns: the count of those who still hold it. Never: new holders; whoever retires a thing has taken it
//! off every list, so that only those who hold it could pass it on.

use crate::sync::Arc;

/// Things that are over, and may still be held elsewhere.
pub struct Retiring<T> {
    held: Vec<Arc<T>>,
}

impl<T> Default for Retiring<T> {
    fn default() -> Self {
        Self { held: Vec::new() }
    }
}

impl<T> Retiring<T> {
    /// Waits for the others to let go of `thing`.
    pub fn push(&mut self, thing: Arc<T>) {
        self.held.push(thing);
    }

    /// Things that somebody may still hold.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether nothing is waited for.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Those that nobody else holds any more. All that others did with them is done, and seen here:
    /// a look at the count alone would not say so.
    pub fn take_free(&mut self) -> Vec<Arc<T>> {
        self.held
            .extract_if(.., |thing| Arc::get_mut(thing).is_some())
            .collect()
    }
}
