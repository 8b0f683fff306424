//! A document while a delta is applied to it: indexing and changing with Python's rules.

use super::{DeltaError, ELEMENT, Work};
use crate::wire::pickle::{Dict, Items, Value};

/// Bytes of a text that count as one value.
pub(super) const TEXT: usize = 8;

/// What `object[element]` is in Python; `None` where that fails.
fn index(object: &Value, element: &Value) -> Option<Value> {
    match object {
        Value::Dict(dict) => dict.get_key(element).cloned(),
        Value::List(items) | Value::Tuple(items) | Value::Opcode(items) => {
            items.get(position(element, items.len())?).cloned()
        }
        Value::Str(text) => {
            // With surrogates it is no text for us; nobody indexes those.
            let text = text.as_str()?;
            // Only elsewhere than in ASCII its characters have to be counted.
            let char = if text.is_ascii() {
                let at = position(element, text.len())?;
                text.get(at..)?.chars().next()
            } else {
                let at = position(element, text.chars().count())?;
                text.chars().nth(at)
            };
            char.map(|char| Value::str(char.to_string()))
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

/// How many values there are in one, long texts as several: what it takes to go through it. Shared
/// ones count each time.
pub(super) fn weigh(value: &Value, work: &mut Work) -> Result<(), DeltaError> {
    let mut pending = vec![value];
    while let Some(value) = pending.pop() {
        work.spend(1)?;
        match value {
            Value::Str(text) => work.spend(text.as_bytes().len() / TEXT)?,
            Value::Bytes(bytes) | Value::ByteArray(bytes) => work.spend(bytes.len() / TEXT)?,
            _ => value.push_inside(&mut pending),
        }
    }
    Ok(())
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

/// A document, the tuples in it that are lists for now, and what came up on the way.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Value,
    /// Paths of tuples that were changed, which deepdiff turns into lists for the time being.
    thawed: Dict,
    pub(super) work: Work,
    /// Whether all versions of deepdiff have done the same so far.
    pub(super) alike: bool,
}

impl Document {
    /// One in which so many elements may be made anew.
    pub(super) fn new(root: Value, made: usize) -> Self {
        Self {
            root,
            thawed: Dict::new(),
            work: Work::with(made),
            alike: true,
        }
    }

    /// What a path leads to.
    pub(super) fn find(&mut self, path: &[Value]) -> Result<Option<Value>, DeltaError> {
        let mut at = self.root.clone();
        for element in path {
            let Some(next) = self.index(&at, element)? else {
                return Ok(None);
            };
            at = next;
        }
        Ok(Some(at))
    }

    /// What `object[element]` is in Python; `None` where that fails.
    pub(super) fn index(
        &mut self,
        object: &Value,
        element: &Value,
    ) -> Result<Option<Value>, DeltaError> {
        if let Value::Str(text) = object {
            // All of it is looked at. No client's path leads into a text.
            self.work.spend(text.as_bytes().len())?;
        }
        Ok(index(object, element))
    }

    /// Sets what a path leads to, thawing a tuple around it.
    pub(super) fn set(&mut self, path: &[Value], value: Value) -> Result<(), DeltaError> {
        let Some((element, parent)) = path.split_last() else {
            self.root = value;
            return Ok(());
        };
        self.thaw(parent)?;
        let done = match find_mut(&mut self.root, parent) {
            // It takes numbers up to 255, and raises at others.
            Some(Value::ByteArray(_)) => {
                return Err(DeltaError::Unclear("a change of a bytearray"));
            }
            Some(object) => put(object, element, value),
            None => false,
        };
        self.alike &= done;
        Ok(())
    }

    /// Turns the tuple at a path into a list, if one is there. In another tuple that is lost on
    /// the document, but remembered.
    pub(super) fn thaw(&mut self, path: &[Value]) -> Result<(), DeltaError> {
        let Some(Value::Tuple(items)) = self.find(path)? else {
            return Ok(());
        };
        self.work.spend(path.len().saturating_mul(ELEMENT))?;
        self.thawed
            .insert(Value::Tuple(path.to_vec().into()), Value::None);
        let in_tuple = match path.split_last() {
            Some((_, parent)) => matches!(self.find(parent)?, Some(Value::Tuple(_))),
            None => false,
        };
        if in_tuple {
            self.alike = false;
        } else if let Some(place) = find_mut(&mut self.root, path) {
            *place = Value::List(items);
        }
        Ok(())
    }

    /// Turns the lists that were tuples back.
    pub(super) fn freeze(&mut self) -> Result<(), DeltaError> {
        let thawed = self.thawed.clone();
        for (path, _) in &thawed {
            let path = path.as_sequence().unwrap_or_default();
            let tuple = match self.find(path)? {
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
            self.set(path, tuple)?;
            if self.thawed.len() != thawed.len() {
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
