//! The pair of sections about lists whose order does not matter: which values were added and
//! removed, by place. The add-on makes them for collections and scenes.

use std::cmp::Ordering;

use super::apply::read_path;
use super::document::{self, Document, whole};
use super::lists::equal;
use super::path::{self, Path};
use super::twice::Seen;
use super::{DeltaError, ELEMENT, Work};
use crate::wire::pickle::{Dict, Items, KeySet, Value, is_hashable};

/// What it takes to look an element up among those that come and go, as so many elements moved.
const PLACED: usize = 2 * ELEMENT;

/// Both sections, path by path.
pub(super) fn rebuild(
    document: &mut Document,
    added: Dict,
    removed: Dict,
) -> Result<(), DeltaError> {
    let more = removed
        .iter()
        .filter(|(path, _)| added.get_key(path).is_none());
    let paths: Vec<Value> = added
        .iter()
        .chain(more)
        .map(|(path, _)| path.clone())
        .collect();
    let paths = lists(document, &paths)?;
    document.alike &= !any_inside(&paths);
    let mut seen = Seen::default();
    for (text, path) in paths {
        let added = entries(&added, text)?;
        let removed = entries(&removed, text)?;
        let Some(object) = document.find(&path.elements)? else {
            document.alike = false;
            continue;
        };
        let (Value::List(old) | Value::Tuple(old)) = &object else {
            return Err(DeltaError::Raises("elements of what is no list"));
        };
        // Each is looked through, whether it can be hashed and what it is then, and gets a place.
        document::weigh(&object, &mut document.work)?;
        document.work.spend(old.len().saturating_mul(PLACED))?;
        document.work.spend(removed.len())?;
        for (_, value) in &added {
            document.work.make(1)?;
            document::weigh(value, &mut document.work)?;
            // Everybody has the same now, but the sender would not after the next change.
            document.alike &= !seen.again(value);
        }
        let new = merge(document, old, &added, &removed)?;
        let new = match &object {
            Value::Tuple(_) => Value::Tuple(new),
            _ => Value::List(new),
        };
        // A tuple around it is not thawed here.
        match path.split() {
            None => document.root = new,
            Some((parent, element)) => {
                let parent = document::find_mut(&mut document.root, parent);
                document.alike &= parent.is_some_and(|o| document::put(o, element, new));
            }
        }
    }
    Ok(())
}

/// The paths as they are read.
fn lists<'a>(
    document: &mut Document,
    paths: &'a [Value],
) -> Result<Vec<(&'a Value, Path)>, DeltaError> {
    let mut read = Vec::with_capacity(paths.len());
    for path in paths {
        // To sort them takes as much again.
        document.work.spend(path::cost(path))?;
        read.push((path, path_of_list(document, path)?));
    }
    Ok(read)
}

/// Whether one of the lists is in another, or is it. Versions 5.x take them in the order of a set, which is
/// another in each process, and what one leads to hangs on whether the other has been changed.
fn any_inside(paths: &[(&Value, Path)]) -> bool {
    let mut sorted: Vec<&[Value]> = paths.iter().map(|(_, path)| &*path.elements).collect();
    sorted.sort_by(|one, two| {
        let mut pairs = one.iter().zip(*two).map(|(one, two)| order(one, two));
        let differ = pairs.find(|order| order.is_ne());
        differ.unwrap_or_else(|| one.len().cmp(&two.len()))
    });
    // All that begins with a path comes right after it.
    sorted.windows(2).any(|pair| match pair {
        [one, two] => {
            one.len() <= two.len()
                && one
                    .iter()
                    .zip(*two)
                    .all(|(one, two)| order(one, two).is_eq())
        }
        _ => false,
    })
}

/// Some order of elements, in which what may lead to the same is equal.
fn order(one: &Value, two: &Value) -> Ordering {
    match (one, two) {
        (Value::Str(one), Value::Str(two)) => one.as_bytes().cmp(two.as_bytes()),
        (Value::Str(_), _) => Ordering::Less,
        (_, Value::Str(_)) => Ordering::Greater,
        _ => match (place(one), place(two)) {
            (Some(one), Some(two)) => one.cmp(&two),
            (one, two) => one.is_some().cmp(&two.is_some()),
        },
    }
}

/// An element as a place that is counted from the start. Others are few, and count as one.
fn place(element: &Value) -> Option<i64> {
    whole(element).filter(|at| *at >= 0)
}

/// deepdiff reads these paths with an element more, which some that are not closed swallow.
fn path_of_list(document: &mut Document, path: &Value) -> Result<Path, DeltaError> {
    let text = path.as_str().unwrap_or_default();
    let read = read_path(document, path)?;
    let longer = Path::parse(&Value::str(format!("{text}[0]")))?;
    match longer.split() {
        Some((list, Value::Int(0))) if list == read.elements => Ok(read),
        _ => Err(DeltaError::Path(text.to_owned())),
    }
}

fn entries(section: &Dict, path: &Value) -> Result<Dict, DeltaError> {
    match section.get_key(path) {
        None => Ok(Dict::new()),
        Some(Value::Dict(entries)) => Ok(entries.clone()),
        Some(_) => Err(DeltaError::Raises("places in a list that are no dict")),
    }
}

/// The new list: added values at their places, between them the old ones that stay.
fn merge(
    document: &mut Document,
    old: &[Value],
    added: &Dict,
    removed: &Dict,
) -> Result<Items, DeltaError> {
    let values = Values::of(added)?;
    let mut staying = Vec::with_capacity(old.len());
    for (place, item) in old.iter().enumerate() {
        // Those that were added come back at their new places.
        if values.hold(item, &mut document.work)? {
            continue;
        }
        let place = Value::Int(i64::try_from(place).unwrap_or(i64::MAX));
        if let Some(expected) = removed.get_key(&place) {
            if equal(item, expected, &mut document.work)? {
                continue;
            }
            document.alike = false;
        }
        staying.push(item.clone());
    }
    let mut added = Added::of(added);
    let mut staying = staying.into_iter();
    let mut new = Vec::with_capacity(old.len());
    while let Some(item) = added.take(new.len()).or_else(|| staying.next()) {
        new.push(item);
    }
    // What has no place goes to the end, but an entry whose turn comes goes first.
    while added.is_any_left() {
        document.alike = false;
        new.extend(added.take(new.len()).or_else(|| added.take_first()));
    }
    Ok(new.into())
}

/// What was added to a list and is not in its new place yet.
struct Added<'a> {
    by_place: &'a Dict,
    values: Vec<Option<Value>>,
    /// Before it nothing is left.
    first: usize,
}

impl<'a> Added<'a> {
    fn of(by_place: &'a Dict) -> Self {
        let values = by_place.iter().map(|(_, value)| Some(value.clone()));
        Self {
            by_place,
            values: values.collect(),
            first: 0,
        }
    }

    /// The value that belongs in a place.
    fn take(&mut self, place: usize) -> Option<Value> {
        let place = Value::Int(i64::try_from(place).ok()?);
        let at = self.by_place.place_of(&place)?;
        self.values.get_mut(at)?.take()
    }

    /// Whether there is any, which comes first then.
    fn is_any_left(&mut self) -> bool {
        let left = self.values.get(self.first..).unwrap_or_default();
        let gone = left.iter().take_while(|value| value.is_none()).count();
        self.first = self.first.saturating_add(gone);
        self.first < self.values.len()
    }

    fn take_first(&mut self) -> Option<Value> {
        self.values.get_mut(self.first)?.take()
    }
}

/// The values added to a list. deepdiff knows the hashable ones by `==`, the others by a hash of
/// its own, to which the order in lists and repetitions mean nothing.
struct Values {
    keys: KeySet,
    others: Vec<Value>,
}

impl Values {
    fn of(added: &Dict) -> Result<Self, DeltaError> {
        let values = added.iter().map(|(_, value)| value.clone());
        let (keys, others): (Vec<_>, Vec<_>) = values.partition(is_hashable);
        if others.iter().any(has_binary) {
            return Err(DeltaError::Raises("bytes in a list without order"));
        }
        let keys = KeySet::of(&keys).ok_or(DeltaError::Unclear("sets in a list without order"))?;
        Ok(Self { keys, others })
    }

    fn hold(&self, item: &Value, work: &mut Work) -> Result<bool, DeltaError> {
        if is_hashable(item) {
            return Ok(self.keys.contains(item));
        }
        // deepdiff hashes it as text.
        if has_binary(item) {
            return Err(DeltaError::Raises("bytes in a list without order"));
        }
        for other in &self.others {
            document::weigh(item, work)?;
            document::weigh(other, work)?;
            if other == item {
                return Ok(true);
            }
            if may_hash_alike(other, item, work)? {
                return Err(DeltaError::Unclear(
                    "values that differ in their order alone",
                ));
            }
        }
        Ok(false)
    }
}

/// Whether deepdiff's hash may take two different values for the same: a coarser look than its.
fn may_hash_alike(one: &Value, two: &Value, work: &mut Work) -> Result<bool, DeltaError> {
    let mut pending = vec![(one, two)];
    while let Some((one, two)) = pending.pop() {
        work.spend(1)?;
        let like = match (one, two) {
            (Value::List(one), Value::List(two)) | (Value::Tuple(one), Value::Tuple(two)) => {
                // The same elements in another number or order: compared by their scalars only.
                work.spend(one.len().saturating_add(two.len()))?;
                one.is_empty() == two.is_empty() && scalars_match(one, two, work)?
            }
            (Value::Dict(one), Value::Dict(two)) => {
                for (key, value) in one {
                    if key.as_str().is_some_and(|key| key.starts_with("__")) {
                        continue;
                    }
                    match two.get_key(key) {
                        Some(other) => pending.push((value, other)),
                        None => return Ok(false),
                    }
                }
                let public = |dict: &Dict| {
                    let private = |key: &Value| key.as_str().is_some_and(|k| k.starts_with("__"));
                    dict.iter().filter(|(key, _)| !private(key)).count()
                };
                public(one) == public(two)
            }
            (Value::Set(one), Value::Set(two)) => one.is_empty() == two.is_empty(),
            (Value::ByteArray(_), _) | (_, Value::ByteArray(_)) => true,
            (one, two) if is_hashable(one) && is_hashable(two) => {
                one == two || equal(one, two, work)? || is_nan(one) && is_nan(two)
            }
            _ => false,
        };
        if !like {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether each hashable element of one list is in the other.
fn scalars_match(one: &[Value], two: &[Value], work: &mut Work) -> Result<bool, DeltaError> {
    for (some, others) in [(one, two), (two, one)] {
        for item in some
            .iter()
            .filter(|item| is_hashable(item) && !is_nan(item))
        {
            let mut found = false;
            for other in others {
                found = equal(item, other, work)?;
                if found {
                    break;
                }
            }
            if !found {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn is_nan(value: &Value) -> bool {
    matches!(value, Value::Float(float) if float.is_nan())
}

/// Whether there are bytes in it that are no UTF-8.
fn has_binary(value: &Value) -> bool {
    let mut pending = vec![value];
    while let Some(value) = pending.pop() {
        match value {
            Value::Bytes(bytes) | Value::ByteArray(bytes)
                if std::str::from_utf8(bytes).is_err() =>
            {
                return true;
            }
            _ => value.push_inside(&mut pending),
        }
    }
    false
}
