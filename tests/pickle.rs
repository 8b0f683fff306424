//! Pickles against Python itself, against what clients really sent, and against chance.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bytes::Bytes;
use multi_user_server::wire::pickle::{
    Budget, Dict, PickleError, Protocol, PyType, ScanPolicy, Str, Value, read, scan, write,
};
use proptest::{collection::vec, prelude::*};

const PROTOCOLS: [Protocol; 2] = [Protocol::Three, Protocol::Four];

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus/pickle")
        .join(name)
}

/// Reads a pickle, and checks that the scanner has the same opinion.
fn load(pickle: &Bytes) -> Result<Value, PickleError> {
    let value = read(pickle, &Budget::NODE);
    let scanned = scan(pickle, &ScanPolicy::NODE);
    assert_eq!(scanned.err(), value.clone().err(), "{pickle:?}");
    value
}

/// The pickles of the corpus with the version that sent each.
fn captured() -> Vec<(String, Bytes)> {
    let text = std::fs::read_to_string(corpus("captured.hex")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let parse = |line: &str| {
        let (version, hex) = line.split_once(' ').unwrap();
        let digits = hex.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        (version.to_owned(), digits.map(byte).collect())
    };
    lines.map(parse).collect()
}

#[test]
fn captured_pickles_are_read_and_survive_writing() {
    let captured = captured();
    assert!(captured.len() > 50);
    for (version, pickle) in captured {
        let value = load(&pickle).unwrap_or_else(|error| panic!("{version}: {error}: {pickle:?}"));
        for protocol in PROTOCOLS {
            assert_eq!(
                load(&write(&value, protocol)),
                Ok(value.clone()),
                "{version}"
            );
        }
    }
}

#[test]
fn python_understands_what_we_make_of_its_pickles() {
    let mut python = Command::new("python3")
        .arg(corpus("differential.py"))
        .arg(corpus("captured.hex"))
        // Seed and number of values.
        .args(["20", "800"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is needed for this test");
    let mut theirs = Vec::new();
    let mut output = python.stdout.take().unwrap();
    output.read_to_end(&mut theirs).unwrap();

    let mut theirs = Bytes::from(theirs);
    let mut ours = Vec::new();
    let mut count = 0;
    while !theirs.is_empty() {
        let length = u32::from_le_bytes(theirs.split_to(4)[..].try_into().unwrap());
        let pickle = theirs.split_to(length as usize);
        let value = load(&pickle).unwrap_or_else(|error| panic!("{error}: {pickle:?}"));
        for protocol in PROTOCOLS {
            let pickle = write(&value, protocol);
            ours.extend((pickle.len() as u32).to_le_bytes());
            ours.extend(pickle);
        }
        count += 1;
    }
    assert!(count > 600);
    // Python reads everything before it complains; if it is gone already, its status says why.
    let _ = python.stdin.take().unwrap().write_all(&ours);
    let output = python.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn text() -> impl Strategy<Value = Str> {
    prop_oneof![
        8 => ".{0,8}".prop_map(Str::from),
        1 => "[a-z]{250,260}".prop_map(Str::from),
        1 => Just(Str::from_bytes(b"x\xed\xb3\xbf").unwrap()),
    ]
}

fn big_int() -> impl Strategy<Value = Value> {
    // The only way to make one is to read it.
    vec(any::<u8>(), 9..300).prop_map(|digits| {
        let length = (digits.len() as u32).to_le_bytes();
        let pickle = [b"\x80\x02\x8b", &length[..], &digits, b"."].concat();
        read(&pickle.into(), &Budget::COMMAND).unwrap()
    })
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-70_000..70_000i64).prop_map(Value::from),
        big_int(),
        any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
        (-2..3i32).prop_map(|number| Value::Float(number.into())),
        text().prop_map(Value::from),
        vec(any::<u8>(), 0..300).prop_map(Value::bytes),
        Just(Value::from(PyType::NoneType)),
        Just(Value::from(PyType::Complex)),
    ]
}

fn key() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(2, 8, 4, |inner| vec(inner, 0..5).prop_map(Value::tuple))
}

fn value() -> impl Strategy<Value = Value> {
    let bytes = vec(any::<u8>(), 0..20);
    let leaf =
        prop_oneof![4 => scalar(), 1 => bytes.prop_map(|bytes| Value::ByteArray(bytes.into()))];
    leaf.prop_recursive(6, 60, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::list),
            vec(inner.clone(), 0..8).prop_map(Value::tuple),
            vec((key(), inner.clone()), 0..8)
                .prop_map(|entries| Value::from(Dict::from_iter(entries))),
            vec(key(), 0..5).prop_map(|items| Value::Set(items.into())),
            vec(key(), 0..5).prop_map(|items| Value::FrozenSet(items.into())),
            vec(inner.clone(), 7).prop_map(|items| Value::Opcode(items.into())),
            // Twice the same: strings in it go through the memo.
            inner.prop_map(|inner| Value::list([&inner, &inner])),
        ]
    })
}

/// Opcodes and what follows them more often than chance would have it.
fn program() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop::sample::select(
        &b"(.012NKaebdeht)}]lsuRcQ\x85\x86\x87\x88\x81\x8f\x90\x91\x93\x94q"[..],
    );
    let piece = prop_oneof![
        12 => opcode.prop_map(|op| vec![op]),
        2 => (0..6u8).prop_map(|index| vec![b'h', index]),
        2 => any::<u8>().prop_map(|int| vec![b'K', int]),
        2 => prop::sample::select(vec![
            &b"\x8c\x08builtins"[..], b"\x8c\x03set", b"\x8c\x0bOrderedDict", b"\x8c\x0ccollections",
            b"cbuiltins\nset\n", b"cbuiltins\nbytearray\n", b"\x8c\x0c<<NoneType>>", b"\x8c\x06latin1",
            b"C\x01x", b"c_codecs\nencode\n", b"ccollections\nOrderedDict\n", b"](K\x01N", b"}(K\x01N",
        ]).prop_map(<[u8]>::to_vec),
    ];
    vec(piece, 0..40).prop_map(|pieces| [b"\x80\x02", &pieces.concat()[..], b"."].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn written_values_read_the_same(value in value()) {
        for protocol in PROTOCOLS {
            let pickle = write(&value, protocol);
            prop_assert_eq!(load(&pickle), Ok(value.clone()));
        }
    }

    #[test]
    fn mutations_of_pickles_do_no_harm(
        value in value(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        for protocol in PROTOCOLS {
            let mut pickle = write(&value, protocol).to_vec();
            for (place, byte) in &changes {
                let place = place.index(pickle.len());
                pickle[place] = *byte;
            }
            if let Some(cut) = cut {
                pickle.truncate(cut.index(pickle.len()));
            }
            // What is accepted must be something that can be written and read again.
            if let Ok(value) = load(&pickle.into()) {
                prop_assert_eq!(load(&write(&value, protocol)), Ok(value));
            }
        }
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        let _ = load(&bytes.into());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_programs_do_no_harm(program in program()) {
        if let Ok(value) = load(&program.into()) {
            prop_assert_eq!(load(&write(&value, Protocol::Four)), Ok(value));
        }
    }
}

/// Meshes and images are mostly buffers, which cost next to nothing however large they are.
#[test]
#[ignore = "a measurement: cargo test --release --test pickle -- --ignored --nocapture"]
fn buffers_are_passed_over_at_a_gigabyte_per_second() {
    const SIZE: u32 = 256 << 20;
    for (opcode, filler) in [(b'B', 0xff), (b'X', b'a')] {
        let mut pickle = [b"\x80\x04}\x8c\x04data", &[opcode][..], &SIZE.to_le_bytes()].concat();
        pickle.resize(pickle.len() + SIZE as usize, filler);
        pickle.extend(b"s.");
        let start = std::time::Instant::now();
        assert!(scan(&pickle, &ScanPolicy::NODE).is_ok());
        let took = start.elapsed();
        let rate = f64::from(SIZE) / took.as_secs_f64() / 1e9;
        println!("{}: {took:?}, {rate:.1} GB/s", char::from(opcode));
        assert!(rate > 1.0);
    }
}
