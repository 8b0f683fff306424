//! What deltas may take.

use super::*;

#[test]
fn a_delta_cannot_take_for_ever() {
    let long = Value::from(Dict::new().with("l", vec![Value::None; 300_000]));
    let many: Dict = (0..2000).map(|i| (format!("root['l'][{i}]"), 1)).collect();
    let delta = Value::from(Dict::new().with("iterable_item_added", many));
    assert_eq!(apply(&long, &delta), Err(DeltaError::Work));
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
fn a_type_cannot_make_much_of_little() {
    let long = Value::from(Dict::new().with("t", Value::str("x".repeat(5 << 20))));
    for to in [PyType::List, PyType::Tuple, PyType::Set] {
        let change = Dict::new().with("new_type", to);
        let delta = section("type_changes", "root['t']", change);
        assert_eq!(apply(&long, &delta).map(drop), Err(DeltaError::Work));
    }
}
