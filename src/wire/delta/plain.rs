//! Deltas that are safe to pass on without knowing the document.

use super::path::{Path, is_strict};
use crate::wire::pickle::{Dict, Value};

/// Levels of containers up to which no look at the document is needed. Users have fewer.
const LEVELS: usize = 64;

/// Whether every version of deepdiff from 5.5 to 8.6 applies the delta alike to any document
/// without tuples, raises at none and leaves a dict: new values, keys and types with their values, at
/// paths that all read alike. (Removals and lists depend on the document: deepdiff raises where it finds
/// another kind of container than expected.) A delta with a tuple in it is not plain.
pub fn is_plain(delta: &Value) -> bool {
    let Some(delta) = delta.as_dict() else {
        return false;
    };
    let plain = delta.iter().all(|(section, entries)| {
        let (Some(section), Some(entries)) = (section.as_str(), entries.as_dict()) else {
            return false;
        };
        let values = |entries: &Dict| {
            let mut changes = entries.iter().map(|(_, change)| change.as_dict());
            changes.all(|change| change.is_some_and(|change| change.get("new_value").is_some()))
        };
        let strict = |entries: &Dict| {
            let mut paths = entries.iter().map(|(path, _)| path.as_str());
            paths.all(|path| path.is_some_and(is_strict))
        };
        let flat = |entries: &Dict| {
            let mut entries = entries.iter();
            entries.all(|(path, entry)| is_flat(path.as_str().unwrap_or_default(), entry))
        };
        match section {
            "values_changed" | "type_changes" => {
                let whole = entries.get("root").and_then(Value::as_dict);
                let whole = whole.and_then(|change| change.get("new_value"));
                strict(entries) && values(entries) && flat(entries) && may_be_whole(whole)
            }
            "dictionary_item_added" => {
                strict(entries) && flat(entries) && may_be_whole(entries.get("root"))
            }
            _ => false,
        }
    });
    plain && !brings_types(delta) && delta.iter().all(|(_, entries)| !has_tuples(entries))
}

/// Whether a delta says what a node is, rather than what has changed in it: it is all of it, or, unless there
/// is `nothing` that could take them, keys with their values.
pub(super) fn makes_anew(delta: &Value, nothing: bool) -> bool {
    let mut makes = false;
    for (section, entries) in delta.as_dict().into_iter().flatten() {
        let Some(entries) = entries.as_dict().filter(|entries| !entries.is_empty()) else {
            // It says nothing.
            continue;
        };
        let anew = |(path, entry): (&Value, &Value)| {
            let Ok(path) = Path::parse(path) else {
                return false;
            };
            match (section.as_str(), path.elements.as_slice()) {
                (Some("values_changed" | "type_changes"), []) => {
                    let new = entry.as_dict().and_then(|entry| entry.get("new_value"));
                    new.is_some_and(|new| new.as_dict().is_some())
                }
                (Some("dictionary_item_added"), [_]) => !nothing,
                _ => false,
            }
        };
        if !entries.iter().all(anew) {
            return false;
        }
        makes = true;
    }
    makes
}

/// Whether this may take the place of the whole document, if it does: a node is a dict, and clients
/// fail on any other.
fn may_be_whole(value: Option<&Value>) -> bool {
    value.is_none_or(|value| value.as_dict().is_some())
}

/// Whether a document that takes this in stays within the levels that Python's deepcopy can do,
/// however many such deltas come.
fn is_flat(path: &str, entry: &Value) -> bool {
    // At most; brackets in keys are not strict.
    let above = path.matches('[').count();
    let mut pending = vec![(entry, above)];
    while let Some((value, level)) = pending.pop() {
        if level > LEVELS {
            return false;
        }
        let inside = level.saturating_add(1);
        match value {
            Value::List(items) => pending.extend(items.iter().map(|item| (item, inside))),
            Value::Dict(dict) => {
                pending.extend(dict.iter().map(|(_, value)| (value, inside)));
            }
            _ => {}
        }
    }
    true
}

/// Whether a delta would put a type (or what deepdiff itself makes) into the document. Nodes are
/// unpickled without deepdiff, and must not have any. A `bytearray`, which deepdiff refuses to
/// unpickle, must not be in a delta either.
pub(super) fn brings_types(delta: &Dict) -> bool {
    let mut pending = Vec::new();
    for (section, entries) in delta {
        let entries = entries.as_dict().into_iter().flatten();
        for (_, entry) in entries {
            match (section.as_str(), entry) {
                (Some("type_changes"), Value::Dict(change)) => {
                    pending.extend(change.get("new_value"));
                }
                (Some("_iterable_opcodes"), Value::List(opcodes) | Value::Tuple(opcodes)) => {
                    for opcode in opcodes {
                        match opcode {
                            Value::Opcode(parts) => pending.extend(parts.iter()),
                            other => pending.push(other),
                        }
                    }
                }
                (_, entry) => pending.push(entry),
            }
        }
    }
    while let Some(value) = pending.pop() {
        match value {
            Value::Type(_) | Value::Opcode(_) | Value::ByteArray(_) => return true,
            Value::List(items)
            | Value::Tuple(items)
            | Value::Set(items)
            | Value::FrozenSet(items) => pending.extend(items.iter()),
            Value::Dict(dict) => pending.extend(dict.iter().flat_map(|(key, value)| [key, value])),
            _ => {}
        }
    }
    false
}

/// Whether there is a tuple anywhere in a value (or a `bytearray`, which no client of ours sends):
/// what deltas change in those is known only when the document is.
pub fn has_tuples(value: &Value) -> bool {
    let mut pending = vec![value];
    while let Some(value) = pending.pop() {
        match value {
            Value::Tuple(_) | Value::Opcode(_) | Value::ByteArray(_) => return true,
            Value::List(items) => pending.extend(items.iter()),
            // Keys are not changed.
            Value::Dict(dict) => pending.extend(dict.iter().map(|(_, value)| value)),
            _ => {}
        }
    }
    false
}
