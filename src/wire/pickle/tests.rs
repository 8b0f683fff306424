//! Reader and scanner together, as they must agree: byte by byte what is accepted and refused.

use bytes::Bytes;

use super::{
    Budget, Dict, PickleError, PyType, ScanPolicy, Top, Value, read, read::MIN_SLICE, scan,
};

const SMALL: Budget = Budget {
    bytes: 1 << 22,
    depth: 10,
    items: 1000,
    memo: 100,
    stack: 500,
};

/// Reads and scans; they must agree.
fn load(pickle: &[u8]) -> Result<Value, PickleError> {
    let policy = ScanPolicy {
        budget: SMALL,
        extra_globals: &[],
    };
    let scanned = scan(pickle, &policy);
    let value = read(&Bytes::copy_from_slice(pickle), &SMALL);
    assert_eq!(scanned.err(), value.clone().err(), "{pickle:?}");
    value
}

/// With the header of protocol 4 and STOP.
fn four(pickle: &[u8]) -> Result<Value, PickleError> {
    load(&[b"\x80\x04", pickle, b"."].concat())
}

/// Name of the limit that a pickle exceeds.
fn limit(result: Result<Value, PickleError>) -> &'static str {
    match result {
        Err(PickleError::Budget { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_what_the_wire_spec_shows() {
    let lobby = b"\x80\x04\x95\x09\0\0\0\0\0\0\0\x8c\x05LOBBY\x94.";
    assert_eq!(load(lobby), Ok(Value::str("LOBBY")));
    assert_eq!(load(b"\x80\x03K\x02."), Ok(Value::Int(2)));
    assert_eq!(four(b"]\x94"), Ok(Value::list::<Value>([])));
    let state = Value::from(Dict::new().with("STATE", "ACCEPTED"));
    assert_eq!(four(b"}\x8c\x05STATE\x8c\x08ACCEPTEDs"), Ok(state));

    let opcode = four(
        b"\x8c\x0fdeepdiff.helper\x94\x8c\x06Opcode\x94\x93\x94\
          (\x8c\x05equal\x94K\0K\x01K\0K\x01NNt\x94\x81\x94",
    );
    let Ok(Value::Opcode(items)) = opcode else {
        panic!("{opcode:?}");
    };
    assert_eq!(items.len(), 7);
    assert_eq!(items[0], Value::str("equal"));

    let types = four(b"\x8c\x0c<<NoneType>>Q\x8c\x08builtins\x8c\x04dict\x93\x86");
    let none_type = Value::Type(PyType::NoneType);
    assert_eq!(types, Ok(Value::tuple([none_type, PyType::Dict.into()])));
}

#[test]
fn reads_the_older_forms() {
    let set = load(b"\x80\x03cbuiltins\nset\n]K\x01a\x85R.");
    assert_eq!(set, Ok(Value::Set(vec![Value::Int(1)].into())));
    let bytes = load(b"\x80\x02c_codecs\nencode\nX\x03\0\0\0a\xc3\xbfX\x06\0\0\0latin1\x86R.");
    assert_eq!(bytes, Ok(Value::bytes(&b"a\xff"[..])));
    let bytes = load(b"\x80\x02c__builtin__\nbytes\n)R.");
    assert_eq!(bytes, Ok(Value::bytes("")));
    let array = load(b"\x80\x03cbuiltins\nbytearray\nC\x01x\x85R.");
    assert_eq!(array, Ok(Value::ByteArray("x".into())));
    let ordered = load(b"\x80\x02ccollections\nOrderedDict\n)R(K\x01Nu.");
    let one = Dict::new().with(1, Value::None);
    assert_eq!(ordered, Ok(Value::from(one.clone())));
    let plus = load(b"\x80\x04\x8c\x0fdeepdiff.helper\x8c\x0fOrderedDictPlus\x93)R(K\x01Nu.");
    assert_eq!(plus, Ok(Value::from(one.clone())));
    assert_eq!(load(b"(K\x01Nd."), Ok(Value::from(one)));
    assert_eq!(
        load(b"(I01\nI-7\nl."),
        Ok(Value::list([Value::Bool(true), Value::Int(-7)]))
    );
    let type_of = load(b"\x80\x03cbuiltins\ntype\nN\x85R.");
    assert_eq!(type_of, Ok(Value::Type(PyType::NoneType)));
    assert_eq!(
        load(b"\x80\x05\x96\x01\0\0\0\0\0\0\0x."),
        Ok(Value::ByteArray("x".into()))
    );
    assert_eq!(load(b"\x80\x03\x8b\x01\0\0\0\xff."), Ok(Value::Int(-1)));
}

#[test]
fn memo_gives_back_what_it_was_given() {
    let inner = || Value::list([1]);
    let twice = four(b"]\x94(]\x94K\x01ah\x01e");
    assert_eq!(twice, Ok(Value::list([inner(), inner()])));
    // Two entries for a list and a string, one taken when the list is in the dict already.
    let later = four(b"}\x94\x8c\x01a\x94]\x94K\x01ash\x02\x86");
    let dict = Dict::new().with("a", inner());
    assert_eq!(later, Ok(Value::tuple([Value::from(dict), inner()])));
    assert_eq!(four(b"K\x052\x86"), Ok(Value::tuple([5, 5])));
    assert_eq!(
        load(b"\x80\x03(Nq\0r\x01\0\0\0h\0j\x01\0\0\0t.")
            .unwrap()
            .type_name(),
        "tuple"
    );
    assert_eq!(four(b"K\x01K\x020"), Ok(Value::Int(1)));
    assert_eq!(four(b"K\x01(NN1"), Ok(Value::Int(1)));
}

#[test]
fn containers_in_themselves_are_refused() {
    for pickle in [
        &b"]\x94h\0a"[..],
        b"}\x94K\x01h\0s",
        b"]\x94(h\0h\0e",
        b"]\x94]\x94h\0ah\x01a",
        b"]\x94h\0\x85a",
        b"(K\x01l\x94h\0a",
    ] {
        let result = four(pickle);
        assert!(
            matches!(result, Err(PickleError::SelfReference { .. })),
            "{pickle:?}: {result:?}"
        );
    }
}

#[test]
fn depth_is_limited_however_it_is_made() {
    let nest =
        |open: &[u8], close: &[u8], count| [open.repeat(count), close.repeat(count)].concat();
    assert!(four(&nest(b"]", b"a", 10)[..19]).is_ok());
    assert_eq!(limit(four(&nest(b"]", b"a", 11))), "levels of nesting");
    assert_eq!(
        limit(four(&nest(b"]", b"a", 1_000_000))),
        "values not put anywhere"
    );
    assert_eq!(
        limit(four(&nest(b"(", b"l", 1_000_000))),
        "levels of nesting"
    );
    assert_eq!(
        limit(four(&nest(b"(", b"t", 1_000_000))),
        "levels of nesting"
    );
    let dicts = [&b"}K\0".repeat(11)[..], b"N", &b"s".repeat(11)].concat();
    assert_eq!(limit(four(&dicts)), "levels of nesting");
    let tuples = [&b"N"[..], &b"\x85".repeat(1_000_000)].concat();
    assert_eq!(limit(four(&tuples)), "levels of nesting");
    let remembered = [&b")\x94"[..], &b"0h\0\x85\x94"[..]].concat();
    assert!(four(&remembered).is_ok());
    let chain: Vec<u8> = (0..20)
        .flat_map(|level| [b'h', level, 0x85, 0x94])
        .collect();
    let chain = [&b")\x94"[..], &chain].concat();
    assert_eq!(limit(four(&chain)), "levels of nesting");
}

#[test]
fn small_pickles_of_much_are_refused() {
    // Each level refers ten times to the one before.
    let laugh = |level: u8| [&b"("[..], &[b'h', level].repeat(10), b"t\x94"].concat();
    let bomb: Vec<u8> = (0..9).flat_map(laugh).collect();
    let bomb = [b"\x8c\x03lol\x94", &bomb[..]].concat();
    assert_eq!(limit(four(&bomb)), "values");
    // A long string counts when it is referred to again.
    let long = [&b"X\x10\x27\0\0"[..], &[b'x'; 10_000], b"\x94"].concat();
    assert!(four(&[&long[..], b"h\0\x86"].concat()).is_ok());
    assert_eq!(
        limit(four(&[&long[..], &b"h\0\x86".repeat(10)].concat())),
        "values"
    );

    assert_eq!(limit(four(&b"N\x94".repeat(200))), "memo entries");
    assert_eq!(limit(four(&b"N".repeat(501))), "values not put anywhere");
    assert_eq!(limit(four(&b"N0".repeat(1001))), "values");
    let long = vec![b'N'; SMALL.bytes];
    assert!(matches!(four(&long), Err(PickleError::TooLong { .. })));
}

#[test]
fn announced_lengths_are_not_believed() {
    for pickle in [
        &b"\x8e\0\0\0\0\0\0\0\x40x"[..],
        b"\x8d\0\0\0\0\0\0\0\x40x",
        b"\x96\0\0\0\0\0\0\0\x40x",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffx",
        b"B\xff\xff\xff\xffx",
        b"X\xff\xff\xff\x7fx",
        b"\x8b\xff\xff\xff\x7fx",
        b"\x8b\xff\xff\xff\xffx",
        b"C\x05x",
        b"\x95\xff\0\0\0\0\0\0\0N",
        b"J\0",
        b"I1",
        b"cos\nsystem",
    ] {
        let result = four(pickle);
        assert!(
            matches!(result, Err(PickleError::Truncated { at: 2 })),
            "{pickle:?}: {result:?}"
        );
    }
    assert_eq!(load(b""), Err(PickleError::Truncated { at: 0 }));
    assert_eq!(load(b"\x80"), Err(PickleError::Truncated { at: 0 }));
    assert_eq!(load(b"\x80\x04N"), Err(PickleError::Truncated { at: 3 }));
}

#[test]
fn nothing_is_imported_or_called() {
    let refused = |pickle: &[u8], message: &str| {
        let error = four(pickle).unwrap_err().to_string();
        assert!(error.contains(message), "{pickle:?}: {error}");
    };
    refused(b"cos\nsystem\n\x8c\x02ls\x85R", "os.system");
    refused(b"\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R", "os.system");
    // Names from the memo, and made to look like others.
    refused(b"\x8c\x02os\x94\x8c\x06system\x940h\x01\x93", "os.system");
    refused(b"cbuiltins\neval\n", "builtins.eval");
    refused(b"c__builtin__\nint\n", "__builtin__.int");
    refused(b"\x8c\x08builtins\x8c\x07set.add\x93", "builtins.set.add");
    refused(b"(ios\nsystem\n", "INST");
    refused(b"(cos\nsystem\no", "os.system");
    refused(b"(No", "OBJ");
    refused(b"}}b", "BUILD");
    refused(b"cbuiltins\nint\n}b", "BUILD");
    refused(b"cbuiltins\nint\n)}\x92", "NEWOBJ_EX");
    for op in [&b"\x82\x01"[..], b"\x83\x01\0", b"\x84\x01\0\0\0"] {
        refused(op, "EXT");
    }
    refused(b"Pid\n", "PERSID");
    refused(b"\x8c\x02idQ", "persistent id");
    refused(b"\x97", "NEXT_BUFFER");
    refused(b"\x98", "READONLY_BUFFER");
    refused(b"\xff", "0xff");
    refused(b"\x80\x04", "PROTO");

    // Known names, otherwise than in their forms.
    refused(b"cbuiltins\nint\n\x8c\x011\x85R", "not allowed");
    refused(b"cbuiltins\nset\n]]a\x85R", "not allowed");
    refused(b"cbuiltins\nset\n)\x81", "not allowed");
    refused(b"cbuiltins\nbytearray\nJ\0\0\0\x40\x85R", "not allowed");
    refused(b"cbuiltins\ntype\nK\x01\x85R", "not allowed");
    refused(b"cbuiltins\ntype\n", "as a value");
    refused(b"ccollections\nOrderedDict\n\x85", "as a value");
    refused(b"]ccollections\nOrderedDict\na", "as a value");
    refused(b"}Nccollections\nOrderedDict\ns", "as a value");
    refused(
        b"c_codecs\nencode\n\x8c\x01x\x8c\x05rot13\x86R",
        "not allowed",
    );
    refused(
        b"c_codecs\nencode\n\x8c\x03\xe2\x82\xac\x8c\x06latin1\x86R",
        "not allowed",
    );
    refused(b"cdeepdiff.helper\nOpcode\nN\x85\x81", "not allowed");
    refused(b"]]R", "REDUCE");
    refused(b"K\x01)R", "REDUCE");
    refused(b"K\x01K\x02\x93", "STACK_GLOBAL");
}

#[test]
fn operands_must_be_there_and_fit() {
    for pickle in [
        &b"a"[..],
        b"]a",
        b"e",
        b"]Ne",
        b"s",
        b"}s",
        b"}Ns",
        b"}(N",
        b"u",
        b"\x90",
        b"\x91",
        b"t",
        b"l",
        b"d",
        b"\x85",
        b"N\x86",
        b"NN\x87",
        b"0",
        b"1",
        b"2",
        b"\x94",
        b"q\0",
        b"(0",
        b"N(0",
        b"N(\x85",
        b"N(2",
        b"](Na",
        b"](a",
        b"R",
        b"NR",
        b"\x81",
        b"\x93",
        b"Q",
        b"b",
        b"(e",
        b"(u",
        b"N(q\0",
    ] {
        let result = four(pickle);
        assert!(
            matches!(
                result,
                Err(PickleError::Underflow { .. } | PickleError::Leftover)
            ),
            "{pickle:?}: {result:?}"
        );
    }
    for pickle in [
        &b"NNa"[..],
        b"}Na",
        b"]NNs",
        b"N(Ne",
        b"}(Nu",
        b"(Nd",
        b"](N\x90",
    ] {
        let result = four(pickle);
        assert!(
            matches!(result, Err(PickleError::Operand { .. })),
            "{pickle:?}: {result:?}"
        );
    }
    for pickle in [
        &b"}]Ns"[..],
        b"}]\x85Ns",
        b"\x8f(}\x90",
        b"(]\x91",
        b"}(\x91Ns",
    ] {
        let result = four(pickle);
        assert!(
            matches!(result, Err(PickleError::Unhashable { .. })),
            "{pickle:?}: {result:?}"
        );
    }
    for pickle in [
        &b"Nh\0"[..],
        b"Nq\x01",
        b"N\x94q\0",
        b"]\x94\x94",
        b"Nr\xff\xff\xff\xff",
    ] {
        let result = four(pickle);
        assert!(
            matches!(result, Err(PickleError::Memo { .. })),
            "{pickle:?}: {result:?}"
        );
    }
    assert_eq!(four(b"\x8c\x01\xff"), Err(PickleError::Text { at: 2 }));
    assert_eq!(four(b"I1x\n"), Err(PickleError::Number { at: 2 }));
    assert_eq!(four(b"NN"), Err(PickleError::Leftover));
    assert_eq!(four(b""), Err(PickleError::Leftover));
    assert_eq!(load(b"N.N"), Err(PickleError::Trailing(1)));
    assert_eq!(load(b"\x80\x06N."), Err(PickleError::Protocol(6)));
    assert_eq!(load(b"\x80\x01N."), Err(PickleError::Protocol(1)));
}

#[test]
fn only_large_bytes_share_the_input() {
    let large = [&b"B\0\x10\0\0"[..], &[7; MIN_SLICE], b"C\x01x\x86."].concat();
    let input = Bytes::from(large);
    let value = read(&input, &Budget::NODE).unwrap();
    let items = value.as_sequence().unwrap();
    let inside = |bytes: &Bytes| input.as_ptr_range().contains(&bytes.as_ptr());
    assert!(inside(items[0].as_bytes().unwrap()));
    assert!(!inside(items[1].as_bytes().unwrap()));
}

#[test]
fn scan_tells_what_matters_for_passing_on() {
    let scan = |pickle: &[u8]| scan(pickle, &ScanPolicy::NODE).unwrap();
    let node = scan(b"\x80\x04}\x8c\x01a](K\x01K\x02es.");
    assert_eq!((node.top, node.items, node.depth), (Top::Dict, 5, 2));
    assert!(node.of_deltas.is_none() && !node.opcode);
    assert_eq!(scan(b"\x80\x04N.").top, Top::None);
    assert_eq!(scan(b"\x80\x04C\x00.").top, Top::Bytes);
    assert_eq!(scan(b"\x80\x04].").top, Top::Other);
    let delta = scan(b"\x80\x04\x8c\x0c<<NoneType>>Q.");
    assert!(delta.of_deltas == Some("a persistent id") && !delta.opcode);
    let delta = scan(b"\x80\x04cdeepdiff.helper\nOpcode\n(NNNNNNNt\x81.");
    assert!(delta.opcode && delta.of_deltas == Some("a deepdiff Opcode"));
}

#[test]
fn a_policy_can_permit_more_names() {
    // numpy.float64(1.5), as numpy 1 pickles it.
    let scalar = b"\x80\x04\x8c\x15numpy.core.multiarray\x94\x8c\x06scalar\x94\x93\x94\
        \x8c\x05numpy\x94\x8c\x05dtype\x94\x93\x94\x8c\x02f8\x94\x89\x88\x87\x94R\x94\
        (K\x03\x8c\x01<\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94b\
        C\x08\0\0\0\0\0\0\xf8\x3f\x94\x86\x94R\x94.";
    let refused = |names: &[(&str, &str)]| {
        let policy = ScanPolicy {
            budget: SMALL,
            extra_globals: names,
        };
        scan(scalar, &policy).err()
    };
    let name = "numpy.core.multiarray.scalar".to_owned();
    assert_eq!(refused(&[]), Some(PickleError::Global(name)));
    let scalar = ("numpy.core.multiarray", "scalar");
    let name = "numpy.dtype".to_owned();
    assert_eq!(refused(&[scalar]), Some(PickleError::Global(name)));
    assert_eq!(refused(&[scalar, ("numpy", "dtype")]), None);
}

#[test]
fn what_only_old_clients_know_is_told_and_can_be_made_plain() {
    let memo = b"\x80\x04\x8c\x0fdeepdiff.helper\x8c\x0fOrderedDictPlus\x93)R\x8c\x01aK\x01s.";
    let line = b"\x80\x04cdeepdiff.helper\nOrderedDictPlus\n)R\x8c\x01aK\x01s.";
    for dated in [&memo[..], line] {
        assert!(scan(dated, &ScanPolicy::NODE).unwrap().dated);
        let value = read(&Bytes::copy_from_slice(dated), &Budget::NODE).unwrap();
        let plain = super::write(&value, super::Protocol::Four);
        let scanned = scan(&plain, &ScanPolicy::NODE).unwrap();
        assert!(!scanned.dated && scanned.top == Top::Dict);
    }
    assert!(
        !scan(b"\x80\x04}\x8c\x01aK\x01s.", &ScanPolicy::NODE)
            .unwrap()
            .dated
    );
}
