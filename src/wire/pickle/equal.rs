//! Python's `==`. Used by the delta folding, which has to decide as clients do.

use super::{dict, items::Items, value::Value};

/// Whether Python calls two values equal that were read from two pickles: `1 == 1.0 == True`,
/// dicts and sets in any order, a `bytearray` like the `bytes`, NaN equal to nothing. `None` if
/// that cannot be told: after `steps` comparisons, or because of what clients never compare.
pub fn python_eq(one: &Value, two: &Value, steps: &mut u64) -> Option<bool> {
    // Most are not nested, and take no memory then.
    let mut pending = Vec::new();
    let mut next = Some((one, two));
    while let Some((one, two)) = next {
        *steps = steps.checked_sub(1)?;
        if !compare(one, two, &mut pending, steps)? {
            return Some(false);
        }
        next = pending.pop();
    }
    Some(true)
}

/// Whether Python can hash the value, so that it may be in a set.
pub fn is_hashable(value: &Value) -> bool {
    let mut pending = vec![value];
    while let Some(value) = pending.pop() {
        match value {
            Value::List(_) | Value::Dict(_) | Value::Set(_) | Value::ByteArray(_) => return false,
            Value::Tuple(items) | Value::Opcode(items) => pending.extend(items.iter()),
            _ => {}
        }
    }
    true
}

/// Compares what is not nested, and leaves the rest in `pending`.
fn compare<'a>(
    one: &'a Value,
    two: &'a Value,
    pending: &mut Vec<(&'a Value, &'a Value)>,
    steps: &mut u64,
) -> Option<bool> {
    Some(match (one, two) {
        (Value::None, Value::None) => true,
        (Value::Str(one), Value::Str(two)) => same_bytes(one.as_bytes(), two.as_bytes(), steps)?,
        (Value::Bytes(one) | Value::ByteArray(one), Value::Bytes(two) | Value::ByteArray(two)) => {
            same_bytes(one, two, steps)?
        }
        (Value::Type(one), Value::Type(two)) => one == two,
        (Value::List(one), Value::List(two)) | (Value::Tuple(one), Value::Tuple(two)) => {
            let same = one.len() == two.len();
            if same {
                pending.extend(one.iter().zip(two));
            }
            same
        }
        (Value::Dict(one), Value::Dict(two)) => {
            if one.len() != two.len() {
                return Some(false);
            }
            for (key, value) in one {
                match two.get_key(key) {
                    Some(other) => pending.push((value, other)),
                    None => return Some(false),
                }
            }
            true
        }
        (Value::Set(one) | Value::FrozenSet(one), Value::Set(two) | Value::FrozenSet(two)) => {
            same_sets(one, two, steps)?
        }
        // A named tuple to Python.
        (Value::Opcode(_), _) | (_, Value::Opcode(_)) => return None,
        _ => dict::same_number(one, two),
    })
}

/// Long ones cost several steps.
fn same_bytes(one: &[u8], two: &[u8], steps: &mut u64) -> Option<bool> {
    if one.len() != two.len() {
        return Some(false);
    }
    spend(steps, one.len() / 8)?;
    Some(one == two)
}

/// `None` if there are not so many left; then there are none.
fn spend(steps: &mut u64, cost: usize) -> Option<()> {
    let left = steps.checked_sub(u64::try_from(cost).ok()?);
    *steps = left.unwrap_or(0);
    left.map(drop)
}

fn same_sets(one: &Items, two: &Items, steps: &mut u64) -> Option<bool> {
    spend(steps, one.len().saturating_add(two.len()))?;
    let (one, two) = (dict::KeySet::of(one)?, dict::KeySet::of(two)?);
    Some(one.len() == two.len() && one.iter().all(|key| two.contains(key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::pickle::Dict;

    fn eq(one: impl Into<Value>, two: impl Into<Value>) -> Option<bool> {
        python_eq(&one.into(), &two.into(), &mut 1000)
    }

    #[test]
    fn as_python_has_it() {
        assert_eq!(eq(1, true), Some(true));
        assert_eq!(eq(1, 1.0), Some(true));
        assert_eq!(eq(0.0, -0.0), Some(true));
        assert_eq!(eq(f64::NAN, f64::NAN), Some(false));
        assert_eq!(eq("a", Value::bytes("a")), Some(false));
        assert_eq!(
            eq(Value::bytes("a"), Value::ByteArray("a".into())),
            Some(true)
        );
        assert_eq!(eq(Value::list([1]), Value::tuple([1])), Some(false));
        assert_eq!(eq(Value::list([1, 2]), Value::list([1.0, 2.0])), Some(true));
        let one = Dict::new().with("a", 1).with("b", 2);
        let two = Dict::new().with("b", 2).with("a", true);
        assert_eq!(eq(one, two), Some(true));
        let set = |items: &[i64]| Value::Set(items.iter().map(|i| Value::Int(*i)).collect());
        assert_eq!(eq(set(&[1, 2, 2]), set(&[2, 1])), Some(true));
        assert_eq!(eq(set(&[1]), set(&[2])), Some(false));
        assert_eq!(eq(Value::None, false), Some(false));
    }

    #[test]
    fn gives_up_in_time() {
        let long = Value::list(vec![0; 1000]);
        assert_eq!(python_eq(&long, &long.clone(), &mut 100), None);
    }

    #[test]
    fn hashable_is_what_has_nothing_that_changes() {
        assert!(is_hashable(&Value::tuple([1, 2])));
        assert!(!is_hashable(&Value::tuple([Value::list([1])])));
        assert!(!is_hashable(&Value::ByteArray("a".into())));
        assert!(is_hashable(&Value::FrozenSet(Items::default())));
    }
}
