//! Any nodes come back, and no bytes do harm.

use proptest::prelude::*;

use super::*;

/// Values as nodes hold them.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zäß]{0,8}".prop_map(Value::from),
        Just(Value::from("x".repeat(300))),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(Value::bytes),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let many = || proptest::collection::vec(inner.clone(), 0..6);
        prop_oneof![
            many().prop_map(Value::list),
            many().prop_map(Value::tuple),
            proptest::collection::vec(("[a-c]{1,2}", inner.clone()), 0..6).prop_map(|pairs| pairs
                .into_iter()
                .map(|(key, value)| (Value::from(key), value))
                .collect::<Dict>()
                .into()),
        ]
    })
}

fn nodes() -> impl Strategy<Value = Vec<(String, Vec<u32>, Vec<Value>, Protocol)>> {
    let protocol = prop_oneof![Just(Protocol::Three), Just(Protocol::Four)];
    let all: Vec<u32> = (0..40).collect();
    let node = (
        "[A-Za-zé]{1,10}",
        prop::sample::subsequence(all, 0..4).prop_shuffle(),
        proptest::collection::vec(values(), 0..4),
        protocol,
    );
    proptest::collection::vec(node, 0..8)
}

fn states(format: Format, nodes: Vec<(String, Vec<u32>, Vec<Value>, Protocol)>) -> Vec<NodeState> {
    let nodes = nodes.into_iter().enumerate();
    let nodes = nodes.map(|(n, (owner, dependencies, values, protocol))| {
        let n = u32::try_from(n).unwrap();
        let data: Dict = values
            .into_iter()
            .enumerate()
            .map(|(key, value)| (i64::try_from(key).unwrap(), value))
            .collect();
        NodeState {
            owner: owner.into(),
            dependencies: dependencies.into_iter().map(id).collect(),
            payload: pickle::write(&data.into(), protocol),
            ..state(n, format, Bytes::new())
        }
    });
    nodes.collect()
}

/// Opcodes, some with what they need.
const OPS: [&[u8]; 23] = [
    b"(",
    b"e",
    b"a",
    b"u",
    b"s",
    b"]",
    b"}",
    b"\x94",
    b"h\x00",
    b"h\x01",
    b"C\x01x",
    b"\x8c\x05nodes",
    b"\x8c\x01x",
    b"N",
    b"\x85",
    b"\x86",
    b"t",
    b"R",
    b".",
    b"\x8f",
    b"\x90",
    b"\x8c\x06family\x8c\x05typeds",
    b"](C\x01aC\x01aC\x01aC\x01aC\x01ae",
];

proptest! {
    #[test]
    fn any_nodes_come_back(nodes in nodes()) {
        for format in FORMATS {
            let mut nodes = states(format, nodes.clone());
            if format == (Format::Ours { marshal: true }) {
                nodes.iter_mut().for_each(|node| node.payload = Bytes::from_static(MARSHAL));
            }
            let (found, summary) = read(&file(format, &nodes)).unwrap();
            prop_assert_eq!(found.len(), nodes.len());
            prop_assert_eq!(summary.nodes, nodes.len());
            for (found, node) in found.iter().zip(&nodes) {
                prop_assert_eq!(found.id, node.id);
                prop_assert_eq!(&found.owner, &node.owner);
                prop_assert_eq!(&found.kind, &node.kind);
                prop_assert_eq!(&found.dependencies, &node.dependencies);
                if format == (Format::Ours { marshal: true }) {
                    prop_assert_eq!(&found.payload, &node.payload);
                } else {
                    prop_assert!(value(&found.payload) == value(&node.payload));
                }
            }
        }
    }

    #[test]
    fn mutations_and_cuts_never_panic(
        format in prop::sample::select(&FORMATS[..]),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
        packed in any::<bool>(),
    ) {
        let nodes: Vec<_> = (0..4).map(|n| state(n, format, payload(format, n))).collect();
        let mut bytes = file(format, &nodes);
        if !packed {
            bytes = unpacked(&bytes);
        }
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let limits = Limits { bytes: 1 << 20, nodes: 100, values: 1 << 16, ..Limits::default() };
        if let Ok((nodes, summary)) = take(&bytes, &limits) {
            prop_assert_eq!(summary.nodes, nodes.len());
            prop_assert!(summary.bytes <= limits.bytes);
        }
    }

    #[test]
    fn anything_that_looks_like_a_pickle_never_panics(
        ops in proptest::collection::vec(prop::sample::select(&OPS[..]), 0..40),
        begun in any::<bool>(),
    ) {
        let begin = if begun { &b"\x80\x04}\x8c\x05nodes]"[..] } else { b"\x80\x04" };
        let _ = read(&[begin, &ops.concat()].concat());
    }
}
