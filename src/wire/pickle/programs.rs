//! Random programs for the stack machine, for tests that compare the ways through them.

use proptest::{collection::vec, prelude::*, sample::select};

use super::{Budget, op};

/// Small enough for each of them to run out.
pub(super) fn budget() -> impl Strategy<Value = Budget> {
    (0..7usize, 0..60usize, 0..12usize, 0..12usize).prop_map(|(depth, items, memo, stack)| Budget {
        bytes: 1 << 12,
        depth,
        items,
        memo,
        stack,
    })
}

/// What is swept over, and now and then what is not.
pub(super) fn program() -> impl Strategy<Value = Vec<u8>> {
    let common = select(vec![
        &b"N"[..],
        b"\x88",
        b"\x89",
        b"K\x01",
        b"K\x01K\x02",
        b"M\x01\x02",
        b"J\x01\x02\x03\x04",
        b"G\0\0\0\0\0\0\0\x01",
        b"\x8c\x01a",
        b"\x8c\x01a\x94",
        b"\x8c\x0cabcdefgh\xed\xa0\x80l",
        b"\x8c\x02a\xff",
        b"\x94",
        b"(",
        b"](",
        b"]\x94(",
        b"}\x94(",
        b"}(",
        b"e",
        b"u",
        b"](K\x01K\x02e",
        b"}\x94(\x8c\x01a\x94K\x01u",
        b"\x85",
        b"\x86",
        b"\x87",
    ]);
    let index = 0..6u8;
    let rare = select(&b"012abdeht)}]lsuRcQ\x81\x8f\x90\x91\x93"[..]);
    let name = select(vec![
        &b"cbuiltins\nset\n"[..],
        b"cbuiltins\nbytearray\n",
        b"C\x01x",
    ]);
    let piece = prop_oneof![
        16 => common.prop_map(<[u8]>::to_vec),
        2 => (select(&b"hq"[..]), index).prop_map(|(op, index)| vec![op, index]),
        1 => rare.prop_map(|op| vec![op]),
        1 => name.prop_map(<[u8]>::to_vec),
    ];
    // Some break off, which may be within an opcode.
    (vec(piece, 0..40), 0..12usize).prop_map(|(pieces, cut)| {
        let mut pickle = [b"\x80\x04", &pieces.concat()[..], b"."].concat();
        pickle.truncate(pickle.len().saturating_sub(cut.saturating_sub(3)));
        pickle
    })
}

/// A pickle of plain data, in any of the ways it can be written, of which Python knows most.
/// Whether nothing in it refers to what came before.
pub(super) fn plain() -> impl Strategy<Value = (Vec<u8>, bool)> {
    let scalars = vec![
        &b"N"[..],
        b"\x88",
        b"K\x07",
        b"M\x01\x02\x94",
        b"J\x01\x02\x03\x04",
        b"G\0\0\0\0\0\0\0\x01",
        b"\x8a\x01\x05",
        b"\x8c\x01a\x94",
        b"\x8c\x03abc",
        b"\x8c\x11abcdefgh\xc3\xa4bcdefgh",
        b"X\x02\0\0\0\xc3\xa4\x94",
        b"C\x02\xff\xfe\x94",
        b"B\x01\0\0\0\xff",
        b")",
    ];
    let long = [&b"\x8c\xc8"[..], &[b'x'; 200], b"\x94"].concat();
    let leaf = prop_oneof![
        12 => select(scalars).prop_map(|scalar| (scalar.to_vec(), true)),
        1 => Just((long, true)),
        1 => (0..8u8).prop_map(|index| (vec![op::BINGET, index], false)),
    ];
    let value = leaf.prop_recursive(6, 60, 6, |inner| {
        (vec(inner, 0..6), 0..12u8).prop_map(|(inside, way)| {
            let unaided = inside.iter().all(|(_, unaided)| *unaided);
            let inside: Vec<_> = inside.into_iter().map(|(program, _)| program).collect();
            (container(&inside, way), unaided)
        })
    });
    value.prop_map(|(program, unaided)| {
        let pickle = [b"\x80\x04", &program[..], b"."].concat();
        (pickle, unaided)
    })
}

/// The opcodes for a list, dict or tuple of these.
fn container(inside: &[Vec<u8>], way: u8) -> Vec<u8> {
    let each = |after: &[u8]| {
        inside
            .iter()
            .flat_map(|value| [value, after].concat())
            .collect()
    };
    let pairs = |after: &[u8]| {
        let pair = |(key, value): (u8, &Vec<u8>)| [&[op::BININT1, key], &value[..], after].concat();
        (0..).zip(inside).flat_map(pair).collect()
    };
    let all: Vec<u8> = inside.concat();
    let (before, within, after): (&[u8], _, &[u8]) = match (way, inside.len()) {
        (0, _) => (b"](", all, b"e"),
        (1, _) => (b"]\x94(", all, b"e"),
        // Two batches.
        (2, _) => (b"](K\x01Ne(", all, b"e"),
        (3, _) => (b"]\x94", each(b"a"), b""),
        (4, _) => (b"}\x94(", pairs(b""), b"u"),
        (5, _) => (b"}(\x8c\x01kNu(", pairs(b""), b"u"),
        (6, _) => (b"}", pairs(b"s"), b""),
        (7, 1) => (b"", all, b"\x85"),
        (7, 2) => (b"", all, b"\x86\x94"),
        (7, 3) => (b"", all, b"\x87"),
        // Keys that may be no keys, and too few of them.
        (8, 0..4) => (b"}(", all, b"u"),
        _ => (b"(", all, b"t\x94"),
    };
    [before, &within, after].concat()
}

/// More than any of them needs.
pub(super) fn roomy() -> Budget {
    Budget {
        bytes: 1 << 12,
        depth: 256,
        items: 1 << 10,
        memo: 1 << 10,
        stack: 1 << 10,
    }
}
