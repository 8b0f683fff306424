//! What the stack machine knows about a value without looking inside: enough to check a pickle
//! whether values are built from it or not.

use super::globals::Function;

/// Facts about a value on the stack or in the memo. One number, as it is copied about for nearly
/// every opcode, and a number is written and read at once.
///
/// From the highest bits: 32 of weight, 16 of depth, 8 of kind, 8 of flags.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta(u64);

/// Kinds of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    None,
    Bool,
    Number,
    Str,
    Bytes,
    ByteArray,
    List,
    Dict,
    Set,
    FrozenSet,
    Tuple(Args),
    /// A type; whether it is `set`, `frozenset` or `bytes`, which may be called.
    Type(Called),
    /// Must be called.
    Function(Function),
    /// `Opcode` made.
    Opcode,
    /// A name the caller's policy permits, or what came of calling it.
    Extra,
}

/// Types that may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Called {
    Never,
    Set,
    FrozenSet,
    Bytes,
}

/// What a tuple can be used for as arguments of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Args {
    /// ().
    None,
    /// One `None`.
    OneNone,
    /// One list of hashable values.
    OneList,
    /// One bytes.
    OneBytes,
    /// Two strings, the second a name of Latin-1.
    Latin1,
    /// Seven values.
    Seven,
    /// Nothing.
    Other,
}

impl Kind {
    /// Set in the codes of types alone.
    const TYPE: u8 = 0x40;
    /// Set in the codes of functions alone.
    const FUNCTION: u8 = 0x80;
    const TUPLE: u8 = 0x20;

    #[inline]
    const fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Bool => 1,
            Self::Number => 2,
            Self::Str => 3,
            Self::Bytes => 4,
            Self::ByteArray => 5,
            Self::List => 6,
            Self::Dict => 7,
            Self::Set => 8,
            Self::FrozenSet => 9,
            Self::Opcode => 10,
            Self::Extra => 11,
            Self::Tuple(args) => Self::TUPLE | args as u8,
            Self::Type(called) => Self::TYPE | called as u8,
            Self::Function(function) => Self::FUNCTION | function as u8,
        }
    }

    #[inline]
    const fn of_code(code: u8) -> Self {
        match code {
            0 => Self::None,
            1 => Self::Bool,
            2 => Self::Number,
            3 => Self::Str,
            4 => Self::Bytes,
            5 => Self::ByteArray,
            6 => Self::List,
            7 => Self::Dict,
            8 => Self::Set,
            9 => Self::FrozenSet,
            10 => Self::Opcode,
            0x20 => Self::Tuple(Args::None),
            0x21 => Self::Tuple(Args::OneNone),
            0x22 => Self::Tuple(Args::OneList),
            0x23 => Self::Tuple(Args::OneBytes),
            0x24 => Self::Tuple(Args::Latin1),
            0x25 => Self::Tuple(Args::Seven),
            0x26 => Self::Tuple(Args::Other),
            0x40 => Self::Type(Called::Never),
            0x41 => Self::Type(Called::Set),
            0x42 => Self::Type(Called::FrozenSet),
            0x43 => Self::Type(Called::Bytes),
            0x80 => Self::Function(Function::ByteArray),
            0x81 => Self::Function(Function::Encode),
            0x82 => Self::Function(Function::OrderedDict),
            0x83 => Self::Function(Function::Opcode),
            0x84 => Self::Function(Function::TypeOf),
            _ => Self::Extra,
        }
    }
}

/// Yes-or-no facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    /// Still grows: not yet put anywhere, nor referred to.
    pub(super) const OPEN: Self = Self(1);
    /// May be in a set.
    pub(super) const HASHABLE: Self = Self(2);
    /// May be a dict key: hashable, and no frozenset in it. (Nobody uses those, and comparing
    /// them takes more than we want to spend.)
    pub(super) const KEY: Self = Self(4);
    /// What is in it is hashable.
    pub(super) const INNER_HASHABLE: Self = Self(8);

    /// Neither of them.
    pub(super) const NONE: Self = Self(0);
    /// Of a value with nothing inside; a tuple starts with them too.
    pub(super) const SCALAR: Self = Self(2 | 4);
    /// Of a list, dict or set that has nothing inside yet.
    pub(super) const GROWING: Self = Self(1 | 8);

    #[inline]
    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    #[inline]
    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both have.
    #[inline]
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Flags of a container when a value is put inside: it loses what the value cannot be.
    #[inline]
    const fn enclose(self, inner: Self) -> Self {
        let inner_hashable = if inner.0 & 2 == 0 { 0 } else { 8 };
        Self(self.0 & (inner.0 & (2 | 4) | inner_hashable | 1))
    }
}

impl Meta {
    /// Where the facts have the depth…
    pub(super) const DEPTH: u64 = 0xffff << 16;
    /// …and the kind.
    pub(super) const KIND: u64 = 0xff << 8;

    #[inline]
    const fn new(weight: u32, depth: u16, kind: Kind, flags: Flags) -> Self {
        let facts = (depth as u64) << 16 | (kind.code() as u64) << 8 | flags.0 as u64;
        Self((weight as u64) << 32 | facts)
    }

    /// A value with nothing inside.
    #[inline]
    pub(super) const fn scalar(kind: Kind) -> Self {
        Self::new(1, 0, kind, Flags::SCALAR)
    }

    /// A container with nothing inside yet.
    #[inline]
    pub(super) const fn container(kind: Kind, flags: Flags) -> Self {
        Self::new(1, 1, kind, flags)
    }

    /// A list, dict or set with nothing inside yet.
    #[inline]
    pub(super) const fn growing(kind: Kind) -> Self {
        Self::container(kind, Flags::GROWING)
    }

    /// A tuple with nothing inside yet.
    #[inline]
    pub(super) const fn tuple() -> Self {
        Self::container(Kind::Tuple(Args::Other), Flags(2 | 4 | 8))
    }

    /// All facts but the weight.
    #[inline]
    pub(super) const fn facts(self) -> u64 {
        self.0 & 0xffff_ffff
    }

    /// With the weight of the one and the other facts of the other.
    #[inline]
    pub(super) const fn of(weight: u64, facts: u64) -> Self {
        Self(weight >> 32 << 32 | facts & 0xffff_ffff)
    }

    /// Number of values it has when written out, itself included, long strings as several. What
    /// the memo gives back counts anew each time, so a few bytes that stand for billions of values
    /// are noticed.
    #[inline]
    pub(super) const fn weight(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Levels of containers.
    #[inline]
    pub(super) const fn depth(self) -> u16 {
        (self.0 >> 16) as u16
    }

    #[inline]
    pub(super) const fn kind(self) -> Kind {
        Kind::of_code((self.0 >> 8) as u8)
    }

    #[inline]
    pub(super) const fn flags(self) -> Flags {
        Flags(self.0 as u8)
    }

    /// Whether it is of this kind.
    #[inline]
    pub(super) const fn is(self, kind: Kind) -> bool {
        (self.0 >> 8) as u8 == kind.code()
    }

    #[inline]
    pub(super) const fn has(self, flags: Flags) -> bool {
        self.flags().has(flags)
    }

    #[inline]
    pub(super) const fn is_type(self) -> bool {
        self.0 >> 8 & Kind::TYPE as u64 != 0
    }

    #[inline]
    pub(super) const fn is_function(self) -> bool {
        self.0 >> 8 & Kind::FUNCTION as u64 != 0
    }

    /// The same for something of `length` bytes. To refer to it again costs time in proportion
    /// (to hash it as a key, say) although it takes no memory.
    #[inline]
    pub(super) fn of_length(self, length: usize) -> Self {
        let more = u32::try_from(length >> 6).unwrap_or(u32::MAX);
        let weight = self.weight().saturating_add(more);
        Self(u64::from(weight) << 32 | self.0 & 0xffff_ffff)
    }

    /// The same with another kind and other flags.
    #[inline]
    pub(super) const fn turned(self, kind: Kind, flags: Flags) -> Self {
        Self::new(self.weight(), self.depth(), kind, flags)
    }

    #[inline]
    pub(super) const fn with_kind(self, kind: Kind) -> Self {
        self.turned(kind, self.flags())
    }

    #[inline]
    pub(super) const fn with_depth(self, depth: u16) -> Self {
        Self::new(self.weight(), depth, self.kind(), self.flags())
    }

    /// The same when it grows no more.
    #[inline]
    pub(super) const fn settled(self) -> Self {
        Self(self.0 & !(Flags::OPEN.0 as u64))
    }

    /// Accounts for a value that is put inside.
    #[inline]
    pub(super) fn enclose(&mut self, inner: Self) {
        let mut tally = Tally::new();
        tally.add(inner);
        self.enclose_all(&tally);
    }

    /// Accounts for many values that are put inside.
    #[inline]
    pub(super) fn enclose_all(&mut self, inside: &Tally) {
        let weight = u64::from(self.weight()).saturating_add(inside.weight);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let depth = self.depth().max(inside.depth.saturating_add(1));
        let flags = self.flags().enclose(Self(inside.all).flags());
        let kind = self.0 & 0xff00;
        let facts = u64::from(depth) << 16 | kind | u64::from(flags.0);
        *self = Self(u64::from(weight) << 32 | facts);
    }
}

/// What values that go into a container amount to. Gathered apart from the container's own facts,
/// as the order does not matter here: each step is a few operations without a branch.
pub(super) struct Tally {
    weight: u64,
    depth: u16,
    /// The bits that each has.
    all: u64,
    /// The bits that one of them has.
    any: u64,
}

impl Tally {
    #[inline]
    pub(super) const fn new() -> Self {
        Self {
            weight: 0,
            depth: 0,
            all: u64::MAX,
            any: 0,
        }
    }

    #[inline]
    pub(super) fn add(&mut self, meta: Meta) {
        // It would take more values than fit into any memory to get beyond 64 bits.
        self.weight = self.weight.wrapping_add(meta.weight().into());
        self.depth = self.depth.max(meta.depth());
        self.all &= meta.0;
        self.any |= meta.0;
    }

    /// Whether a container that is not settled is among them.
    #[inline]
    pub(super) const fn open(&self) -> bool {
        Meta(self.any).has(Flags::OPEN)
    }

    /// Whether a type is among them.
    #[inline]
    pub(super) const fn types(&self) -> bool {
        Meta(self.any).is_type()
    }

    /// Whether a function is among them.
    #[inline]
    pub(super) const fn functions(&self) -> bool {
        Meta(self.any).is_function()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_out_as_they_went_in() {
        let functions = [
            Function::ByteArray,
            Function::Encode,
            Function::OrderedDict,
            Function::Opcode,
            Function::TypeOf,
        ];
        let types = [Called::Never, Called::Set, Called::FrozenSet, Called::Bytes];
        let tuples = [
            Args::None,
            Args::OneNone,
            Args::OneList,
            Args::OneBytes,
            Args::Latin1,
            Args::Seven,
            Args::Other,
        ];
        let others = [
            Kind::None,
            Kind::Bool,
            Kind::Number,
            Kind::Str,
            Kind::Bytes,
            Kind::ByteArray,
            Kind::List,
            Kind::Dict,
            Kind::Set,
            Kind::FrozenSet,
            Kind::Opcode,
            Kind::Extra,
        ];
        let kinds = others.into_iter().chain(tuples.map(Kind::Tuple));
        let kinds = kinds.chain(types.map(Kind::Type));
        for kind in kinds.chain(functions.map(Kind::Function)) {
            let meta = Meta::new(u32::MAX, 7, kind, Flags::GROWING);
            assert_eq!(meta.kind(), kind);
            assert_eq!((meta.weight(), meta.depth()), (u32::MAX, 7));
            assert_eq!(meta.flags(), Flags::GROWING);
            assert!(meta.is(kind));
            assert_eq!(meta.is_type(), matches!(kind, Kind::Type(_)));
            assert_eq!(meta.is_function(), matches!(kind, Kind::Function(_)));
        }
    }
}
