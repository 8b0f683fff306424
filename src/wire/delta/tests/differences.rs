//! Deltas of our own.

use super::*;

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

#[test]
fn large_differences_take_no_more_than_the_document() {
    let list = |first| Value::from(Dict::new().with("l", Value::list(first..first + 20_000i64)));
    let delta = difference(&list(0), &list(1));
    let entries = delta
        .as_dict()
        .and_then(|delta| delta.get("values_changed"));
    assert_eq!(entries.and_then(Value::as_dict).map(Dict::len), Some(1));
}

/// Sets within sets are not compared here, but a key that has one can go.
#[test]
fn differences_can_be_applied_whatever_goes() {
    let inner = Value::FrozenSet(vec![1.into()].into());
    let odd = Value::Set(vec![inner].into());
    let list = Value::list([1, 2]);
    let part = Dict::new().with("l", &list).with("s", &odd);
    let node = |part: Dict| Value::from(Dict::new().with("a", part));
    let (old, new) = (node(part), node(Dict::new().with("l", &list)));
    let delta = difference(&old, &new);
    assert_eq!(apply(&old, &delta).unwrap().document, new);

    // As it comes to be the words of a delta that is not plain.
    let shorter = Dict::new().with("l", Value::list([1]));
    let changes = Dict::new()
        .with(
            "values_changed",
            Dict::new().with(
                "root['a']",
                Dict::new().with("new_value", Dict::new().with("l", &list)),
            ),
        )
        .with(
            "iterable_item_removed",
            Dict::new().with("root['a']['l'][1]", 2),
        );
    let ours = checked(&old, &changes.into()).unwrap().delta.unwrap();
    let pickled = |value: &Value| pickle::write(value, pickle::Protocol::Four);
    let folded = fold(&pickled(&old), &[ours], &Budget::NODE).unwrap();
    assert_eq!(
        (folded.payload, folded.left_out),
        (pickled(&node(shorter)), 0)
    );
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
