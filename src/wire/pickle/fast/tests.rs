//! That the fast way sees what the machine does.

use bytes::Bytes;
use proptest::{prelude::*, sample::Index};

use super::*;
use crate::wire::pickle::{
    machine,
    meta::Kind,
    programs::{budget, plain, program, roomy},
    scan::Scanner,
};

/// Checks that what is seen is what the machine finds out.
fn compare(input: &[u8], budget: &Budget) -> Result<(), TestCaseError> {
    let Some(found) = look(input, budget) else {
        return Ok(());
    };
    let outcome = machine::run_by_steps(input, budget, Scanner { input });
    let Ok(outcome) = outcome else {
        return Err(TestCaseError::fail(format!("{:?}", outcome.err())));
    };
    let facts = |meta: Meta| (meta.is(Kind::Dict), meta.weight(), meta.depth());
    prop_assert_eq!(facts(found.meta), facts(outcome.meta));
    prop_assert_eq!(found.shared, outcome.shared);
    prop_assert_eq!(outcome.of_deltas(), None);
    prop_assert!(!outcome.dated && !outcome.opcode);
    Ok(())
}

/// What protocol 4 makes of `{'v': [0.5, (1.0,), [3], {'a': 'v'}], 'b': b'x'}`, and protocol 3.
const PYTHON: [&[u8]; 2] = [
    b"\x80\x04\x95/\0\0\0\0\0\0\0}\x94(\x8c\x01v\x94]\x94(G?\xe0\0\0\0\0\0\0\
      G?\xf0\0\0\0\0\0\0\x85\x94]\x94K\x03a}\x94\x8c\x01a\x94h\x01se\x8c\x01b\x94C\x01x\x94u.",
    b"\x80\x03}q\0(X\x01\0\0\0vq\x01]q\x02(G?\xe0\0\0\0\0\0\0\
      G?\xf0\0\0\0\0\0\0\x85q\x03]q\x04K\x03a}q\x05X\x01\0\0\0aq\x06h\x01seX\x01\0\0\0bq\x07C\x01xq\x08u.",
];

#[test]
fn what_python_writes_is_seen() {
    for pickle in PYTHON {
        let found = look(pickle, &Budget::STRANGER).unwrap();
        assert!(found.meta.is(Kind::Dict));
        assert_eq!((found.meta.weight(), found.meta.depth()), (13, 3));
        assert!(!found.shared);
        compare(pickle, &Budget::STRANGER).unwrap();
    }
}

#[test]
fn what_refers_to_a_list_is_left_to_the_machine() {
    assert!(look(b"\x80\x04](]\x94h\0e.", &Budget::NODE).is_none());
    let tuple = look(b"\x80\x04](]\x85\x94h\0e.", &Budget::NODE).unwrap();
    assert!(tuple.shared);
}

#[test]
fn every_repetition_counts() {
    // Each level twice what is below: 2 ** 40 values.
    let levels = (0..40_u8).flat_map(|level| {
        [
            op::BINGET,
            level,
            op::BINGET,
            level,
            op::TUPLE2,
            op::MEMOIZE,
        ]
    });
    let bomb: Vec<u8> = [b"\x80\x04)\x94".to_vec(), levels.collect(), b".".to_vec()].concat();
    assert!(look(&bomb, &Budget::NODE).is_none());
    let few: Vec<u8> = [&bomb[..4 + 6 * 4], b"."].concat();
    compare(&few, &Budget::NODE).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn it_sees_what_the_steps_would((pickle, unaided) in plain(), small in budget(), change: Option<(Index, u8)>) {
        let mut input = pickle;
        if let Some((index, byte)) = change {
            *index.get_mut(&mut input) = byte;
        } else if unaided {
            let accepted = machine::run_by_steps(&input, &roomy(), Scanner { input: &input }).is_ok();
            prop_assert_eq!(look(&input, &roomy()).is_some(), accepted);
        }
        compare(&input, &roomy())?;
        compare(&input, &small)?;
    }

    #[test]
    fn nor_does_it_take_what_the_steps_refuse(pickle in program(), small in budget()) {
        let input = Bytes::from(pickle);
        compare(&input, &roomy())?;
        compare(&input, &small)?;
    }
}
