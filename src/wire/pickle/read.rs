//! Reads pickles into values. Called by the codecs for everything whose content matters to us.

use std::cell::Cell;

use bytes::Bytes;

use super::{
    bigint,
    budget::Budget,
    builder::{Atom, Builder, Call},
    dict::Dict,
    error::PickleError,
    items::Items,
    machine,
    meta::Kind,
    stack::Scratch,
    text::{NotText, Str},
    value::Value,
};

/// Bytes shorter than this are copied, so that they do not keep the whole pickle in memory.
pub(super) const MIN_SLICE: usize = 4096;

/// Reads a pickle. Large `bytes` in it share its memory.
///
/// # Errors
/// If it is malformed, would make Python run anything but the few forms in the wire spec, contains
/// itself, is followed by more, or exceeds the budget.
pub fn read(input: &Bytes, budget: &Budget) -> Result<Value, PickleError> {
    let outcome = machine::run(input, budget, &[], Reader::new(input))?;
    Ok(outcome.item)
}

/// The same for what holds plain data only. Types, deepdiff's `Opcode` and the persistent id of
/// `None`'s type belong into deltas: elsewhere clients have no use for them, and where a server
/// passes them on, many a client's unpickler fails.
///
/// # Errors
/// The same, and if it holds anything else.
pub fn read_plain(input: &Bytes, budget: &Budget) -> Result<Value, PickleError> {
    plain(input, budget, Reader::new(input))
}

/// The same, with nothing that shares the memory of the pickle: for values that are kept while most
/// of what came with them is not.
///
/// # Errors
/// The same.
pub fn read_apart(input: &Bytes, budget: &Budget) -> Result<Value, PickleError> {
    let shares = usize::MAX;
    plain(input, budget, Reader { input, shares })
}

fn plain(input: &Bytes, budget: &Budget, reader: Reader<'_>) -> Result<Value, PickleError> {
    let outcome = machine::run(input, budget, &[], reader)?;
    match outcome.of_deltas() {
        Some(what) => Err(PickleError::OfDeltas(what)),
        None => Ok(outcome.item),
    }
}

/// Entries of scratch memory that are worth keeping: as many as what is read all the time takes.
const KEPT: usize = 256;

thread_local! {
    /// What the last one used: musl's allocator would map and unmap a page for each.
    static SCRATCH: Cell<Scratch<Value>> = Cell::default();
}

pub(super) struct Reader<'a> {
    input: &'a Bytes,
    /// Bytes from this length on share the memory of the input.
    shares: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(input: &'a Bytes) -> Self {
        let shares = MIN_SLICE;
        Self { input, shares }
    }

    fn bytes(&self, bytes: &[u8]) -> Bytes {
        if bytes.len() < self.shares {
            Bytes::copy_from_slice(bytes)
        } else {
            self.input.slice_ref(bytes)
        }
    }
}

impl Builder for Reader<'_> {
    type Item = Value;

    fn scratch(&self) -> Scratch<Value> {
        SCRATCH.try_with(Cell::take).unwrap_or_default()
    }

    fn keep(&self, scratch: Scratch<Value>) {
        if scratch.entries() <= KEPT {
            // Only while the thread ends there is none; then it is dropped.
            let _ = SCRATCH.try_with(|kept| kept.set(scratch));
        }
    }

    fn atom(&mut self, atom: Atom<'_>) -> Value {
        match atom {
            Atom::None => Value::None,
            Atom::Bool(bool) => Value::Bool(bool),
            Atom::Int(int) => Value::Int(int),
            Atom::Digits(digits) => bigint::from_digits(digits),
            Atom::Float(float) => Value::Float(float),
            Atom::Bytes(bytes) => Value::Bytes(self.bytes(bytes)),
            Atom::ByteArray(bytes) => Value::ByteArray(self.bytes(bytes)),
            Atom::Type(kind) => Value::Type(kind),
        }
    }

    fn text(&mut self, _at: usize, bytes: &[u8]) -> Result<Value, NotText> {
        Str::from_bytes(bytes).map(Value::Str)
    }

    fn text_of<'a>(&'a self, item: &'a Value) -> Option<&'a [u8]> {
        match item {
            Value::Str(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    fn empty(&mut self, kind: Kind) -> Value {
        match kind {
            Kind::Dict => Value::Dict(Dict::new()),
            Kind::Set => Value::Set(Items::default()),
            _ => Value::List(Items::default()),
        }
    }

    fn push_all(&mut self, target: &mut Value, items: impl Iterator<Item = Value>) {
        if let Value::List(target) | Value::Set(target) = target {
            if target.is_empty() {
                // Most are complete then, and small: room for more would be most of what they take.
                *target = exactly(items);
            } else {
                target.to_mut().extend(items);
            }
        }
    }

    fn insert_pairs(&mut self, target: &mut Value, mut items: impl Iterator<Item = Value>) {
        if let Value::Dict(target) = target {
            if target.is_empty() {
                *target = Dict::with_capacity(items.size_hint().0 / 2);
            }
            while let Some((key, value)) = items.next().zip(items.next()) {
                target.insert(key, value);
            }
        }
    }

    fn tuple(&mut self, items: impl Iterator<Item = Value>) -> Value {
        Value::Tuple(exactly(items))
    }

    fn frozen_set(&mut self, items: impl Iterator<Item = Value>) -> Value {
        Value::FrozenSet(exactly(items))
    }

    fn call(&mut self, call: Call, args: Value) -> Value {
        let args = match args {
            Value::Tuple(args) => args,
            _ => Items::default(),
        };
        match call {
            Call::Opcode => Value::Opcode(args),
            Call::Set => Value::Set(elements(&args)),
            Call::FrozenSet => Value::FrozenSet(elements(&args)),
            Call::Bytes => Value::Bytes(bytes_of(&args)),
            Call::ByteArray => Value::ByteArray(bytes_of(&args)),
        }
    }
}

/// Values in no more memory than they need.
fn exactly(items: impl Iterator<Item = Value>) -> Items {
    let mut values = Vec::with_capacity(items.size_hint().0);
    values.extend(items);
    values.into()
}

/// The elements of the list that is the only argument.
fn elements(args: &[Value]) -> Items {
    match args {
        [Value::List(items)] => items.clone(),
        _ => Items::default(),
    }
}

/// The bytes that are the only argument, or those of a Latin-1 text.
fn bytes_of(args: &[Value]) -> Bytes {
    match args {
        [Value::Bytes(bytes)] => bytes.clone(),
        [Value::Str(text), _] => {
            let chars = text.as_str().unwrap_or_default().chars();
            chars.filter_map(|char| u8::try_from(char).ok()).collect()
        }
        _ => Bytes::new(),
    }
}
