//! The way through the opcodes that nearly all pickles are nearly all of.
//!
//! It does what [`Machine::step`] does, but keeps its place in the input in registers, and makes no
//! errors: where anything is wrong, or out of the ordinary, it stops before the opcode and leaves
//! that to `step`, which looks at it again.

use super::{
    builder::{Atom, Builder},
    machine::Machine,
    meta::{Kind, Meta},
    op,
};

impl<'a, B: Builder> Machine<'a, B> {
    /// Carries out as many opcodes as it can.
    #[inline]
    pub(super) fn sweep(&mut self) {
        let mut rest = self.cursor.rest();
        while let Some(after) = self.common_step(rest) {
            rest = after;
        }
        self.cursor.resume(rest);
    }

    /// Carries out the first opcode and gives what follows it. If it cannot, nothing was done that
    /// would not be done again.
    #[inline]
    fn common_step(&mut self, rest: &'a [u8]) -> Option<&'a [u8]> {
        match rest {
            [op::NONE, after @ ..] => {
                self.atom(Kind::None, Atom::None).ok()?;
                Some(after)
            }
            [op::NEWTRUE, after @ ..] => {
                self.atom(Kind::Bool, Atom::Bool(true)).ok()?;
                Some(after)
            }
            [op::NEWFALSE, after @ ..] => {
                self.atom(Kind::Bool, Atom::Bool(false)).ok()?;
                Some(after)
            }
            [op::BININT1 | op::BININT2 | op::BININT | op::BINFLOAT, ..] => self.number(rest),
            [op::SHORT_BINUNICODE, length, after @ ..] => {
                let (bytes, after) = after.split_at_checked((*length).into())?;
                let at = self.cursor.start_of(rest);
                let item = self.builder.text(at, bytes).ok()?;
                let meta = Meta::scalar(Kind::Str).of_length(bytes.len());
                self.stack.push(meta, item).ok()?;
                Some(self.memoized(after))
            }
            [op::MEMOIZE, after @ ..] => {
                self.stack.memoize().ok()?;
                Some(after)
            }
            [op::BINPUT, index, after @ ..] => {
                self.stack.put((*index).into()).ok()?;
                Some(after)
            }
            [op::BINGET, index, after @ ..] => {
                self.stack.get((*index).into()).ok()?;
                Some(after)
            }
            [op::MARK, after @ ..] => {
                self.stack.mark().ok()?;
                Some(after)
            }
            [op::EMPTY_LIST, after @ ..] => {
                self.empty(Kind::List).ok()?;
                let after = self.memoized(after);
                Some(self.marked(after))
            }
            [op::EMPTY_DICT, after @ ..] => {
                self.empty(Kind::Dict).ok()?;
                let after = self.memoized(after);
                Some(self.marked(after))
            }
            [op::APPENDS, after @ ..] => {
                self.close(Kind::List)?;
                Some(after)
            }
            [op::SETITEMS, after @ ..] => {
                self.close(Kind::Dict)?;
                Some(after)
            }
            [op::TUPLE1, after @ ..] => self.short_tuple(1, after),
            [op::TUPLE2, after @ ..] => self.short_tuple(2, after),
            [op::TUPLE3, after @ ..] => self.short_tuple(3, after),
            _ => None,
        }
    }

    #[inline]
    fn number(&mut self, rest: &'a [u8]) -> Option<&'a [u8]> {
        let (op, after) = rest.split_first()?;
        let (atom, after) = match *op {
            op::BININT1 => {
                let (int, after) = after.split_first()?;
                (Atom::Int((*int).into()), after)
            }
            op::BININT2 => {
                let (int, after) = after.split_first_chunk()?;
                (Atom::Int(u16::from_le_bytes(*int).into()), after)
            }
            op::BININT => {
                let (int, after) = after.split_first_chunk()?;
                (Atom::Int(i32::from_le_bytes(*int).into()), after)
            }
            _ => {
                let (float, after) = after.split_first_chunk()?;
                (Atom::Float(f64::from_be_bytes(*float)), after)
            }
        };
        self.atom(Kind::Number, atom).ok()?;
        Some(after)
    }

    /// Makes a tuple of so many values.
    #[inline]
    fn short_tuple(&mut self, count: usize, after: &'a [u8]) -> Option<&'a [u8]> {
        let start = self.stack.below(count).ok()?;
        // It is too late to step back when the values are off the stack.
        if !self.stack.affords(1) {
            return None;
        }
        self.tuple(start).ok()?;
        Some(self.memoized(after))
    }

    /// Most strings and containers are memoized at once: that is found out faster here than by the
    /// next step.
    #[inline]
    fn memoized(&mut self, rest: &'a [u8]) -> &'a [u8] {
        match rest {
            [op::MEMOIZE, after @ ..] if self.stack.memoize().is_ok() => after,
            _ => rest,
        }
    }

    /// The same of the mark for what is put into a container.
    #[inline]
    fn marked(&mut self, rest: &'a [u8]) -> &'a [u8] {
        match rest {
            [op::MARK, after @ ..] if self.stack.mark().is_ok() => after,
            _ => rest,
        }
    }

    /// Puts what is on the stack from the last mark into the list or dict below.
    #[inline(always)]
    fn close(&mut self, kind: Kind) -> Option<()> {
        let start = self.stack.last_mark()?;
        let (place, meta) = self.stack.sound(start, kind)?;
        self.stack.pop_mark().ok()?;
        let target = self.stack.slot(place).ok()?;
        target.meta = meta;
        let mut item = std::mem::take(&mut target.item);
        let items = self.stack.drain(start);
        if kind == Kind::Dict {
            self.builder.insert_pairs(&mut item, items);
        } else {
            self.builder.push_all(&mut item, items);
        }
        self.stack.slot(place).ok()?.item = item;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use crate::wire::pickle::{
        Budget, PickleError,
        builder::Builder,
        machine::{self, Outcome},
        programs::{budget, program, roomy},
        read::Reader,
        scan::Scanner,
    };

    /// All that comes out.
    fn facts<I>(outcome: Result<Outcome<I>, PickleError>) -> Result<(I, String), PickleError> {
        outcome.map(|outcome| {
            let facts = (
                outcome.meta,
                outcome.of_deltas(),
                outcome.dated,
                outcome.shared,
                outcome.opcode,
            );
            (outcome.item, format!("{facts:?}"))
        })
    }

    fn compare<B: Builder>(
        pickle: &[u8],
        budget: &Budget,
        builder: impl Fn() -> B,
    ) -> Result<(), TestCaseError>
    where
        B::Item: PartialEq + std::fmt::Debug,
    {
        let swept = facts(machine::run(pickle, budget, &[], builder()));
        let stepped = facts(machine::run_by_steps(pickle, budget, builder()));
        prop_assert_eq!(swept, stepped, "{:?}", pickle);
        Ok(())
    }

    /// Where a row of numbers is too long, it is not gone through for each of them.
    #[test]
    fn too_long_rows_take_no_longer() {
        let count = 1 << 20;
        let input = Bytes::from([b"\x80\x04](", &b"K\x01".repeat(count)[..], b"e."].concat());
        let budget = |stack, items| Budget {
            bytes: input.len(),
            depth: 9,
            items,
            memo: 9,
            stack,
        };
        for budget in [budget(count, usize::MAX), budget(usize::MAX, count)] {
            let swept = machine::run(&input, &budget, &[], Scanner { input: &input });
            assert!(matches!(swept, Err(PickleError::Budget { .. })));
        }
        let enough = budget(count + 1, count + 1);
        assert!(machine::run(&input, &enough, &[], Scanner { input: &input }).is_ok());
    }

    /// What is wrong with the result shows at the end, whatever was before it.
    #[test]
    fn errors_are_where_they_show() {
        let input = Bytes::from_static(b"\x80\x04cbuiltins\nbytearray\nq\x00.");
        compare(&input, &roomy(), || Scanner { input: &input }).unwrap();
        compare(&input, &roomy(), || Reader::new(&input)).unwrap();
        let error = machine::run(&input, &roomy(), &[], Reader::new(&input)).err();
        assert!(matches!(error, Some(PickleError::Call { at: 24, .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn a_sweep_does_what_the_steps_would(pickle in program(), small in budget()) {
            let input = Bytes::from(pickle);
            for budget in [small, roomy()] {
                compare(&input, &budget, || Scanner { input: &input })?;
                compare(&input, &budget, || Reader::new(&input))?;
            }
        }
    }
}
