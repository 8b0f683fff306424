//! Python's marshal format, checked without building its values. Nodes of G1–G3 are dicts in it;
//! the connections' readers call [`scan`] for each before it is passed on.
//!
//! Marshal is meant for Python's own compiled files, and its reader trusts what it reads: it makes
//! code objects, takes memory for announced lengths, and hands out containers that are not filled
//! yet. So nothing passes but what Python writes for plain data in versions 2 to 4 of the format.
//! Nothing here recurses, and memory follows the bytes received, never a length that was announced.

mod error;
#[cfg(test)]
mod tests;

pub use error::MarshalError;

use super::pickle::{Budget, is_text};

/// Checks that this is a dict of plain data that every Python loads, within the budget (whose
/// `stack` has no meaning here: nothing waits for its container). Returns the number of values.
///
/// # Errors
/// If it is not.
pub fn scan(input: &[u8], budget: &Budget) -> Result<usize, MarshalError> {
    if input.len() > budget.bytes {
        return Err(MarshalError::TooLong {
            len: input.len(),
            max: budget.bytes,
        });
    }
    let scanner = Scanner {
        input,
        next: 0,
        at: 0,
        budget,
        open: Vec::new(),
        references: Vec::new(),
        items: 0,
    };
    scanner.run()
}

/// Set in a type's byte if the value may be referred to later.
const FLAG: u8 = 0x80;
/// Digits of long numbers have 15 bits.
const DIGIT_END: u16 = 1 << 15;
/// Levels that every Python's reader takes, whatever the budget says; on Windows it ends at 1000.
const MAX_DEPTH: usize = 900;

struct Scanner<'a> {
    input: &'a [u8],
    /// Where the next byte is read.
    next: usize,
    /// Where the present value starts.
    at: usize,
    budget: &'a Budget,
    /// The containers whose inside is being read, the innermost last.
    open: Vec<Open>,
    /// What may be referred to, in order; `None` while it is being filled.
    references: Vec<Option<Meta>>,
    /// Values so far, written out.
    items: usize,
}

/// Facts about a value.
#[derive(Clone, Copy)]
struct Meta {
    /// Number of values when written out, itself included, long texts as several. What is referred
    /// to counts anew each time.
    weight: u32,
    /// Levels of containers.
    depth: u16,
    hashable: bool,
}

/// A container that is being filled.
struct Open {
    meta: Meta,
    inside: Inside,
    /// Its place in the references, if it has one: it was taken before the inside is read.
    reference: Option<usize>,
}

/// What a container still waits for.
#[derive(Clone, Copy)]
enum Inside {
    /// So many values.
    Values(u32),
    /// So many values that can be hashed.
    Elements(u32),
    /// A key, or the end.
    Key,
    /// The value of a key.
    Value,
}

/// What was read.
enum Step {
    /// A value.
    Whole(Meta),
    /// The beginning of a container.
    Opened,
    /// The end of a dict.
    End,
}

impl Scanner<'_> {
    fn run(mut self) -> Result<usize, MarshalError> {
        match self.input.first().map(|byte| byte & !FLAG) {
            Some(b'{') => {}
            Some(_) => return Err(MarshalError::NoDict),
            None => return Err(self.truncated()),
        }
        loop {
            let mut whole = match self.step()? {
                Step::Opened => continue,
                Step::Whole(meta) => meta,
                Step::End => self.end()?,
            };
            // It may be the last one its container waited for, and that the last one of its own.
            loop {
                let at = self.at;
                let Some(top) = self.open.last_mut() else {
                    return match self.input.len().saturating_sub(self.next) {
                        0 => Ok(self.items),
                        left => Err(MarshalError::Trailing(left)),
                    };
                };
                if !top.take(&whole, at)? {
                    break;
                }
                whole = self.close()?;
            }
        }
    }

    /// Reads up to the next value, beginning of a container, or end of a dict.
    #[inline]
    fn step(&mut self) -> Result<Step, MarshalError> {
        self.at = self.next;
        let byte = self.byte()?;
        let flagged = byte & FLAG != 0;
        match byte & !FLAG {
            // What Python never flags.
            b'N' | b'T' | b'F' if !flagged => self.scalar(false, 0),
            b'r' if !flagged => self.reference(),
            b'0' if !flagged => Ok(Step::End),
            b'i' => {
                self.array::<4>()?;
                self.scalar(flagged, 0)
            }
            b'g' => {
                self.array::<8>()?;
                self.scalar(flagged, 0)
            }
            b'y' => {
                self.array::<16>()?;
                self.scalar(flagged, 0)
            }
            b'l' => {
                let length = self.long()?;
                self.scalar(flagged, length)
            }
            b's' => {
                let bytes = self.block4()?;
                let length = bytes.len();
                self.scalar(flagged, length)
            }
            b'u' | b't' => {
                let text = self.block4()?;
                self.text(flagged, text.len(), text.is_ascii() || is_text(text))
            }
            b'a' | b'A' => {
                let text = self.block4()?;
                self.text(flagged, text.len(), text.is_ascii())
            }
            b'z' | b'Z' => {
                let length = self.byte()?;
                let text = self.block(length.into())?;
                self.text(flagged, text.len(), text.is_ascii())
            }
            b')' => {
                let count = self.byte()?;
                self.open(flagged, Inside::Values(count.into()), true)
            }
            b'(' => {
                let count = self.count()?;
                self.open(flagged, Inside::Values(count), true)
            }
            b'[' => {
                let count = self.count()?;
                self.open(flagged, Inside::Values(count), false)
            }
            b'<' => {
                let count = self.count()?;
                self.open(flagged, Inside::Elements(count), false)
            }
            b'>' => {
                let count = self.count()?;
                self.open(flagged, Inside::Elements(count), true)
            }
            b'{' => self.open(flagged, Inside::Key, false),
            _ => Err(MarshalError::Type { byte, at: self.at }),
        }
    }

    /// A value with nothing inside. A long one costs time in proportion whenever it is referred to.
    #[inline]
    fn scalar(&mut self, flagged: bool, length: usize) -> Result<Step, MarshalError> {
        self.charge(1)?;
        let more = u32::try_from(length >> 6).unwrap_or(u32::MAX);
        let meta = Meta {
            weight: more.saturating_add(1),
            depth: 0,
            hashable: true,
        };
        if flagged {
            self.refer(Some(meta))?;
        }
        Ok(Step::Whole(meta))
    }

    #[inline]
    fn text(&mut self, flagged: bool, length: usize, right: bool) -> Result<Step, MarshalError> {
        if right {
            self.scalar(flagged, length)
        } else {
            Err(MarshalError::Text { at: self.at })
        }
    }

    /// The beginning of a container; one that waits for nothing is whole.
    #[inline]
    fn open(
        &mut self,
        flagged: bool,
        inside: Inside,
        hashable: bool,
    ) -> Result<Step, MarshalError> {
        self.charge(1)?;
        self.check_depth(1)?;
        let reference = flagged.then_some(self.references.len());
        if flagged {
            self.refer(None)?;
        }
        self.open.push(Open {
            meta: Meta {
                weight: 1,
                depth: 1,
                hashable,
            },
            inside,
            reference,
        });
        match inside {
            Inside::Values(0) | Inside::Elements(0) => self.close().map(Step::Whole),
            _ => Ok(Step::Opened),
        }
    }

    /// The end of the innermost container, which must be a dict that waits for a key.
    fn end(&mut self) -> Result<Meta, MarshalError> {
        match self.open.last().map(|top| top.inside) {
            Some(Inside::Key) => self.close(),
            _ => Err(MarshalError::Type {
                byte: b'0',
                at: self.at,
            }),
        }
    }

    /// Takes the innermost container, which is full; now it may be referred to.
    #[inline]
    fn close(&mut self) -> Result<Meta, MarshalError> {
        // There always is one.
        let open = self.open.pop().ok_or(MarshalError::NoDict)?;
        let place = open.reference.and_then(|at| self.references.get_mut(at));
        if let Some(place) = place {
            *place = Some(open.meta);
        }
        Ok(open.meta)
    }

    /// What was there before.
    #[inline]
    fn reference(&mut self) -> Result<Step, MarshalError> {
        let index = u32::from_le_bytes(self.array()?);
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        let found = self.references.get(place).copied().flatten();
        let meta = found.ok_or(MarshalError::Reference { index, at: self.at })?;
        self.charge(meta.weight)?;
        self.check_depth(meta.depth)?;
        Ok(Step::Whole(meta))
    }

    /// Makes the next entry of the references.
    #[inline]
    fn refer(&mut self, entry: Option<Meta>) -> Result<(), MarshalError> {
        let max = self.budget.memo;
        if self.references.len() >= max {
            let what = "references";
            return Err(MarshalError::Budget { what, max });
        }
        self.references.push(entry);
        Ok(())
    }

    #[inline]
    fn charge(&mut self, weight: u32) -> Result<(), MarshalError> {
        let weight = usize::try_from(weight).unwrap_or(usize::MAX);
        self.items = self.items.saturating_add(weight);
        // Weights stop at u32::MAX, which must always be too much.
        let max = self.budget.items.min((u32::MAX >> 1) as usize);
        if self.items > max {
            let what = "values";
            return Err(MarshalError::Budget { what, max });
        }
        Ok(())
    }

    /// Whether something of so many levels may stand here.
    #[inline]
    fn check_depth(&self, levels: u16) -> Result<(), MarshalError> {
        let max = self.budget.depth.min(MAX_DEPTH);
        if self.open.len().saturating_add(levels.into()) > max {
            let what = "levels of nesting";
            return Err(MarshalError::Budget { what, max });
        }
        Ok(())
    }

    /// A long number: its count of digits, negative for a negative one, and the digits, of which
    /// the last is not zero. Gives its length.
    fn long(&mut self) -> Result<usize, MarshalError> {
        let count = i32::from_le_bytes(self.array()?).unsigned_abs();
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let bytes = self.block(count.saturating_mul(2))?;
        let (digits, _) = bytes.as_chunks();
        let right = digits
            .iter()
            .all(|digit| u16::from_le_bytes(*digit) < DIGIT_END);
        match digits.last() {
            Some([0, 0]) | None => Err(MarshalError::Number { at: self.at }),
            Some(_) if right => Ok(bytes.len()),
            Some(_) => Err(MarshalError::Number { at: self.at }),
        }
    }

    /// The number of values in a container. More than fit into the rest would be believed by
    /// Python, so this ends early.
    #[inline]
    fn count(&mut self) -> Result<u32, MarshalError> {
        let count = u32::from_le_bytes(self.array()?);
        let left = self.input.len().saturating_sub(self.next);
        if usize::try_from(count).is_ok_and(|count| count <= left) {
            Ok(count)
        } else {
            Err(self.truncated())
        }
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, MarshalError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], MarshalError> {
        let rest = self.input.get(self.next..).unwrap_or_default();
        let bytes = rest.first_chunk().copied();
        self.next = self.next.saturating_add(N);
        bytes.ok_or_else(|| self.truncated())
    }
}

impl<'a> Scanner<'a> {
    /// A length of four bytes and so many bytes.
    #[inline]
    fn block4(&mut self) -> Result<&'a [u8], MarshalError> {
        let length = u32::from_le_bytes(self.array()?);
        // Python's lengths have a sign.
        if length > i32::MAX as u32 {
            return Err(self.truncated());
        }
        self.block(usize::try_from(length).unwrap_or(usize::MAX))
    }

    #[inline]
    fn block(&mut self, length: usize) -> Result<&'a [u8], MarshalError> {
        let end = self.next.checked_add(length);
        let block = end.and_then(|end| self.input.get(self.next..end));
        self.next = end.unwrap_or(usize::MAX);
        block.ok_or_else(|| self.truncated())
    }

    #[cold]
    fn truncated(&self) -> MarshalError {
        MarshalError::Truncated { at: self.at }
    }
}

impl Open {
    /// Puts a value inside. Tells whether it was the last one.
    #[inline]
    fn take(&mut self, inner: &Meta, at: usize) -> Result<bool, MarshalError> {
        let hashed = matches!(self.inside, Inside::Elements(_) | Inside::Key);
        if hashed && !inner.hashable {
            return Err(MarshalError::Unhashable { at });
        }
        self.meta.weight = self.meta.weight.saturating_add(inner.weight);
        self.meta.depth = self.meta.depth.max(inner.depth.saturating_add(1));
        self.meta.hashable &= inner.hashable;
        self.inside = match self.inside {
            Inside::Values(left) => Inside::Values(left.saturating_sub(1)),
            Inside::Elements(left) => Inside::Elements(left.saturating_sub(1)),
            Inside::Key => Inside::Value,
            Inside::Value => Inside::Key,
        };
        Ok(matches!(
            self.inside,
            Inside::Values(0) | Inside::Elements(0)
        ))
    }
}
