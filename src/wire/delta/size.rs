//! What values take when they are written, without writing them.

use std::collections::HashSet;

use crate::wire::pickle::Value;

/// Bytes a value takes in a pickle at least, texts that are shared once; no more than a little more
/// than `most` are counted.
pub(super) fn size(value: &Value, most: usize) -> usize {
    let mut bytes = 0usize;
    let mut texts: HashSet<usize, foldhash::fast::RandomState> = HashSet::default();
    let mut pending = vec![value];
    while let Some(value) = pending.pop() {
        let own = match value {
            Value::None | Value::Bool(_) => 1,
            Value::Int(-0x8000_0000..0 | 0x1_0000..=0x7fff_ffff) => 5,
            Value::Int(0..=0xff) => 2,
            Value::Int(0..=0xffff) => 3,
            Value::Int(_) => 7,
            Value::BigInt(int) => int.as_bytes().len().saturating_add(2),
            Value::Float(_) => 9,
            Value::Str(text) => {
                let text = text.as_bytes();
                // Others are as short as what would refer to them.
                if text.len() < 2 || texts.insert(text.as_ptr().addr()) {
                    text.len().saturating_add(2)
                } else {
                    2
                }
            }
            Value::Bytes(bytes) | Value::ByteArray(bytes) => bytes.len().saturating_add(2),
            Value::Type(_) => 10,
            Value::List(_)
            | Value::Tuple(_)
            | Value::Set(_)
            | Value::FrozenSet(_)
            | Value::Opcode(_)
            | Value::Dict(_) => 2,
        };
        value.push_inside(&mut pending);
        bytes = bytes.saturating_add(own);
        if bytes > most {
            break;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::pickle::{Dict, Protocol, write};

    #[test]
    fn sizes_are_what_is_written() {
        let key = Value::str("a key");
        let row = |n: i64| Value::from(Dict::new().with(&key, n).with("other", 0.5));
        let ints = [
            0,
            -1,
            255,
            256,
            65_535,
            65_536,
            i64::from(i32::MAX),
            i64::MIN,
        ];
        for value in [
            Value::list(ints),
            Value::list((0..500).map(row)),
            Value::tuple(vec![Value::bytes("abc"); 100]),
            Value::Set((0..100).map(Value::Int).collect()),
            Value::list(vec![Value::str("long".repeat(1000)); 9]),
        ] {
            let written = write(&value, Protocol::Four).len();
            let size = size(&value, usize::MAX);
            assert!(size <= written, "{size} of {written}");
            assert!(written <= size + size / 4 + 16, "{size} of {written}");
        }
    }

    #[test]
    fn no_more_is_counted_than_is_asked_for() {
        let list = Value::list(vec![Value::str("long".repeat(25)); 1000]);
        assert!((50..200).contains(&size(&list, 50)));
    }
}
