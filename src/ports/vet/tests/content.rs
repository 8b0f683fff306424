//! What is fit for others, and what is looked into at once.

use bytes::Bytes;

use crate::config::Config;
use crate::ports::context::PortLimits;
use crate::ports::vet::look::{FEW, LONG, READ, look_briefly, look_into, weigh};
use crate::wire::dialect::for_version;
use crate::wire::fit::{Looked, Part, Unfit, Weighed};
use crate::wire::marshal::MarshalError;
use crate::wire::pickle::PickleError;

fn look(version: &str, part: Part, payload: &[u8]) -> Result<Looked, Unfit> {
    let limits = PortLimits::new(&Config::default(), 1 << 20);
    let dialect = for_version(Some(version)).unwrap();
    let payload = Bytes::copy_from_slice(payload);
    let mut looked = look_into(&payload, part, dialect, &limits)?;
    // How many are told by the scans.
    looked.values = 0;
    Ok(looked)
}

/// One version of each way to send nodes: marshal, pickles, deltas, both.
const MARSHAL: &str = "0.0.20";
const WHOLE: [&str; 3] = ["0.1.26", "0.1.34", "0.1.36"];
const DELTAS: [&str; 3] = ["0.1.40", "0.2.1", "0.6.6"];
const BOTH: [&str; 3] = ["0.7.3", "0.9.11", "0.10.2"];

fn pickles() -> impl Iterator<Item = (&'static str, Part)> {
    let versions = WHOLE.into_iter().chain(DELTAS).chain(BOTH);
    versions.flat_map(|version| [Part::Set, Part::Node, Part::Delta].map(|part| (version, part)))
}

#[test]
fn dicts_are_fit() {
    for (version, part) in pickles() {
        let empty = Looked {
            rewritten: None,
            plain: part == Part::Delta,
            values: 0,
        };
        assert_eq!(look(version, part, b"\x80\x04}."), Ok(empty), "{version}");
        let ordered = b"\x80\x04\x8c\x0bcollections\x8c\x0bOrderedDict\x93)R.";
        assert!(look(version, part, ordered).is_ok(), "{version}");
    }
    assert_eq!(look(MARSHAL, Part::Node, b"{0"), Ok(Looked::default()));
}

#[test]
fn other_values_are_not() {
    for (version, part) in pickles() {
        for other in [
            &b"\x80\x04]."[..],
            b"\x80\x04).",
            b"\x80\x04K\x01.",
            b"\x80\x04\x8c\x01x.",
            b"\x80\x04\x8f.",
            // Bytes, which hold a dict, or a call; and a bytearray.
            b"\x80\x04C\x04\x80\x04}..",
            b"\x80\x04C\x1ecos\nsystem\n(S'touch owned'\ntR..",
            b"\x80\x05\x96\x04\0\0\0\0\0\0\0\x80\x04}..",
            // The type dict.
            b"\x80\x04\x8c\x08builtins\x8c\x04dict\x93.",
        ] {
            assert_eq!(
                look(version, part, other),
                Err(Unfit::NoDict),
                "{version} {part:?}"
            );
        }
    }
    let error = look(MARSHAL, Part::Node, b"[\0\0\0\0").unwrap_err();
    assert_eq!(error, MarshalError::NoDict.into());
    // A dict, but in the other format.
    assert!(look(MARSHAL, Part::Node, b"\x80\x04}.").is_err());
    assert!(look("0.1.26", Part::Node, b"{0").is_err());
}

#[test]
fn a_node_may_be_none_in_uploads_of_those_who_have_such() {
    for (version, part) in pickles() {
        let fit = look(version, part, b"\x80\x04N.").is_ok();
        assert_eq!(
            fit,
            part == Part::Set && !WHOLE.contains(&version),
            "{version} {part:?}"
        );
    }
}

/// What a plain unpickler fails on, and what is no data. Deltas may hold it.
#[test]
fn what_belongs_into_deltas_is_in_no_node() {
    let none_type = &b"\x8c\x0c<<NoneType>>Q"[..];
    let kind = b"\x8c\x08builtins\x8c\x03int\x93";
    let call = b"\x8c\x08builtins\x8c\x04type\x93N\x85R";
    let opcode = b"\x8c\x0fdeepdiff.helper\x8c\x06Opcode\x93(NNNNNNNt\x81";
    for value in [none_type, kind, call, opcode] {
        let payload = [b"\x80\x04}\x8c\x01x", value, b"s."].concat();
        for (version, part) in pickles() {
            let looked = look(version, part, &payload);
            match part {
                Part::Delta => assert!(looked.is_ok(), "{version}"),
                _ => assert!(
                    matches!(looked, Err(Unfit::Pickle(PickleError::OfDeltas(_)))),
                    "{version} {looked:?}"
                ),
            }
        }
    }
    // A type that is only called is fine.
    let set = b"\x80\x03}X\x01\0\0\0xcbuiltins\nset\n](K\x01K\x02e\x85Rs.";
    assert!(look("0.1.26", Part::Node, set).is_ok());
}

/// `{'a': x, 'b': x}` with one list x: a change of the one would be one of both.
#[test]
fn nothing_is_in_two_places() {
    let twice = b"\x80\x04}\x94(\x8c\x01a]\x94K\x01a\x8c\x01bh\x01u.";
    let apart = b"\x80\x04}(\x8c\x01a]K\x01a\x8c\x01b]K\x01au.";
    let looked = look("0.9.11", Part::Node, twice).unwrap();
    assert_eq!(looked.rewritten.as_deref(), Some(&apart[..]));
    // Where there are no deltas nothing is changed in its place.
    assert_eq!(look("0.1.26", Part::Node, twice).unwrap().rewritten, None);
}

/// A hundred bytes of 64 KiB that are one in the pickle would be many of them.
#[test]
fn a_little_does_not_become_much() {
    let mut payload = b"\x80\x04}\x94(\x8c\x01a]\x94B\0\0\x01\0".to_vec();
    payload.extend([7; 1 << 16]);
    payload.extend(b"\x94a");
    for n in 0..100u8 {
        // Under each number the list that is memo entry 1.
        payload.extend([b'K', n, b'h', 1]);
    }
    payload.extend(b"u.");
    let unfit = look("0.9.11", Part::Node, &payload).unwrap_err();
    assert_eq!(unfit, Unfit::Grows);
}

/// What takes long is looked into elsewhere; what does not has the same outcome here.
#[test]
fn what_takes_long_is_left_to_another_thread() {
    let limits = PortLimits::new(&Config::default(), 1 << 30);
    let dialect = for_version(Some("0.9.11")).unwrap();
    let list = |start: &[u8], values: usize, end: &[u8]| {
        let list = b"K\x01".repeat(values);
        Bytes::from([start, &list, end].concat())
    };
    let twice = |values| {
        let twice = b"\x80\x04}\x94(\x8c\x01a]\x94K\x01a\x8c\x01bh\x01\x8c\x01c](";
        list(twice, values, b"eu.")
    };
    let once = |values| list(b"\x80\x04}\x8c\x01a](", values, b"es.");
    let brief = |payload, part| look_briefly(&payload, part, dialect, &limits);
    let whole = |payload, part| Some(look_into(&payload, part, dialect, &limits));
    for (payload, part) in [
        (twice(READ / 2), Part::Node),
        (once(READ / 2), Part::Delta),
        (once(FEW - 9), Part::Node),
        (Bytes::from_static(b"\x80\x04"), Part::Node),
    ] {
        let looked = brief(payload.clone(), part);
        assert_eq!(looked, whole(payload, part));
    }
    for (payload, part) in [
        (twice(READ), Part::Node),
        (once(READ), Part::Delta),
        (once(FEW), Part::Node),
        (once(LONG), Part::Node),
        (list(b"\x80\x04}\x8c\x01a](", FEW, b""), Part::Node),
    ] {
        assert_eq!(brief(payload.clone(), part), None, "{}", payload.len());
    }
}

/// What is read takes many times the bytes it comes in: it waits for so much memory, or is not read.
#[test]
fn what_takes_much_memory_is_told_before() {
    let limits = PortLimits::new(&Config::default(), 1 << 30);
    let dialect = for_version(Some("0.9.11")).unwrap();
    let list = |start: &[u8], end: &[u8]| {
        let list = b"K\x01".repeat(100_000);
        Bytes::from([start, &list, end].concat())
    };
    let once = list(b"\x80\x04}\x8c\x01a](", b"es.");
    let twice = list(
        b"\x80\x04}\x94(\x8c\x01a]\x94K\x01a\x8c\x01bh\x01\x8c\x01c](",
        b"eu.",
    );
    let weigh = |payload, part, most| weigh(payload, part, dialect, &limits, most);
    for (payload, part) in [
        (&once, Part::Delta),
        (&twice, Part::Delta),
        (&twice, Part::Node),
    ] {
        let Ok(Weighed::Takes(bytes)) = weigh(payload, part, usize::MAX) else {
            panic!("not weighed");
        };
        assert!((4 << 20..32 << 20).contains(&bytes), "{bytes}");
        assert_eq!(weigh(payload, part, bytes), Ok(Weighed::Takes(bytes)));
        match (payload == &twice, weigh(payload, part, bytes - 1)) {
            (true, Err(Unfit::Memory)) => {}
            // Who looks at its node finds out what it is.
            (false, Ok(Weighed::Looked(looked))) => {
                assert!(!looked.plain && looked.rewritten.is_none());
                assert!(looked.values > 100_000);
            }
            (_, other) => panic!("{other:?}"),
        }
    }
    // What is read nowhere takes nothing.
    let odd = list(b"\x80\x04}\x8c\x01a](cmodule\nname\n", b"es.");
    assert!(weigh(&odd, Part::Delta, usize::MAX).is_err());
}

/// 133 bytes that name six million values.
#[test]
fn a_bomb_is_found_out_before_it_is_gone_through() {
    let levels = (0..20).flat_map(|level| [b'h', level, b'h', level, 0x86, 0x94]);
    let levels: Vec<u8> = levels.collect();
    let bomb = [&b"\x80\x04}\x8c\x01x(]\x85\x94"[..], &levels, b"ts."].concat();
    assert_eq!(look("0.9.11", Part::Node, &bomb), Err(Unfit::Grows));
    let limits = PortLimits::new(&Config::default(), 1 << 30);
    let dialect = for_version(Some("0.9.11")).unwrap();
    assert_eq!(
        look_briefly(&bomb.into(), Part::Node, dialect, &limits),
        None
    );
}

#[test]
fn plain_deltas_are_told() {
    let delta = b"\x80\x04}\x8c\x0evalues_changed}\x8c\x09root['a']}\x8c\x09new_valueK\x01sss.";
    assert!(look("0.9.11", Part::Delta, delta).unwrap().plain);
    let delta = b"\x80\x04}\x8c\x15iterable_item_removed}\x8c\x07root[0]K\x01ss.";
    assert!(!look("0.9.11", Part::Delta, delta).unwrap().plain);
}

/// numpy.float64(1.5), as numpy 1 pickles it.
#[test]
fn further_names_are_permitted_by_the_configuration() {
    let payload = Bytes::from_static(
        b"\x80\x04}\x8c\x01xcnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n\x8c\x02f8\x89\x88\x87R\
          (K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tbC\x08\0\0\0\0\0\0\xf8\x3f\x86Rs.",
    );
    let dialect = for_version(Some("0.9.11")).unwrap();
    let mut config = Config::default();
    for (names, fit) in [
        (&[][..], false),
        (&["numpy.dtype"], false),
        (&["numpy.dtype", "numpy.core.multiarray.scalar"], true),
    ] {
        config.session.extra_globals = names.iter().map(|name| name.parse().unwrap()).collect();
        let limits = PortLimits::new(&config, 1 << 20);
        for part in [Part::Set, Part::Node, Part::Delta] {
            let looked = look_into(&payload, part, dialect, &limits);
            assert_eq!(looked.is_ok(), fit, "{names:?} {looked:?}");
        }
    }
}

#[test]
fn marshal_holds_no_code() {
    let code = b"{\xda\x01kc\0\0\0\0";
    let (byte, at) = (b'c', 4);
    let error = look(MARSHAL, Part::Node, code).unwrap_err();
    assert_eq!(error, MarshalError::Type { byte, at }.into());
}
