//! Steps through the bytes of a pickle. Used by the stack machine and by `token`.

use super::{error::PickleError, op};

/// A position in the input. Every read is checked against what is there; what an opcode announces
/// is never believed, nor reserved.
pub(super) struct Cursor<'a> {
    input: &'a [u8],
    /// Where the next byte is read.
    next: usize,
    /// Where the current opcode starts.
    at: usize,
}

/// Longest line an honest pickle has: a module or class name, or a number.
const MAX_LINE: usize = 256;

impl<'a> Cursor<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self {
            input,
            next: 0,
            at: 0,
        }
    }

    /// Reads the next opcode, from whose position errors are then reported.
    #[inline]
    pub(super) fn opcode(&mut self) -> Result<u8, PickleError> {
        self.at = self.next;
        self.byte()
    }

    /// Where the current opcode starts.
    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Where the next byte is read.
    pub(super) fn next(&self) -> usize {
        self.next
    }

    /// What is not read yet.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.input.get(self.next..).unwrap_or_default()
    }

    /// Where `rest` starts, which is an end of the input.
    #[inline]
    pub(super) fn start_of(&self, rest: &[u8]) -> usize {
        self.input.len().saturating_sub(rest.len())
    }

    /// Goes on with an end of the input.
    #[inline]
    pub(super) fn resume(&mut self, rest: &[u8]) {
        self.next = self.start_of(rest);
    }

    /// Passes over so many bytes.
    pub(super) fn skip(&mut self, length: usize) -> Result<(), PickleError> {
        self.block(length).map(drop)
    }

    /// Bytes not read yet.
    pub(super) fn left(&self) -> usize {
        self.input.len().saturating_sub(self.next)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, PickleError> {
        let byte = self.input.get(self.next).copied();
        self.next = self.next.saturating_add(1);
        byte.ok_or(PickleError::Truncated { at: self.at })
    }

    /// Reads as many bytes as the array has.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let rest = self.input.get(self.next..).unwrap_or_default();
        let bytes = rest.first_chunk().copied();
        self.next = self.next.saturating_add(N);
        bytes.ok_or(PickleError::Truncated { at: self.at })
    }

    /// Reads a length of one byte and so many bytes.
    #[inline]
    pub(super) fn block1(&mut self) -> Result<&'a [u8], PickleError> {
        let length = self.byte()?;
        self.block(usize::from(length))
    }

    /// Reads a length of four bytes and so many bytes.
    #[inline]
    pub(super) fn block4(&mut self) -> Result<&'a [u8], PickleError> {
        let length = u32::from_le_bytes(self.array()?);
        self.block(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Reads a length of eight bytes and so many bytes.
    pub(super) fn block8(&mut self) -> Result<&'a [u8], PickleError> {
        let length = u64::from_le_bytes(self.array()?);
        self.block(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Reads a line without its end.
    pub(super) fn line(&mut self) -> Result<&'a [u8], PickleError> {
        let rest = self.input.get(self.next..).unwrap_or_default();
        let near = rest.get(..MAX_LINE).unwrap_or(rest);
        let end = memchr::memchr(b'\n', near).ok_or(PickleError::Truncated { at: self.at })?;
        let line = self.block(end)?;
        self.byte()?;
        Ok(line)
    }

    #[inline]
    fn block(&mut self, length: usize) -> Result<&'a [u8], PickleError> {
        let end = self.next.checked_add(length);
        let block = end.and_then(|end| self.input.get(self.next..end));
        self.next = end.unwrap_or(usize::MAX);
        block.ok_or(PickleError::Truncated { at: self.at })
    }
}

/// The bytes of the string whose opcode is at `at`.
pub(super) fn string_at(input: &[u8], at: usize) -> Option<&[u8]> {
    let mut cursor = Cursor::new(input.get(at..)?);
    match cursor.opcode().ok()? {
        op::SHORT_BINUNICODE => cursor.block1().ok(),
        op::BINUNICODE => cursor.block4().ok(),
        op::BINUNICODE8 => cursor.block8().ok(),
        _ => None,
    }
}
