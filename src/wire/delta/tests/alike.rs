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
