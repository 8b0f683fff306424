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
mod tests;
