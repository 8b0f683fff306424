//! Deltas of our own making: from one document to another, in words that every version of
//! deepdiff understands alike.

use std::mem::{Discriminant, discriminant};

use super::path::join;
use super::size::size;
use crate::wire::pickle::{Dict, Value};

/// Deeper than this whole values are replaced.
const DEPTH: usize = 64;
/// So many changes are replaced by one of the whole document, or of the part they are in.
const CHANGES: usize = 10_000;
/// What an entry takes beside its path and its value.
const ENTRY: usize = 16;
/// Bytes it may take to name the changes in a part, however small the part is.
const LOCAL: usize = 4 << 10;
/// Bytes by which a delta may be larger than the document.
const SLACK: usize = 64 << 10;

/// A delta that turns one document into another: values and keys, never elements of lists, which
/// versions treat differently. What the documents share costs nothing, and no delta is larger than
/// the new document, but for a small constant: the path is written out for every change.
pub fn difference(old: &Value, new: &Value) -> Value {
    let mut found = Found::new(new);
    if found.compare(old, new) && !found.is_too_much() {
        // But for the names all of it is in the document.
        let is_small = found.named <= SLACK;
        let delta = found.into_delta();
        if is_small || size(&delta, usize::MAX) <= most(new) {
            return delta;
        }
    }
    let mut whole = Found::new(new);
    whole.set("root", new);
    whole.into_delta()
}

/// What a delta to a document may take.
fn most(new: &Value) -> usize {
    size(new, usize::MAX).saturating_add(SLACK)
}

struct Found<'a> {
    whole: &'a Value,
    changed: Dict,
    added: Dict,
    removed: Dict,
    count: usize,
    /// Bytes of what is not in the new document: paths, those to be compared yet included, and
    /// values that are gone.
    named: usize,
    /// The most they may be, if that had to be found out.
    most: Option<usize>,
    /// Kinds of element at each depth of the paths in `removed`: deepdiff cannot sort mixed ones.
    kinds: Vec<Discriminant<Value>>,
    /// The same text for all entries, which is written once then.
    new_value: Value,
}

/// Two values to compare, where they are, and the kinds of element on the way there.
struct Pair<'a> {
    path: String,
    kinds: Vec<Discriminant<Value>>,
    old: &'a Value,
    new: &'a Value,
}

/// What it takes to name the changes in one part.
struct Names<'a> {
    part: &'a Value,
    bytes: usize,
    /// The most it may be, if that had to be found out.
    most: Option<usize>,
}

impl<'a> Found<'a> {
    fn new(whole: &'a Value) -> Self {
        Self {
            whole,
            changed: Dict::new(),
            added: Dict::new(),
            removed: Dict::new(),
            count: 0,
            named: 0,
            most: None,
            kinds: Vec::new(),
            new_value: Value::str("new_value"),
        }
    }

    /// Whether all differences could be told.
    fn compare(&mut self, old: &'a Value, new: &'a Value) -> bool {
        // Shared parts are equal at a glance.
        if old == new {
            return true;
        }
        let mut pending = vec![Pair {
            path: "root".to_owned(),
            kinds: Vec::new(),
            old,
            new,
        }];
        while let Some(pair) = pending.pop() {
            if self.is_too_much() {
                return false;
            }
            let before = pending.len();
            let mut names = Names::of(pair.new);
            let inside = pair.kinds.len() < DEPTH
                && match (pair.old, pair.new) {
                    (Value::Dict(old), Value::Dict(new)) => {
                        self.dicts(&pair, old, new, &mut pending, &mut names)
                    }
                    (Value::List(old), Value::List(new)) if old.len() == new.len() => {
                        lists(&pair, old, new, &mut pending, &mut names)
                    }
                    _ => false,
                };
            if inside {
                // Its parts are named in its place.
                self.named = self.named.saturating_sub(cost(&pair.path));
                self.named = self.named.saturating_add(names.bytes);
            } else {
                pending.truncate(before);
                self.set(&pair.path, pair.new);
            }
        }
        true
    }

    fn is_too_much(&mut self) -> bool {
        let whole = self.whole;
        self.count > CHANGES
            || self.named > SLACK && self.named > *self.most.get_or_insert_with(|| most(whole))
    }

    /// Adds the differences of two dicts; `false` if the one must be replaced by the other.
    fn dicts(
        &mut self,
        pair: &Pair<'a>,
        old: &'a Dict,
        new: &'a Dict,
        pending: &mut Vec<Pair<'a>>,
        names: &mut Names<'a>,
    ) -> bool {
        let gone = || old.iter().filter(|(key, _)| new.get_key(key).is_none());
        let mut staying = old.iter().filter(|(key, _)| new.get_key(key).is_some());
        // Keys keep their order, and new ones come last.
        let mut entries = new.iter();
        let kept = old.len().saturating_sub(gone().count());
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
            let Some(next) = pair.child(key, old, value, names) else {
                return false;
            };
            pending.push(next);
            if pending.len() > CHANGES {
                return false;
            }
        }
        let mut added = Vec::new();
        for (key, value) in entries {
            let Some(path) = pair.join(key, names) else {
                return false;
            };
            added.push((path, value));
            if added.len() > CHANGES {
                return false;
            }
        }
        let mut removed = Vec::new();
        for (key, value) in gone() {
            let Some(path) = pair.join(key, names) else {
                return false;
            };
            if !names.take(size(value, usize::MAX)) || !self.can_sort(&pair.kinds, key) {
                return false;
            }
            removed.push((path, value));
            if removed.len() > CHANGES {
                return false;
            }
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
            .insert(path, Dict::new().with(&self.new_value, new.clone()));
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
    names: &mut Names<'a>,
) -> bool {
    for (place, (old, new)) in old.iter().zip(new).enumerate() {
        if old == new {
            continue;
        }
        let place = Value::Int(i64::try_from(place).unwrap_or(i64::MAX));
        let Some(next) = pair.child(&place, old, new, names) else {
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
    /// `None` if it cannot be named alike, or if that takes too much.
    fn child(
        &self,
        key: &Value,
        old: &'a Value,
        new: &'a Value,
        names: &mut Names<'a>,
    ) -> Option<Self> {
        let path = self.join(key, names)?;
        let mut kinds = self.kinds.clone();
        kinds.push(discriminant(key));
        Some(Self {
            path,
            kinds,
            old,
            new,
        })
    }

    /// The path to something inside; `None` as above.
    fn join(&self, key: &Value, names: &mut Names<'a>) -> Option<String> {
        let path = join(&self.path, key)?;
        names.take(cost(&path)).then_some(path)
    }
}

fn cost(path: &str) -> usize {
    path.len().saturating_add(ENTRY)
}

impl<'a> Names<'a> {
    fn of(part: &'a Value) -> Self {
        Self {
            part,
            bytes: 0,
            most: None,
        }
    }

    /// Whether it is still better to name the changes than to replace the part.
    fn take(&mut self, bytes: usize) -> bool {
        let part = self.part;
        self.bytes = self.bytes.saturating_add(bytes);
        self.bytes <= LOCAL
            || self.bytes <= *self.most.get_or_insert_with(|| size(part, usize::MAX))
    }
}
