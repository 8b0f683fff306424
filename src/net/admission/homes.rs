//! Where users are: places kept for their links that come back, however many strangers there are.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::net::source::Source;

/// Sources that links of users come from, or came from a while ago.
#[derive(Debug, Default)]
pub(super) struct Homes(HashMap<Source, Home>);

#[derive(Debug)]
struct Home {
    /// Links of users.
    links: usize,
    /// The most there were at a time: so many may come back at once.
    most: usize,
    /// Kept places that are taken.
    taken: usize,
    /// When the last link ended.
    left: Instant,
}

impl Homes {
    /// Whether a place is kept for one more connection of this source: there are so many besides
    /// those of its links, until its last link ended so long ago.
    pub(super) fn has_place(&self, source: &Source, besides: usize, keep: Duration) -> bool {
        self.0.get(source).is_some_and(|home| {
            home.is_known(keep) && home.taken < home.most.saturating_add(besides)
        })
    }

    /// Takes such a place.
    pub(super) fn take(&mut self, source: &Source) {
        if let Some(home) = self.0.get_mut(source) {
            home.taken = home.taken.saturating_add(1);
        }
    }

    /// Gives it back.
    pub(super) fn give_back(&mut self, source: &Source) {
        if let Some(home) = self.0.get_mut(source) {
            home.taken = home.taken.saturating_sub(1);
        }
    }

    /// A user has one more link from there. No more than `most` sources are remembered, which has
    /// to be as many as there may be connections.
    pub(super) fn link(&mut self, source: Source, most: usize) {
        if self.0.len() >= most && !self.0.contains_key(&source) {
            self.0.retain(|_, home| home.is_in_use());
        }
        let home = self.0.entry(source).or_insert_with(|| Home {
            links: 0,
            most: 0,
            taken: 0,
            left: Instant::now(),
        });
        home.links = home.links.saturating_add(1);
        home.most = home.most.max(home.links);
    }

    /// A user has one link less.
    pub(super) fn unlink(&mut self, source: &Source) {
        if let Some(home) = self.0.get_mut(source) {
            home.links = home.links.saturating_sub(1);
            home.left = Instant::now();
        }
    }

    /// Forgets sources whose last link ended so long ago.
    pub(super) fn sweep(&mut self, keep: Duration) {
        self.0
            .retain(|_, home| home.is_in_use() || home.is_known(keep));
        self.0.shrink_to_fit();
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Home {
    fn is_known(&self, keep: Duration) -> bool {
        self.links > 0 || self.left.elapsed() < keep
    }

    fn is_in_use(&self) -> bool {
        self.links > 0 || self.taken > 0
    }
}
