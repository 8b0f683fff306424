//! What the stack machine knows about a value without looking inside: enough to check a pickle
//! whether values are built from it or not.

use super::globals::Function;

/// Facts about a value on the stack or in the memo.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta {
    /// Number of values it has when written out, itself included, long strings as several. What
    /// the memo gives back counts anew each time, so a few bytes that stand for billions of values
    /// are noticed.
    pub(super) weight: u32,
    /// Levels of containers.
    pub(super) depth: u16,
    pub(super) kind: Kind,
    pub(super) flags: Flags,
}

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
    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    #[inline]
    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline]
    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Flags of a container when a value is put inside: it loses what the value cannot be.
    #[inline]
    const fn enclose(self, inner: Self) -> Self {
        let inner_hashable = if inner.0 & 2 == 0 { 0 } else { 8 };
        Self(self.0 & (inner.0 & (2 | 4) | inner_hashable | 1))
    }
}

impl Meta {
    /// A value with nothing inside.
    #[inline]
    pub(super) const fn scalar(kind: Kind) -> Self {
        Self {
            weight: 1,
            depth: 0,
            kind,
            flags: Flags::SCALAR,
        }
    }

    /// The same for something of `length` bytes. To refer to it again costs time in proportion
    /// (to hash it as a key, say) although it takes no memory.
    #[inline]
    pub(super) fn of_length(self, length: usize) -> Self {
        let weight = u32::try_from(length >> 6).unwrap_or(u32::MAX);
        Self {
            weight: self.weight.saturating_add(weight),
            ..self
        }
    }

    /// The same with other flags.
    #[inline]
    pub(super) const fn with_flags(self, flags: Flags) -> Self {
        Self { flags, ..self }
    }

    /// A list, dict or set with nothing inside yet.
    #[inline]
    pub(super) const fn growing(kind: Kind) -> Self {
        Self::container(kind, Flags::GROWING)
    }

    /// A container with nothing inside yet.
    #[inline]
    pub(super) const fn container(kind: Kind, flags: Flags) -> Self {
        Self {
            weight: 1,
            depth: 1,
            kind,
            flags,
        }
    }

    /// Accounts for a value that is put inside.
    #[inline]
    pub(super) fn enclose(&mut self, inner: &Self) {
        self.weight = self.weight.saturating_add(inner.weight);
        self.depth = self.depth.max(inner.depth.saturating_add(1));
        self.flags = self.flags.enclose(inner.flags);
    }
}
