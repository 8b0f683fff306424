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

fn pairs(numbers: std::ops::Range<i64>) -> Value {
    Value::list(numbers.map(|n| Value::list([Value::Int(n), Value::Float(1.0)])))
}

fn each(
    numbers: impl Iterator<Item = i64>,
    path: impl Fn(i64) -> String,
    of: impl Fn(i64) -> Value,
) -> Dict {
    numbers.map(|n| (path(n), of(n))).collect()
}

/// Half of a vertex group of thirty thousand is unassigned: its end, its beginning, or every other.
#[test]
fn many_elements_can_go() {
    let document = |list| Value::from(Dict::new().with("v", list));
    let pair = |n| Value::list([Value::Int(n), Value::Float(1.0)]);
    let without = |gone: &dyn Fn(i64) -> bool| {
        let entries = each(
            (0..30_000).filter(|n| gone(*n)),
            |n| format!("root['v'][{n}]"),
            pair,
        );
        let delta = Value::from(Dict::new().with("iterable_item_removed", entries));
        apply(&document(pairs(0..30_000)), &delta).map(|applied| applied.document)
    };
    assert_eq!(without(&|n| n >= 15_000), Ok(document(pairs(0..15_000))));
    assert_eq!(
        without(&|n| n < 15_000),
        Ok(document(pairs(15_000..30_000)))
    );
    let odd = Value::list((0..15_000).map(|n| pair(n * 2 + 1)));
    assert_eq!(without(&|n| n % 2 == 0), Ok(document(odd)));
}

#[test]
fn many_keys_can_go() {
    let dict = |from: i64| -> Dict { (from..60_000).map(|n| (format!("k{n}"), n)).collect() };
    let document = |from| Value::from(Dict::new().with("d", dict(from)));
    let entries = each(0..5000, |n| format!("root['d']['k{n}']"), Value::Int);
    let delta = Value::from(Dict::new().with("dictionary_item_removed", entries));
    let applied = apply(&document(0), &delta).map(|applied| applied.document);
    assert_eq!(applied, Ok(document(5000)));
}

/// Many objects are linked to a collection at once.
#[test]
fn many_values_can_come_to_a_list_without_order() {
    let names = |numbers: std::ops::Range<i64>| numbers.map(|n| Value::from(format!("o{n}")));
    let document = |to| Value::from(Dict::new().with("o", Value::list(names(0..to))));
    let places: Dict = (1000..40_000).zip(names(1000..40_000)).collect();
    let delta = section("iterable_items_added_at_indexes", "root['o']", places);
    let applied = apply(&document(1000), &delta).map(|applied| applied.document);
    assert_eq!(applied, Ok(document(40_000)));
}

/// Deltas with a text that is led into: it takes nobody's but an attacker's to come so far.
fn slow_deltas(text: &Value) -> (Bytes, Vec<Bytes>) {
    let change = Dict::new().with("new_value", "y");
    let middle = text.as_str().unwrap().len() as i64 / 2;
    let entries = each(
        0..40,
        |n| format!("root['a'][{}]", middle.saturating_sub(n)),
        |_| change.clone().into(),
    );
    let delta = Value::from(Dict::new().with("values_changed", entries));
    assert!(is_plain(&delta));
    let pickled = |value: &Value| pickle::write(value, pickle::Protocol::Four);
    let base = pickled(&Dict::new().with("a", text).with("n", 0).into());
    let mut tail = Vec::new();
    for n in 0..40 {
        tail.push(pickled(&delta));
        tail.push(pickled(&changed("root['n']", n)));
    }
    (base, tail)
}

/// Each delta may take a second, and a tail has hundreds.
#[test]
fn a_fold_does_not_take_as_long_as_its_tail() {
    let (base, tail) = slow_deltas(&"x".repeat(1 << 20).into());
    let (mut state, mut rest, mut jobs) = (base.clone(), &tail[..], 0);
    while !rest.is_empty() {
        let folded = fold(&state, rest, &Budget::NODE).unwrap();
        assert!(folded.left < rest.len());
        assert_eq!(folded.left_out, 0);
        rest = &rest[rest.len() - folded.left..];
        state = folded.payload;
        jobs += 1;
    }
    assert!((2..=tail.len()).contains(&jobs), "{jobs}");
    let last = pickle::read(&state, &Budget::NODE).unwrap();
    assert_eq!(
        last.as_dict().and_then(|node| node.get("n")),
        Some(&Value::Int(39))
    );
    // Nor is a delta looked into after all of that.
    let delta = pickle::write(&changed("root['n']", 1), pickle::Protocol::Four);
    assert_eq!(
        check(&base, &tail, &delta, &Budget::NODE),
        Err(FoldError::Tail)
    );
    assert!(check(&state, &[], &delta, &Budget::NODE).is_ok());
}

/// Where one cannot be applied, what is changed is copied for each, and may be large.
#[test]
fn copies_are_paid_for() {
    let pickled = |value: &Value| pickle::write(value, pickle::Protocol::Four);
    let large = Dict::new().with("l", vec![Value::None; 300_000]);
    let base = pickled(&large.with("n", 0).into());
    let mut tail = vec![pickled(&changed("root['n']", 1)); 600];
    tail.push(pickled(&Value::None));
    let folded = fold(&base, &tail, &Budget::NODE).unwrap();
    assert!((1..600).contains(&folded.left), "{}", folded.left);
    assert_eq!(folded.left_out, 0);
}

/// However few come to it.
#[test]
fn long_lists_without_order_are_paid_for() {
    let list = Value::list(0..100_000i64);
    let once = Value::from(Dict::new().with(0, -1));
    let ways: Dict = (0..60)
        .map(|n| (format!("root[__{n}]"), once.clone()))
        .collect();
    let delta = Dict::new().with("iterable_items_added_at_indexes", ways);
    assert_eq!(apply(&list, &delta.into()), Err(DeltaError::Work));
}
