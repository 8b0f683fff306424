//! The small pickled pieces that commands and data messages share: numbers, dependencies, dicts
//! with known keys. The codecs of this crate go through here to read and write pickles.

use bytes::Bytes;
use thiserror::Error;

use super::identity::{NodeId, NodeSet};
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

/// So many uuids are looked through rather than hashed.
const FEW: usize = 16;

/// Reads a payload whose honest form has at most `items` values. The work a hostile one can cause
/// through references stays in proportion to the bytes it took to send it.
pub(super) fn read(frame: &Bytes, items: usize) -> Result<Value, FieldError> {
    Ok(pickle::read_plain(frame, &budget(frame, items))?)
}

/// The same, with nothing that keeps the frame in memory.
pub(super) fn read_apart(frame: &Bytes, items: usize) -> Result<Value, FieldError> {
    Ok(pickle::read_apart(frame, &budget(frame, items))?)
}

fn budget(frame: &Bytes, items: usize) -> Budget {
    let items = items
        .saturating_add(64)
        .min(frame.len().saturating_mul(2).saturating_add(64));
    Budget {
        bytes: frame.len(),
        depth: DEPTH,
        items,
        memo: items,
        stack: items,
    }
}

/// Reads a pickled int.
pub(super) fn int(frame: &Bytes) -> Option<i64> {
    // As CPython writes small ones.
    if let [0x80, 2..=5, b'K', number, b'.'] = frame[..] {
        return Some(i64::from(number));
    }
    // A longer frame can be no honest number; most fakes end here.
    match (frame.len() <= 32).then(|| read(frame, 1).ok())?? {
        Value::Int(number) => Some(number),
        _ => None,
    }
}

/// Writes a small number the way CPython does.
pub(super) fn pickled_int(number: u8, protocol: Protocol) -> Bytes {
    // These are in every message with a node.
    match (number, protocol) {
        (1, Protocol::Three) => Bytes::from_static(b"\x80\x03K\x01."),
        (1, Protocol::Four) => Bytes::from_static(b"\x80\x04K\x01."),
        (2, Protocol::Four) => Bytes::from_static(b"\x80\x04K\x02."),
        _ => Bytes::copy_from_slice(&[0x80, version(protocol), b'K', number, b'.']),
    }
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
    // What most nodes have, as CPython writes it.
    if matches!(
        &frame[..],
        [0x80, 2..=5, b'N' | b']', b'.']
            | [0x80, 4..=5, b']', 0x94, b'.']
            | [0x80, 2..=3, b']', b'q', 0, b'.']
    ) {
        return Ok(Vec::new());
    }
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
    match (ids, empty, protocol) {
        ([], Empty::None, Protocol::Three) => Bytes::from_static(b"\x80\x03N."),
        ([], Empty::None, Protocol::Four) => Bytes::from_static(b"\x80\x04N."),
        ([], Empty::List, Protocol::Three) => Bytes::from_static(b"\x80\x03]."),
        ([], Empty::List, Protocol::Four) => Bytes::from_static(b"\x80\x04]."),
        _ => pickle::write(&id_list(ids), protocol),
    }
}

/// A list of uuids as str.
pub(super) fn id_list(ids: &[NodeId]) -> Value {
    Value::list(ids.iter().map(id))
}

/// A uuid as str.
pub(super) fn id(id: &NodeId) -> Value {
    Value::str(id.as_str())
}

/// Reads a list of uuids, each of them once: a pickle names one again in two bytes, and whoever goes
/// through the list would have to do so every time.
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
    if items.len() <= FEW {
        let mut ids = Vec::with_capacity(items.len());
        for item in items {
            let id = node_id(item)?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        return Ok(ids);
    }
    let mut ids = Vec::new();
    let mut seen = NodeSet::default();
    for item in items {
        let id = node_id(item)?;
        if seen.insert(id) {
            ids.push(id);
        }
    }
    Ok(ids)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_frequent_is_what_everything_else_is() {
        for protocol in [Protocol::Three, Protocol::Four] {
            let empty = pickled_dependencies(&[], protocol, Empty::List);
            assert_eq!(empty, pickle::write(&id_list(&[]), protocol));
            for number in 0..=255 {
                let pickled = pickled_int(number, protocol);
                assert_eq!(int(&pickled), Some(i64::from(number)));
                let read = read(&pickled, 1).unwrap();
                assert_eq!(read, Value::Int(i64::from(number)));
            }
        }
        // As CPython writes it.
        for empty in [
            &b"\x80\x04]\x94."[..],
            b"\x80\x03]q\x00.",
            b"\x80\x02]q\x00.",
        ] {
            let frame = Bytes::from_static(empty);
            assert_eq!(read(&frame, 1).unwrap(), id_list(&[]));
            assert!(dependencies(&frame, 1).unwrap().is_empty());
        }
    }

    /// What is pickled in commands and headers is passed on, in the table of users for one, and
    /// many a client could not read it: none but deltas are loaded with persistent ids, and the
    /// `Opcode` is in the newer deepdiff only.
    #[test]
    fn plain_data_is_read_and_nothing_else() {
        let pickle = |value: &[u8]| Bytes::from([b"\x80\x04}\x8c\x01x", value, b"s."].concat());
        assert!(read(&pickle(b"K\x01"), 4).is_ok());
        for value in [
            &b"\x8c\x0c<<NoneType>>Q"[..],
            b"\x8c\x08builtins\x8c\x03int\x93",
            b"\x8c\x08builtins\x8c\x04type\x93N\x85R",
            b"\x8c\x0fdeepdiff.helper\x8c\x06Opcode\x93(NNNNNNNt\x81",
            b"]\x8c\x08builtins\x8c\x03set\x93a",
            b"(\x8c\x08builtins\x8c\x03set\x93N\x86\x91",
        ] {
            let error = read(&pickle(value), 64).unwrap_err();
            let of_deltas = matches!(error, FieldError::Pickle(PickleError::OfDeltas(_)));
            assert!(of_deltas, "{}: {error}", value.escape_ascii());
        }
        for call in [
            &b"cos\nsystem\n(\x8c\x04truet\x85R"[..],
            b"(ios\nsystem\n",
            b"(cos\nsystem\n\x8c\x04trueo",
            b"\x82\x01",
            b"Pos\n",
            b"}b",
        ] {
            assert!(read(&pickle(call), 64).is_err(), "{}", call.escape_ascii());
        }
    }

    #[test]
    fn what_is_written_ready_made_is_what_the_writer_writes() {
        for protocol in [Protocol::Three, Protocol::Four] {
            for number in [1, 2, 3] {
                let written = pickle::write(&Value::Int(number.into()), protocol);
                assert_eq!(pickled_int(number, protocol), written);
            }
            let none = pickled_dependencies(&[], protocol, Empty::None);
            assert_eq!(none, pickle::write(&Value::None, protocol));
            let list = pickled_dependencies(&[], protocol, Empty::List);
            assert_eq!(list, pickle::write(&id_list(&[]), protocol));
            for empty in [none, list] {
                assert!(dependencies(&empty, 0).unwrap().is_empty());
                assert!(matches!(read(&empty, 1), Ok(Value::None | Value::List(_))));
            }
        }
    }

    #[test]
    fn numbers_and_dependencies_are_bounded() {
        let bomb = Bytes::from([b"\x80\x04]\x94", &b"]h\x00a\x94".repeat(9)[..], b"."].concat());
        assert_eq!(int(&bomb), None);
        assert_eq!(int(&Bytes::from_static(b"\x80\x04K\x02.")), Some(2));
        assert_eq!(int(&Bytes::from_static(b"\x80\x04\x88.")), None);
        let calling = Bytes::from_static(b"\x80\x04](cos\nsystem\n)Re.");
        assert!(dependencies(&calling, 10).is_err());
        let many = Bytes::from([b"\x80\x04](", &b"N".repeat(200)[..], b"e."].concat());
        assert!(matches!(
            dependencies(&many, 10),
            Err(FieldError::Pickle(_))
        ));
        // A text that is no uuid.
        assert!(dependencies(&Bytes::from_static(b"\x80\x04]\x8c\x01xa."), 10).is_err());
    }

    #[test]
    fn uuids_count_once_and_keep_their_order() {
        let uuid = |n: usize| format!("{n:08}-0000-4000-8000-000000000000");
        let ids = |numbers: &[usize]| -> Vec<NodeId> {
            let ids = numbers.iter().map(|n| NodeId::new(uuid(*n).as_bytes()));
            ids.collect::<Option<_>>().unwrap()
        };
        let many: Vec<usize> = (0..100).rev().collect();
        let shared: Vec<Value> = (0..100).map(|n| uuid(n).into()).collect();
        for (given, expected) in [
            (vec![3, 1, 3, 2, 1], vec![3, 1, 2]),
            (vec![7; 1000], vec![7]),
            ([&many[..], &many].concat(), many.clone()),
            ([&[5, 5, 6], &many[..]].concat(), {
                let rest = many.iter().copied().filter(|n| ![5, 6].contains(n));
                [5, 6].into_iter().chain(rest).collect()
            }),
        ] {
            // As own texts, and as one that is named again.
            let own = Value::list(given.iter().map(|n| uuid(*n)));
            let again = Value::list(given.iter().map(|n| shared[*n].clone()));
            for list in [own, again] {
                let read = node_ids(&list, "uuids", given.len()).unwrap();
                assert_eq!(read, ids(&expected));
                let frame = pickle::write(&list, Protocol::Four);
                let read = dependencies(&frame, given.len()).unwrap();
                assert_eq!(read, ids(&expected));
                // All that is there counts.
                let error = node_ids(&list, "uuids", given.len() - 1).unwrap_err();
                assert!(matches!(error, FieldError::TooLong { .. }));
            }
        }
    }
}
