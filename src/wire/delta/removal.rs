//! The removal of elements and keys by their paths.
//!
//! deepdiff removes one after the other. So many may go of one list or dict that to close each gap on its own
//! would take longer than a delta may: what goes is noted, and goes when that can make no difference any more.

use std::collections::BTreeSet;
use std::mem;

use super::document::{self, Document, position, whole};
use super::lists::{equal, sorted};
use super::{DeltaError, Work};
use crate::wire::pickle::{Dict, Value};

/// `iterable_item_removed` and `dictionary_item_removed`: the last paths first.
pub(super) fn remove(document: &mut Document, entries: Dict) -> Result<(), DeltaError> {
    let (entries, same_order) = sorted(document, entries, true)?;
    let mut gone = Gone::default();
    for (path, expected) in entries {
        let (parent, element) = path
            .split()
            .ok_or(DeltaError::Raises("the removal of the document"))?;
        let Some(mut object) = gone.object(document, parent, element)? else {
            document.alike = false;
            continue;
        };
        // Keys can go in any order.
        document.alike &= same_order || matches!(object, Value::Dict(_));
        if element.is_none() {
            if matches!(&object, Value::List(items) if !items.is_empty()) {
                return Err(DeltaError::Raises("a place in a list that is no number"));
            }
            // From 6.7 on deepdiff takes it for "not found".
            document.alike = false;
            continue;
        }
        let present = document.index(&object, element)?;
        let same = match &present {
            Some(present) => is_expected(&object, present, &expected, &mut document.work)?,
            None => false,
        };
        document.alike &= same;
        if matches!(object, Value::List(_)) && !same {
            // It is looked for in what is left.
            drop(object);
            gone.go(document)?;
            object = document.find(parent)?.unwrap_or_default();
        }
        let place = match &object {
            Value::List(items) if !same => {
                // Whoever deleted or inserted before it has moved it.
                nearest(items, element, &expected, &mut document.work)?
            }
            Value::List(items) | Value::Tuple(items) => position(element, items.len()),
            Value::Dict(dict) => dict.place_of(element),
            Value::Str(_) | Value::Bytes(_) | Value::ByteArray(_) if present.is_some() => {
                return Err(DeltaError::Raises("the removal of a part of a text"));
            }
            _ => None,
        };
        let Some(place) = place else {
            continue;
        };
        let is_tuple = matches!(object, Value::Tuple(_));
        // Another reference would make it a copy.
        drop(object);
        if is_tuple {
            document.thaw(parent)?;
            if document.list_mut(parent).is_none() {
                continue;
            }
        }
        gone.note(parent, place);
    }
    gone.go(document)
}

/// Whether this is what a delta says is there. It makes no difference to what becomes of dicts and tuples, and
/// where it cannot be told it counts as no.
fn is_expected(
    object: &Value,
    present: &Value,
    expected: &Value,
    work: &mut Work,
) -> Result<bool, DeltaError> {
    match equal(present, expected, work) {
        Err(DeltaError::Unclear(_)) if !matches!(object, Value::List(_)) => Ok(false),
        result => result,
    }
}

/// What it takes to move a key, as so many elements moved.
const KEY: usize = 4;

/// What has been removed of one list or dict, and is still there.
#[derive(Default)]
struct Gone {
    parent: Vec<Value>,
    places: BTreeSet<usize>,
}

impl Gone {
    /// What something is to be removed from next. Of what is in it still, nothing is that or changes its place.
    fn object(
        &mut self,
        document: &mut Document,
        parent: &[Value],
        element: &Value,
    ) -> Result<Option<Value>, DeltaError> {
        if self.parent != parent {
            self.go(document)?;
        }
        let object = document.find(parent)?;
        let stays = match &object {
            Some(Value::List(_)) => self.is_behind(element),
            Some(Value::Dict(dict)) => {
                let place = dict.place_of(element);
                place.is_none_or(|place| !self.places.contains(&place))
            }
            _ => true,
        };
        if stays {
            return Ok(object);
        }
        drop(object);
        self.go(document)?;
        document.find(parent)
    }

    /// Whether all that has been removed was behind a place in a list.
    fn is_behind(&self, element: &Value) -> bool {
        let place = whole(element).and_then(|at| usize::try_from(at).ok());
        let first = self.places.first();
        first.is_none_or(|first| place.is_some_and(|place| place < *first))
    }

    /// Something else goes.
    fn note(&mut self, parent: &[Value], place: usize) {
        if self.places.is_empty() {
            self.parent = parent.to_vec();
        }
        self.places.insert(place);
    }

    /// Takes it out.
    fn go(&mut self, document: &mut Document) -> Result<(), DeltaError> {
        let places = mem::take(&mut self.places);
        if places.is_empty() {
            return Ok(());
        }
        match document::find_mut(&mut document.root, &self.parent) {
            Some(Value::List(items)) => {
                document.work.spend(items.len())?;
                let (mut places, mut at) = (places.iter().peekable(), 0..);
                let mut goes = || {
                    at.next()
                        .is_some_and(|at| places.next_if_eq(&&at).is_some())
                };
                items.to_mut().retain(|_| !goes());
            }
            Some(Value::Dict(dict)) => {
                document.work.spend(dict.len().saturating_mul(KEY))?;
                dict.remove_at(&places);
            }
            _ => {}
        }
        Ok(())
    }
}

/// What it takes to compare an element at least, as so many elements moved, but for one.
const COMPARED: usize = 3;

/// The place of the element equal to `expected` that is nearest to where it should be.
fn nearest(
    items: &[Value],
    element: &Value,
    expected: &Value,
    work: &mut Work,
) -> Result<Option<usize>, DeltaError> {
    if items.is_empty() {
        return Ok(None);
    }
    let Some(at) = whole(element) else {
        return match element {
            Value::Float(_) | Value::BigInt(_) => Err(DeltaError::Unclear("a place in a list")),
            _ => Err(DeltaError::Raises("a place in a list that is no number")),
        };
    };
    let mut best: Option<(usize, u64)> = None;
    for (place, item) in items.iter().enumerate() {
        let distance = i64::try_from(place).unwrap_or(i64::MAX).abs_diff(at);
        if best.is_some_and(|(_, closest)| distance > closest) {
            break;
        }
        work.spend(COMPARED)?;
        if equal(item, expected, work)? && best.is_none_or(|(_, closest)| distance < closest) {
            best = Some((place, distance));
        }
    }
    Ok(best.map(|(place, _)| place))
}
