//! Deltas of our own making: from one document to another, in words that every version of
//! deepdiff understands alike.

use std::mem::{Discriminant, discriminant};

use super::path::join;
use crate::wire::pickle::{Dict, Value};

/// Deeper than this whole values are replaced.
const DEPTH: usize = 64;
/// So many changes are replaced by one of the whole document, or of the part they are in.
const CHANGES: usize = 10_000;

/// A delta that turns one document into another: values and keys, never elements of lists, which
/// versions treat differently. What the documents share costs nothing.
pub fn difference(old: &Value, new: &Value) -> Value {
    let mut found = Found::default();
    if !found.compare(old, new) || found.count > CHANGES {
        found = Found::default();
        found.set("root", new);
    }
    found.into_delta()
}

#[derive(Default)]
struct Found {
    changed: Dict,
    added: Dict,
    removed: Dict,
    count: usize,
    /// Kinds of element at each depth of the paths in `removed`: deepdiff cannot sort mixed ones.
    kinds: Vec<Discriminant<Value>>,
}

/// Two values to compare, where they are, and the kinds of element on the way there.
struct Pair<'a> {
    path: String,
    kinds: Vec<Discriminant<Value>>,
    old: &'a Value,
    new: &'a Value,
}

impl Found {
    /// Whether all differences could be told.
    fn compare(&mut self, old: &Value, new: &Value) -> bool {
        let mut pending = vec![Pair {
            path: "root".to_owned(),
            kinds: Vec::new(),
            old,
            new,
        }];
        while let Some(pair) = pending.pop() {
            if self.count > CHANGES {
                return false;
            }
            // Shared parts are equal at a glance.
            if pair.old == pair.new {
                continue;
            }
            let before = pending.len();
            let inside = pair.kinds.len() < DEPTH
                && match (pair.old, pair.new) {
                    (Value::Dict(old), Value::Dict(new)) => {
                        self.dicts(&pair, old, new, &mut pending)
                    }
                    (Value::List(old), Value::List(new)) if old.len() == new.len() => {
                        lists(&pair, old, new, &mut pending)
                    }
                    _ => false,
                };
            if !inside {
                pending.truncate(before);
                self.set(&pair.path, pair.new);
            }
        }
        true
    }

    /// Adds the differences of two dicts; `false` if the one must be replaced by the other.
    fn dicts<'a>(
        &mut self,
        pair: &Pair<'a>,
        old: &'a Dict,
        new: &'a Dict,
        pending: &mut Vec<Pair<'a>>,
    ) -> bool {
        let gone: Vec<_> = old
            .iter()
            .filter(|(key, _)| new.get_key(key).is_none())
            .collect();
        let mut staying = old.iter().filter(|(key, _)| new.get_key(key).is_some());
        // Keys keep their order, and new ones come last.
        let mut entries = new.iter();
        let kept = old.len().saturating_sub(gone.len());
        for (key, value) in entries.by_ref().take(kept) {
            let Some((old_key, old)) = staying.next() else {
                return false;
            };
            // (`1` and `True` are one key, but not the same.)
            if old_key != key {
                return false;
            }
            if old == value {
                continue;
            }
            let Some(next) = pair.child(key, old, value) else {
                return false;
            };
            pending.push(next);
            if pending.len() > CHANGES {
                return false;
            }
        }
        let mut added = Vec::new();
        for (key, value) in entries {
            let Some(path) = join(&pair.path, key) else {
                return false;
            };
            added.push((path, value));
        }
        let mut removed = Vec::new();
        for (key, value) in gone {
            let Some(path) = join(&pair.path, key) else {
                return false;
            };
            if !self.can_sort(&pair.kinds, key) {
                return false;
            }
            removed.push((path, value));
        }
        self.count = self
            .count
            .saturating_add(added.len())
            .saturating_add(removed.len());
        for (path, value) in added {
            self.added.insert(path, value.clone());
        }
        for (path, value) in removed {
            self.removed.insert(path, value.clone());
        }
        true
    }

    /// Whether a removed path has the same kinds of element as those before it.
    fn can_sort(&mut self, kinds: &[Discriminant<Value>], key: &Value) -> bool {
        let kinds = kinds.iter().copied().chain([discriminant(key)]);
        for (depth, kind) in kinds.enumerate() {
            match self.kinds.get(depth) {
                Some(known) if *known != kind => return false,
                Some(_) => {}
                None => self.kinds.push(kind),
            }
        }
        true
    }

    fn set(&mut self, path: &str, new: &Value) {
        self.count = self.count.saturating_add(1);
        self.changed
            .insert(path, Dict::new().with("new_value", new.clone()));
    }

    fn into_delta(self) -> Value {
        let sections = [
            ("values_changed", self.changed),
            ("dictionary_item_added", self.added),
            ("dictionary_item_removed", self.removed),
        ];
        let used = sections
            .into_iter()
            .filter(|(_, entries)| !entries.is_empty());
        Value::Dict(used.collect())
    }
}

/// Compares lists of one length element by element.
fn lists<'a>(
    pair: &Pair<'a>,
    old: &'a [Value],
    new: &'a [Value],
    pending: &mut Vec<Pair<'a>>,
) -> bool {
    for (place, (old, new)) in old.iter().zip(new).enumerate() {
        if old == new {
            continue;
        }
        let place = Value::Int(i64::try_from(place).unwrap_or(i64::MAX));
        let Some(next) = pair.child(&place, old, new) else {
            return false;
        };
        pending.push(next);
        if pending.len() > CHANGES {
            return false;
        }
    }
    true
}

impl<'a> Pair<'a> {
    fn child(&self, key: &Value, old: &'a Value, new: &'a Value) -> Option<Self> {
        let mut kinds = self.kinds.clone();
        kinds.push(discriminant(key));
        Some(Self {
            path: join(&self.path, key)?,
            kinds,
            old,
            new,
        })
    }
}
