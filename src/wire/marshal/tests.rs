use super::*;

fn check(input: &[u8]) -> Result<(), MarshalError> {
    scan(input, &Budget::NODE).map(drop)
}

/// A dict whose one value is this.
fn holding(value: &[u8]) -> Vec<u8> {
    [b"{\xda\x01k", value, b"0"].concat()
}

fn refused(value: &[u8]) -> MarshalError {
    let input = holding(value);
    check(&input).expect_err(&input.escape_ascii().to_string())
}

#[test]
fn values_are_counted() {
    assert_eq!(scan(b"{0", &Budget::NODE), Ok(1));
    let list = b"[\x03\0\0\0NNN";
    // The dict, its key, the list and what is in it.
    assert_eq!(scan(&holding(list), &Budget::NODE), Ok(6));
}

#[test]
fn plain_values_pass() {
    for value in [
        &b"N"[..],
        b"T",
        b"F",
        b"i\xff\xff\xff\xff",
        b"\xe9\x01\0\0\0",
        b"l\x02\0\0\0\0\0\x04\0",
        b"l\xfe\xff\xff\xff\xff\x7f\xff\x7f",
        b"g\0\0\0\0\0\0\xf0\x7f",
        b"y\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x40",
        b"z\x01a",
        b"\xfa\0",
        b"Z\x02ab",
        b"a\x01\0\0\0a",
        b"A\x01\0\0\0a",
        b"u\x02\0\0\0\xc3\xa9",
        b"t\x03\0\0\0\xed\xb2\x80",
        b"s\x02\0\0\0\xff\0",
        b")\0",
        b"(\x01\0\0\0N",
        b"[\x02\0\0\0NT",
        b"{0",
        b"{)\x01N>\x01\0\0\0N0",
        b"<\x01\0\0\0>\0\0\0\0",
        b"r\0\0\0\0",
        b"[\x02\0\0\0\xdb\x01\0\0\0Nr\x01\0\0\0",
    ] {
        assert_eq!(check(&holding(value)), Ok(()), "{}", value.escape_ascii());
    }
    assert_eq!(check(b"{0"), Ok(()));
    assert_eq!(check(b"\xfb0"), Ok(()));
}

#[test]
fn what_is_no_dict_is_refused() {
    for input in [
        &b"N"[..],
        b"[\0\0\0\0",
        b"s\0\0\0\0",
        b"c",
        b"0",
        b"r\0\0\0\0",
    ] {
        assert_eq!(check(input), Err(MarshalError::NoDict));
    }
    assert_eq!(check(b""), Err(MarshalError::Truncated { at: 0 }));
    assert_eq!(check(b"{00"), Err(MarshalError::Trailing(1)));
}

/// Code, StopIteration, Ellipsis, unknown, the texts of numbers (version 1), Python 2's
/// references to interned strings, slices; and flags where Python sets none.
#[test]
fn other_types_are_refused() {
    for byte in *b"cS.?fxIR:\0\xff\xee\xd4\xc6\xf2\xb0" {
        let at = 4;
        let value = [&[byte][..], &[0; 40]].concat();
        assert_eq!(refused(&value), MarshalError::Type { byte, at });
    }
}

#[test]
fn references_are_to_what_is_complete() {
    // The key is entry 0.
    let missing = |index| MarshalError::Reference { index, at: 4 };
    assert_eq!(refused(b"r\x01\0\0\0"), missing(1));
    assert_eq!(refused(b"r\xff\xff\xff\xff"), missing(u32::MAX));
    // A tuple, list, dict, set and frozenset with themselves inside; a tuple two levels up.
    for (value, at) in [
        (&b"\xa9\x01r\x01\0\0\0"[..], 6),
        (b"\xdb\x01\0\0\0r\x01\0\0\0", 9),
        (b"\xfbNr\x01\0\0\0", 6),
        (b"\xbc\x01\0\0\0r\x01\0\0\0", 9),
        (b"\xbe\x01\0\0\0r\x01\0\0\0", 9),
        (b"\xa9\x01[\x01\0\0\0r\x01\0\0\0", 11),
    ] {
        assert_eq!(refused(value), MarshalError::Reference { index: 1, at });
    }
    // The outermost dict.
    let index = 0;
    let itself = check(b"\xfbNr\0\0\0\0");
    assert_eq!(itself, Err(MarshalError::Reference { index, at: 2 }));
    // A container's entry comes before those of its inside.
    let inner = holding(b"[\x02\0\0\0\xa9\x01\xa9\x01Nr\x02\0\0\0");
    assert_eq!(check(&inner), Ok(()));
}

#[test]
fn numbers_and_texts_are_well_formed() {
    for value in [
        &b"l\0\0\0\0"[..],
        b"l\x01\0\0\0\0\x80",
        b"l\x02\0\0\0\x01\0\0\0",
        b"l\x02\0\0\0\xff\xff\x01\0",
    ] {
        assert_eq!(refused(value), MarshalError::Number { at: 4 });
    }
    for value in [
        &b"z\x01\x80"[..],
        b"Z\x01\xff",
        b"a\x01\0\0\0\xe9",
        b"A\x01\0\0\0\xe9",
        b"u\x01\0\0\0\xe9",
        b"t\x02\0\0\0\xed\xb2",
    ] {
        assert_eq!(refused(value), MarshalError::Text { at: 4 });
    }
}

#[test]
fn keys_and_elements_are_hashable() {
    for value in [
        &b"{[\0\0\0\0N0"[..],
        b"{)\x01{0N0",
        b"<\x01\0\0\0[\0\0\0\0",
        b">\x01\0\0\0<\0\0\0\0",
        b"[\x02\0\0\0\xdb\0\0\0\0{r\x01\0\0\0N0",
    ] {
        let error = refused(value);
        assert!(matches!(error, MarshalError::Unhashable { .. }), "{error}");
    }
    // A key without its value.
    assert_eq!(refused(b"{N0"), MarshalError::Type { byte: b'0', at: 6 });
    assert_eq!(refused(b")\x010"), MarshalError::Type { byte: b'0', at: 6 });
}

#[test]
fn announced_lengths_are_not_believed() {
    for value in [
        &b"(\xff\xff\xff\x7f"[..],
        b"[\xff\xff\xff\xff",
        b"<\0\0\0\x40",
        b"s\xff\xff\xff\xff",
        b"u\0\0\0\x40",
        b"l\0\0\0\x80",
        b"z\xff",
        b"g",
    ] {
        assert_eq!(refused(value), MarshalError::Truncated { at: 4 });
    }
}

#[test]
fn budgets_hold() {
    let budget = |what, max| Err(MarshalError::Budget { what, max });
    // A list in a list in a list, without recursion.
    let deep = holding(&[b"[\x01\0\0\0".repeat(1 << 20), b"N".to_vec()].concat());
    assert_eq!(check(&deep), budget("levels of nesting", 256));
    // Each tuple holds the one before twice.
    let mut bomb = b"(\x29\0\0\0\xa9\0".to_vec();
    for index in 1..=40_u8 {
        bomb.extend([0xa9, 2, b'r', index, 0, 0, 0, b'r', index, 0, 0, 0]);
    }
    assert_eq!(check(&holding(&bomb)), budget("values", 1 << 23));
    // The same depth by references.
    let mut steep = vec![b'(', 0x2c, 1, 0, 0, 0xa9, 0];
    for index in 1..300_u32 {
        steep.extend([0xa9, 1, b'r']);
        steep.extend(index.to_le_bytes());
    }
    assert_eq!(check(&holding(&steep)), budget("levels of nesting", 256));
    // A long text counts by its length whenever it is referred to.
    let mut long = b"[\0\0\x02\0\xf3\0\0\x10\0".to_vec();
    long.extend(vec![0; 1 << 20]);
    long.extend(b"r\x01\0\0\0".repeat((2 << 16) - 1));
    assert_eq!(check(&holding(&long)), budget("values", 1 << 23));
    let small = Budget {
        memo: 1,
        ..Budget::NODE
    };
    assert_eq!(
        scan(&holding(b"\xfa\0"), &small).map(drop),
        budget("references", 1)
    );
    let (len, max) = (2, 1);
    let short = Budget { bytes: 1, ..small };
    assert_eq!(scan(b"{0", &short), Err(MarshalError::TooLong { len, max }));
}
