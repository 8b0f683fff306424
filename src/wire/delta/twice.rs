//! Values that come into a document in several places.
//!
//! What is equal in a list without order is one to deepdiff: it puts one and the same object into all the
//! places where such values were added. At the sender of a delta a change in the one place is a change in the
//! others from then on, which it is nowhere else.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher};
use std::mem::discriminant;

use crate::wire::pickle::{Value, is_hashable};

/// What has come into lists without order.
#[derive(Default)]
pub(super) struct Seen {
    /// Two values of one hash are as good as equal: at the worst a sender gets a state that it has.
    hashes: HashSet<u64, foldhash::fast::RandomState>,
    hasher: foldhash::fast::RandomState,
}

impl Seen {
    /// Notes a value. Returns whether it may be an object that is elsewhere already, and can be changed there.
    ///
    /// One object is pickled as itself, so nothing else than the very same can be one.
    pub(super) fn again(&mut self, value: &Value) -> bool {
        !is_hashable(value) && !self.hashes.insert(self.hash(value))
    }

    fn hash(&self, value: &Value) -> u64 {
        let mut state = self.hasher.build_hasher();
        let mut pending = vec![value];
        while let Some(value) = pending.pop() {
            discriminant(value).hash(&mut state);
            match value {
                Value::None => {}
                Value::Bool(bool) => bool.hash(&mut state),
                Value::Int(int) => int.hash(&mut state),
                Value::BigInt(int) => int.hash(&mut state),
                Value::Float(float) => float.to_bits().hash(&mut state),
                Value::Str(text) => text.as_bytes().hash(&mut state),
                Value::Bytes(bytes) | Value::ByteArray(bytes) => bytes.hash(&mut state),
                Value::Type(name) => name.hash(&mut state),
                Value::List(items)
                | Value::Tuple(items)
                | Value::Set(items)
                | Value::FrozenSet(items)
                | Value::Opcode(items) => state.write_usize(items.len()),
                Value::Dict(dict) => state.write_usize(dict.len()),
            }
            value.push_inside(&mut pending);
        }
        state.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::pickle::Dict;

    #[test]
    fn only_what_can_be_changed_is_seen_again() {
        let dict = || Value::from(Dict::new().with("name", "F_01").with("frame", 1));
        let mut seen = Seen::default();
        for value in [dict(), Value::list([1]), Value::list([dict()])] {
            assert!(!seen.again(&value), "{value:?}");
            assert!(seen.again(&value), "{value:?}");
        }
        for value in [Value::Int(1), "a".into(), Value::tuple([1])] {
            assert!(!seen.again(&value), "{value:?}");
            assert!(!seen.again(&value), "{value:?}");
        }
        let inside = Value::tuple([dict()]);
        assert!(!seen.again(&inside));
        assert!(seen.again(&inside));
    }

    #[test]
    fn what_differs_is_not_taken_for_the_same() {
        let mut seen = Seen::default();
        let float = |float: f64| Value::list([float]);
        for value in [
            Value::list([1, 2]),
            Value::list([2, 1]),
            Value::list([Value::list([1]), Value::Int(2)]),
            Value::list([Value::list([1, 2])]),
            Value::list([true]),
            Value::list([1]),
            float(1.0),
            float(0.0),
            float(-0.0),
            Value::list(["1"]),
            Value::from(Dict::new().with("1", 1)),
            Value::from(Dict::new()),
            Value::list([Value::None]),
        ] {
            assert!(!seen.again(&value), "{value:?}");
        }
    }
}
