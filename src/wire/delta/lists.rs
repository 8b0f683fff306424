//! The sections of a delta about elements that come into lists.

use std::cmp::Ordering;
use std::mem;

use super::apply::read_path;
use super::document::{self, Document, whole};
use super::path::Path;
use super::{DeltaError, ELEMENT, Work};
use crate::wire::pickle::{Dict, Items, Value, python_eq};

/// `iterable_item_added`: the first paths first.
pub(super) fn insert(document: &mut Document, entries: Dict) -> Result<(), DeltaError> {
    let (entries, same_order) = sorted(document, entries, false)?;
    document.alike &= same_order;
    for (path, value) in entries {
        let (parent, element) = path
            .split()
            .ok_or(DeltaError::Raises("an element added beside the document"))?;
        let Some(object) = document.find(parent)? else {
            document.alike = false;
            continue;
        };
        let length = match &object {
            Value::List(items) | Value::Tuple(items) => items.len(),
            Value::Dict(dict) => dict.len(),
            _ => return Err(DeltaError::Raises("an element added to no list")),
        };
        drop(object);
        let at = whole(element).ok_or(DeltaError::Raises("a place in a list that is no number"))?;
        if i64::try_from(length).is_ok_and(|length| at < length) {
            document.work.spend(length)?;
            let items = document.list_mut(parent);
            let items = items.ok_or(DeltaError::Raises("an element inserted in no list"))?;
            let items = items.to_mut();
            // From the end, and no further than the start, as Python's insert has it.
            let place = match usize::try_from(at) {
                Ok(place) => place,
                Err(_) => {
                    length.saturating_sub(usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX))
                }
            };
            make_room(items, place.min(length));
        }
        document.set(&path.elements, value)?;
    }
    Ok(())
}

/// Moves everything from this place on by one. Element by element, because musl moves memory upwards by so few bytes
/// ten times slower than that.
fn make_room(items: &mut Vec<Value>, place: usize) {
    items.push(Value::None);
    let mut carried = Value::None;
    for item in items.iter_mut().skip(place) {
        mem::swap(item, &mut carried);
    }
}

/// `_iterable_opcodes`: lists put together from parts of the old one and new elements.
pub(super) fn rebuild(document: &mut Document, entries: Dict) -> Result<(), DeltaError> {
    for (path, opcodes) in &entries {
        let path = read_path(document, path)?;
        if let Some((parent, _)) = path.split()
            && document.find(parent)?.is_none()
        {
            document.alike = false;
            continue;
        }
        let missing = DeltaError::Raises("parts of a list that is not there");
        let object = document.find(&path.elements)?.ok_or(missing)?;
        let (Value::List(opcodes) | Value::Tuple(opcodes)) = opcodes else {
            return Err(DeltaError::Raises("parts of a list that are none"));
        };
        let old: &[Value] = match &object {
            Value::List(items) => items,
            Value::Tuple(items) if path.elements.is_empty() => items,
            // deepdiff then puts the old tuple in the place of what it is in.
            Value::Tuple(_) => return Err(DeltaError::Raises("parts of a tuple")),
            _ => return Err(DeltaError::Raises("parts of what is no list")),
        };
        let mut parts = Vec::new();
        let mut used = 0;
        for opcode in opcodes {
            let Value::Opcode(opcode) = opcode else {
                return Err(DeltaError::Raises("parts of a list of another make"));
            };
            let part = part(old, opcode, &mut used)?;
            document.work.make(part.len())?;
            for item in part {
                document::weigh(item, &mut document.work)?;
            }
            parts.extend_from_slice(part);
        }
        // The document itself stays as it is if it is a tuple.
        if let Some(items) = document.list_mut(&path.elements) {
            *items = Items::from(parts);
        }
    }
    Ok(())
}

/// The elements one opcode stands for. So many of the old ones are used already: nobody's opcodes go
/// back, and what came to be in two places could be changed in each of them, which makes it two.
fn part<'a>(
    old: &'a [Value],
    opcode: &'a [Value],
    used: &mut usize,
) -> Result<&'a [Value], DeltaError> {
    let [tag, from, to, _, _, _, new] = opcode else {
        return Err(DeltaError::Shape("an opcode of another make"));
    };
    match tag.as_str() {
        Some("replace" | "insert") => match new {
            Value::List(new) | Value::Tuple(new) => Ok(new),
            _ => Err(DeltaError::Raises("an opcode without its elements")),
        },
        Some("equal") => {
            let bound = |value: &Value| whole(value).and_then(|at| usize::try_from(at).ok());
            let (Some(from), Some(to)) = (bound(from), bound(to)) else {
                return Err(DeltaError::Unclear("an opcode counted from the end"));
            };
            let to = to.min(old.len());
            if from < *used {
                return Err(DeltaError::Unclear("opcodes that go back"));
            }
            *used = to.max(*used);
            Ok(old.get(from.min(to)..to).unwrap_or_default())
        }
        Some(_) => Ok(&[]),
        None => Err(DeltaError::Shape("an opcode without a tag")),
    }
}

/// Python's `==`, within what the delta may cost.
pub(super) fn equal(one: &Value, two: &Value, work: &mut Work) -> Result<bool, DeltaError> {
    let before = work.left;
    match python_eq(one, two, &mut work.left) {
        Some(equal) => Ok(equal),
        None if before > 0 && work.left > 0 => {
            Err(DeltaError::Unclear("values that compare oddly"))
        }
        None => Err(DeltaError::Work),
    }
}

/// The entries by path, and whether all versions have this order: 5.x sorts the texts of the paths,
/// later ones what they mean.
pub(super) fn sorted(
    document: &mut Document,
    entries: Dict,
    descending: bool,
) -> Result<(Vec<(Path, Value)>, bool), DeltaError> {
    // Texts, paths and values, and what it takes to sort them.
    document
        .work
        .spend(entries.len().saturating_mul(4 * ELEMENT))?;
    let mut read = Vec::with_capacity(entries.len());
    for (path, value) in &entries {
        read.push((path.clone(), read_path(document, path)?, value.clone()));
    }
    let mut mixed = false;
    let direction = |order: Ordering| if descending { order.reverse() } else { order };
    read.sort_by(|(_, one, _), (_, two, _)| {
        let order = compare(&one.elements, &two.elements);
        mixed |= order.is_none();
        direction(order.unwrap_or(Ordering::Equal))
    });
    if mixed {
        return Err(DeltaError::Unclear("paths that Python cannot sort"));
    }
    let texts = |pair: &[(Value, Path, Value)]| match pair {
        [(one, ..), (two, ..)] => {
            let order = one.as_str().cmp(&two.as_str());
            direction(order) != Ordering::Greater
        }
        _ => true,
    };
    let same = read.windows(2).all(texts);
    let read = read.into_iter().map(|(_, path, value)| (path, value));
    Ok((read.collect(), same))
}

/// Python's order of lists of texts and numbers; `None` if it has none.
fn compare(one: &[Value], two: &[Value]) -> Option<Ordering> {
    for (one, two) in one.iter().zip(two) {
        let order = match (one, two) {
            (Value::None, Value::None) => Ordering::Equal,
            (Value::Str(one), Value::Str(two)) => one.as_bytes().cmp(two.as_bytes()),
            _ => match (whole(one), whole(two)) {
                (Some(one), Some(two)) => one.cmp(&two),
                _ => number(one)?.partial_cmp(&number(two)?)?,
            },
        };
        if order.is_ne() {
            return Some(order);
        }
    }
    Some(one.len().cmp(&two.len()))
}

/// A number as a float, if it is one exactly.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(float) => Some(*float),
        value => {
            let int = whole(value)?;
            (int.unsigned_abs() < 1 << 53).then_some(int as f64)
        }
    }
}
