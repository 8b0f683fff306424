//! What deltas do, in the cases worth naming; chance and Python's own are tested beside the crate.

use bytes::Bytes;

use super::*;
use crate::wire::pickle::{self, Budget, Dict, Items, PyType, Value};

fn changed(path: &str, value: impl Into<Value>) -> Value {
    let change = Dict::new().with("new_value", value);
    section("values_changed", path, change)
}

fn section(name: &str, path: &str, value: impl Into<Value>) -> Value {
    Value::from(Dict::new().with(name, Dict::new().with(path, value)))
}

fn document() -> Value {
    let inner = Dict::new().with("x", 1).with("l", Value::list([1, 2, 3]));
    Value::from(Dict::new().with("a", inner).with("t", Value::tuple([1, 2])))
}

fn done(delta: &Value) -> Value {
    apply(&document(), delta).unwrap().document
}

#[test]
fn values_are_replaced_and_missing_paths_skipped() {
    let outcome = apply(&document(), &changed("root['a']['x']", 2)).unwrap();
    assert!(outcome.alike);
    let text = format!("{:?}", outcome.document);
    assert_eq!(text, r#"{"a": {"x": 2, "l": [1, 2, 3]}, "t": (1, 2)}"#);
    let outcome = apply(&document(), &changed("root['b']['x']", 2)).unwrap();
    assert_eq!(outcome.document, document());
    assert_eq!(done(&changed("root", 5)), Value::Int(5));
}

#[test]
fn lists_grow_and_shrink_where_they_should() {
    let list = |delta: &Value| match done(delta).as_dict().and_then(|d| d.get("a")) {
        Some(Value::Dict(dict)) => format!("{:?}", dict.get("l").unwrap()),
        _ => String::new(),
    };
    assert_eq!(
        list(&section("iterable_item_added", "root['a']['l'][1]", 9)),
        "[1, 9, 2, 3]"
    );
    assert_eq!(
        list(&section("iterable_item_added", "root['a']['l'][3]", 9)),
        "[1, 2, 3, 9]"
    );
    assert_eq!(
        list(&section("iterable_item_added", "root['a']['l'][7]", 9)),
        "[1, 2, 3]"
    );
    assert_eq!(
        list(&section("iterable_item_removed", "root['a']['l'][1]", 2)),
        "[1, 3]"
    );
    // Elsewhere, as the nearest that is what should go.
    assert_eq!(
        list(&section("iterable_item_removed", "root['a']['l'][0]", 3)),
        "[1, 2]"
    );
    assert_eq!(
        list(&section("iterable_item_removed", "root['a']['l'][0]", 8)),
        "[1, 2, 3]"
    );
    let places = Dict::new().with(0, 7).with(9, 8);
    assert_eq!(
        list(&section(
            "iterable_items_added_at_indexes",
            "root['a']['l']",
            places
        )),
        "[7, 1, 2, 3, 8]"
    );
}

#[test]
fn tuples_stay_tuples() {
    let outcome = done(&changed("root['t'][1]", 5));
    assert_eq!(
        outcome.as_dict().unwrap().get("t"),
        Some(&Value::tuple([1, 5]))
    );
    let nested = Value::tuple([Value::tuple([1])]);
    let error = apply(&nested, &changed("root[0][0]", 5)).unwrap_err();
    assert!(matches!(error, DeltaError::Raises(_)));
}

#[test]
fn a_type_makes_the_new_value() {
    let change = Dict::new()
        .with("old_type", PyType::Int)
        .with("new_type", PyType::Float);
    let outcome = done(&section("type_changes", "root['a']['x']", change));
    let inner = outcome
        .as_dict()
        .unwrap()
        .get("a")
        .unwrap()
        .as_dict()
        .unwrap();
    assert_eq!(inner.get("x"), Some(&Value::Float(1.0)));
}

#[test]
fn what_clients_fail_on_is_refused() {
    let set = Value::Set(Items::from(vec![Value::Int(1)]));
    for delta in [
        section("set_item_added", "root['nothing']", set.clone()),
        section("set_item_added", "root['a']", set),
        section("iterable_item_added", "root['t'][0]", 1),
        section("iterable_item_added", "root['a']['x']", 1),
        section("values_changed", "root['a']", 1),
        section("attribute_added", "root.a", 1),
        changed("root.__class__", 1),
        changed("root['a'].'__class__'", 1),
        Value::list([1]),
    ] {
        assert!(apply(&document(), &delta).is_err(), "{delta:?}");
        assert!(!is_plain(&delta), "{delta:?}");
    }
}

#[test]
fn a_delta_cannot_take_for_ever() {
    let long = Value::from(Dict::new().with("l", vec![Value::None; 300_000]));
    let many: Dict = (0..2000).map(|i| (format!("root['l'][{i}]"), 1)).collect();
    let delta = Value::from(Dict::new().with("iterable_item_added", many));
    assert_eq!(apply(&long, &delta), Err(DeltaError::Work));
}

#[test]
fn differences_say_no_more_than_they_must() {
    let old = document();
    let new = done(&section("iterable_item_added", "root['a']['l'][1]", 9));
    let delta = difference(&old, &new);
    assert_eq!(
        format!("{delta:?}"),
        r#"{"values_changed": {"root['a']['l']": {"new_value": [1, 9, 2, 3]}}}"#
    );
    assert!(is_plain(&delta));
    assert_eq!(difference(&old, &old), Value::from(Dict::new()));
    let whole = difference(&Value::None, &old);
    assert_eq!(apply(&Value::None, &whole).unwrap().document, old);
    let keys = |text: &str| Value::from(Dict::new().with(text, 1).with("z", 2));
    let delta = difference(&keys("it's"), &keys("b"));
    assert!(
        format!("{delta:?}").starts_with(r#"{"values_changed": {"root":"#),
        "{delta:?}"
    );
}

#[test]
fn keys_may_go_in_any_order() {
    let old = Value::from(Dict::new().with(10, 1).with(9, 1).with(1, 1));
    let new = Value::from(Dict::new().with(9, 1));
    let applied = apply(&old, &difference(&old, &new)).unwrap();
    assert_eq!((applied.document, applied.alike), (new, true));
}

fn opcodes(count: usize, length: i64) -> Value {
    let [from, to] = [0, length].map(Value::from);
    let parts = [
        "equal".into(),
        from.clone(),
        to.clone(),
        from,
        to,
        Value::None,
        Value::None,
    ];
    Value::list(vec![Value::Opcode(Items::from(parts.to_vec())); count])
}

fn checked(document: &Value, delta: &Value) -> Result<Checked, FoldError> {
    let bytes = |value| pickle::write(value, pickle::Protocol::Four);
    check(&bytes(document), &[], &bytes(delta), &Budget::NODE)
}

#[test]
fn a_delta_cannot_make_much_of_little() {
    let nested = Value::list([Value::list([Value::list([Value::list([Value::list([
        1,
    ])])])])]);
    let nested = Value::from(Dict::new().with("a", nested));
    let paths = [
        "root['a'][0][0][0]",
        "root['a'][0][0]",
        "root['a'][0]",
        "root['a']",
    ];
    let entries: Dict = paths
        .map(|path| (path, opcodes(60, 1)))
        .into_iter()
        .collect();
    let delta = Value::from(Dict::new().with("_iterable_opcodes", entries));
    let outcome = apply(&nested, &delta).map(drop);
    assert!(matches!(outcome, Err(DeltaError::Unclear(_))));

    let wide = Value::list(vec![Value::None; 100_000]);
    let same = Value::from(Dict::new().with("a", "b"));
    let parts = [
        "insert".into(),
        Value::Int(0),
        Value::Int(0),
        Value::Int(0),
        Value::Int(100_000),
        Value::None,
        Value::list(vec![same; 100_000]),
    ];
    let inserts = Value::list(vec![Value::Opcode(Items::from(parts.to_vec())); 100]);
    let delta = section("_iterable_opcodes", "root", inserts);
    assert_eq!(apply(&wide, &delta).map(drop), Err(DeltaError::Work));
}

/// What is in two places becomes two when it is changed in both.
#[test]
fn opcodes_use_nothing_twice() {
    let part = |from: i64, to: i64| {
        let [from, to] = [from, to].map(Value::from);
        let none = || Value::None;
        let parts = vec![
            "equal".into(),
            from.clone(),
            to.clone(),
            from,
            to,
            none(),
            none(),
        ];
        Value::Opcode(parts.into())
    };
    let list = Value::list([Value::list([1]), Value::list([2]), Value::list([3])]);
    let rebuilt = |parts: Vec<Value>| {
        let delta = section("_iterable_opcodes", "root", Value::list(parts));
        apply(&list, &delta).map(|applied| applied.document)
    };
    let outer = Value::list([Value::list([1]), Value::list([3])]);
    assert_eq!(rebuilt(vec![part(0, 1), part(2, 9)]), Ok(outer));
    for parts in [
        vec![part(0, 2), part(1, 3)],
        vec![part(0, 9), part(2, 3)],
        vec![part(1, 2), part(0, 1)],
    ] {
        assert!(matches!(rebuilt(parts), Err(DeltaError::Unclear(_))));
    }
}

/// deepdiff leaves out what looks private, but it has to look at it.
#[test]
fn values_without_order_are_paid_for_when_they_are_compared() {
    let few = Value::from(Dict::new().with("y", 1));
    let many: Dict = (0..20_000).map(|n| (format!("__{n}"), 1)).collect();
    let places = Dict::new().with(0, many.with("x", 1));
    let delta = section("iterable_items_added_at_indexes", "root", places);
    let list = Value::list(vec![few; 20_000]);
    let outcome = apply(&list, &delta).map(drop);
    assert_eq!(outcome, Err(DeltaError::Work));
}

#[test]
fn a_tail_cannot_make_a_node_too_large_on_the_way() {
    let bytes = |value: &Value| pickle::write(value, pickle::Protocol::Four);
    let base = bytes(&Dict::new().into());
    let key = |key: &str| {
        let path = format!("root['{key}']");
        bytes(&section(
            "dictionary_item_added",
            &path,
            vec![Value::None; 300],
        ))
    };
    let budget = Budget::node(1 << 20, 100, 1000);
    let folded = |tail: &[Bytes]| fold(&base, tail, &budget).map(|(_, refused)| refused);
    // The same part again and again.
    assert_eq!(folded(&vec![key("a"); 20]), Ok(0));
    let empty = [bytes(&changed("root", Dict::new()))];
    let tail = ["a", "b", "c", "d", "e", "f", "g", "h"].map(key);
    assert_eq!(folded(&[&tail[..2], &empty].concat()), Ok(0));
    let all = [&tail[..], &empty].concat();
    assert_eq!(folded(&all), Err(FoldError::Values));
    // Also if one of them cannot be applied.
    let wrong = bytes(&Value::None);
    assert_eq!(
        folded(&[&[wrong], &all[..]].concat()),
        Err(FoldError::Values)
    );
}

#[test]
fn long_texts_cost_what_they_take() {
    let text = |end: &str| Value::str("x".repeat(1 << 20) + end);
    let texts = Value::from(
        Dict::new()
            .with("l", vec![text("a"); 300])
            .with("t", text("")),
    );
    let each = |paths: Vec<String>, entry: &Value| -> Dict {
        paths
            .into_iter()
            .map(|path| (path, entry.clone()))
            .collect()
    };
    let items = (0..300).map(|i| format!("root['l'][{i}]")).collect();
    let delta = Dict::new().with("iterable_item_removed", each(items, &text("b")));
    assert_eq!(apply(&texts, &delta.into()), Err(DeltaError::Work));

    let change = Value::from(Dict::new().with("new_value", 1));
    let letters = (0..20_000).map(|i| format!("root['t'][{i}]")).collect();
    let delta = Dict::new().with("values_changed", each(letters, &change));
    assert_eq!(apply(&texts, &delta.into()), Err(DeltaError::Work));

    let set: Items = (0..200).map(|i| text(&i.to_string())).collect();
    let sets = Value::from(Dict::new().with("s", Value::Set(set)));
    let ways = (0..1000).map(|i| format!("root['s'][__{i}]")).collect();
    let given = Value::Set(Items::from(vec![Value::Int(1)]));
    let delta = Dict::new().with("set_item_added", each(ways, &given));
    assert_eq!(apply(&sets, &delta.into()), Err(DeltaError::Work));

    let large = Value::list([Value::list(vec![text(""); 300])]);
    let ways = (0..1000).map(|i| format!("root[__{i}]")).collect();
    let given = Value::from(Dict::new().with(9, Value::list([7])));
    let delta = Dict::new().with("iterable_items_added_at_indexes", each(ways, &given));
    assert_eq!(apply(&large, &delta.into()), Err(DeltaError::Work));
}

#[test]
fn many_tuples_are_changed_in_good_time() {
    let tuples = Value::list(vec![Value::tuple([1]); 20_000]);
    let change = Value::from(Dict::new().with("new_value", 2));
    let entries: Dict = (0..20_000)
        .map(|i| (format!("root[{i}][0]"), change.clone()))
        .collect();
    let start = std::time::Instant::now();
    let delta = Value::from(Dict::new().with("values_changed", entries));
    let outcome = apply(&tuples, &delta).unwrap().document;
    assert_eq!(outcome, Value::list(vec![Value::tuple([2]); 20_000]));
    assert!(start.elapsed() < std::time::Duration::from_secs(10));
}

#[test]
fn plain_deltas_do_not_nest_deeper_and_deeper() {
    let nested = |levels| (0..levels).fold(Value::Int(1), |inner, _| Value::list([inner]));
    let at = |levels| format!("root{}", "['a']".repeat(levels));
    assert!(is_plain(&changed("root['a']", nested(40))));
    assert!(!is_plain(&changed("root['a']", nested(100))));
    assert!(!is_plain(&changed(&at(100), 1)));
    assert!(!is_plain(&changed(&at(40), nested(40))));

    let deep = Value::from(Dict::new().with("a", nested(200)));
    let further = format!("root['a']{}", "[0]".repeat(200));
    let error = checked(&deep, &changed(&further, nested(100))).unwrap_err();
    assert_eq!(error, FoldError::Levels);
}

#[test]
fn bytearrays_are_in_no_delta() {
    let bytes = Value::ByteArray("abc".into());
    let delta = changed("root['a']", bytes.clone());
    assert!(!is_plain(&delta));
    assert!(apply(&document(), &delta).is_err());
    // A place in one takes numbers up to 255, and clients raise at 300.
    let document = Value::from(Dict::new().with("b", bytes).with("x", 1));
    assert!(has_tuples(&document));
    assert!(checked(&document, &changed("root['b'][0]", 300)).is_err());
    assert!(checked(&document, &changed("root['x']", 2)).is_ok());
    let moved = section("dictionary_item_removed", "root['x']", 1);
    assert!(checked(&document, &moved).is_ok());
}

#[test]
fn large_differences_take_no_more_than_the_document() {
    let list = |first| Value::from(Dict::new().with("l", Value::list(first..first + 20_000i64)));
    let delta = difference(&list(0), &list(1));
    let entries = delta
        .as_dict()
        .and_then(|delta| delta.get("values_changed"));
    assert_eq!(entries.and_then(Value::as_dict).map(Dict::len), Some(1));
}

#[test]
fn a_type_cannot_make_much_of_little() {
    let long = Value::from(Dict::new().with("t", Value::str("x".repeat(5 << 20))));
    for to in [PyType::List, PyType::Tuple, PyType::Set] {
        let change = Dict::new().with("new_type", to);
        let delta = section("type_changes", "root['t']", change);
        assert_eq!(apply(&long, &delta).map(drop), Err(DeltaError::Work));
    }
}

fn written(value: &Value) -> usize {
    pickle::write(value, pickle::Protocol::Four).len()
}

/// Each change is named by its whole path.
#[test]
fn differences_are_no_larger_than_the_document() {
    let key = "k".repeat(60_000);
    let list = |from| Value::list((from..from + 2000).map(|n: i64| Value::Int(n % 200)));
    let named = |value| Value::from(Dict::new().with(&key, value).with("more", list(0)));
    let inside = |value| named(Value::from(Dict::new().with("l", value)));
    let rows = |from| Value::list((from..from + 300).map(|n: i64| Value::list([n, n])));
    let dict = |keys: std::ops::Range<i64>| Value::from(Dict::from_iter(keys.map(|k| (k, 1))));
    let shared = Value::str(key.as_str());
    let each = |n| {
        let row = |_| Value::from(Dict::new().with(&shared, n));
        Value::list((0..300).map(row))
    };
    let large = Value::from(Dict::new().with("a", Value::bytes("x".repeat(1 << 20))));
    let many = |from: i64| {
        let row = |n| Value::from(Dict::new().with(format!("{n}{}", "k".repeat(60)), from));
        Value::list((0..3000).map(row))
    };
    for (old, new) in [
        (inside(list(0)), inside(list(1))),
        (inside(rows(0)), inside(rows(1))),
        (inside(dict(0..10)), inside(dict(0..1000))),
        (inside(dict(0..1000)), inside(dict(0..10))),
        (each(1), each(2)),
        (large, Value::from(Dict::new())),
        (many(1), many(2)),
    ] {
        let delta = difference(&old, &new);
        assert_eq!(apply(&old, &delta).unwrap().document, new);
        let (size, most) = (written(&delta), written(&new) + SLACK_OF_DELTAS);
        assert!(size <= most, "{size} of {most}");
    }
}

const SLACK_OF_DELTAS: usize = 65 << 10;

/// What is large beside a change stays out of the delta, however the change must be told.
#[test]
fn differences_replace_the_nearest_part() {
    let key = "k".repeat(60_000);
    let part = |from: i64| Value::list((from..from + 2000).map(|n| n % 200));
    let large = Value::bytes("x".repeat(1 << 20));
    let document = |from| {
        let inner = Dict::new().with("l", part(from)).with("other", &large);
        Value::from(Dict::new().with(&key, inner))
    };
    let delta = difference(&document(0), &document(1));
    assert!(written(&delta) < 70_000, "{}", written(&delta));
}

/// Clients fail on a node that is no dict.
#[test]
fn a_node_stays_a_dict() {
    let change = |value: Value| Dict::new().with("new_value", value);
    let dict = || Value::from(Dict::new().with("x", 1));
    let types = |value| change(value).with("new_type", PyType::Int);
    for value in [Value::Int(5), Value::None, Value::list([1])] {
        for delta in [
            section("values_changed", "root", change(value.clone())),
            section("type_changes", "root", types(value.clone())),
            section("dictionary_item_added", "root", value.clone()),
        ] {
            assert!(!is_plain(&delta), "{delta:?}");
            let error = checked(&document(), &delta).unwrap_err();
            assert_eq!(error, FoldError::NoDict, "{delta:?}");
        }
    }
    let whole = section("values_changed", "root", change(dict()));
    assert!(is_plain(&whole));
    assert!(checked(&Value::None, &whole).is_ok());
    assert!(is_plain(&section("dictionary_item_added", "root", dict())));
    // What was never dumped is no dict yet.
    let elsewhere = changed("root['x']", 5);
    assert!(checked(&Value::None, &elsewhere).is_ok());

    // One that was taken in another time is passed over.
    let bytes = |value: &Value| pickle::write(value, pickle::Protocol::Four);
    let spoilt = [changed("root", 5), elsewhere].map(|delta| bytes(&delta));
    let (payload, refused) = fold(&bytes(&dict()), &spoilt, &Budget::NODE).unwrap();
    assert_eq!(
        (payload, refused),
        (bytes(&Dict::new().with("x", 5).into()), 1)
    );
}

/// Clients skip what leads nowhere, so that of a change of another node they would make a ruin.
#[test]
fn the_first_delta_of_a_node_says_what_it_is() {
    let bytes = |value: &Value| pickle::write(value, pickle::Protocol::Four);
    let of =
        |blank: Value, delta: &Value| check_first(&bytes(&blank), &bytes(delta), &Budget::NODE);
    let dict = || Value::from(Dict::new());
    let new = || Value::from(Dict::new().with("new_value", document()));
    // As deepdiff describes a dict against nothing and against an empty one.
    let type_changes = section("type_changes", "root", new());
    for blank in [Value::None, dict()] {
        for delta in [&type_changes, &changed("root", document())] {
            assert!(of(blank.clone(), delta).is_ok(), "{delta:?}");
        }
    }
    let mut keys = Dict::new();
    for (key, value) in document().as_dict().unwrap() {
        keys.insert(
            Value::from(format!("root['{}']", key.as_str().unwrap())),
            value.clone(),
        );
    }
    let added = Dict::new().with("dictionary_item_added", keys);
    let added = Value::from(added.with("_iterable_opcodes", Dict::new()));
    assert!(of(dict(), &added).is_ok());
    assert_eq!(of(Value::None, &added), Err(FoldError::NoBase));
    for (blank, delta) in [
        (Value::None, changed("root['a']['x']", 2)),
        (dict(), changed("root['a']['x']", 2)),
        (dict(), changed("root['t']", 2)),
        (dict(), changed("root", Value::None)),
        (
            Value::None,
            section(
                "type_changes",
                "root",
                Dict::new().with("new_value", Value::None),
            ),
        ),
        (
            dict(),
            section("dictionary_item_added", "root['a']['y']", 2),
        ),
        (dict(), section("dictionary_item_removed", "root['a']", 2)),
        (
            dict(),
            section("iterable_item_added", "root['a']['l'][1]", 9),
        ),
        (dict(), dict()),
    ] {
        assert_eq!(of(blank, &delta), Err(FoldError::NoBase), "{delta:?}");
    }
}
