//! A document while a delta is applied to it: indexing and changing with Python's rules.

use super::{DeltaError, Work};
use crate::wire::pickle::{Items, Value};

/// What `object[element]` is in Python; `None` where that fails.
pub(super) fn index(object: &Value, element: &Value) -> Option<Value> {
    match object {
        Value::Dict(dict) => dict.get_key(element).cloned(),
        Value::List(items) | Value::Tuple(items) | Value::Opcode(items) => {
            items.get(position(element, items.len())?).cloned()
        }
        Value::Str(text) => {
            // With surrogates it is no text for us; nobody indexes those.
            let text = text.as_str()?;
            let at = position(element, text.chars().count())?;
            text.chars()
                .nth(at)
                .map(|char| Value::str(char.to_string()))
        }
        Value::Bytes(bytes) | Value::ByteArray(bytes) => bytes
            .get(position(element, bytes.len())?)
            .map(|byte| (*byte).into()),
        _ => None,
    }
}

/// The place an element means in a sequence of this length.
pub(super) fn position(element: &Value, length: usize) -> Option<usize> {
    let at = whole(element)?;
    let at = match at {
        0.. => usize::try_from(at).ok()?,
        _ => length.checked_sub(usize::try_from(at.checked_neg()?).ok()?)?,
    };
    (at < length).then_some(at)
}

/// The element as a number that can index.
pub(super) fn whole(element: &Value) -> Option<i64> {
    match element {
        Value::Int(int) => Some(*int),
        Value::Bool(bool) => Some(i64::from(*bool)),
        _ => None,
    }
}

/// What a path leads to.
pub(super) fn find(document: &Value, path: &[Value]) -> Option<Value> {
    let mut at = document.clone();
    for element in path {
        at = index(&at, element)?;
    }
    Some(at)
}

/// What a path leads to, to change it in place. `None` also for parts of texts and bytes: a change
/// of those is lost.
pub(super) fn find_mut<'a>(document: &'a mut Value, path: &[Value]) -> Option<&'a mut Value> {
    let mut at = document;
    for element in path {
        at = match at {
            Value::Dict(dict) => dict.get_key_mut(element)?,
            Value::List(items) | Value::Tuple(items) => {
                let place = position(element, items.len())?;
                items.to_mut().get_mut(place)?
            }
            _ => return None,
        };
    }
    Some(at)
}

/// `object[element] = value` as deepdiff does it: one past the end of a list appends, and whatever
/// fails is skipped. Returns whether it was done.
pub(super) fn put(object: &mut Value, element: &Value, value: Value) -> bool {
    match object {
        Value::Dict(dict) => {
            dict.insert(element.clone(), value);
            true
        }
        Value::List(items) => {
            let length = items.len();
            if let Some(place) = position(element, length) {
                if let Some(slot) = items.to_mut().get_mut(place) {
                    *slot = value;
                }
                true
            } else if whole(element).and_then(|at| usize::try_from(at).ok()) == Some(length) {
                items.to_mut().push(value);
                true
            } else {
                false
            }
        }
        _ => false,
    }
}

/// Tuples that were changed, which deepdiff turns into lists for the time being.
#[derive(Debug, Default)]
pub(super) struct Thawed(Vec<Vec<Value>>);

/// A document, the tuples in it that are lists for now, and what came up on the way.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Value,
    thawed: Thawed,
    pub(super) work: Work,
    /// Whether all versions of deepdiff have done the same so far.
    pub(super) alike: bool,
}

impl Document {
    pub(super) fn new(root: Value) -> Self {
        Self {
            root,
            thawed: Thawed::default(),
            work: Work::FULL,
            alike: true,
        }
    }

    /// Sets what a path leads to, thawing a tuple around it.
    pub(super) fn set(&mut self, path: &[Value], value: Value) {
        let Some((element, parent)) = path.split_last() else {
            self.root = value;
            return;
        };
        self.thaw(parent);
        let done =
            find_mut(&mut self.root, parent).is_some_and(|object| put(object, element, value));
        self.alike &= done;
    }

    /// Turns the tuple at a path into a list, if one is there. In another tuple that is lost on
    /// the document, but remembered.
    pub(super) fn thaw(&mut self, path: &[Value]) {
        let Some(Value::Tuple(items)) = find(&self.root, path) else {
            return;
        };
        if !self.thawed.0.iter().any(|thawed| thawed == path) {
            self.thawed.0.push(path.to_vec());
        }
        let in_tuple = path
            .split_last()
            .and_then(|(_, parent)| find(&self.root, parent))
            .is_some_and(|parent| matches!(parent, Value::Tuple(_)));
        if in_tuple {
            self.alike = false;
        } else if let Some(place) = find_mut(&mut self.root, path) {
            *place = Value::List(items);
        }
    }

    /// Turns the lists that were tuples back.
    pub(super) fn freeze(&mut self) -> Result<(), DeltaError> {
        let count = self.thawed.0.len();
        for place in 0..count {
            let Some(path) = self.thawed.0.get(place).cloned() else {
                break;
            };
            let tuple = match find(&self.root, &path) {
                Some(Value::List(items) | Value::Tuple(items)) => Value::Tuple(items),
                Some(_) => return Err(DeltaError::Unclear("a tuple that became something else")),
                // deepdiff fails on saying where.
                None if path.iter().any(|element| element.as_str().is_none()) => {
                    return Err(DeltaError::Raises("a changed tuple that is gone"));
                }
                None => {
                    self.alike = false;
                    continue;
                }
            };
            self.set(&path, tuple);
            if self.thawed.0.len() != count {
                // deepdiff walks through a dict that grows.
                return Err(DeltaError::Raises("a change of a tuple in a tuple"));
            }
        }
        Ok(())
    }

    /// The list at a path, to change it.
    pub(super) fn list_mut(&mut self, path: &[Value]) -> Option<&mut Items> {
        match find_mut(&mut self.root, path)? {
            Value::List(items) => Some(items),
            _ => None,
        }
    }
}
