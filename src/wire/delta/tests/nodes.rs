//! What deltas may make of a node.

use super::*;

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
    let folded = |tail: &[Bytes]| fold(&base, tail, &budget).map(|folded| folded.left_out);
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
    let folded = fold(&bytes(&dict()), &spoilt, &Budget::NODE).unwrap();
    assert_eq!(
        (folded.payload, folded.left_out),
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
