//! What connections take, and give back.

use std::collections::{HashMap, HashSet};

use super::homes::Homes;
use crate::net::source::Source;

/// What is taken at present.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Without those that have a kept place, among the strangers.
    pub(super) all: Count,
    /// Only sources with connections are in here.
    pub(super) sources: HashMap<Source, Count>,
    /// Bytes buffered for strangers.
    pub(super) memory: usize,
    /// Where users are.
    pub(super) homes: Homes,
    /// Connections in places kept for users, on which nobody is logged in.
    pub(super) kept: usize,
    /// Bytes buffered for those.
    pub(super) kept_memory: usize,
    /// Sources from which connections have come too fast since the last sweep.
    loud: HashSet<Source>,
}

/// So many of those are remembered.
const MOST_LOUD: usize = 4096;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    pub(super) connections: usize,
    pub(super) strangers: usize,
}

/// Whose place a connection has while nobody is logged in on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A stranger's.
    Stranger,
    /// One kept for users who come back.
    Kept,
}

impl Places {
    /// A connection that is there.
    pub(super) fn enter(&mut self, source: Source, place: Place) {
        add(&mut self.all.connections);
        let own = self.sources.entry(source).or_default();
        add(&mut own.connections);
        add(&mut own.strangers);
        match place {
            Place::Stranger => add(&mut self.all.strangers),
            Place::Kept => {
                add(&mut self.kept);
                self.homes.take(&source);
            }
        }
    }

    /// It is no stranger any more, for whom so many bytes are buffered.
    pub(super) fn settle(&mut self, source: &Source, place: Place, held: usize) {
        let memory = self.memory(place);
        *memory = memory.saturating_sub(held);
        if let Some(own) = self.sources.get_mut(source) {
            take(&mut own.strangers);
        }
        match place {
            Place::Stranger => take(&mut self.all.strangers),
            Place::Kept => {
                take(&mut self.kept);
                self.homes.give_back(source);
            }
        }
    }

    /// It is gone.
    pub(super) fn leave(&mut self, source: &Source) {
        take(&mut self.all.connections);
        if let Some(own) = self.sources.get_mut(source) {
            take(&mut own.connections);
            if own.connections == 0 {
                self.sources.remove(source);
            }
        }
    }

    /// Whether connections of a source have come too fast of late.
    pub(super) fn is_loud(&self, source: &Source) -> bool {
        self.loud.contains(source)
    }

    /// They do.
    pub(super) fn note_loud(&mut self, source: Source) {
        if self.loud.len() < MOST_LOUD {
            self.loud.insert(source);
        }
    }

    /// Forgets which sources those were.
    pub(super) fn forget_loud(&mut self) {
        self.loud = HashSet::new();
    }

    /// Bytes buffered for all in such places.
    pub(super) fn memory(&mut self, place: Place) -> &mut usize {
        match place {
            Place::Stranger => &mut self.memory,
            Place::Kept => &mut self.kept_memory,
        }
    }
}

fn add(count: &mut usize) {
    *count = count.saturating_add(1);
}

fn take(count: &mut usize) {
    *count = count.saturating_sub(1);
}
