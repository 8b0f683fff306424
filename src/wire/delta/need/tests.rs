//! What is needed, against what comes of it.

use super::*;
use crate::wire::delta::{DeltaError, check, fold};

use crate::wire::pickle::{Dict, Protocol, PyType, Value, write};

const MIB: usize = 1 << 20;

fn pickle(value: impl Into<Value>) -> Bytes {
    write(&value.into(), Protocol::Four)
}

/// A node with a list of so many small values.
fn node(values: usize) -> Bytes {
    let list = Value::list((0..values).map(|n| Value::Int(i64::try_from(n).unwrap())));
    pickle(Dict::new().with("l", list).with("x", 1))
}

fn change(section: &str, path: &str, what: impl Into<Value>) -> Bytes {
    pickle(Dict::new().with(section, Dict::new().with(path, what)))
}

fn all(base: &Bytes, tail: &[Bytes], delta: Option<&Bytes>) -> Result<Need, FoldError> {
    need(base, tail, delta, &Budget::NODE, usize::MAX)
}

/// Honest changes come out with the budget of the need as they do with all there is.
#[test]
fn what_it_allows_is_enough() {
    let small = node(10);
    let large = node(20_000);
    let opcode = |tag: &str, bounds: [i64; 4], new: Value| {
        let bounds = bounds.map(Value::Int);
        let parts = [Value::str(tag)].into_iter().chain(bounds);
        Value::Opcode(parts.chain([Value::None, new]).collect())
    };
    let insert = vec![
        opcode("equal", [0, 5, 0, 5], Value::None),
        opcode("insert", [5, 5, 5, 6], Value::list([7])),
        opcode("equal", [5, 20_000, 6, 20_001], Value::None),
    ];
    let numbers = Value::list((0..1000).map(Value::from));
    let added: Dict = (0..1000).map(|n| (Value::from(n), "text")).collect();
    let set = Value::Set((0..1000).map(Value::from).collect());
    let changes = [
        change("_iterable_opcodes", "root['l']", insert),
        change("iterable_item_removed", "root['l'][3]", 3),
        change("iterable_item_added", "root['l'][1]", "one"),
        change("dictionary_item_added", "root['new']", numbers),
        change("dictionary_item_removed", "root['x']", 1),
        change("iterable_items_added_at_indexes", "root['l']", added),
        change("dictionary_item_added", "root['s']", set),
        change(
            "values_changed",
            "root['x']",
            Dict::new().with("new_value", "1"),
        ),
        change(
            "type_changes",
            "root['x']",
            Dict::new().with("new_type", PyType::Str),
        ),
        change(
            "type_changes",
            "root['l']",
            Dict::new().with("new_type", PyType::Set),
        ),
    ];
    for base in [&small, &large] {
        for change in &changes {
            let needed = all(base, &[], Some(change)).unwrap();
            assert_eq!(
                check(base, &[], change, &needed.budget),
                check(base, &[], change, &Budget::NODE),
            );
        }
        let needed = all(base, &changes, None).unwrap();
        assert_eq!(
            fold(base, &changes, &needed.budget),
            fold(base, &changes, &Budget::NODE),
        );
    }
}

#[test]
fn to_tell_it_takes_a_part_of_what_there_is() {
    for most in [1, 16, 256].map(|mib| mib * MIB) {
        let cost = cost_of_need(usize::MAX, &Budget::NODE, most);
        assert!(cost < most, "{cost} of {most}");
    }
    assert!(cost_of_need(100, &Budget::NODE, MIB) < MIB / 64);
}

/// Nothing but the values that are there tells how much of them can be made.
#[test]
fn little_does_not_become_much() {
    let bytes = Value::bytes(vec![7; 4 * MIB]);
    let text = Value::str("x".repeat(MIB / 2));
    for value in [bytes, text] {
        let base = pickle(Dict::new().with("x", value));
        let to = Dict::new().with("new_type", PyType::List);
        let delta = change("type_changes", "root['x']", to);
        let needed = all(&base, &[], Some(&delta)).unwrap();
        assert!(needed.memory < 32 * MIB, "{needed:?}");
        let grows = Err(DeltaError::Grows.into());
        assert_eq!(check(&base, &[], &delta, &needed.budget), grows);
        // As one of a tail it is left out.
        let folded = fold(&base, &[delta], &needed.budget).unwrap();
        assert_eq!((folded.payload.len() > MIB / 2, folded.left_out), (true, 1));
    }
}

/// A `bytes` that is told once and named again and again is written each time.
#[test]
fn what_is_written_in_the_end_counts() {
    let bytes = [&b"B\0\0\x01\0"[..], &[7; 1 << 16], b"\x94"].concat();
    let again = b"h\x00".repeat(999);
    let parts = [&b"\x80\x04}\x8c\x01l]("[..], &bytes, &again, b"es."];
    let base = Bytes::from(parts.concat());
    let needed = all(&base, &[], None).unwrap();
    let folded = fold(&base, &[], &needed.budget).unwrap().payload;
    assert!(folded.len() > 60 * MIB && needed.memory > folded.len());
}

#[test]
fn what_takes_more_than_there_is_is_not_begun() {
    let base = node(20_000);
    let delta = change(
        "values_changed",
        "root['x']",
        Dict::new().with("new_value", 2),
    );
    let tail = vec![delta.clone(); 10_000];
    let needed = [
        all(&base, &[], Some(&delta)),
        all(&base, std::slice::from_ref(&delta), None),
        all(&node(1), &tail, None),
        all(&node(1), &[], Some(&base)),
    ];
    let of = [
        (&base, &tail[..0], Some(&delta)),
        (&base, &tail[..1], None),
        (&node(1), &tail[..], None),
        (&node(1), &tail[..0], Some(&base)),
    ];
    for (needed, (base, tail, delta)) in needed.into_iter().zip(of) {
        let most = needed.clone().unwrap().memory;
        let with = |most| need(base, tail, delta, &Budget::NODE, most);
        assert_eq!(with(most), needed);
        let less = most - 1;
        assert_eq!(with(less), Err(FoldError::Memory { most: less }));
        assert_eq!(with(MIB), Err(FoldError::Memory { most: MIB }));
    }
}

/// A mesh is mostly `bytes`, which are not copied.
#[test]
fn long_bytes_need_little_more_than_they_are() {
    let base = pickle(Dict::new().with("v", Value::bytes(vec![7; 20 * MIB])));
    let needed = all(&base, &[], None).unwrap();
    assert!(needed.memory < 24 * MIB, "{needed:?}");
}

#[test]
fn what_cannot_be_read_is_told() {
    let odd = Bytes::from_static(b"\x80\x04}\x8c\x01xcmodule\nname\ns.");
    let fine = node(1);
    assert!(matches!(all(&odd, &[], None), Err(FoldError::Payload(_))));
    assert!(matches!(
        all(&fine, &[], Some(&odd)),
        Err(FoldError::Dump(_))
    ));
    // As one of a tail it is left out.
    assert!(all(&fine, &[odd], None).is_ok());
}
