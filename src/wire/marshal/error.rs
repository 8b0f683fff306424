//! What can be wrong with a node in marshal.

/// Why something is not a node of plain data. Positions are byte offsets into the input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarshalError {
    /// The input is longer than the caller allows.
    #[error("marshal of {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes of the input.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The input ends inside a value, or announces more than it has.
    #[error("marshal ends early: the value at byte {at} needs more bytes than there are")]
    Truncated {
        /// Where the value starts.
        at: usize,
    },
    /// Bytes follow the end. Python would pass over them.
    #[error("{0} bytes follow the end of the marshal")]
    Trailing(usize),
    /// It is no dict.
    #[error("marshal of something else than a dict")]
    NoDict,
    /// A type that is not plain data, or that Python doesn't write (here).
    #[error("marshal type {byte:#04x} at byte {at} is not allowed")]
    Type {
        /// The byte, with its flag.
        byte: u8,
        /// Where it is.
        at: usize,
    },
    /// A text that is not in the encoding its type says.
    #[error("marshal has a malformed text at byte {at}")]
    Text {
        /// Where.
        at: usize,
    },
    /// A number that is not one.
    #[error("marshal has a malformed number at byte {at}")]
    Number {
        /// Where.
        at: usize,
    },
    /// A reference to what does not exist, or is not complete: a container that contains itself.
    #[error("marshal refers to entry {index} at byte {at}, which is not there (yet)")]
    Reference {
        /// Which entry.
        index: u32,
        /// Where.
        at: usize,
    },
    /// A list, dict or set used as a dict key or set element.
    #[error("marshal uses an unhashable value as key or set element at byte {at}")]
    Unhashable {
        /// Where.
        at: usize,
    },
    /// One of the budgets ran out.
    #[error("marshal exceeds the limit of {max} {what}")]
    Budget {
        /// Which: nesting levels, values, references.
        what: &'static str,
        /// How many are allowed.
        max: usize,
    },
}
