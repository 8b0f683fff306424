//! The opcodes of the pickle machine that would import or call something in Python. Here they
//! recognise a few fixed forms (wire spec, payload decoder) and refuse all others.

use super::{
    builder::{Atom, Builder, Call},
    error::PickleError,
    globals::{self, Function, Global},
    machine::Machine,
    meta::{Args, Called, Flags, Kind, Meta},
    op,
    stack::Slot,
    value::PyType,
};

impl<B: Builder> Machine<'_, B> {
    /// A name in two lines.
    pub(super) fn global(&mut self) -> Result<(), PickleError> {
        let module = self.cursor.line()?;
        let name = self.cursor.line()?;
        let dated = globals::is_dated(module, name);
        let found = self.find(module, name)?;
        self.dated |= dated;
        self.push_global(found)
    }

    /// A name in two strings on the stack.
    pub(super) fn stack_global(&mut self) -> Result<(), PickleError> {
        let name = self.stack.pop()?;
        let module = self.stack.pop()?;
        let texts = self.text_of(&module).zip(self.text_of(&name));
        let (module, name) = texts.ok_or_else(|| self.stack.operand())?;
        let dated = globals::is_dated(module, name);
        let found = self.find(module, name)?;
        self.dated |= dated;
        self.push_global(found)
    }

    pub(super) fn persistent_id(&mut self) -> Result<(), PickleError> {
        let id = self.stack.pop()?;
        if self.text_of(&id) != Some(op::NONE_TYPE_ID) {
            return Err(self.stack.misuse("a persistent id"));
        }
        self.persistent_id = true;
        self.none_type()
    }

    /// A call.
    pub(super) fn reduce(&mut self) -> Result<(), PickleError> {
        let args = self.stack.pop()?;
        let callable = self.stack.pop()?;
        let Kind::Tuple(form) = args.meta.kind() else {
            return Err(self.stack.operand());
        };
        let (call, kind, flags) = match (callable.meta.kind(), form) {
            (Kind::Extra, _) => return self.extra_made(&args.meta),
            (Kind::Function(Function::OrderedDict), Args::None) => return self.empty(Kind::Dict),
            (Kind::Function(Function::TypeOf), Args::OneNone) => return self.none_type(),
            (Kind::Type(Called::Set), Args::OneList) => (Call::Set, Kind::Set, Flags::NONE),
            (Kind::Type(Called::FrozenSet), Args::OneList) => {
                (Call::FrozenSet, Kind::FrozenSet, Flags::HASHABLE)
            }
            (Kind::Type(Called::Bytes), Args::None)
            | (Kind::Function(Function::Encode), Args::Latin1) => {
                (Call::Bytes, Kind::Bytes, Flags::SCALAR)
            }
            (Kind::Function(Function::ByteArray), Args::None | Args::OneBytes | Args::Latin1) => {
                (Call::ByteArray, Kind::ByteArray, Flags::NONE)
            }
            (Kind::Function(_) | Kind::Type(_), _) => return Err(self.stack.misuse("a call")),
            _ => return Err(self.stack.operand()),
        };
        let depth = match kind {
            // The list becomes the set, the tuple around it vanishes.
            Kind::Set | Kind::FrozenSet => args.meta.depth().saturating_sub(1),
            // No other has values inside; what it weighs it has from its arguments.
            _ => 0,
        };
        let meta = args.meta.turned(kind, flags).with_depth(depth);
        let item = self.builder.call(call, args.item);
        self.stack.push(meta, item)
    }

    /// A call of a class's `__new__`.
    pub(super) fn new_object(&mut self) -> Result<(), PickleError> {
        let args = self.stack.pop()?;
        let class = self.stack.pop()?;
        match (class.meta.kind(), args.meta.kind()) {
            (Kind::Extra, Kind::Tuple(_)) => self.extra_made(&args.meta),
            (Kind::Function(Function::Opcode), Kind::Tuple(Args::Seven)) => {
                self.opcode = true;
                let meta = args.meta.turned(Kind::Opcode, Flags::NONE);
                let item = self.builder.call(Call::Opcode, args.item);
                self.stack.push(meta, item)
            }
            (Kind::Function(_) | Kind::Type(_), _) => Err(self.stack.misuse("a class")),
            _ => Err(self.stack.operand()),
        }
    }

    /// A call of an object's `__setstate__`: of what the caller's policy permits only.
    pub(super) fn build(&mut self) -> Result<(), PickleError> {
        let state = self.stack.pop()?;
        let mut target = self.stack.pop()?;
        if !target.meta.is(Kind::Extra) {
            return Err(self.stack.refused());
        }
        self.stack.check_value(&state.meta)?;
        target.meta.enclose(state.meta);
        self.stack.check_depth(&target.meta)?;
        self.stack.push(target.meta, target.item)
    }

    /// What a tuple of the values from `start` may be used for.
    #[inline]
    pub(super) fn args(&self, start: usize) -> Args {
        match self.stack.from(start) {
            [] => Args::None,
            [one] => match one.meta.kind() {
                Kind::None => Args::OneNone,
                Kind::Bytes => Args::OneBytes,
                Kind::List if one.meta.has(Flags::INNER_HASHABLE) => Args::OneList,
                _ => Args::Other,
            },
            [text, encoding] => {
                let latin1 = matches!(self.text_of(encoding), Some(b"latin1" | b"latin-1"))
                    && self.text_of(text).is_some_and(is_latin1);
                if latin1 { Args::Latin1 } else { Args::Other }
            }
            [_, _, _, _, _, _, _] => Args::Seven,
            _ => Args::Other,
        }
    }

    /// Looks a name up; `None` is one that the caller's policy permits.
    fn find(&self, module: &[u8], name: &[u8]) -> Result<Option<Global>, PickleError> {
        let is = |(m, n): &(&str, &str)| m.as_bytes() == module && n.as_bytes() == name;
        match globals::find(module, name, self.protocol) {
            None if self.extra.iter().any(is) => Ok(None),
            None => Err(PickleError::Global(globals::display(module, name))),
            found => Ok(found),
        }
    }

    fn push_global(&mut self, found: Option<Global>) -> Result<(), PickleError> {
        let kind = match found {
            Some(Global::Type(kind)) => {
                let called = match kind {
                    PyType::Set => Called::Set,
                    PyType::FrozenSet => Called::FrozenSet,
                    PyType::Bytes => Called::Bytes,
                    _ => Called::Never,
                };
                return self.atom(Kind::Type(called), Atom::Type(kind));
            }
            Some(Global::Function(function)) => Kind::Function(function),
            None => Kind::Extra,
        };
        self.stack.push(Meta::scalar(kind), B::Item::default())
    }

    /// Pushes what a permitted name makes of its arguments.
    fn extra_made(&mut self, args: &Meta) -> Result<(), PickleError> {
        let meta = args.turned(Kind::Extra, Flags::SCALAR);
        self.stack.push(meta, B::Item::default())
    }

    fn text_of<'s>(&'s self, slot: &'s Slot<B::Item>) -> Option<&'s [u8]> {
        let text = slot.meta.is(Kind::Str);
        text.then(|| self.builder.text_of(&slot.item)).flatten()
    }
}

/// Whether this UTF-8 has no character beyond U+00FF: their first bytes are higher.
fn is_latin1(text: &[u8]) -> bool {
    text.iter().all(|byte| *byte <= 0xc3)
}
