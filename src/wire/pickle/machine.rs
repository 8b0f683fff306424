//! The stack machine that pickles are programs for, with everything removed that could run
//! something. The reader and the scanner drive it, each with a [`Builder`] of its own.

use super::{
    budget::Budget,
    builder::{Atom, Builder},
    cursor::Cursor,
    error::PickleError,
    meta::{Called, Flags, Kind, Meta},
    op,
    stack::{Slot, Stack},
    text::NotText,
    value::PyType,
};

/// What came out.
pub(super) struct Outcome<I> {
    pub(super) item: I,
    pub(super) meta: Meta,
    /// Whether the type of `None` occurs as persistent id, which only deltas may hold.
    pub(super) persistent_id: bool,
    /// Whether a deepdiff `Opcode` occurs, which only deltas may hold.
    pub(super) opcode: bool,
    /// Whether a type stands for itself, which only deltas may hold.
    pub(super) types: bool,
    /// Whether it names something that only the deepdiff of its time has.
    pub(super) dated: bool,
    /// Whether something that can be changed is in two places.
    pub(super) shared: bool,
    /// Entries of the memo.
    pub(super) remembered: usize,
    /// Values there was room for on the stack.
    pub(super) stacked: usize,
}

impl<I> Outcome<I> {
    /// What it holds that only a delta may.
    pub(super) fn of_deltas(&self) -> Option<&'static str> {
        if self.persistent_id {
            Some("a persistent id")
        } else if self.opcode {
            Some("a deepdiff Opcode")
        } else if self.types {
            Some("a type as a value")
        } else {
            None
        }
    }
}

/// Runs a pickle. `extra` names what may be called besides the usual.
pub(super) fn run<B: Builder>(
    input: &[u8],
    budget: &Budget,
    extra: &[(&str, &str)],
    builder: B,
) -> Result<Outcome<B::Item>, PickleError> {
    machine(input, budget, extra, builder)?.run::<true>()
}

/// The same opcode by opcode, to compare.
#[cfg(test)]
pub(super) fn run_by_steps<B: Builder>(
    input: &[u8],
    budget: &Budget,
    builder: B,
) -> Result<Outcome<B::Item>, PickleError> {
    machine(input, budget, &[], builder)?.run::<false>()
}

fn machine<'a, B: Builder>(
    input: &'a [u8],
    budget: &'a Budget,
    extra: &'a [(&'a str, &'a str)],
    builder: B,
) -> Result<Machine<'a, B>, PickleError> {
    if input.len() > budget.bytes {
        return Err(PickleError::TooLong {
            len: input.len(),
            max: budget.bytes,
        });
    }
    Ok(Machine {
        cursor: Cursor::new(input),
        extra,
        stack: Stack::new(budget, builder.scratch()),
        builder,
        protocol: 0,
        persistent_id: false,
        opcode: false,
        dated: false,
    })
}

/// What `calls` needs of it is visible there.
pub(super) struct Machine<'a, B: Builder> {
    pub(super) cursor: Cursor<'a>,
    pub(super) extra: &'a [(&'a str, &'a str)],
    pub(super) builder: B,
    pub(super) stack: Stack<'a, B::Item>,
    /// As the pickle says; 0 if it does not.
    pub(super) protocol: u8,
    pub(super) persistent_id: bool,
    pub(super) opcode: bool,
    pub(super) dated: bool,
}

impl<B: Builder> Machine<'_, B> {
    /// If it sweeps, single steps are left for what is not common.
    #[inline]
    fn run<const SWEEPS: bool>(mut self) -> Result<Outcome<B::Item>, PickleError> {
        let mut op = self.cursor.opcode()?;
        if op == op::PROTO {
            self.protocol = self.cursor.byte()?;
            if !(2..=5).contains(&self.protocol) {
                return Err(PickleError::Protocol(self.protocol));
            }
            op = self.cursor.opcode()?;
        }
        while op != op::STOP {
            self.stack.op = op;
            self.stack.at = self.cursor.at();
            self.step(op)?;
            if SWEEPS {
                self.sweep();
            }
            op = self.cursor.opcode()?;
        }
        match self.cursor.left() {
            0 => {}
            left => return Err(PickleError::Trailing(left)),
        }
        self.stack.op = op;
        self.stack.at = self.cursor.at();
        let Slot { meta, item, .. } = self.stack.finish()?;
        let outcome = Outcome {
            item,
            meta,
            types: self.stack.types,
            persistent_id: self.persistent_id,
            opcode: self.opcode,
            dated: self.dated,
            shared: self.stack.shared,
            remembered: self.stack.remembered(),
            stacked: self.stack.room(),
        };
        self.builder.keep(self.stack.into_scratch());
        Ok(outcome)
    }

    fn step(&mut self, op: u8) -> Result<(), PickleError> {
        match op {
            op::NONE => self.atom(Kind::None, Atom::None),
            op::NEWTRUE => self.atom(Kind::Bool, Atom::Bool(true)),
            op::NEWFALSE => self.atom(Kind::Bool, Atom::Bool(false)),
            op::BININT1 => {
                let int = self.cursor.byte()?;
                self.int(int.into())
            }
            op::BININT2 => {
                let int = u16::from_le_bytes(self.cursor.array()?);
                self.int(int.into())
            }
            op::BININT => {
                let int = i32::from_le_bytes(self.cursor.array()?);
                self.int(int.into())
            }
            op::BINFLOAT => {
                let float = f64::from_be_bytes(self.cursor.array()?);
                self.atom(Kind::Number, Atom::Float(float))
            }
            op::SHORT_BINUNICODE => {
                let text = self.cursor.block1()?;
                self.text(text)
            }
            op::BINUNICODE => {
                let text = self.cursor.block4()?;
                self.text(text)
            }
            op::SHORT_BINBYTES => {
                let bytes = self.cursor.block1()?;
                self.blob(Kind::Bytes, bytes.len(), Atom::Bytes(bytes))
            }
            op::MEMOIZE => self.stack.memoize(),
            op::BINGET => {
                let index = self.cursor.byte()?;
                self.stack.get(index.into())
            }
            op::MARK => self.stack.mark(),
            op::EMPTY_LIST => self.empty(Kind::List),
            op::EMPTY_DICT => self.empty(Kind::Dict),
            op::APPEND => self.grow(Kind::List, self.stack.below(1)?),
            op::APPENDS => {
                let start = self.stack.pop_mark()?;
                self.grow(Kind::List, start)
            }
            op::SETITEM => self.grow(Kind::Dict, self.stack.below(2)?),
            op::SETITEMS => {
                let start = self.stack.pop_mark()?;
                self.grow(Kind::Dict, start)
            }
            op::TUPLE1 => self.tuple(self.stack.below(1)?),
            op::TUPLE2 => self.tuple(self.stack.below(2)?),
            op::TUPLE3 => self.tuple(self.stack.below(3)?),
            op::TUPLE => {
                let start = self.stack.pop_mark()?;
                self.tuple(start)
            }
            _ => self.rare_step(op),
        }
    }

    /// The opcodes that are not worth a place in the hot part.
    #[inline(never)]
    fn rare_step(&mut self, op: u8) -> Result<(), PickleError> {
        match op {
            op::FRAME => {
                // Frames help those who read from files. Only an honest length is wanted.
                let length = u64::from_le_bytes(self.cursor.array()?);
                if length > self.cursor.left() as u64 {
                    return Err(PickleError::Truncated { at: self.stack.at });
                }
                Ok(())
            }
            op::INT => self.decimal(),
            op::LONG1 => {
                let digits = self.cursor.block1()?;
                self.blob(Kind::Number, digits.len(), Atom::Digits(digits))
            }
            op::LONG4 => {
                let digits = self.cursor.block4()?;
                if digits.len() > i32::MAX as usize {
                    return Err(PickleError::Number { at: self.stack.at });
                }
                self.blob(Kind::Number, digits.len(), Atom::Digits(digits))
            }
            op::BINUNICODE8 => {
                let text = self.cursor.block8()?;
                self.text(text)
            }
            op::BINBYTES => {
                let bytes = self.cursor.block4()?;
                self.blob(Kind::Bytes, bytes.len(), Atom::Bytes(bytes))
            }
            op::BINBYTES8 => {
                let bytes = self.cursor.block8()?;
                self.blob(Kind::Bytes, bytes.len(), Atom::Bytes(bytes))
            }
            op::BYTEARRAY8 => {
                let bytes = self.cursor.block8()?;
                let item = self.builder.atom(Atom::ByteArray(bytes));
                let meta = Meta::scalar(Kind::ByteArray).turned(Kind::ByteArray, Flags::NONE);
                let meta = meta.of_length(bytes.len());
                self.stack.push(meta, item)
            }
            op::LONG_BINGET => {
                let index = self.index()?;
                self.stack.get(index)
            }
            op::BINPUT => {
                let index = self.cursor.byte()?;
                self.stack.put(index.into())
            }
            op::LONG_BINPUT => {
                let index = self.index()?;
                self.stack.put(index)
            }
            op::EMPTY_SET => self.empty(Kind::Set),
            op::ADDITEMS => {
                let start = self.stack.pop_mark()?;
                self.grow(Kind::Set, start)
            }
            op::EMPTY_TUPLE => self.tuple(self.stack.len()),
            op::FROZENSET => {
                let start = self.stack.pop_mark()?;
                self.frozen_set(start)
            }
            op::LIST => {
                let start = self.stack.pop_mark()?;
                self.closed(Kind::List, start)
            }
            op::DICT => {
                let start = self.stack.pop_mark()?;
                self.closed(Kind::Dict, start)
            }
            op::POP => self.stack.pop().map(drop),
            op::POP_MARK => {
                let start = self.stack.pop_mark()?;
                while self.stack.len() > start {
                    self.stack.pop()?;
                }
                Ok(())
            }
            op::DUP => self.stack.again(self.stack.below(1)?),
            op::GLOBAL => self.global(),
            op::STACK_GLOBAL => self.stack_global(),
            op::BINPERSID => self.persistent_id(),
            op::REDUCE => self.reduce(),
            op::NEWOBJ => self.new_object(),
            op::BUILD => self.build(),
            _ => Err(self.stack.refused()),
        }
    }

    #[inline]
    pub(super) fn atom(&mut self, kind: Kind, atom: Atom<'_>) -> Result<(), PickleError> {
        let item = self.builder.atom(atom);
        self.stack.push(Meta::scalar(kind), item)
    }

    /// Something that may be long.
    #[inline]
    fn blob(&mut self, kind: Kind, length: usize, atom: Atom<'_>) -> Result<(), PickleError> {
        let item = self.builder.atom(atom);
        self.stack.push(Meta::scalar(kind).of_length(length), item)
    }

    #[inline]
    pub(super) fn int(&mut self, int: i64) -> Result<(), PickleError> {
        self.atom(Kind::Number, Atom::Int(int))
    }

    #[inline]
    fn text(&mut self, bytes: &[u8]) -> Result<(), PickleError> {
        let at = self.stack.at;
        let item = self.builder.text(at, bytes);
        let item = item.map_err(|NotText| PickleError::Text { at })?;
        self.stack
            .push(Meta::scalar(Kind::Str).of_length(bytes.len()), item)
    }

    /// Protocol 0's number, or bool.
    fn decimal(&mut self) -> Result<(), PickleError> {
        match self.cursor.line()? {
            b"00" => self.atom(Kind::Bool, Atom::Bool(false)),
            b"01" => self.atom(Kind::Bool, Atom::Bool(true)),
            line => {
                let text = std::str::from_utf8(line).ok();
                let int = text.and_then(|text| text.parse().ok());
                self.int(int.ok_or(PickleError::Number { at: self.stack.at })?)
            }
        }
    }

    fn index(&mut self) -> Result<usize, PickleError> {
        let index = u32::from_le_bytes(self.cursor.array()?);
        Ok(usize::try_from(index).unwrap_or(usize::MAX))
    }

    pub(super) fn none_type(&mut self) -> Result<(), PickleError> {
        let kind = Kind::Type(Called::Never);
        self.atom(kind, Atom::Type(PyType::NoneType))
    }

    /// Pushes an empty list, dict or set.
    #[inline]
    pub(super) fn empty(&mut self, kind: Kind) -> Result<(), PickleError> {
        let item = self.builder.empty(kind);
        self.stack.push(Meta::growing(kind), item)
    }

    /// Puts what is on the stack from `start` into the container below.
    #[inline]
    fn grow(&mut self, kind: Kind, start: usize) -> Result<(), PickleError> {
        let place = self.stack.growing(start, kind)?;
        let target = self.stack.slot(place)?;
        let meta = target.meta;
        let mut item = std::mem::take(&mut target.item);
        let meta = self.fill(meta, &mut item, start)?;
        let target = self.stack.slot(place)?;
        target.meta = meta;
        target.item = item;
        Ok(())
    }

    /// Replaces what is on the stack from `start` by a container of it.
    fn closed(&mut self, kind: Kind, start: usize) -> Result<(), PickleError> {
        let mut item = self.builder.empty(kind);
        let meta = self.fill(Meta::growing(kind), &mut item, start)?;
        self.stack.push(meta, item)
    }

    /// Moves what is on the stack from `start` into a list, dict or set.
    #[inline]
    fn fill(&mut self, meta: Meta, item: &mut B::Item, start: usize) -> Result<Meta, PickleError> {
        let meta = self.stack.enclose(start, meta)?;
        if meta.is(Kind::Dict) {
            self.stack.check_keys(start)?;
            self.builder.insert_pairs(item, self.stack.drain(start));
        } else {
            if meta.is(Kind::Set) && !meta.has(Flags::INNER_HASHABLE) {
                return Err(PickleError::Unhashable { at: self.stack.at });
            }
            self.builder.push_all(item, self.stack.drain(start));
        }
        Ok(meta)
    }

    #[inline]
    pub(super) fn tuple(&mut self, start: usize) -> Result<(), PickleError> {
        let meta = self.stack.enclose(start, Meta::tuple())?;
        let meta = meta.with_kind(Kind::Tuple(self.args(start)));
        let item = self.builder.tuple(self.stack.drain(start));
        self.stack.push(meta, item)
    }

    fn frozen_set(&mut self, start: usize) -> Result<(), PickleError> {
        let flags = Flags::HASHABLE.with(Flags::INNER_HASHABLE);
        let meta = Meta::container(Kind::FrozenSet, flags);
        let meta = self.stack.enclose(start, meta)?;
        if !meta.has(Flags::INNER_HASHABLE) {
            return Err(PickleError::Unhashable { at: self.stack.at });
        }
        let item = self.builder.frozen_set(self.stack.drain(start));
        self.stack.push(meta, item)
    }
}
