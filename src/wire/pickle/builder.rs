//! What the stack machine needs from those who drive it. Implemented by the reader, which builds
//! values, and the scanner, which does not.

use super::{meta::Kind, stack::Scratch, text::NotText, value::PyType};

/// Makes something of the values the machine goes through. It is told only what has been checked.
pub(super) trait Builder {
    /// A value, finished or not. The default is never looked at.
    type Item: Clone + Default;

    /// Memory for the stack to use.
    fn scratch(&self) -> Scratch<Self::Item> {
        Scratch::default()
    }
    /// Takes that back when all went well.
    fn keep(&self, scratch: Scratch<Self::Item>) {
        drop(scratch);
    }
    fn atom(&mut self, atom: Atom<'_>) -> Self::Item;
    /// A string, whose opcode is at `at`.
    fn text(&mut self, at: usize, bytes: &[u8]) -> Result<Self::Item, NotText>;
    /// The bytes of what `text` made.
    fn text_of<'a>(&'a self, item: &'a Self::Item) -> Option<&'a [u8]>;
    /// An empty list, dict or set.
    fn empty(&mut self, kind: Kind) -> Self::Item;
    /// Adds to a list or set.
    fn push_all(&mut self, target: &mut Self::Item, items: impl Iterator<Item = Self::Item>);
    /// Adds keys and values, which come in turn, to a dict.
    fn insert_pairs(&mut self, target: &mut Self::Item, items: impl Iterator<Item = Self::Item>);
    fn tuple(&mut self, items: impl Iterator<Item = Self::Item>) -> Self::Item;
    fn frozen_set(&mut self, items: impl Iterator<Item = Self::Item>) -> Self::Item;
    /// What a call with this tuple of arguments makes.
    fn call(&mut self, call: Call, args: Self::Item) -> Self::Item;
}

/// A value that has nothing inside, and is no string.
pub(super) enum Atom<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// Little-endian two's complement of any length.
    Digits(&'a [u8]),
    Float(f64),
    Bytes(&'a [u8]),
    ByteArray(&'a [u8]),
    Type(PyType),
}

/// The calls that are understood.
#[derive(Clone, Copy)]
pub(super) enum Call {
    /// Of one list.
    Set,
    /// Of one list.
    FrozenSet,
    /// Of nothing, or text and the name of an encoding.
    Bytes,
    /// Of nothing, bytes, or text and the name of an encoding.
    ByteArray,
    /// Of seven values.
    Opcode,
}
