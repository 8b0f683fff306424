//! Files written and read again, and files that nobody would write.

mod hostile;
mod property;

use std::convert::Infallible;
use std::io::{Read, Write};

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};

use super::*;
use crate::store::Stored;
use crate::wire::identity::NodeId;
use crate::wire::node::NodeState;
use crate::wire::pickle::{self, Budget, Dict, Protocol, Value};

const FORMATS: [Format; 5] = [
    Format::Chunks,
    Format::Decoded { typed: true },
    Format::Decoded { typed: false },
    Format::Ours { marshal: false },
    Format::Ours { marshal: true },
];

/// Marshal of `{'a': 1}`.
const MARSHAL: &[u8] = b"{\xda\x01ai\x01\0\0\x000";

fn id(n: u32) -> NodeId {
    NodeId::new(format!("{n:08x}-0000-4000-8000-000000000000").as_bytes()).unwrap()
}

fn state(n: u32, format: Format, payload: Bytes) -> NodeState {
    NodeState {
        id: id(n),
        owner: if n.is_multiple_of(2) {
            "COMMON"
        } else {
            "Zoë"
        }
        .into(),
        kind: match format.family() {
            crate::wire::dialect::Family::UntypedPickle => Bytes::new(),
            _ => Bytes::from_static(b"BlObject"),
        },
        dependencies: (0..n.min(3)).map(id).collect(),
        payload,
    }
}

fn payload(format: Format, n: u32) -> Bytes {
    if format == (Format::Ours { marshal: true }) {
        return Bytes::from_static(MARSHAL);
    }
    let key = Value::str("location");
    let data = Dict::new()
        .with("name", format!("Cube {n}"))
        .with(&key, Value::list([1.5, -0.0, f64::INFINITY]))
        .with(
            "inner",
            Value::from(Dict::new().with(&key, Value::tuple([n, 1]))),
        )
        .with("buffer", Value::bytes(vec![7; 5000]));
    pickle::write(&data.into(), Protocol::Four)
}

fn about() -> About {
    About::now(Some("0.9.11"), "default")
}

fn file(format: Format, nodes: &[NodeState]) -> Vec<u8> {
    let mut file = Vec::new();
    let nodes = nodes.iter().cloned().map(Ok::<_, Infallible>);
    write(&mut file, format, &about(), nodes).unwrap();
    file
}

fn take(file: &[u8], limits: &Limits<'_>) -> Result<(Vec<NodeState>, Summary), FileError> {
    let mut nodes = Vec::new();
    let read = Reader::open(file)?.read(limits, |node| {
        nodes.push(node);
        Ok::<_, Infallible>(())
    });
    match read {
        Ok(summary) => Ok((nodes, summary)),
        Err(ReadError::File(error)) => Err(error),
    }
}

fn read(file: &[u8]) -> Result<(Vec<NodeState>, Summary), FileError> {
    take(file, &Limits::default())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn unpacked(file: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}

/// What a node is to Python: which strings are shared does not count.
fn value(payload: &Bytes) -> Value {
    pickle::read(payload, &Budget::NODE).unwrap()
}

#[test]
fn all_formats_are_read_as_they_were_written() {
    for format in FORMATS {
        let nodes: Vec<_> = (0..20)
            .map(|n| state(n, format, payload(format, n)))
            .collect();
        let (found, summary) = read(&file(format, &nodes)).unwrap();
        assert_eq!(found, nodes, "{format:?}");
        assert_eq!(summary.format, Some(format));
        assert_eq!((summary.nodes, summary.without_data), (20, 0));
        assert!(summary.missing.is_empty());
        let expected = (format == Format::Chunks).then(|| "0.9.11".to_owned());
        assert_eq!(summary.version, expected, "{format:?}");
    }
}

#[test]
fn the_pickle_is_the_add_ons() {
    let node = state(2, Format::Chunks, Bytes::from_static(b"\x80\x04}."));
    let chunks = unpacked(&file(Format::Chunks, std::slice::from_ref(&node)));
    let dependencies = pickle::write(
        &Value::list([id(0).as_str(), id(1).as_str()]),
        Protocol::Four,
    );
    let bytes = |bytes: &[u8]| Value::bytes(bytes.to_vec());
    let expected = Dict::new().with(
        "nodes",
        Value::list([Value::list([
            bytes(b"\x80\x04K\x02."),
            bytes(id(2).as_bytes()),
            bytes(b"COMMON"),
            Value::Bytes(dependencies),
            bytes(b"\x80\x04}."),
        ])]),
    );
    assert_eq!(value(&chunks.into()), expected.into());

    let format = Format::Decoded { typed: true };
    let node = state(1, format, Bytes::from_static(b"\x80\x04}K\x01K\x02s."));
    let decoded = unpacked(&file(format, &[node]));
    let parts = Dict::new()
        .with("owner", "Zoë")
        .with("str_type", "BlObject")
        .with("data", Dict::new().with(1, 2))
        .with("dependencies", Value::list([id(0).as_str()]));
    let expected = Dict::new()
        .with(
            "nodes",
            Value::list([Value::tuple([Value::str(id(1).as_str()), parts.into()])]),
        )
        .with("users", Dict::new());
    assert_eq!(value(&decoded.into()), expected.into());
}

#[test]
fn a_file_says_where_it_comes_from() {
    let file = file(Format::Chunks, &[]);
    let reader = Reader::open(file.as_slice()).unwrap();
    let found = reader.about().unwrap();
    assert_eq!(found.client.as_deref(), Some("0.9.11"));
    assert_eq!(found.session, "default");
    let (_, summary) = read(&file).unwrap();
    assert_eq!((summary.format, summary.nodes), (None, 0));
}

/// As Python's pickler writes it: all chunks in one batch, everything remembered, in frames, the
/// users first or last.
#[test]
fn files_of_python_are_read() {
    let node = |n: u32| {
        let id = id(n);
        let mut node = b"]\x94(".to_vec();
        for chunk in [
            &b"\x80\x04K\x02."[..],
            id.as_bytes(),
            b"COMMON",
            b"\x80\x04N.",
            b"\x80\x04}\x94.",
        ] {
            node.extend([b'C', u8::try_from(chunk.len()).unwrap()]);
            node.extend(chunk);
            node.push(0x94);
        }
        node.push(b'e');
        node
    };
    let users = b"\x8c\x05users\x94}\x94\x8c\x03Zoe\x94}\x94(\x8c\x07latency\x94K\x05\x8c\x01s\x94\x8f\x94(\x8c\x01x\x94\x90\
          \x8c\x01n\x94cnumpy\nint64\nK\x01\x85Rus";
    for users_first in [true, false] {
        let mut nodes = b"\x8c\x05nodes\x94]\x94(".to_vec();
        (0..5).for_each(|n| nodes.extend(node(n)));
        nodes.push(b'e');
        let mut pickle = b"\x80\x04\x95\x01\0\0\0\0\0\0\0}\x94(".to_vec();
        if users_first {
            pickle.extend(users);
        }
        pickle.extend(nodes);
        if !users_first {
            pickle.extend(users);
        }
        pickle.extend(b"u.");
        for file in [gzip(&pickle), pickle] {
            let (nodes, summary) = read(&file).unwrap();
            assert_eq!((nodes.len(), summary.nodes), (5, 5));
            assert_eq!(nodes[4].id, id(4));
            assert_eq!(summary.format, Some(Format::Chunks));
            assert_eq!(summary.version, None);
        }
    }
}

/// Python has each of the shortest `bytes` only once.
#[test]
fn an_owner_of_one_letter_is_shared() {
    let chunks = |id: NodeId, owner: &[u8]| {
        let begin = b"](C\x05\x80\x04K\x02.C\x24";
        let end = b"C\x04\x80\x04N.C\x04\x80\x04}.e";
        [begin, &id.as_bytes()[..], owner, end].concat()
    };
    let nodes = [chunks(id(0), b"C\x01x\x94"), chunks(id(1), b"h\0")].concat();
    let pickle = [b"\x80\x04}\x8c\x05nodes](", &nodes[..], b"es."].concat();
    let (nodes, _) = read(&pickle).unwrap();
    assert_eq!((nodes.len(), nodes[1].owner.as_str()), (2, "x"));
}

#[test]
fn what_no_node_may_hold_is_refused() {
    for format in FORMATS {
        let good = state(1, format, payload(format, 1));
        let mut bad = state(
            2,
            format,
            Bytes::from_static(b"\x80\x04}\x8c\x01xcos\nsystem\n\x8c\x04true\x85Rs."),
        );
        if format == (Format::Ours { marshal: true }) {
            bad.payload = Bytes::from_static(b"{\xda\x01kc\0\0\0\0");
        }
        let error = read(&file(format, &[good, bad])).unwrap_err();
        match format {
            // The whole of the file is one pickle.
            Format::Decoded { .. } => assert!(matches!(error, FileError::Pickle(_)), "{error}"),
            _ => {
                let expected = format!("node 2 of the file ({}): ", id(2));
                assert!(error.to_string().starts_with(&expected), "{error}");
            }
        }
    }
    let list = state(1, Format::Chunks, Bytes::from_static(b"\x80\x04]."));
    for format in [Format::Chunks, Format::Decoded { typed: false }] {
        let error = read(&file(format, std::slice::from_ref(&list))).unwrap_err();
        assert!(error.to_string().contains("than a dict"), "{error}");
    }
}

#[test]
fn payloads_are_made_fit_for_all() {
    // One list in two places.
    let twice = Bytes::from_static(b"\x80\x04}\x94(\x8c\x01a]\x94K\x01a\x8c\x01bh\x01u.");
    for format in [Format::Chunks, Format::Decoded { typed: false }] {
        let (nodes, _) = read(&file(format, &[state(0, format, twice.clone())])).unwrap();
        assert_eq!(
            nodes[0].payload.as_ref(),
            b"\x80\x04}(\x8c\x01a]K\x01a\x8c\x01b]K\x01au."
        );
    }
    // What Python 3.7 cannot read is written so that it can.
    let five = Bytes::from_static(b"\x80\x05}\x8c\x01a\x96\x01\0\0\0\0\0\0\0xs.");
    for format in [Format::Chunks, Format::Decoded { typed: false }] {
        let (nodes, _) = read(&file(format, &[state(0, format, five.clone())])).unwrap();
        assert_eq!(nodes[0].payload[1], 4);
        assert!(value(&nodes[0].payload) == value(&five));
    }
}

/// A name that the operator permits, said as Python 2 would say it.
#[test]
fn what_would_be_read_otherwise_is_not_written() {
    let old = Bytes::from_static(b"\x80\x02}X\x01\0\0\0xcnumpy\ndtype\ns.");
    let format = Format::Decoded { typed: true };
    let nodes = [Ok::<_, Infallible>(state(0, format, old.clone()))];
    let written = write(Vec::new(), format, &about(), nodes.into_iter());
    assert!(matches!(written, Err(WriteError::Node { id: of, .. }) if of == id(0)));
    let extra_globals = [("numpy", "dtype")];
    let mut limits = Limits::default();
    limits.policy.extra_globals = &extra_globals;
    let file = file(Format::Chunks, &[state(0, Format::Chunks, old.clone())]);
    assert!(read(&file).is_err());
    assert_eq!(take(&file, &limits).unwrap().0[0].payload, old);
}

#[test]
fn nodes_without_data_are_counted() {
    let none = Bytes::from_static(b"\x80\x04N.");
    for (format, fit) in [
        (Format::Chunks, true),
        (Format::Decoded { typed: false }, true),
        (Format::Decoded { typed: true }, true),
        (Format::Ours { marshal: false }, false),
    ] {
        let found = read(&file(format, &[state(0, format, none.clone())]));
        assert_eq!(found.is_ok(), fit, "{format:?}");
        if let Ok((nodes, summary)) = found {
            assert_eq!(
                (nodes[0].payload.clone(), summary.without_data),
                (none.clone(), 1)
            );
        }
    }
}

#[test]
fn nodes_may_lack_what_they_need_but_are_not_there_twice() {
    for format in FORMATS {
        let mut node = state(0, format, payload(format, 0));
        node.dependencies = vec![id(0), id(1), id(7), id(6)];
        let mut circle = state(1, format, payload(format, 1));
        circle.dependencies = vec![id(0)];
        let (_, summary) = read(&file(format, &[node.clone(), circle])).unwrap();
        assert_eq!(summary.missing, [id(6), id(7)], "{format:?}");
        let error = read(&file(format, &[node.clone(), node])).unwrap_err();
        assert!(matches!(error, FileError::Twice { id: twice } if twice == id(0)));
    }
}

#[test]
fn who_takes_the_nodes_can_stop() {
    let format = Format::Chunks;
    let nodes = [0, 1].map(|n| state(n, format, payload(format, n)));
    let mut given = 0;
    let stopped =
        Reader::open(file(format, &nodes).as_slice())
            .unwrap()
            .read(&Limits::default(), |_| {
                given += 1;
                Err(std::fmt::Error)
            });
    assert!(matches!(stopped, Err(ReadError::Taker(std::fmt::Error))));
    assert_eq!(given, 1);
    let nodes = [Err(std::fmt::Error)];
    let written = write(Vec::new(), format, &about(), nodes.into_iter());
    assert!(matches!(written, Err(WriteError::Giver(std::fmt::Error))));
}

#[test]
fn deltas_are_folded_and_nodes_set_aside_left_out() {
    let base = pickle::write(&Dict::new().with("a", 1).into(), Protocol::Four);
    let change = Dict::new().with("root['a']", Dict::new().with("new_value", 2));
    let delta = Dict::new().with("values_changed", change);
    let mut stored = Stored {
        place: 0,
        owner: "COMMON".into(),
        kind: Bytes::new(),
        dependencies: vec![id(1)],
        version: 1,
        base,
        tail_start: 0,
        tail: vec![
            pickle::write(&delta.into(), Protocol::Four),
            Bytes::from_static(b"\x80\x04K\x01."),
        ],
        aside: None,
    };
    let folded = whole(id(0), &stored, &Budget::NODE).unwrap().unwrap();
    assert_eq!(folded.refused, 1);
    assert_eq!(folded.node.dependencies, [id(1)]);
    assert_eq!(value(&folded.node.payload), Dict::new().with("a", 2).into());
    stored.aside = Some(Vec::new());
    assert_eq!(whole(id(0), &stored, &Budget::NODE), Ok(None));
}
