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
        if (USUAL..=LONGEST).contains(&list.capacity()) {
            let mut spare = spare();
            if spare.len() < KEPT {
                spare.push(list);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_lists_are_kept_and_none_of_what_was_in_them() {
        let lists = (0..2 * KEPT).map(|n| {
            let mut list = Events::default();
            let events = if n % 2 == 0 { USUAL } else { LONGEST + 1 };
            (0..events).for_each(|_| list.push(Event::Drained));
            assert!(!list.is_empty());
            list
        });
        let lists: Vec<_> = lists.collect();
        assert!(spare().len() <= KEPT);
        drop(lists);
        let spare = spare();
        assert!(spare.len() <= KEPT);
        let sizes = USUAL..=LONGEST;
        let good = |list: &Vec<Event>| list.is_empty() && sizes.contains(&list.capacity());
        assert!(!spare.is_empty() && spare.iter().all(good));
    }
}
