//! The sections of a delta about sets.

use super::DeltaError;
use super::apply::read_path;
use super::document::{self, Document};
use crate::wire::pickle::{Dict, Items, KeySet, Value};

/// `set_item_added`.
pub(super) fn add(document: &mut Document, entries: Dict) -> Result<(), DeltaError> {
    each(document, entries, |set, given| {
        let present = keys(set)?;
        let new = given.iter().filter(|item| !present.contains(item));
        Ok(set.iter().chain(new).cloned().collect())
    })
}

/// `set_item_removed`.
pub(super) fn remove(document: &mut Document, entries: Dict) -> Result<(), DeltaError> {
    each(document, entries, |set, given| {
        let stays = |item: &&Value| !given.contains(item);
        Ok(set.iter().filter(stays).cloned().collect())
    })
}

fn each(
    document: &mut Document,
    entries: Dict,
    change: impl Fn(&[Value], &KeySet) -> Result<Items, DeltaError>,
) -> Result<(), DeltaError> {
    for (path, given) in &entries {
        let path = read_path(document, path)?;
        let missing = DeltaError::Raises("a change of a set that is not there");
        let set = document.find(&path.elements)?.ok_or(missing)?;
        let (Value::Set(given) | Value::FrozenSet(given) | Value::List(given)) = given else {
            return Err(DeltaError::Unclear("elements of a set that are in none"));
        };
        for item in given {
            document.work.make(1)?;
            document::weigh(item, &mut document.work)?;
        }
        document::weigh(&set, &mut document.work)?;
        let given = keys(given)?;
        let changed = match &set {
            Value::Set(items) => Value::Set(change(items, &given)?),
            Value::FrozenSet(items) => Value::FrozenSet(change(items, &given)?),
            _ => return Err(DeltaError::Raises("a change of a set that is none")),
        };
        // Here a tuple is not thawed.
        match path.split() {
            None => document.root = changed,
            Some((parent, element)) => {
                let parent = document::find_mut(&mut document.root, parent);
                document.alike &= parent.is_some_and(|o| document::put(o, element, changed));
            }
        }
    }
    Ok(())
}

fn keys(items: &[Value]) -> Result<KeySet, DeltaError> {
    KeySet::of(items).ok_or(DeltaError::Unclear("sets in sets"))
}
