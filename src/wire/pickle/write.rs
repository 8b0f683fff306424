//! Writes pickles: the command codec for what we send, the delta folding for nodes it made anew.
//!
//! What Python's own pickler adds for its convenience (frames, memo entries nobody reads) is left
//! out. Strings that a value holds several times (dict keys, mostly) are written once, like
//! Python does it, if they share their text as those of read pickles do.

use std::collections::HashMap;

use bytes::Bytes;

use super::{
    bigint::minimal,
    dict::Entries,
    op,
    survey::Survey,
    text::Str,
    value::{PyType, Value},
};

/// The pickle protocols we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// What clients on Python 3.7 send by default (wire spec, generations G1–G4). `bytes` of 4 GiB
    /// and more cannot be expressed and use protocol 4's opcode.
    Three,
    /// What every client understands, and all newer ones send.
    Four,
}

/// Elements Python's pickler puts on the stack before it appends them.
const BATCH: usize = 1000;

/// A value as a pickle. Does not recurse, whatever the nesting.
pub fn write(value: &Value, protocol: Protocol) -> Bytes {
    let mut pieces = write_pieces(value, protocol, usize::MAX);
    pieces.pop().unwrap_or_default()
}

/// The same in pieces: `bytes` of the value that are longer than `share` are not copied.
pub(in crate::wire) fn write_pieces(value: &Value, protocol: Protocol, share: usize) -> Vec<Bytes> {
    let survey = Survey::of(value, share, usize::MAX);
    let mut writer = Writer {
        out: Vec::with_capacity(survey.copied),
        pieces: Vec::new(),
        share,
        protocol,
        texts: survey.texts,
        memo: 0,
        pending: vec![Step::Value(value)],
    };
    writer.out.extend([
        op::PROTO,
        match protocol {
            Protocol::Three => 3,
            Protocol::Four => 4,
        },
    ]);
    while let Some(step) = writer.pending.pop() {
        writer.step(step);
    }
    writer.out.push(op::STOP);
    writer.end_piece();
    writer.pieces
}

/// Whether [`write()`] would take more than so many bytes, without taking them: what is shared in a
/// value may be written many times.
pub fn exceeds(value: &Value, most: usize) -> bool {
    Survey::of(value, usize::MAX, most).bytes > most
}

/// What is still to be written.
enum Step<'a> {
    Value(&'a Value),
    /// Values one after the other, without anything between.
    Each(std::slice::Iter<'a, Value>),
    /// The rest of a list or (protocol 4) set, in batches that end with the opcode.
    Batches(&'a [Value], u8),
    /// The rest of a dict, in batches.
    Entries(Entries<'a>),
    /// What is left of a batch of a dict.
    Pairs(Entries<'a>, usize),
    Op(u8),
}

struct Writer<'a> {
    /// The piece that is being written.
    out: Vec<u8>,
    /// Those before it.
    pieces: Vec<Bytes>,
    /// What is longer is a piece of its own.
    share: usize,
    protocol: Protocol,
    /// Strings that occur more than once, by address, and their memo entry once they have one.
    texts: HashMap<usize, Option<u32>>,
    memo: u32,
    pending: Vec<Step<'a>>,
}

impl<'a> Writer<'a> {
    fn step(&mut self, step: Step<'a>) {
        match step {
            Step::Op(op) => self.out.push(op),
            Step::Value(value) => self.value(value),
            Step::Each(mut values) => {
                if let Some(value) = values.next() {
                    self.pending.push(Step::Each(values));
                    self.value(value);
                }
            }
            Step::Batches([], _) => {}
            Step::Batches([value], op::APPENDS) => {
                self.pending.push(Step::Op(op::APPEND));
                self.value(value);
            }
            Step::Batches(values, end) => {
                let (batch, rest) = values.split_at(values.len().min(BATCH));
                self.out.push(op::MARK);
                self.pending.push(Step::Batches(rest, end));
                self.pending.push(Step::Op(end));
                self.pending.push(Step::Each(batch.iter()));
            }
            Step::Entries(mut entries) => match entries.len() {
                0 => {}
                1 => {
                    if let Some((key, value)) = entries.next() {
                        self.pending.push(Step::Op(op::SETITEM));
                        self.pending.push(Step::Value(value));
                        self.value(key);
                    }
                }
                len => {
                    self.out.push(op::MARK);
                    self.pending.push(Step::Pairs(entries, len.min(BATCH)));
                }
            },
            Step::Pairs(entries, 0) => {
                self.out.push(op::SETITEMS);
                self.pending.push(Step::Entries(entries));
            }
            Step::Pairs(mut entries, left) => {
                if let Some((key, value)) = entries.next() {
                    self.pending
                        .push(Step::Pairs(entries, left.saturating_sub(1)));
                    self.pending.push(Step::Value(value));
                    self.value(key);
                }
            }
        }
    }

    /// Writes a value, or its beginning, and leaves the rest in `pending`.
    fn value(&mut self, value: &'a Value) {
        match value {
            Value::None => self.out.push(op::NONE),
            Value::Bool(true) => self.out.push(op::NEWTRUE),
            Value::Bool(false) => self.out.push(op::NEWFALSE),
            Value::Int(int) => self.int(*int),
            Value::BigInt(big) => self.digits(big.as_bytes()),
            Value::Float(float) => {
                self.out.push(op::BINFLOAT);
                self.out.extend(float.to_be_bytes());
            }
            Value::Str(text) => self.text(text),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::ByteArray(bytes) => {
                self.global("builtins", "bytearray");
                self.bytes(bytes);
                self.out.extend([op::TUPLE1, op::REDUCE]);
            }
            Value::List(items) => self.list(items),
            Value::Tuple(items) => self.tuple(items),
            Value::Dict(dict) => {
                self.out.push(op::EMPTY_DICT);
                self.pending.push(Step::Entries(dict.iter()));
            }
            Value::Set(items) => self.set(items),
            Value::FrozenSet(items) => self.frozen_set(items),
            Value::Type(PyType::NoneType) => {
                self.plain_text(op::NONE_TYPE_ID);
                self.out.push(op::BINPERSID);
            }
            Value::Type(kind) => self.global("builtins", kind.name()),
            Value::Opcode(items) => {
                self.global("deepdiff.helper", "Opcode");
                self.pending.push(Step::Op(op::NEWOBJ));
                self.tuple(items);
            }
        }
    }

    fn int(&mut self, int: i64) {
        if let Ok(byte) = u8::try_from(int) {
            self.out.extend([op::BININT1, byte]);
        } else if let Ok(short) = u16::try_from(int) {
            self.out.push(op::BININT2);
            self.out.extend(short.to_le_bytes());
        } else if let Ok(word) = i32::try_from(int) {
            self.out.push(op::BININT);
            self.out.extend(word.to_le_bytes());
        } else {
            self.digits(minimal(&int.to_le_bytes()));
        }
    }

    fn digits(&mut self, digits: &[u8]) {
        self.length(digits.len(), Some(op::LONG1), op::LONG4, op::LONG4);
        self.out.extend(digits);
    }

    fn text(&mut self, text: &Str) {
        let shared = text.shared_at();
        let entry = shared.and_then(|at| self.texts.get_mut(&at));
        match entry {
            Some(Some(memo)) => match u8::try_from(*memo) {
                Ok(memo) => self.out.extend([op::BINGET, memo]),
                Err(_) => {
                    self.out.push(op::LONG_BINGET);
                    self.out.extend(memo.to_le_bytes());
                }
            },
            Some(entry) => {
                let memo = self.memo;
                *entry = Some(memo);
                self.memo = memo.saturating_add(1);
                self.plain_text(text.as_bytes());
                self.memoize(memo);
            }
            None => self.plain_text(text.as_bytes()),
        }
    }

    fn plain_text(&mut self, text: &[u8]) {
        let short = (self.protocol == Protocol::Four).then_some(op::SHORT_BINUNICODE);
        self.length(text.len(), short, op::BINUNICODE, op::BINUNICODE8);
        self.out.extend(text);
    }

    fn memoize(&mut self, memo: u32) {
        match (self.protocol, u8::try_from(memo)) {
            (Protocol::Four, _) => self.out.push(op::MEMOIZE),
            (Protocol::Three, Ok(memo)) => self.out.extend([op::BINPUT, memo]),
            (Protocol::Three, Err(_)) => {
                self.out.push(op::LONG_BINPUT);
                self.out.extend(memo.to_le_bytes());
            }
        }
    }

    fn bytes(&mut self, bytes: &Bytes) {
        let short = Some(op::SHORT_BINBYTES);
        self.length(bytes.len(), short, op::BINBYTES, op::BINBYTES8);
        if bytes.len() > self.share {
            self.end_piece();
            self.pieces.push(bytes.clone());
        } else {
            self.out.extend(bytes);
        }
    }

    fn end_piece(&mut self) {
        let mut piece = std::mem::take(&mut self.out);
        // It may be kept for long.
        piece.shrink_to_fit();
        self.pieces.push(piece.into());
    }

    /// The opcode with a length of one, four or eight bytes, whichever fits.
    fn length(&mut self, length: usize, short: Option<u8>, medium: u8, long: u8) {
        match (short, u8::try_from(length), u32::try_from(length)) {
            (Some(short), Ok(length), _) => self.out.extend([short, length]),
            (_, _, Ok(length)) => {
                self.out.push(medium);
                self.out.extend(length.to_le_bytes());
            }
            _ => {
                self.out.push(long);
                self.out.extend((length as u64).to_le_bytes());
            }
        }
    }

    fn list(&mut self, items: &'a [Value]) {
        self.out.push(op::EMPTY_LIST);
        self.pending.push(Step::Batches(items, op::APPENDS));
    }

    fn tuple(&mut self, items: &'a [Value]) {
        let end = match items.len() {
            0 => op::EMPTY_TUPLE,
            1 => op::TUPLE1,
            2 => op::TUPLE2,
            3 => op::TUPLE3,
            _ => {
                self.out.push(op::MARK);
                op::TUPLE
            }
        };
        self.pending.push(Step::Op(end));
        self.pending.push(Step::Each(items.iter()));
    }

    fn set(&mut self, items: &'a [Value]) {
        match self.protocol {
            Protocol::Three => self.call_with_list("set", items),
            Protocol::Four => {
                self.out.push(op::EMPTY_SET);
                self.pending.push(Step::Batches(items, op::ADDITEMS));
            }
        }
    }

    fn frozen_set(&mut self, items: &'a [Value]) {
        match self.protocol {
            Protocol::Three => self.call_with_list("frozenset", items),
            Protocol::Four => {
                self.out.push(op::MARK);
                self.pending.push(Step::Op(op::FROZENSET));
                self.pending.push(Step::Each(items.iter()));
            }
        }
    }

    /// Protocol 3 has no sets: it calls the type with a list.
    fn call_with_list(&mut self, name: &str, items: &'a [Value]) {
        self.global("builtins", name);
        self.pending.push(Step::Op(op::REDUCE));
        self.pending.push(Step::Op(op::TUPLE1));
        self.list(items);
    }

    fn global(&mut self, module: &str, name: &str) {
        match self.protocol {
            Protocol::Three => {
                self.out.push(op::GLOBAL);
                for line in [module, name] {
                    self.out.extend(line.as_bytes());
                    self.out.push(b'\n');
                }
            }
            Protocol::Four => {
                self.plain_text(module.as_bytes());
                self.plain_text(name.as_bytes());
                self.out.push(op::STACK_GLOBAL);
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
}
