//! The cost of pickles, against what was allocated for them.

use std::collections::HashSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Cost, PIECE, cost, cost_of_cost};
use crate::wire::pickle::programs::{plain, program, roomy};
use crate::wire::pickle::read::MIN_SLICE;
use crate::wire::pickle::{Budget, Protocol, ScanPolicy, Value, read, scan, write};

/// What is allocated for a value, each piece of it once; and the places for values in it.
#[expect(clippy::arithmetic_side_effects, reason = "sums of what is in memory")]
fn allocated(value: &Value) -> (usize, usize) {
    let (mut bytes, mut places) = (0, 1);
    let mut seen = HashSet::new();
    let mut pending = vec![value];
    while let Some(value) = pending.pop() {
        let (at, pieces): (*const u8, Vec<usize>) = match value {
            Value::Str(text) => (text.as_bytes().as_ptr(), vec![text.as_bytes().len() + 16]),
            Value::BigInt(int) => (int.as_bytes().as_ptr(), vec![int.as_bytes().len() + 16]),
            Value::Bytes(data) | Value::ByteArray(data) => {
                let own = if data.len() < MIN_SLICE {
                    data.len()
                } else {
                    0
                };
                (data.as_ptr(), vec![own, 24])
            }
            Value::List(items)
            | Value::Tuple(items)
            | Value::Set(items)
            | Value::FrozenSet(items)
            | Value::Opcode(items)
                if !items.is_empty() =>
            {
                let values = items.capacity() * size_of::<Value>();
                (items.as_ptr().cast(), vec![40, values])
            }
            Value::Dict(dict) if !dict.is_empty() => {
                let entries = dict.capacity() * (2 * size_of::<Value>() + 8);
                let table = dict.capacity().next_power_of_two() * 9 + 16;
                let first = dict.iter().next().map(|(key, _)| std::ptr::from_ref(key));
                (first.unwrap().cast(), vec![88, entries, table])
            }
            _ => continue,
        };
        if !seen.insert(at) {
            continue;
        }
        bytes += pieces.iter().map(|piece| piece + PIECE / 2).sum::<usize>();
        let before = pending.len();
        value.push_inside(&mut pending);
        places += pending.len() - before;
    }
    (bytes, places)
}

/// Compares what is told of a pickle with what comes of it.
fn compare(pickle: &[u8], budget: &Budget) -> Result<Option<Cost>, TestCaseError> {
    let pickle = Bytes::copy_from_slice(pickle);
    let (cost, value) = match (cost(&pickle, budget), read(&pickle, budget)) {
        (Ok(cost), Ok(value)) => (cost, value),
        (cost, value) => {
            prop_assert_eq!(cost.err(), value.err());
            return Ok(None);
        }
    };
    let (bytes, places) = allocated(&value);
    prop_assert!(bytes <= cost.memory, "{bytes} B, {cost:?}");
    prop_assert!(places <= cost.places, "{places} places, {cost:?}");
    let policy = ScanPolicy {
        budget: *budget,
        ..ScanPolicy::NODE
    };
    prop_assert_eq!(cost.items, scan(&pickle, &policy).unwrap().items);
    let written = write(&value, Protocol::Four).len();
    prop_assert!(
        written <= cost.written.saturating_add(4),
        "{written} written, {cost:?}"
    );
    Ok(Some(cost))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn no_program_takes_more_than_is_told(pickle in program()) {
        compare(&pickle, &roomy())?;
    }

    #[test]
    fn no_plain_data_takes_more_than_is_told((pickle, _) in plain()) {
        compare(&pickle, &roomy())?;
    }
}

/// A list of so many of these, put there so many at a time.
fn list(each: &[u8], count: usize, batch: usize) -> Vec<u8> {
    let mut pickle = b"\x80\x04}\x8c\x01l]".to_vec();
    for some in vec![each; count].chunks(batch) {
        pickle.push(b'(');
        pickle.extend(some.concat());
        pickle.push(b'e');
    }
    pickle.extend(b"s.");
    pickle
}

#[test]
fn however_they_grow() {
    let long = [&b"B\x88\x13\0\0"[..], &[7; 5000]].concat();
    for each in [
        &b"N"[..],
        b"G\0\0\0\0\0\0\0\x01",
        b"]Na",
        b"]\x94(NNe",
        b"N\x85",
        b"}NNs",
        b"}(K\x01NK\x02NK\x03NK\x04Nu",
        b"\x8c\x02ab\x94",
        b"\x8a\x09\x01\x02\x03\x04\x05\x06\x07\x08\x09",
        b"C\x01a",
        b"N\x94",
        b"\x8f(NK\x02\x90",
        &long,
    ] {
        for (count, batch) in [
            (1, 1),
            (5, 1),
            (7, 3),
            (1025, 1024),
            (3000, 1000),
            (1000, 1),
        ] {
            let pickle = list(each, count, batch);
            let cost = compare(&pickle, &Budget::NODE).unwrap().unwrap();
            assert!(cost.places > count);
            // In proportion, too: nobody is refused for what would not be taken.
            let value = read(&pickle.into(), &Budget::NODE).unwrap();
            let (bytes, _) = allocated(&value);
            assert!(cost.memory < 6 * bytes + 1024, "{cost:?}, {bytes} B");
        }
    }
}

/// Dicts that grow, with keys told again.
#[test]
fn whatever_keys_there_are() {
    for entries in [1u16, 3, 4, 7, 8, 14, 15, 28, 29, 448, 449, 2000] {
        for batch in [1, 3, 1000] {
            let mut pickle = b"\x80\x04}".to_vec();
            for keys in (0..entries).collect::<Vec<_>>().chunks(batch) {
                pickle.push(b'(');
                for key in keys {
                    let [low, high] = (key / 2 * 2).to_le_bytes();
                    pickle.extend([b'M', low, high, b'N']);
                }
                pickle.push(b'u');
            }
            pickle.push(b'.');
            compare(&pickle, &Budget::NODE).unwrap().unwrap();
        }
    }
}

#[test]
fn what_is_kept_for_later_counts() {
    let pickle = |memoized: &[u8]| [b"\x80\x04](N", memoized, b"e."].concat();
    let few = compare(&pickle(b""), &Budget::NODE).unwrap().unwrap();
    let memoized = [0x94; 1000];
    let many = compare(&pickle(&memoized), &Budget::NODE).unwrap().unwrap();
    assert!(many.memory - few.memory >= 1000 * size_of::<Value>());
    // A list of one text, again and again: written each time, but kept once.
    let text = [&b"B\xe8\x03\0\0"[..], &[b'x'; 1000]].concat();
    let again = b"h\x00".repeat(100);
    let pickle = [b"\x80\x04](", &text[..], b"\x94", &again[..], b"e."].concat();
    let cost = compare(&pickle, &Budget::NODE).unwrap().unwrap();
    assert!(cost.written > 100_000 && cost.memory < 20_000, "{cost:?}");
}

#[test]
fn to_tell_takes_little() {
    let small = cost_of_cost(1000, &Budget::NODE);
    assert!((1000..100_000).contains(&small));
    let (some, more) = (1 << 28, 1 << 30);
    assert_eq!(
        cost_of_cost(some, &Budget::NODE),
        cost_of_cost(more, &Budget::NODE)
    );
}
