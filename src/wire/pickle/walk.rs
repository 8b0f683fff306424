//! Walks over nested values with a list of what is still to do instead of the call stack: dropping,
//! comparing and showing. Called by the trait implementations of the types of values.

use std::fmt;

use super::{dict::Dict, items::Items, value::Value};

/// Drops values level by level, so that values nested a million deep can be dropped too.
pub(super) fn dismantle(mut pending: Vec<Value>) {
    if !pending.iter().any(Value::is_container) {
        return;
    }
    while let Some(mut value) = pending.pop() {
        let inner = match &mut value {
            Value::List(items)
            | Value::Tuple(items)
            | Value::Set(items)
            | Value::FrozenSet(items)
            | Value::Opcode(items) => items.take_unshared(),
            Value::Dict(dict) => dict.take_unshared(),
            _ => None,
        };
        pending.extend(inner.into_iter().flatten());
    }
}

/// Whether two values pickle to the same.
pub(super) fn same(one: &Value, two: &Value) -> bool {
    let mut pending = Vec::new();
    compare(one, two, &mut pending) && all_same(pending)
}

/// Whether two dicts pickle to the same.
pub(super) fn same_dicts(one: &Dict, two: &Dict) -> bool {
    let mut pending = Vec::new();
    compare_dicts(one, two, &mut pending) && all_same(pending)
}

/// Whether two lists pickle to the same.
pub(super) fn same_items(one: &Items, two: &Items) -> bool {
    let mut pending = Vec::new();
    compare_items(one, two, &mut pending) && all_same(pending)
}

type Pairs<'a> = Vec<(&'a Value, &'a Value)>;

fn all_same(mut pending: Pairs<'_>) -> bool {
    while let Some((one, two)) = pending.pop() {
        if !compare(one, two, &mut pending) {
            return false;
        }
    }
    true
}

/// Compares what is not nested, and leaves the rest in `pending`.
fn compare<'a>(one: &'a Value, two: &'a Value, pending: &mut Pairs<'a>) -> bool {
    match (one, two) {
        (Value::None, Value::None) => true,
        (Value::Bool(one), Value::Bool(two)) => one == two,
        (Value::Int(one), Value::Int(two)) => one == two,
        (Value::BigInt(one), Value::BigInt(two)) => one == two,
        (Value::Float(one), Value::Float(two)) => one.to_bits() == two.to_bits(),
        (Value::Str(one), Value::Str(two)) => one == two,
        (Value::Bytes(one), Value::Bytes(two)) | (Value::ByteArray(one), Value::ByteArray(two)) => {
            one == two
        }
        (Value::Type(one), Value::Type(two)) => one == two,
        (Value::Dict(one), Value::Dict(two)) => compare_dicts(one, two, pending),
        (Value::List(one), Value::List(two))
        | (Value::Tuple(one), Value::Tuple(two))
        | (Value::Set(one), Value::Set(two))
        | (Value::FrozenSet(one), Value::FrozenSet(two))
        | (Value::Opcode(one), Value::Opcode(two)) => compare_items(one, two, pending),
        _ => false,
    }
}

fn compare_items<'a>(one: &'a Items, two: &'a Items, pending: &mut Pairs<'a>) -> bool {
    if one.is_same(two) {
        return true;
    }
    pending.extend(one.iter().zip(two));
    one.len() == two.len()
}

fn compare_dicts<'a>(one: &'a Dict, two: &'a Dict, pending: &mut Pairs<'a>) -> bool {
    if one.is_same(two) {
        return true;
    }
    for ((one_key, one), (two_key, two)) in one.iter().zip(two) {
        pending.push((one_key, two_key));
        pending.push((one, two));
    }
    one.len() == two.len()
}

/// Something to show.
#[derive(Clone, Copy)]
pub(super) enum Repr<'a> {
    /// Text as it is.
    Text(&'static str),
    /// Any value.
    Value(&'a Value),
    /// A dict.
    Dict(&'a Dict),
    /// Values between an opening and a closing text.
    Items(&'static str, &'a [Value], &'static str),
}

/// Writes a value roughly as Python would.
pub(super) fn show(repr: Repr<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut pending = vec![repr];
    while let Some(next) = pending.pop() {
        match next {
            Repr::Text(text) => f.write_str(text)?,
            Repr::Value(value) => match parts(value) {
                Some(repr) => pending.push(repr),
                None => show_plain(value, f)?,
            },
            Repr::Items(open, items, close) => {
                pending.push(Repr::Text(close));
                for (index, item) in items.iter().enumerate().rev() {
                    pending.push(Repr::Value(item));
                    pending.push(Repr::Text(if index == 0 { open } else { ", " }));
                }
                if items.is_empty() {
                    pending.push(Repr::Text(open));
                }
            }
            Repr::Dict(dict) => {
                f.write_str("{")?;
                let start = pending.len();
                for (index, (key, value)) in dict.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    pending.push(Repr::Text(comma));
                    pending.push(Repr::Value(key));
                    pending.push(Repr::Text(": "));
                    pending.push(Repr::Value(value));
                }
                pending.push(Repr::Text("}"));
                if let Some(added) = pending.get_mut(start..) {
                    added.reverse();
                }
            }
        }
    }
    Ok(())
}

fn parts(value: &Value) -> Option<Repr<'_>> {
    Some(match value {
        Value::List(items) => Repr::Items("[", items, "]"),
        Value::Tuple(items) if items.len() == 1 => Repr::Items("(", items, ",)"),
        Value::Tuple(items) => Repr::Items("(", items, ")"),
        Value::Set(items) => Repr::Items("set([", items, "])"),
        Value::FrozenSet(items) => Repr::Items("frozenset([", items, "])"),
        Value::Opcode(items) => Repr::Items("Opcode(", items, ")"),
        Value::Dict(dict) => Repr::Dict(dict),
        _ => return None,
    })
}

fn show_plain(value: &Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Value::Bool(true) => f.write_str("True"),
        Value::Bool(false) => f.write_str("False"),
        Value::Int(int) => fmt::Display::fmt(int, f),
        Value::BigInt(big) => fmt::Debug::fmt(big, f),
        Value::Float(float) => fmt::Debug::fmt(float, f),
        Value::Str(text) => fmt::Debug::fmt(text, f),
        Value::Bytes(bytes) => fmt::Debug::fmt(bytes, f),
        Value::ByteArray(bytes) => write!(f, "bytearray({bytes:?})"),
        Value::Type(kind) => write!(f, "<class {}>", kind.name()),
        // The rest is nested and shown in parts.
        _ => f.write_str("None"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Alternately lists, tuples and dicts.
    fn nested(depth: usize) -> Value {
        let mut value = Value::None;
        for level in 0..depth {
            value = match level % 3 {
                0 => Value::list([value]),
                1 => Value::tuple([value]),
                _ => Value::from(Dict::new().with("k", value)),
            };
        }
        value
    }

    #[test]
    fn deep_nesting_does_not_touch_the_call_stack() {
        let small_stack = std::thread::Builder::new().stack_size(64 * 1024);
        let test = || {
            let one = nested(199_999);
            let two = nested(199_999);
            let shared = one.clone();
            assert!(one == two);
            assert!(one != nested(199_998));
            assert!(format!("{one:?}").starts_with("[{\"k\": ([{\"k\": ("));
            drop(one);
            drop(shared);
        };
        small_stack.spawn(test).unwrap().join().unwrap();
    }

    #[test]
    fn shows_nearly_what_python_shows() {
        let value = Value::from(
            Dict::new()
                .with("a", Value::list([1, 2]))
                .with(1.5, Value::tuple(["x"]))
                .with(Value::None, Value::Set(Items::default()))
                .with(true, Value::ByteArray("b".into())),
        );
        assert_eq!(
            format!("{value:?}"),
            r#"{"a": [1, 2], 1.5: ("x",), None: set([]), True: bytearray(b"b")}"#
        );
    }

    #[test]
    fn equality_tells_types_order_and_bits_apart() {
        assert_ne!(Value::Bool(true), Value::Int(1));
        assert_ne!(Value::Int(1), Value::Float(1.0));
        assert_ne!(Value::Float(0.0), Value::Float(-0.0));
        assert_eq!(Value::Float(f64::NAN), Value::Float(f64::NAN));
        assert_ne!(Value::list([1]), Value::tuple([1]));
        assert_ne!(Value::list([1]), Value::list([1, 2]));
        assert_ne!(
            Dict::new().with("a", 1).with("b", 2),
            Dict::new().with("b", 2).with("a", 1)
        );
        assert_eq!(Dict::new().with("a", 1), Dict::new().with("a", 1));
    }
}
