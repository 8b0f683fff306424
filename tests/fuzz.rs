//! Chance against all that reads what users push: deltas, pickles and marshal.
//!
//! Here only what must hold whatever comes: nothing panics, nothing takes long, and reader, scanner
//! and writer agree. (What Python makes of the same is asked in `delta.rs`, `pickle.rs` and
//! `marshal.rs`.) The few cases of an ordinary run take seconds. For hours of it:
//!
//!     PROPTEST_CASES=10000000 cargo test --release --test fuzz

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

use std::{env, path::Path};

use bytes::Bytes;
use multi_user_server::wire::{
    delta::{apply, difference, has_tuples, is_plain},
    marshal,
    pickle::{
        Budget, Dict, Items, PickleError, Protocol, PyType, ScanPolicy, Value, read, scan, write,
    },
};
use proptest::{collection::vec, prelude::*, sample::Index};

/// So many cases, unless the environment says how many.
fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    match env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases, ..default },
    }
}

/// Reads a pickle, and checks that the scanner has the same opinion.
fn load(pickle: &Bytes) -> Result<Value, PickleError> {
    let value = read(pickle, &Budget::NODE);
    let scanned = scan(pickle, &ScanPolicy::NODE);
    assert_eq!(scanned.err(), value.clone().err(), "{pickle:?}");
    value
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::from),
        (-3..12i64).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(Value::Float(1.0)),
        "[ab]{0,2}".prop_map(Value::from),
        ".{0,5}".prop_map(Value::from),
        vec(any::<u8>(), 0..4).prop_map(Value::bytes),
    ]
}

/// Keys that meet each other in several dicts.
fn key() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(Value::from),
        2 => (0..12i64).prop_map(Value::from),
        1 => scalar(),
        1 => vec(scalar(), 0..3).prop_map(Value::tuple),
    ]
}

fn document() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(5, 60, 12, |inner| {
        prop_oneof![
            3 => vec((key(), inner.clone()), 0..6).prop_map(|entries| Value::from(Dict::from_iter(entries))),
            3 => vec(inner.clone(), 0..12).prop_map(Value::list),
            1 => vec(inner.clone(), 0..4).prop_map(Value::tuple),
            1 => vec(key(), 0..4).prop_map(|items| Value::Set(Items::from(items))),
        ]
    })
}

/// Anything a payload may hold, also what stands in deltas alone.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        8 => scalar(),
        1 => Just(Value::from(PyType::NoneType)),
        1 => Just(Value::from(PyType::List)),
        1 => vec(any::<u8>(), 0..4).prop_map(|bytes| Value::ByteArray(bytes.into())),
        1 => "[a-z]{250,260}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        prop_oneof![
            vec((key(), inner.clone()), 0..6)
                .prop_map(|entries| Value::from(Dict::from_iter(entries))),
            vec(inner.clone(), 0..8).prop_map(Value::list),
            vec(inner.clone(), 0..8).prop_map(Value::tuple),
            vec(key(), 0..4).prop_map(|items| Value::Set(Items::from(items))),
            vec(key(), 0..4).prop_map(|items| Value::FrozenSet(Items::from(items))),
            vec(inner, 7).prop_map(|parts| Value::Opcode(Items::from(parts))),
        ]
    })
}

const SECTIONS: [&str; 12] = [
    "values_changed",
    "type_changes",
    "dictionary_item_added",
    "dictionary_item_removed",
    "iterable_item_added",
    "iterable_item_removed",
    "iterable_items_added_at_indexes",
    "iterable_items_removed_at_indexes",
    "set_item_added",
    "set_item_removed",
    "_iterable_opcodes",
    "else",
];

const TYPES: [PyType; 12] = [
    PyType::NoneType,
    PyType::Bool,
    PyType::Int,
    PyType::Float,
    PyType::Complex,
    PyType::Str,
    PyType::Bytes,
    PyType::List,
    PyType::Tuple,
    PyType::Dict,
    PyType::Set,
    PyType::FrozenSet,
];

/// One change: its section, the way to where it happens, and what it brings.
#[derive(Clone, Debug)]
struct Edit {
    section: usize,
    way: Vec<Index>,
    /// An element more, that need not be there.
    beyond: Option<Value>,
    values: Vec<Value>,
    places: Vec<u8>,
    /// Whether what is removed is what is there.
    honest: bool,
}

fn edit() -> impl Strategy<Value = Edit> {
    (
        0..SECTIONS.len(),
        vec(any::<Index>(), 0..5),
        prop::option::weighted(0.4, key()),
        vec(document(), 1..4),
        vec(0..8u8, 4),
        prop::bool::weighted(0.8),
    )
        .prop_map(|(section, way, beyond, values, places, honest)| Edit {
            section,
            way,
            beyond,
            values,
            places,
            honest,
        })
}

impl Edit {
    /// The text of the path, and what is there.
    fn path(&self, document: &Value) -> (String, Option<Value>) {
        let mut path = "root".to_owned();
        let mut at = Some(document.clone());
        for step in &self.way {
            let (element, next) = match &at {
                Some(Value::Dict(dict)) if !dict.is_empty() => {
                    let (key, value) = dict.iter().nth(step.index(dict.len())).unwrap();
                    (key.clone(), value.clone())
                }
                Some(Value::List(items) | Value::Tuple(items)) if !items.is_empty() => {
                    let place = step.index(items.len());
                    (Value::Int(place as i64), items[place].clone())
                }
                _ => break,
            };
            path = format!("{path}[{}]", python(&element));
            at = Some(next);
        }
        if let Some(beyond) = &self.beyond {
            path = format!("{path}[{}]", python(beyond));
            at = at.and_then(|at| at.as_dict()?.get_key(beyond).cloned());
        }
        (path, at)
    }

    /// What its section says of it.
    fn entry(&self, present: Option<Value>) -> Value {
        let value = self.values[0].clone();
        match SECTIONS[self.section] {
            "values_changed" => Dict::new().with("new_value", value).into(),
            "type_changes" => {
                let kind = TYPES[usize::from(self.places[0]) % TYPES.len()];
                let change = Dict::new().with("new_type", kind);
                match self.honest {
                    true => change.into(),
                    false => change.with("new_value", value).into(),
                }
            }
            "iterable_items_added_at_indexes" | "iterable_items_removed_at_indexes" => {
                let places = self.places.iter().map(|place| i64::from(*place));
                Value::from(Dict::from_iter(places.zip(self.values.clone())))
            }
            "set_item_added" | "set_item_removed" => Value::Set(self.values.clone().into()),
            "_iterable_opcodes" => {
                let [a, b, c, d] = [0, 1, 2, 3].map(|at| Value::from(self.places[at]));
                let new = Value::list(self.values.clone());
                let parts = |tag: &str| [tag.into(), a.clone(), b.clone(), c.clone(), d.clone()];
                let opcode = |tag| {
                    let parts = parts(tag).into_iter().chain([Value::None, new.clone()]);
                    Value::Opcode(parts.collect())
                };
                Value::list([opcode("equal"), opcode("insert"), opcode("delete")])
            }
            _ => present.filter(|_| self.honest).unwrap_or(value),
        }
    }
}

fn python(element: &Value) -> String {
    match element {
        Value::Str(text) => format!("'{}'", text.as_str().unwrap_or_default()),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        other => format!("{other:?}"),
    }
}

/// A delta that says all of this about a document.
fn delta(document: &Value, edits: &[Edit]) -> Value {
    let mut delta = Dict::new();
    for edit in edits {
        let (path, present) = edit.path(document);
        let section = SECTIONS[edit.section];
        let entries = delta.remove(section).unwrap_or(Value::Dict(Dict::new()));
        let entries = entries.as_dict().cloned().unwrap();
        delta.insert(section, entries.with(path, edit.entry(present)));
    }
    Value::Dict(delta)
}

/// Texts with what means something in paths.
fn path() -> impl Strategy<Value = String> {
    let telling = [
        "root",
        "[",
        "]",
        "'",
        "\"",
        "['a']",
        "[\"b\"]",
        "[0]",
        "[-1]",
        "[",
        "']",
        ".",
        "__",
        "\\",
        "a",
        "b",
        "'a'",
        "None",
        "True",
        "1",
        "0",
        "1e5",
        "1.5",
        "-",
        "_",
        "x",
        " ",
        "(1, 2)",
        "ü",
        "\n",
        "\0",
        "\u{1d165}",
        "99999999999999999999",
    ];
    let part = prop_oneof![
        6 => prop::sample::select(telling.to_vec()).prop_map(str::to_owned),
        1 => ".{0,3}",
    ];
    let start = prop_oneof![4 => Just("root"), 1 => Just("")];
    (start, vec(part, 0..8)).prop_map(|(start, parts)| format!("{start}{}", parts.concat()))
}

/// A copy with some bytes changed, put in, taken out, or copied from elsewhere in it.
fn mutated(bytes: &[u8], changes: &[(Index, u8, u8)], telling: &[u8]) -> Vec<u8> {
    let mut made = bytes.to_vec();
    for (place, kind, byte) in changes {
        if made.is_empty() {
            break;
        }
        let at = place.index(made.len());
        let known = telling[usize::from(*byte) % telling.len()];
        match kind % 6 {
            0 => made[at] = *byte,
            1 => made[at] = known,
            2 => made.insert(at, known),
            3 => drop(made.remove(at)),
            4 => made.truncate(at),
            _ => {
                let to = made.len().min(at + usize::from(*byte % 16));
                let piece = made[at..to].to_vec();
                made.extend(piece);
            }
        }
    }
    made
}

fn changes() -> impl Strategy<Value = Vec<(Index, u8, u8)>> {
    vec((any::<Index>(), any::<u8>(), any::<u8>()), 1..6)
}

/// Opcodes of pickles that put things together, and lengths.
const OPCODES: &[u8] = b".(012NJKMIiLlGFVSTUXB\x8c\x8d\x8e\x96CR}]d\x8f\x91te)\x85\x86\x87\x88\x89hjgpqr\x94\x93cosbu\x80\x04\x03\0\x01\xff";

/// Types of marshal, flags and lengths.
const MARSHAL: &[u8] = b"NTFilgszZaAuts()[{<>r0Sc.?fxIR\x00\x01\x02\x7f\x80\xa9\xfb\xff";

/// The recorded nodes in a file of the corpus: lines of a version and hexadecimal digits.
fn captured(name: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let text = std::fs::read_to_string(corpus.join(name)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let parse = |line: &str| {
        let (_, hex) = line.split_once(' ').unwrap();
        let digits = hex.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.map(byte).collect()
    };
    lines.map(parse).collect()
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn any_path_does_no_harm(path in path(), document in document(), value in document()) {
        for section in ["values_changed", "dictionary_item_added", "dictionary_item_removed"] {
            let entry = match section {
                "values_changed" => Value::from(Dict::new().with("new_value", value.clone())),
                _ => value.clone(),
            };
            let entries = Dict::new().with(path.as_str(), entry);
            let delta = Value::from(Dict::new().with(section, entries));
            let applied = apply(&document, &delta);
            if is_plain(&delta) && !has_tuples(&document) {
                prop_assert!(applied.is_ok(), "{:?}", applied);
            }
        }
    }

    #[test]
    fn any_delta_is_applied_or_refused(
        document in document(),
        edits in vec(edit(), 0..6),
    ) {
        let delta = delta(&document, &edits);
        let before = document.clone();
        let applied = apply(&document, &delta);
        prop_assert_eq!(&document, &before);
        if is_plain(&delta) && !has_tuples(&document) {
            prop_assert!(applied.is_ok(), "{:?}", applied);
        }
        let Ok(applied) = applied else {
            return Ok(());
        };
        let new = applied.document;
        prop_assert_eq!(&load(&write(&new, Protocol::Four)).unwrap(), &new);

        let plain = difference(&document, &new);
        prop_assert_eq!(&load(&write(&plain, Protocol::Four)).unwrap(), &plain);
        let again = apply(&document, &plain).unwrap();
        prop_assert_eq!(again.document, new, "{:?}", plain);
        prop_assert!(again.alike, "{:?}", plain);
    }

    #[test]
    fn any_difference_is_told(old in document(), new in document()) {
        let plain = difference(&old, &new);
        let applied = apply(&old, &plain).unwrap();
        prop_assert_eq!(applied.document, new, "{:?}", plain);
        prop_assert!(applied.alike, "{:?}", plain);
    }

    #[test]
    fn what_is_written_is_read(value in anything()) {
        for protocol in [Protocol::Three, Protocol::Four] {
            prop_assert_eq!(&load(&write(&value, protocol)), &Ok(value.clone()));
        }
    }

    #[test]
    fn scanner_and_reader_agree(value in anything(), changes in changes()) {
        let pickle = mutated(&write(&value, Protocol::Four), &changes, OPCODES);
        if let Ok(value) = load(&pickle.into()) {
            prop_assert_eq!(load(&write(&value, Protocol::Four)), Ok(value));
        }
    }

    #[test]
    fn scanner_and_reader_agree_on_any_bytes(bytes in vec(any::<u8>(), 0..200)) {
        let _ = load(&bytes.into());
    }

    #[test]
    fn any_marshal_does_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        let _ = marshal::scan(&bytes, &Budget::NODE);
    }
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn scanner_and_reader_agree_on_what_clients_might_have_sent(changes in changes()) {
        for pickle in captured("pickle/captured.hex") {
            let pickle = mutated(&pickle, &changes, OPCODES);
            let _ = load(&pickle.into());
        }
    }
}

/// What `marshal` writes for a small node: texts that are referred to, a tuple, a list, a long.
const NODE: &[u8] = b"{\xda\x04name\xda\x01a\xda\x01l[\x03\0\0\0i\x01\0\0\0g\0\0\0\0\0\0\xf0?l\x03\0\0\0\x01\0\x02\0\x03\0\xda\x01t)\x02r\x01\0\0\0NTFz\x03abc<\x01\0\0\0i\x02\0\0\x000";

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn any_change_of_marshal_does_no_harm(changes in changes()) {
        let _ = marshal::scan(&mutated(NODE, &changes, MARSHAL), &Budget::NODE);
    }
}
