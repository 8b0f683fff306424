//! Pickles as bare opcodes with their arguments, for who moves them about without reading them: the
//! session file's writer puts nodes into an outer pickle, and its reader goes through one that is
//! too large to be held.

use super::{cursor::Cursor, error::PickleError, op};

/// What follows the byte of an opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    /// So many bytes.
    Fixed(usize),
    /// A length of so many bytes, and then so many bytes.
    Counted(usize),
    /// So many lines.
    Lines(usize),
}

/// What follows an opcode; `None` for those we refuse everywhere.
pub(crate) fn argument(code: u8) -> Option<Argument> {
    Some(match code {
        op::MARK
        | op::STOP
        | op::POP
        | op::POP_MARK
        | op::DUP
        | op::NONE
        | op::NEWTRUE
        | op::NEWFALSE
        | op::BINPERSID
        | op::REDUCE
        | op::BUILD
        | op::NEWOBJ
        | op::STACK_GLOBAL
        | op::MEMOIZE
        | op::APPEND
        | op::APPENDS
        | op::SETITEM
        | op::SETITEMS
        | op::ADDITEMS
        | op::LIST
        | op::DICT
        | op::TUPLE
        | op::TUPLE1
        | op::TUPLE2
        | op::TUPLE3
        | op::FROZENSET
        | op::EMPTY_DICT
        | op::EMPTY_LIST
        | op::EMPTY_TUPLE
        | op::EMPTY_SET => Argument::Fixed(0),
        op::PROTO | op::BININT1 | op::BINGET | op::BINPUT => Argument::Fixed(1),
        op::BININT2 => Argument::Fixed(2),
        op::BININT | op::LONG_BINGET | op::LONG_BINPUT => Argument::Fixed(4),
        op::BINFLOAT | op::FRAME => Argument::Fixed(8),
        op::SHORT_BINUNICODE | op::SHORT_BINBYTES | op::LONG1 => Argument::Counted(1),
        op::BINUNICODE | op::BINBYTES | op::LONG4 => Argument::Counted(4),
        op::BINUNICODE8 | op::BINBYTES8 | op::BYTEARRAY8 => Argument::Counted(8),
        op::INT => Argument::Lines(1),
        op::GLOBAL => Argument::Lines(2),
        _ => return None,
    })
}

/// Appends the opcodes that push the value of a pickle, to be part of one whose memo has `memo`
/// entries by then. Gives how many it has after that.
///
/// The pickle must have been scanned, and be of protocol 3 or 4: below, names are read otherwise.
///
/// # Errors
/// If it is none. What was appended until then is there.
pub(crate) fn splice(input: &[u8], memo: u32, out: &mut Vec<u8>) -> Result<u32, PickleError> {
    let mut cursor = Cursor::new(input);
    let mut entries = memo;
    // Where what is not yet copied begins: opcodes that stay are copied many at once.
    let mut kept = 0;
    loop {
        let code = cursor.opcode()?;
        let at = cursor.at();
        let shift = |index: u32| {
            memo.checked_add(index)
                .ok_or_else(|| out_of_order(index, at))
        };
        let pass = |out: &mut Vec<u8>, to: usize| {
            out.extend_from_slice(input.get(kept..to).unwrap_or_default());
        };
        match code {
            op::PROTO | op::FRAME => {
                let length = if code == op::PROTO { 1 } else { 8 };
                cursor.skip(length)?;
                pass(out, at);
                kept = cursor.next();
            }
            op::MEMOIZE => {
                entries = entries
                    .checked_add(1)
                    .ok_or_else(|| out_of_order(entries, at))?
            }
            op::BINPUT | op::LONG_BINPUT | op::BINGET | op::LONG_BINGET => {
                let index = match code {
                    op::BINPUT | op::BINGET => cursor.byte()?.into(),
                    _ => u32::from_le_bytes(cursor.array()?),
                };
                let index = shift(index)?;
                pass(out, at);
                kept = cursor.next();
                if matches!(code, op::BINPUT | op::LONG_BINPUT) {
                    if index != entries {
                        return Err(out_of_order(index, at));
                    }
                    entries = entries
                        .checked_add(1)
                        .ok_or_else(|| out_of_order(entries, at))?;
                    out.push(op::MEMOIZE);
                } else if let Ok(index) = u8::try_from(index) {
                    out.extend([op::BINGET, index]);
                } else {
                    out.push(op::LONG_BINGET);
                    out.extend(index.to_le_bytes());
                }
            }
            op::STOP => {
                pass(out, at);
                return match cursor.left() {
                    0 => Ok(entries),
                    left => Err(PickleError::Trailing(left)),
                };
            }
            _ => match argument(code) {
                Some(Argument::Fixed(length)) => cursor.skip(length)?,
                Some(Argument::Counted(1)) => drop(cursor.block1()?),
                Some(Argument::Counted(4)) => drop(cursor.block4()?),
                Some(Argument::Counted(_)) => drop(cursor.block8()?),
                Some(Argument::Lines(lines)) => {
                    for _ in 0..lines {
                        cursor.line()?;
                    }
                }
                None => {
                    return Err(PickleError::Opcode {
                        name: op::name(code),
                        byte: code,
                        at,
                    });
                }
            },
        }
    }
}

fn out_of_order(index: u32, at: usize) -> PickleError {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    PickleError::Memo { index, at }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::Index};

    use super::*;
    use crate::wire::pickle::{Budget, Dict, Protocol, Value, read, write};

    /// Two pickles in a list, the first thing in whose memo is another text.
    fn pair(one: &[u8], two: &[u8]) -> Value {
        let mut out = b"\x80\x04](\x8c\x01x\x94".to_vec();
        let memo = splice(one, 1, &mut out).unwrap();
        splice(two, memo, &mut out).unwrap();
        out.extend(b"h\x00e.");
        read(&out.into(), &Budget::NODE).unwrap()
    }

    #[test]
    fn values_stay_what_they_are() {
        let key = Value::str("key");
        let row = |int: i32| Value::from(Dict::new().with(&key, int));
        let value = Value::list((0..400).map(row).collect::<Vec<_>>());
        let names = (0..300).map(|name| Value::str(format!("name {name}")));
        let names = Value::list(names.collect::<Vec<_>>());
        let many = Value::list([names.clone(), value.clone(), names]);
        for protocol in [Protocol::Three, Protocol::Four] {
            let pickle = write(&many, protocol);
            let x = Value::str("x");
            let expected = Value::list([x.clone(), many.clone(), many.clone(), x]);
            assert!(pair(&pickle, &pickle) == expected, "{protocol:?}");
        }
    }

    #[test]
    fn frames_go_and_memos_move() {
        let python = b"\x80\x04\x95\x0d\0\0\0\0\0\0\0}\x94\x8c\x03key\x94h\x01\x94s.";
        let mut out = Vec::new();
        assert_eq!(splice(python, 300, &mut out), Ok(303));
        assert_eq!(out, b"}\x94\x8c\x03key\x94j\x2d\x01\0\0\x94s");
        let three = b"\x80\x03}q\0X\x01\0\0\0kq\x01h\x01s.";
        let mut out = Vec::new();
        assert_eq!(splice(three, 2, &mut out), Ok(4));
        assert_eq!(out, b"}\x94X\x01\0\0\0k\x94h\x03s");
    }

    proptest! {
        #[test]
        fn anything_is_an_error_or_within_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..200), memo: u32) {
            let mut out = Vec::new();
            let _ = splice(&bytes, memo, &mut out);
            prop_assert!(out.len() <= bytes.len().saturating_mul(5));
        }

        #[test]
        fn nothing_is_left_of_a_pickle_that_breaks_off(cut: Index) {
            let python = b"\x80\x04}\x94\x8c\x03key\x94h\x01\x94s.";
            let cut = cut.index(python.len());
            prop_assert!(splice(&python[..cut], 0, &mut Vec::new()).is_err());
        }
    }
}
