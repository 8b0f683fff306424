//! Whether the sender of a delta has what everybody has then.

use super::*;

fn is_alike(document: &Value, delta: &Value) -> bool {
    checked(document, delta).unwrap().alike
}

fn added_at(path: &str, places: impl IntoIterator<Item = (i64, Value)>) -> Value {
    let places: Dict = places.into_iter().collect();
    section("iterable_items_added_at_indexes", path, places)
}

/// A marker of a timeline is duplicated: deepdiff has one object for both then, and the next change of the
/// one would be one of the other at the sender alone.
#[test]
fn what_is_one_object_in_two_places_is_sent_back() {
    let marker = |frame: i64| Value::from(Dict::new().with("name", "F_01").with("frame", frame));
    let scene = Value::from(Dict::new().with("m", Value::list([marker(1)])));
    let twice = added_at("root['m']", [(0, marker(1)), (1, marker(1))]);
    assert!(!is_alike(&scene, &twice));
    let another = added_at("root['m']", [(1, marker(2))]);
    assert!(is_alike(&scene, &another));
    // What cannot be changed may be in as many places as it likes.
    let names = Value::from(Dict::new().with("o", Value::list(["a"])));
    let name = || Value::from("a");
    let twice = added_at("root['o']", [(0, name()), (1, name())]);
    assert!(is_alike(&names, &twice));
}

/// Others get it as two.
#[test]
fn what_is_passed_on_is_in_one_place_each() {
    let marker = || Value::from(Dict::new().with("frame", 1));
    let scene = Value::from(Dict::new().with("m", Value::list([marker()])));
    let twice = added_at("root['m']", [(0, marker()), (1, marker())]);
    let delta = checked(&scene, &twice).unwrap().delta.unwrap();
    let policy = pickle::ScanPolicy::NODE;
    assert!(!pickle::scan(&delta, &policy).unwrap().shared);
}

/// deepdiff 5 goes through these paths in the order of a set.
#[test]
fn lists_in_lists_without_order_hang_on_who_comes_first() {
    let pair = |name: &str, n: i64| Value::list([Value::from(name), Value::Int(n)]);
    let order = Value::list(["a", "b", "c", "d"].map(|name| pair(name, 1)));
    let scene = Value::from(Dict::new().with("order", order.clone()).with("o", order));
    let both = |one: &str, other: &str| {
        let lists = Dict::new()
            .with(one, Dict::new().with(0, pair("e", 5)))
            .with("root['o'][2]", Dict::new().with(2, 7))
            .with(other, Dict::new().with(0, pair("f", 5)));
        Value::from(Dict::new().with("iterable_items_added_at_indexes", lists))
    };
    assert!(is_alike(&scene, &both("root['order']", "root['o'][1]")));
    assert!(!is_alike(&scene, &both("root['order']", "root['o']")));
    assert!(!is_alike(&scene, &both("root['o']", "root['order']")));
    // One and the same in other words.
    assert!(!is_alike(&scene, &both("root['o'][-2]", "root['o'][-1]")));
    assert!(!is_alike(&scene, &both("root['order']", "root[\"order\"]")));
    let scene = Value::from(Dict::new().with("o", Value::list([1])));
    let removed = Dict::new().with("root['o']", Dict::new().with(0, 1));
    let delta = Dict::new()
        .with(
            "iterable_items_added_at_indexes",
            Dict::new().with("root['o']", Dict::new().with(0, 2)),
        )
        .with("iterable_items_removed_at_indexes", removed);
    assert!(is_alike(&scene, &delta.into()));
}
