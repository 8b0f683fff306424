//! What deltas do, in the cases worth naming; chance and Python's own are tested beside the crate.

mod alike;
mod costs;
mod differences;
mod nodes;

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

/// deepdiff removes one after the other, and sees what it has removed.
#[test]
fn removals_see_those_before_them() {
    let removed = |entries: Dict| {
        let lists = Dict::new()
            .with("l", Value::list([1, 2, 3, 4, 5]))
            .with("t", Value::tuple([1, 2, 3]))
            .with("d", Dict::new().with("a", 1).with("b", 2).with("c", 3));
        let delta = Dict::new().with("iterable_item_removed", entries);
        let applied = apply(&lists.into(), &delta.into()).unwrap();
        (format!("{:?}", applied.document), applied.alike)
    };
    let said = |list: &str, tuple: &str, dict: &str| {
        format!(r#"{{"l": [{list}], "t": ({tuple}), "d": {{{dict}}}}}"#)
    };
    let (t, d) = ("1, 2, 3", r#""a": 1, "b": 2, "c": 3"#);
    let all = Dict::new().with("root['l'][0]", 1).with("root['l'][4]", 5);
    let all = all.with("root['t'][0]", 1).with("root['t'][2]", 3);
    let all = all.with("root['d']['c']", 3).with("root['d']['a']", 1);
    assert_eq!(removed(all), (said("2, 3, 4", "2,", r#""b": 2"#), true));
    // The first one twice, in other words.
    let twice = Dict::new()
        .with("root['l'][1]", 2)
        .with("root['l'][True]", 2);
    assert_eq!(removed(twice), (said("1, 3, 4, 5", t, d), false));
    let twice = Dict::new()
        .with("root['d']['b']", 2)
        .with("root['d'][\"b\"]", 2);
    assert_eq!(
        removed(twice),
        (said("1, 2, 3, 4, 5", t, r#""a": 1, "c": 3"#), false)
    );
    // Counted from the end of what is left.
    let end = Dict::new().with("root['l'][4]", 5).with("root['l'][-1]", 4);
    assert_eq!(removed(end), (said("1, 2, 3", t, d), true));
    // Looked for where it is nearest in what is left.
    let moved = Dict::new().with("root['l'][4]", 5).with("root['l'][3]", 5);
    assert_eq!(removed(moved), (said("1, 2, 3, 4", t, d), false));
    let moved = Dict::new().with("root['l'][3]", 2).with("root['l'][2]", 4);
    assert_eq!(removed(moved), (said("1, 3, 5", t, d), false));
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

fn checked(document: &Value, delta: &Value) -> Result<Checked, FoldError> {
    let bytes = |value| pickle::write(value, pickle::Protocol::Four);
    check(&bytes(document), &[], &bytes(delta), &Budget::NODE)
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
