//! What can be wrong with a pickle.

/// Why a pickle was refused. Positions are byte offsets into the input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickleError {
    /// The input is longer than the caller allows.
    #[error("pickle of {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes of the input.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The input ends inside an opcode, or announces more bytes than it has.
    #[error("pickle ends early: the opcode at byte {at} needs more bytes than there are")]
    Truncated {
        /// Where the opcode starts.
        at: usize,
    },
    /// Bytes follow the end of the pickle.
    #[error("{0} bytes follow the end of the pickle")]
    Trailing(usize),
    /// The pickle says it is of a protocol we do not read.
    #[error("pickle protocol {0} is not supported")]
    Protocol(u8),
    /// An opcode that no honest client sends, or that could make a client run something.
    #[error("pickle opcode {name} (byte {byte:#04x} at {at}) is not allowed")]
    Opcode {
        /// Its name in Python's documentation.
        name: &'static str,
        /// The byte itself.
        byte: u8,
        /// Where it is.
        at: usize,
    },
    /// A name outside the list of harmless ones.
    #[error("pickle names {0}, which is not allowed")]
    Global(String),
    /// A permitted name, used otherwise than in its permitted form.
    #[error("pickle uses {what} in a way that is not allowed at byte {at}")]
    Call {
        /// What is used.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// An opcode needs values that are not on the stack, or a mark that was not set.
    #[error("pickle opcode {name} at byte {at} lacks its operands")]
    Underflow {
        /// Name of the opcode.
        name: &'static str,
        /// Where it is.
        at: usize,
    },
    /// An opcode found a value of the wrong kind.
    #[error("pickle opcode {name} at byte {at} does not fit its operands")]
    Operand {
        /// Name of the opcode.
        name: &'static str,
        /// Where it is.
        at: usize,
    },
    /// A container that contains itself, or that is changed after something referred to it.
    #[error("pickle changes a finished container at byte {at} (does it contain itself?)")]
    SelfReference {
        /// Where.
        at: usize,
    },
    /// A list, dict or set used as a dict key or set element (or a frozenset as a dict key).
    #[error("pickle uses an unhashable value as key or set element at byte {at}")]
    Unhashable {
        /// Where.
        at: usize,
    },
    /// The memo is read where nothing was stored, or not written in order.
    #[error("pickle uses memo entry {index} out of order at byte {at}")]
    Memo {
        /// Which entry.
        index: usize,
        /// Where.
        at: usize,
    },
    /// A string that is not UTF-8 (lone surrogates excepted).
    #[error("pickle has a string at byte {at} that is not UTF-8")]
    Text {
        /// Where.
        at: usize,
    },
    /// A number that is not one.
    #[error("pickle has a malformed number at byte {at}")]
    Number {
        /// Where.
        at: usize,
    },
    /// Something that only a delta may hold.
    #[error("pickle holds {0}, as only deltas may")]
    OfDeltas(&'static str),
    /// One of the budgets ran out.
    #[error("pickle exceeds the limit of {max} {what}")]
    Budget {
        /// Which: nesting levels, items, memo entries, stack entries.
        what: &'static str,
        /// How many are allowed.
        max: usize,
    },
    /// The pickle ends with other than exactly one value.
    #[error("pickle does not end with exactly one value")]
    Leftover,
}
