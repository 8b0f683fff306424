//! What is written is what Python writes, and is read as the same.

use super::*;
use crate::wire::pickle::Dict;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn four(value: impl Into<Value>) -> String {
    hex(&write(&value.into(), Protocol::Four))
}

fn three(value: impl Into<Value>) -> String {
    hex(&write(&value.into(), Protocol::Three))
}

#[test]
fn plain_values_are_what_python_writes() {
    assert_eq!(four(2), "80044b022e");
    assert_eq!(four(Value::None), "80044e2e");
    assert_eq!(four(Vec::new()), "80045d2e");
    assert_eq!(four("LOBBY"), "80048c054c4f4242592e");
    assert_eq!(three("LOBBY"), "800358050000004c4f4242592e");
    assert_eq!(
        four(Dict::new().with("STATE", "ACCEPTED")),
        "80047d8c0553544154458c084143434550544544732e"
    );
    assert_eq!(four(1.5), "8004473ff80000000000002e");
    assert_eq!(four(Value::list([true, false])), "80045d288889652e");
    assert_eq!(four(Value::bytes("ab")), "8004430261622e");
    assert_eq!(four(999), "80044de7032e");
    assert_eq!(four(-1), "80044affffffff2e");
    assert_eq!(four(1i64 << 31), "80048a0500000080002e");
    assert_eq!(four(i64::MIN), "80048a0800000000000000802e");
    assert_eq!(four(Value::tuple([1, 2])), "80044b014b02862e");
    assert_eq!(
        four(Value::tuple([1, 2, 3, 4])),
        "8004284b014b024b034b04742e"
    );
}

#[test]
fn sets_and_names_depend_on_the_protocol() {
    let set = || Value::Set(vec![Value::Int(1)].into());
    assert_eq!(four(set()), "80048f284b01902e");
    assert_eq!(
        three(set()),
        format!("8003{}5d4b016185522e", hex(b"cbuiltins\nset\n"))
    );
    assert_eq!(
        four(PyType::Dict),
        "80048c086275696c74696e738c0464696374932e"
    );
    assert_eq!(
        four(PyType::NoneType),
        "80048c0c3c3c4e6f6e65547970653e3e512e"
    );
}

#[test]
fn shared_strings_are_written_once() {
    let key = Value::str("key");
    let row = || Value::from(Dict::new().with(&key, 1));
    let twice = Value::list([row(), row()]);
    assert_eq!(four(&twice), "80045d287d8c036b6579944b01737d68004b0173652e");
    assert_eq!(
        three(&twice),
        "80035d287d58030000006b657971004b01737d68004b0173652e"
    );
    assert_eq!(four(row()), "80047d8c036b65794b01732e");
}

#[test]
fn long_lists_and_dicts_go_in_batches() {
    let list = write(&Value::list(vec![Value::None; 2001]), Protocol::Four);
    let full = |op| format!("28{}{}", "4e".repeat(1000), op);
    assert_eq!(hex(&list), format!("80045d{0}{0}4e612e", full("65")));

    let set = Value::Set(vec![Value::None; 1001].into());
    assert_eq!(four(set), format!("80048f{}284e902e", full("90")));

    let dict: Dict = (0..1001).map(|key| (key, key)).collect();
    let dict = four(dict);
    assert!(dict.starts_with("80047d284b004b004b014b01"));
    assert!(dict.ends_with("4de7034de703754de8034de803732e"));
}

#[test]
fn deep_values_do_not_touch_the_call_stack() {
    let depth = 200_000;
    let deep = (0..depth).fold(Value::None, |inner, _| Value::tuple([inner]));
    let small_stack = std::thread::Builder::new().stack_size(64 * 1024);
    let thread = small_stack.spawn(move || write(&deep, Protocol::Four).len());
    assert_eq!(thread.unwrap().join().unwrap(), depth + 4);
}

#[test]
fn long_bytes_are_pieces_of_their_own() {
    let [short, long] = [8, 9].map(|len| Bytes::from(vec![7; len]));
    let array = Value::ByteArray(long.clone());
    let value = Value::list([
        long.clone().into(),
        short.into(),
        array,
        long.clone().into(),
    ]);
    for protocol in [Protocol::Three, Protocol::Four] {
        let pieces = write_pieces(&value, protocol, 8);
        assert_eq!(pieces.concat(), write(&value, protocol));
        let shared = |piece: &&Bytes| piece.as_ptr() == long.as_ptr();
        assert_eq!(pieces.iter().filter(shared).count(), 3);
        assert_eq!(pieces.len(), 7);
    }
}
