//! Goes through the pickle of a file whose nodes are lists of `bytes`, and gives each node when it is
//! there. The pickle is never in memory as a whole.
//!
//! A pickle is a program for a stack machine. This one knows a dict with a list of lists of `bytes`
//! in it; whatever else is in the file (the users, which nobody needs) is gone through, not built.
//! So it can let pass what [`pickle`](crate::wire::pickle) has to refuse: names lead nowhere here.

use std::io::Read;

use bytes::Bytes;

use super::error::{FileError, NodeError, ReadError};
use super::input::Input;
use super::stack::{Item, Stack, is_other};
use crate::wire::pickle::{Argument, PickleError, argument, op};

/// Strings up to this length are kept, be it only for what refers to them later.
const SHORT: usize = 64;
/// Up to this length Python has any `bytes` only once, so that nodes may share them.
const SHARED: usize = 1;
/// Chunks of a node.
const CHUNKS: usize = 5;
/// Marks around the list of nodes: that of the dict, unless nothing else is in it.
const TOP_MARKS: usize = 1;

/// How a file went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All nodes were given.
    Done,
    /// Its nodes are no lists of `bytes`. None was given.
    Decoded,
}

/// How much there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub(super) stack: usize,
    /// Bytes of one node.
    pub(super) node: usize,
}

/// The machine. `each` gets a node's chunks and what the file said of its family before: whether it
/// is marshal.
pub(super) struct Machine<'i, R: Read, F> {
    input: &'i mut Input<R>,
    each: F,
    most: Most,
    stack: Stack,
    /// Where the list of nodes is on the stack.
    nodes: Option<usize>,
    /// Whether it was there.
    had_nodes: bool,
    /// Whether a node was in it.
    had_chunks: bool,
    /// Nodes that were given.
    given: usize,
    /// Bytes of the node that is being read.
    held: usize,
    /// For files of [`Format::Ours`](super::Format::Ours).
    marshal: Option<bool>,
}

impl<'i, R, F, E> Machine<'i, R, F>
where
    R: Read,
    E: std::error::Error + 'static,
    F: FnMut([Bytes; CHUNKS], Option<bool>) -> Result<(), ReadError<E>>,
{
    pub(super) fn new(input: &'i mut Input<R>, most: Most, each: F) -> Self {
        Self {
            input,
            each,
            most,
            stack: Stack::new(most.stack),
            nodes: None,
            had_nodes: false,
            had_chunks: false,
            given: 0,
            held: 0,
            marshal: None,
        }
    }

    pub(super) fn run(mut self) -> Result<(Outcome, Option<bool>), ReadError<E>> {
        if self.input.byte()? != op::PROTO {
            return Err(FileError::Shape("it holds no pickle").into());
        }
        match self.input.byte()? {
            2..=5 => {}
            protocol => return Err(FileError::from(PickleError::Protocol(protocol)).into()),
        }
        loop {
            match self.input.byte()? {
                op::STOP => break,
                code => {
                    if self.step(code)? == Outcome::Decoded {
                        return Ok((Outcome::Decoded, None));
                    }
                }
            }
        }
        match self.stack.items() {
            [Item::Top] if self.had_nodes => {}
            [Item::Top] => return Err(FileError::Shape("it has no nodes").into()),
            _ => return Err(FileError::Shape("it is no dict").into()),
        }
        self.input.end()?;
        Ok((Outcome::Done, self.marshal))
    }

    fn step(&mut self, code: u8) -> Result<Outcome, ReadError<E>> {
        match argument(code).ok_or_else(|| self.refused(code))? {
            Argument::Counted(width) => {
                let length = self.input.length(width)?;
                return self.counted(code, length);
            }
            Argument::Lines(lines) => {
                for _ in 0..lines {
                    self.input.line()?;
                }
                self.stack.push(Item::Other)?;
            }
            Argument::Fixed(0) => self.bare(code)?,
            Argument::Fixed(1) => {
                let byte = self.input.byte()?;
                self.with(code, byte.into())?;
            }
            Argument::Fixed(2) => {
                self.input.array::<2>()?;
                self.stack.push(Item::Other)?;
            }
            Argument::Fixed(4) => {
                let number = u32::from_le_bytes(self.input.array()?);
                self.with(code, number)?;
            }
            Argument::Fixed(_) => {
                self.input.array::<8>()?;
                if code != op::FRAME {
                    self.stack.push(Item::Other)?;
                }
            }
        }
        Ok(Outcome::Done)
    }

    /// Something with a length: a string, or a large number.
    fn counted(&mut self, code: u8, length: u64) -> Result<Outcome, ReadError<E>> {
        let is_text = matches!(
            code,
            op::SHORT_BINUNICODE | op::BINUNICODE | op::BINUNICODE8
        );
        let is_bytes = matches!(code, op::SHORT_BINBYTES | op::BINBYTES | op::BINBYTES8);
        if is_text && !self.had_chunks && self.is_node_place() {
            return Ok(Outcome::Decoded);
        }
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if is_bytes && self.in_node() {
            self.held = self.held.saturating_add(size);
            if self.held > self.most.node {
                let limit = self.most.node;
                return Err(FileError::Node {
                    number: self.given.saturating_add(1),
                    id: None,
                    error: NodeError::TooLong { limit },
                }
                .into());
            }
            let bytes = self.input.take(size)?.into();
            self.stack.push(Item::Bytes(bytes))?;
        } else if size <= SHORT && (is_text || is_bytes) {
            let bytes = self.input.take(size)?.into();
            self.stack.push(if is_text {
                Item::Text(bytes)
            } else {
                Item::Bytes(bytes)
            })?;
        } else {
            self.input.skip(length)?;
            self.stack.push(Item::Other)?;
        }
        Ok(Outcome::Done)
    }

    /// An opcode with a number of one byte, or four.
    fn with(&mut self, code: u8, number: u32) -> Result<(), ReadError<E>> {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        match code {
            op::BINGET | op::LONG_BINGET if index < self.stack.entries() => {
                self.stack.get(index)?
            }
            op::BINPUT | op::LONG_BINPUT if index == self.stack.entries() => self.memoize()?,
            op::BINGET | op::LONG_BINGET | op::BINPUT | op::LONG_BINPUT => {
                let at = self.input.at();
                return Err(FileError::from(PickleError::Memo { index, at }).into());
            }
            op::PROTO => return Err(shape("it holds a pickle in a pickle")),
            _ => self.stack.push(Item::Other)?,
        }
        Ok(())
    }

    /// An opcode without argument.
    fn bare(&mut self, code: u8) -> Result<(), ReadError<E>> {
        match code {
            op::NONE | op::NEWTRUE | op::NEWFALSE | op::EMPTY_TUPLE | op::EMPTY_SET => {
                self.stack.push(Item::Other)?;
            }
            op::MARK => self.stack.push(Item::Mark)?,
            op::MEMOIZE => self.memoize()?,
            op::EMPTY_DICT if self.stack.len() == 0 => self.stack.push(Item::Top)?,
            op::EMPTY_DICT => self.stack.push(Item::Other)?,
            op::EMPTY_LIST => self.empty_list()?,
            op::APPEND => {
                let item = self.stack.pop()?;
                self.append(vec![item])?;
            }
            op::APPENDS => {
                let items = self.stack.pop_mark()?;
                self.append(items)?;
            }
            op::SETITEM => {
                let value = self.stack.pop()?;
                let key = self.stack.pop()?;
                self.set(&[key, value])?;
            }
            op::SETITEMS => {
                let items = self.stack.pop_mark()?;
                self.set(&items)?;
            }
            op::ADDITEMS => {
                let items = self.stack.pop_mark()?;
                self.stack.drop_into(&items)?;
            }
            op::TUPLE | op::FROZENSET | op::LIST | op::DICT => {
                let items = self.stack.pop_mark()?;
                self.stack.become_other(&items)?;
            }
            op::TUPLE1 => self.stack.merge(1)?,
            op::TUPLE2 | op::STACK_GLOBAL | op::REDUCE | op::NEWOBJ | op::BUILD => {
                self.stack.merge(2)?;
            }
            op::TUPLE3 => self.stack.merge(3)?,
            _ => return Err(self.refused(code).into()),
        }
        Ok(())
    }

    #[cold]
    fn refused(&self, code: u8) -> FileError {
        let at = self.input.at();
        let (name, byte) = (op::name(code), code);
        PickleError::Opcode { name, byte, at }.into()
    }

    fn memoize(&mut self) -> Result<(), FileError> {
        let longest = if self.in_node() { SHARED } else { SHORT };
        self.stack.memoize(longest)
    }

    /// The place on the stack where nodes come.
    fn first_node(&self) -> Option<usize> {
        let above = self.nodes?.saturating_add(1);
        Some(match self.stack.items().get(above) {
            Some(Item::Mark) => above.saturating_add(1),
            _ => above,
        })
    }

    /// Whether what comes next is a node, or part of one that is no list.
    fn is_node_place(&self) -> bool {
        self.first_node() == Some(self.stack.len())
    }

    /// Whether what comes next is a chunk of a node.
    fn in_node(&self) -> bool {
        let first = self
            .first_node()
            .and_then(|first| self.stack.items().get(first));
        matches!(first, Some(Item::Chunks(_)))
    }

    fn empty_list(&mut self) -> Result<(), ReadError<E>> {
        let item = match self.first_node() {
            Some(first) => {
                // The last that came is whole: what Python puts into a list goes in at once, unless
                // it is more than a node has. Not waiting for all nodes of a batch, which are put
                // into their list together, is what keeps memory small.
                if self.stack.len() == first.saturating_add(1)
                    && let Some(Item::Chunks(_)) = self.stack.items().last()
                {
                    let node = self.stack.pop()?;
                    self.give(node)?;
                }
                if self.stack.len() == first {
                    self.input.forget();
                    self.had_chunks = true;
                    self.held = 0;
                    Item::Chunks(Vec::new())
                } else {
                    Item::Other
                }
            }
            None => match self.stack.items() {
                [Item::Top, .., Item::Text(key)]
                    if !self.had_nodes
                        && key.as_ref() == b"nodes"
                        && self.stack.marks() <= TOP_MARKS =>
                {
                    self.had_nodes = true;
                    self.nodes = Some(self.stack.len());
                    Item::Nodes
                }
                _ => Item::Other,
            },
        };
        self.stack.push(item)?;
        Ok(())
    }

    fn append(&mut self, items: Vec<Item>) -> Result<(), ReadError<E>> {
        match self.stack.last_mut() {
            Some(Item::Nodes) => {
                for node in items {
                    self.give(node)?;
                }
            }
            Some(Item::Chunks(chunks)) => {
                for item in items {
                    match item {
                        Item::Bytes(bytes) if chunks.len() < CHUNKS => chunks.push(bytes),
                        _ => return Err(shape("a node in it is no list of five bytes")),
                    }
                }
            }
            _ => self.stack.drop_into(&items)?,
        }
        Ok(())
    }

    /// Puts keys and values, in turn, into the dict below.
    fn set(&mut self, items: &[Item]) -> Result<(), FileError> {
        if !matches!(self.stack.items().last(), Some(Item::Top)) {
            return self.stack.drop_into(items);
        }
        let (pairs, odd) = items.as_chunks();
        if !odd.is_empty() {
            return Err(FileError::Shape("a key in it has no value"));
        }
        for [key, value] in pairs {
            let Item::Text(key) = key else {
                return Err(FileError::Shape("a key in it is no short text"));
            };
            match (key.as_ref(), value) {
                (b"nodes", Item::Nodes) => self.nodes = None,
                (b"nodes", _) => return Err(FileError::Shape("its nodes are no list")),
                (b"family", Item::Text(family)) => {
                    self.marshal = Some(match family.as_ref() {
                        b"marshal" => true,
                        b"typed" => false,
                        _ => return Err(FileError::Shape("it is of a family that is not known")),
                    });
                }
                (_, value) => is_other(std::slice::from_ref(value))?,
            }
        }
        Ok(())
    }

    fn give(&mut self, node: Item) -> Result<(), ReadError<E>> {
        let wrong = "a node in it is no list of five bytes";
        let Item::Chunks(chunks) = node else {
            return Err(shape(wrong));
        };
        let chunks = chunks.try_into().map_err(|_| shape(wrong))?;
        self.given = self.given.saturating_add(1);
        (self.each)(chunks, self.marshal)
    }
}

#[cold]
fn shape<E: std::error::Error>(what: &'static str) -> ReadError<E> {
    FileError::Shape(what).into()
}
