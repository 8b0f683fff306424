//! Deltas that are safe to pass on without knowing the document.

use super::path::is_strict;
use crate::wire::pickle::{Dict, Value};

/// Whether every version of deepdiff from 5.5 to 8.6 applies the delta alike to any document
/// without tuples, and raises at none: new values, keys and types with their values, at paths that
/// all read alike. (Removals and lists depend on the document: deepdiff raises where it finds
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
        match section {
            "values_changed" | "type_changes" => strict(entries) && values(entries),
            "dictionary_item_added" => strict(entries),
            _ => false,
        }
    });
    plain && !brings_types(delta) && delta.iter().all(|(_, entries)| !has_tuples(entries))
}

/// Whether a delta would put a type (or what deepdiff itself makes) into the document. Nodes are
/// unpickled without deepdiff, and must not have any.
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
            Value::Type(_) | Value::Opcode(_) => return true,
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

/// Whether there is a tuple anywhere in a value: what deltas change in those is known only when
/// the document is.
pub fn has_tuples(value: &Value) -> bool {
    let mut pending = vec![value];
    while let Some(value) = pending.pop() {
        match value {
            Value::Tuple(_) | Value::Opcode(_) => return true,
            Value::List(items) => pending.extend(items.iter()),
            // Keys are not changed.
            Value::Dict(dict) => pending.extend(dict.iter().map(|(_, value)| value)),
            _ => {}
        }
    }
    false
}
