//! Lists of events on their way from the ports to the session, in memory that is used again.
//!
//! A connection sends one with every few messages, and each would be given back to the system at
//! once by an allocator that keeps nothing of that size (musl's): an eighth of the CPU for small
//! messages.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::event::Event;

/// Events of one list, as a rule.
const USUAL: usize = 32;
/// Lists that wait for the next events: about what one read of a socket brings.
const KEPT: usize = 32;
/// Only lists with room for the usual number to this one are kept.
const LONGEST: usize = 2 * USUAL;

static SPARE: Mutex<Vec<Vec<Event>>> = Mutex::new(Vec::new());

fn spare() -> MutexGuard<'static, Vec<Vec<Event>>> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Events of one peer in their order. Takes no memory while there are none.
#[derive(Debug, Default)]
pub struct Events(Vec<Event>);

impl Events {
    /// Adds one.
    pub fn push(&mut self, event: Event) {
        if self.0.capacity() == 0 {
            let unused = spare().pop();
            self.0 = unused.unwrap_or_else(|| Vec::with_capacity(USUAL));
        }
        self.0.push(event);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Event> {
        self.0.iter_mut()
    }

    /// Takes all of them out.
    pub fn drain(&mut self) -> impl Iterator<Item = Event> {
        self.0.drain(..)
    }
}

impl From<Vec<Event>> for Events {
    fn from(events: Vec<Event>) -> Self {
        Self(events)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut list = std::mem::take(&mut self.0);
        list.clear();
        if is_kept(&list) {
            keep(list, &mut spare());
        }
    }
}

fn is_kept(list: &Vec<Event>) -> bool {
    (USUAL..=LONGEST).contains(&list.capacity())
}

fn keep(list: Vec<Event>, spare: &mut Vec<Vec<Event>>) {
    if spare.len() < KEPT {
        spare.push(list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(events: usize) -> Events {
        let mut list = Events::default();
        (0..events).for_each(|_| list.push(Event::Drained));
        list
    }

    #[test]
    fn a_list_is_used_again_without_what_was_in_it() {
        // Other tests may take it first, but not each time.
        let is_used_again = (0..100).any(|_| {
            let first = list(USUAL);
            let at = first.0.as_ptr();
            drop(first);
            let second = list(1);
            assert_eq!(second.0.len(), 1);
            second.0.as_ptr() == at
        });
        assert!(is_used_again);
    }

    #[test]
    fn few_lists_are_kept_and_no_long_ones() {
        let lists: Vec<_> = (0..2 * KEPT).map(|_| list(LONGEST + 1)).collect();
        drop(lists);
        assert!(spare().iter().all(is_kept));
        assert!(is_kept(&Vec::with_capacity(USUAL)));
        assert!(!is_kept(&Vec::new()));

        let mut spare = Vec::new();
        for kept in 1..=2 * KEPT {
            keep(Vec::with_capacity(USUAL), &mut spare);
            assert_eq!(spare.len(), kept.min(KEPT));
        }
    }
}
