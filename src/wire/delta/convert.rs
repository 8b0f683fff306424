//! Types applied to values, as Python does it: deltas leave the new value of a change of type out
//! if the type makes it of the old one.

use super::document::{self, whole};
use super::{DeltaError, ELEMENT, Work};
use crate::wire::pickle::{BigInt, Dict, Items, KeySet, PyType, Value};

/// What a letter costs that becomes a text of its own, as so many elements. Nobody's long texts
/// become lists.
const LETTER: usize = 8;

/// What the type makes of the value. `None` if that fails in Python, which clients skip.
///
/// # Errors
/// If it is a conversion whose outcome is not known here, or that would take too much.
pub(super) fn convert(
    value: &Value,
    to: Option<&Value>,
    work: &mut Work,
) -> Result<Option<Value>, DeltaError> {
    let unclear = Err(DeltaError::Unclear(
        "a change of type without the new value",
    ));
    let Some(Value::Type(to)) = to else {
        return unclear;
    };
    if matches!(value, Value::Str(_)) {
        document::weigh(value, work)?;
    }
    Ok(match (to, value) {
        // It takes no argument.
        (PyType::NoneType, _) => None,
        (PyType::Bool, _) => Some(Value::Bool(is_true(value))),
        (PyType::Int, Value::Int(_) | Value::BigInt(_)) => Some(value.clone()),
        (PyType::Int, Value::Bool(_)) => whole(value).map(Value::Int),
        (PyType::Int, Value::Float(float)) => float_to_int(*float),
        (PyType::Int | PyType::Float, Value::Str(_)) => match value.as_str().map(str::trim) {
            Some(text) if *to == PyType::Int && is_number(text) && text.len() < 18 => {
                text.parse().ok().map(Value::Int)
            }
            // As far as the two languages surely read the same.
            Some(text) if *to == PyType::Float && is_fraction(text) => {
                text.parse().ok().map(Value::Float)
            }
            Some(text) if is_word(text) => None,
            _ => return unclear,
        },
        (PyType::Float, Value::Float(_)) => Some(value.clone()),
        (PyType::Float, Value::Int(_) | Value::Bool(_)) => {
            whole(value).map(|int| Value::Float(int as f64))
        }
        (PyType::Str, Value::Str(_)) => Some(value.clone()),
        (PyType::Str, Value::None) => Some("None".into()),
        (PyType::Str, Value::Bool(true)) => Some("True".into()),
        (PyType::Str, Value::Bool(false)) => Some("False".into()),
        (PyType::Str, Value::Int(int)) => Some(int.to_string().into()),
        (PyType::Str, Value::Float(float)) => Some(float_text(*float).into()),
        (PyType::List, _) => match sequence(value, work)? {
            Some(items) => Some(Value::List(items)),
            None if is_scalar(value) => None,
            None => return unclear,
        },
        (PyType::Tuple, _) => match sequence(value, work)? {
            Some(items) => Some(Value::Tuple(items)),
            None if is_scalar(value) => None,
            None => return unclear,
        },
        (PyType::Set | PyType::FrozenSet, _) => {
            let items = match value {
                Value::Set(items) | Value::FrozenSet(items) => Some(items.clone()),
                _ => sequence(value, work)?,
            };
            for item in items.iter().flatten() {
                // In the set, and for now among the keys.
                work.make(1)?;
                work.spend(ELEMENT)?;
                document::weigh(item, work)?;
            }
            match items.as_deref().map(KeySet::of) {
                None if is_scalar(value) => None,
                Some(Some(keys)) => {
                    let items: Items = keys.iter().cloned().collect();
                    Some(match to {
                        PyType::Set => Value::Set(items),
                        _ => Value::FrozenSet(items),
                    })
                }
                _ => return unclear,
            }
        }
        (PyType::Dict, Value::Dict(_)) => Some(value.clone()),
        (PyType::Dict, Value::List(items) | Value::Tuple(items)) if items.is_empty() => {
            Some(Value::Dict(Dict::new()))
        }
        (PyType::Dict, _) if is_scalar(value) => None,
        (PyType::Bytes, Value::Bytes(_)) => Some(value.clone()),
        (PyType::Bytes, Value::ByteArray(bytes)) => Some(Value::Bytes(bytes.clone())),
        (PyType::Bytes, Value::None | Value::Float(_) | Value::Str(_)) => None,
        (PyType::Int | PyType::Float, Value::None) => None,
        (PyType::Int | PyType::Float, other) if other.as_sequence().is_some() => None,
        (PyType::Int | PyType::Float, Value::Dict(_) | Value::Set(_) | Value::FrozenSet(_)) => None,
        _ => return unclear,
    })
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::None => false,
        Value::Bool(bool) => *bool,
        Value::Int(int) => *int != 0,
        Value::Float(float) => *float != 0.0,
        Value::Str(text) => !text.as_bytes().is_empty(),
        Value::Bytes(bytes) | Value::ByteArray(bytes) => !bytes.is_empty(),
        Value::List(items) | Value::Tuple(items) | Value::Set(items) | Value::FrozenSet(items) => {
            !items.is_empty()
        }
        Value::Dict(dict) => !dict.is_empty(),
        Value::BigInt(_) | Value::Type(_) | Value::Opcode(_) => true,
    }
}

/// Numbers and nothing, which have no elements.
fn is_scalar(value: &Value) -> bool {
    matches!(
        value,
        Value::None | Value::Bool(_) | Value::Int(_) | Value::BigInt(_) | Value::Float(_)
    )
}

/// What Python goes through in `list(value)`, where the order is known.
fn sequence(value: &Value, work: &mut Work) -> Result<Option<Items>, DeltaError> {
    Ok(match value {
        Value::List(items) | Value::Tuple(items) => Some(items.clone()),
        Value::Str(text) => {
            let Some(text) = text.as_str() else {
                return Ok(None);
            };
            work.make(text.len().saturating_mul(LETTER))?;
            let letters = text.chars().map(|char| Value::str(char.to_string()));
            Some(letters.collect())
        }
        Value::Bytes(bytes) | Value::ByteArray(bytes) => {
            work.make(bytes.len())?;
            Some(bytes.iter().map(|byte| Value::from(*byte)).collect())
        }
        Value::Dict(dict) => {
            work.make(dict.len())?;
            Some(dict.iter().map(|(key, _)| key.clone()).collect())
        }
        Value::Set(items) | Value::FrozenSet(items) if items.len() < 2 => Some(items.clone()),
        _ => None,
    })
}

fn float_to_int(float: f64) -> Option<Value> {
    if !float.is_finite() {
        return None;
    }
    let whole = float.trunc();
    // i64 as a float: its bounds are exact, and the upper one is already too large.
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if (-BOUND..BOUND).contains(&whole) {
        return Some(Value::Int(whole as i64));
    }
    BigInt::from_float(whole).map(Value::BigInt)
}

/// `repr` of a float.
fn float_text(float: f64) -> String {
    if float.is_nan() {
        return "nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    // Both languages write the fewest digits that give the float back; Python goes over to
    // exponents at 1e16 and below 1e-4.
    let short = format!("{float:e}");
    let (digits, exponent) = short.split_once('e').unwrap_or((&short, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => format!("{float:?}"),
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_fraction(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let number = number.split_once('.').unwrap_or((number, ""));
    digits(number.0)
        && digits(number.1)
        && !(number.0.is_empty() && number.1.is_empty())
        && is_number(exponent)
}

/// Text that surely is no number, not even `infinity`.
fn is_word(text: &str) -> bool {
    let odd = |c: char| c.is_ascii_alphabetic() && !"aefinty".contains(c.to_ascii_lowercase());
    text.is_empty() || (text.is_ascii() && text.contains(odd))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Work {
        Work::with(usize::MAX)
    }

    fn to(kind: PyType, value: impl Into<Value>) -> Option<Value> {
        convert(&value.into(), Some(&Value::Type(kind)), &mut full()).unwrap()
    }

    #[test]
    fn as_python_converts() {
        assert_eq!(to(PyType::Float, 1), Some(Value::Float(1.0)));
        assert_eq!(to(PyType::Int, 2.9), Some(Value::Int(2)));
        assert_eq!(to(PyType::Int, "5"), Some(Value::Int(5)));
        assert_eq!(to(PyType::Int, "x"), None);
        for (text, float) in [("-0", -0.0), ("+7", 7.0), (" 1e2\n", 100.0), (".5", 0.5)] {
            assert_eq!(to(PyType::Float, text), Some(Value::Float(float)), "{text}");
        }
        assert_eq!(to(PyType::Int, f64::NAN), None);
        assert_eq!(to(PyType::Bool, Value::list([0])), Some(Value::Bool(true)));
        assert_eq!(to(PyType::Tuple, Value::list([1])), Some(Value::tuple([1])));
        assert_eq!(to(PyType::NoneType, 1), None);
        assert_eq!(to(PyType::List, Value::None), None);
        for (float, text) in [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e16, "1e+16"),
            (1.5e-5, "1.5e-05"),
            (0.0001, "0.0001"),
            (1e15, "1000000000000000.0"),
            (-0.0, "-0.0"),
            (f64::INFINITY, "inf"),
            (1e300, "1e+300"),
        ] {
            assert_eq!(to(PyType::Str, float), Some(text.into()));
        }
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let set = Value::Set(vec![1.into(), 2.into()].into());
        let unclear = |value: &Value, to: Option<PyType>| {
            let to = to.map(Value::Type);
            let error = convert(value, to.as_ref(), &mut full()).unwrap_err();
            matches!(error, DeltaError::Unclear(_))
        };
        assert!(unclear(&set, Some(PyType::List)));
        assert!(unclear(&Value::Int(1 << 40), Some(PyType::Bytes)));
        assert!(unclear(&Value::Int(1), None));
    }

    #[test]
    fn what_is_made_is_paid_for_before() {
        let text = Value::str("ab".repeat(500));
        let bytes = Value::bytes("ab".repeat(500));
        let dict: Dict = (0..1000).map(|key| (key, 1)).collect();
        let list = Value::list(0..1000i64);
        let types = [PyType::List, PyType::Tuple, PyType::Set, PyType::FrozenSet];
        for (value, types) in [
            (&text, &types[..]),
            (&bytes, &types),
            (&dict.into(), &types),
            (&list, &types[2..]),
        ] {
            for to in types {
                let to = Value::Type(*to);
                let mut little = Work {
                    left: 10_000,
                    made: usize::MAX,
                };
                let error = convert(value, Some(&to), &mut little).unwrap_err();
                assert_eq!(error, DeltaError::Work, "{to:?}");
                assert!(convert(value, Some(&to), &mut full()).unwrap().is_some());
            }
        }
    }
}
