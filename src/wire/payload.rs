//! The small pickled pieces that commands and data messages share: numbers, dependencies, dicts
//! with known keys. The codecs of this crate go through here to read and write pickles.

use bytes::Bytes;
use thiserror::Error;

use super::identity::NodeId;
use super::pickle::{self, Budget, Dict, PickleError, Protocol, Value};

/// What is wrong with a pickled payload or a part of one.
#[derive(Debug, Error)]
pub enum FieldError {
    /// It is not a pickle of plain values within bounds.
    #[error("unreadable pickle: {0}")]
    Pickle(#[from] PickleError),
    /// It is one, of something else than expected.
    #[error("{0}")]
    Shape(&'static str),
    /// A list or text is longer than allowed.
    #[error("{what} is longer than {limit}")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// The bound, in items or bytes.
        limit: usize,
    },
}

/// Deepest nesting that is read: metadata of real users nests a few levels.
const DEPTH: usize = 100;

/// Reads a payload whose honest form has at most `items` values. The work a hostile one can cause
/// through references stays in proportion to the bytes it took to send it.
pub(super) fn read(frame: &Bytes, items: usize) -> Result<Value, FieldError> {
    let items = items
        .saturating_add(64)
        .min(frame.len().saturating_mul(2).saturating_add(64));
    let budget = Budget {
        bytes: frame.len(),
        depth: DEPTH,
        items,
        memo: items,
        stack: items,
    };
    Ok(pickle::read(frame, &budget)?)
}

/// Reads a pickled int.
pub(super) fn int(frame: &Bytes) -> Option<i64> {
    // A longer frame can be no honest number; most fakes end here.
    match (frame.len() <= 32).then(|| read(frame, 1).ok())?? {
        Value::Int(number) => Some(number),
        _ => None,
    }
}

/// Writes a small number the way CPython does.
pub(super) fn pickled_int(number: u8, protocol: Protocol) -> Bytes {
    Bytes::copy_from_slice(&[0x80, version(protocol), b'K', number, b'.'])
}

/// The protocol's number on the wire.
pub(super) fn version(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Three => 3,
        Protocol::Four => 4,
    }
}

/// Reads pickled dependencies: `None` or a list of uuids.
pub(super) fn dependencies(frame: &Bytes, limit: usize) -> Result<Vec<NodeId>, FieldError> {
    match read(frame, limit)? {
        Value::None => Ok(Vec::new()),
        value => node_ids(&value, "dependencies", limit),
    }
}

/// How no dependencies are written; clients take either.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Empty {
    /// As `None`: data messages up to G14.
    None,
    /// As `[]`: `SET` and objects.
    List,
}

/// Writes dependencies.
pub(super) fn pickled_dependencies(ids: &[NodeId], protocol: Protocol, empty: Empty) -> Bytes {
    let value = if ids.is_empty() && empty == Empty::None {
        Value::None
    } else {
        id_list(ids)
    };
    pickle::write(&value, protocol)
}

/// A list of uuids as str.
pub(super) fn id_list(ids: &[NodeId]) -> Value {
    Value::list(ids.iter().map(id))
}

/// A uuid as str.
pub(super) fn id(id: &NodeId) -> Value {
    Value::str(id.as_str())
}

/// Reads a list of uuids.
pub(super) fn node_ids(
    value: &Value,
    what: &'static str,
    limit: usize,
) -> Result<Vec<NodeId>, FieldError> {
    let (Value::List(items) | Value::Tuple(items)) = value else {
        return Err(FieldError::Shape("expected a list of uuids"));
    };
    if items.len() > limit {
        return Err(FieldError::TooLong { what, limit });
    }
    items.iter().map(node_id).collect()
}

/// Reads a uuid.
pub(super) fn node_id(value: &Value) -> Result<NodeId, FieldError> {
    value
        .as_str()
        .and_then(|text| NodeId::new(text.as_bytes()))
        .ok_or(FieldError::Shape("expected a uuid"))
}

/// Reads a text of at most `limit` bytes.
pub(super) fn text(value: &Value, what: &'static str, limit: usize) -> Result<String, FieldError> {
    let text = value
        .as_str()
        .ok_or(FieldError::Shape("expected a text of valid Unicode"))?;
    if text.len() > limit {
        return Err(FieldError::TooLong { what, limit });
    }
    Ok(text.to_owned())
}

/// The entry of a dict, or an error that names what should be there.
pub(super) fn entry<'a>(
    dict: &'a Dict,
    key: &str,
    missing: &'static str,
) -> Result<&'a Value, FieldError> {
    dict.get(key).ok_or(FieldError::Shape(missing))
}

/// A dict with these keys, in this order.
pub(super) fn dict<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Dict(entries.into_iter().collect())
}
