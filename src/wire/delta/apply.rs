//! Applies a delta to a document as deepdiff 8.1.1 does: section by section in a fixed order, each
//! entry on its own, what does not fit skipped.

use super::document::Document;
use super::path::{self, Path};
use super::plain::brings_types;
use super::{DeltaError, convert, ignore_order, lists, removal, sets};
use crate::wire::pickle::{Dict, Value};

/// What came of a delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The document after it.
    pub document: Value,
    /// Whether all versions of deepdiff that know its sections come to the same.
    pub alike: bool,
}

/// The sections that are done here, and those that say nothing about the document. With any other
/// a delta is refused: no client of ours makes them.
const SECTIONS: [&str; 11] = [
    "values_changed",
    "type_changes",
    "set_item_added",
    "set_item_removed",
    "_iterable_opcodes",
    "iterable_item_removed",
    "iterable_item_added",
    "iterable_items_added_at_indexes",
    "iterable_items_removed_at_indexes",
    "dictionary_item_added",
    "dictionary_item_removed",
];

/// Applies a delta, both as read from their pickles.
///
/// # Errors
/// If it cannot be done exactly as deepdiff 8.1.1 does it, or if that would raise. The document is
/// unchanged then.
pub fn apply(document: &Value, delta: &Value) -> Result<Applied, DeltaError> {
    apply_to(document.clone(), delta, usize::MAX, &mut 0)
}

/// The same to a document that may be nobody else's, which need not be copied then; so many elements
/// may be made anew. Adds what it takes, also if it comes to nothing.
pub(super) fn apply_to(
    document: Value,
    delta: &Value,
    made: usize,
    spent: &mut u64,
) -> Result<Applied, DeltaError> {
    let delta = delta.as_dict().ok_or(DeltaError::Shape("no dict"))?;
    for (section, entries) in delta {
        let known = section
            .as_str()
            .is_some_and(|name| SECTIONS.contains(&name));
        let empty = match entries {
            Value::Dict(entries) => entries.is_empty(),
            Value::None | Value::Bool(false) => true,
            _ => false,
        };
        if !known && !empty {
            return Err(DeltaError::Shape("an unknown section"));
        }
    }
    if brings_types(delta) {
        return Err(DeltaError::Shape("a type as a value"));
    }
    let mut document = Document::new(document, made);
    let done = apply_sections(&mut document, delta);
    *spent = spent.saturating_add(document.work.spent());
    done?;
    Ok(Applied {
        alike: document.alike,
        document: document.root,
    })
}

/// The sections in deepdiff's order.
fn apply_sections(document: &mut Document, delta: &Dict) -> Result<(), DeltaError> {
    change(document, section(delta, "values_changed")?, false)?;
    sets::add(document, section(delta, "set_item_added")?)?;
    sets::remove(document, section(delta, "set_item_removed")?)?;
    change(document, section(delta, "type_changes")?, true)?;
    lists::rebuild(document, section(delta, "_iterable_opcodes")?)?;
    removal::remove(document, section(delta, "iterable_item_removed")?)?;
    lists::insert(document, section(delta, "iterable_item_added")?)?;
    ignore_order::rebuild(
        document,
        section(delta, "iterable_items_added_at_indexes")?,
        section(delta, "iterable_items_removed_at_indexes")?,
    )?;
    add_entries(document, section(delta, "dictionary_item_added")?)?;
    removal::remove(document, section(delta, "dictionary_item_removed")?)?;
    document.freeze()
}

fn section(delta: &Dict, name: &str) -> Result<Dict, DeltaError> {
    match delta.get(name) {
        None => Ok(Dict::new()),
        Some(Value::None) if name.contains("_at_indexes") => {
            Err(DeltaError::Raises("a section that is None"))
        }
        Some(Value::None) => Ok(Dict::new()),
        Some(Value::Dict(entries)) => Ok(entries.clone()),
        Some(_) => Err(DeltaError::Shape("a section that is no dict")),
    }
}

/// `values_changed` and `type_changes`.
fn change(document: &mut Document, entries: Dict, types: bool) -> Result<(), DeltaError> {
    for (path, change) in &entries {
        let path = read_path(document, path)?;
        let Value::Dict(change) = change else {
            return Err(DeltaError::Raises("a change that is no dict"));
        };
        let Some(present) = document.find(&path.elements)? else {
            document.alike = false;
            continue;
        };
        let value = match change.get("new_value") {
            Some(value) => value.clone(),
            None if !types => return Err(DeltaError::Raises("a change without its value")),
            None => match convert::convert(&present, change.get("new_type"), &mut document.work)? {
                Some(value) => value,
                None if path.elements.is_empty() => {
                    return Err(DeltaError::Raises("a document of another type"));
                }
                None => {
                    document.alike = false;
                    continue;
                }
            },
        };
        document.set(&path.elements, value)?;
    }
    Ok(())
}

/// `dictionary_item_added`.
fn add_entries(document: &mut Document, entries: Dict) -> Result<(), DeltaError> {
    for (path, value) in &entries {
        let path = read_path(document, path)?;
        let parent = path.split().map(|(parent, _)| parent);
        if let Some(parent) = parent
            && document.find(parent)?.is_none()
        {
            document.alike = false;
            continue;
        }
        document.set(&path.elements, value.clone())?;
    }
    Ok(())
}

/// Reads a path, and notes if not everybody reads it so.
pub(super) fn read_path(document: &mut Document, path: &Value) -> Result<Path, DeltaError> {
    document.work.spend(path::cost(path))?;
    let path = Path::parse(path)?;
    document.alike &= path.strict;
    Ok(path)
}
