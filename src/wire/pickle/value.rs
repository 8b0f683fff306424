//! What pickles are made of.

use std::fmt;

use bytes::Bytes;

use super::{
    bigint::BigInt,
    dict::Dict,
    items::Items,
    text::Str,
    walk::{self, Repr},
};

/// A Python value as clients pickle them (wire spec, payload value types). Types that Python tells
/// apart stay apart: a tuple is no list, `True` no `1`.
///
/// Containers share what is in them, so that a clone costs the same for any value. `==` says
/// whether two values pickle to the same: dicts in the same order, floats bit for bit, `True`
/// unequal to `1`. (Keys of a [`Dict`] compare as in Python.)
///
/// Neither `clone`, `drop`, `==` nor `{:?}` recurses, whatever the nesting.
#[derive(Clone, Default)]
pub enum Value {
    /// `None`.
    #[default]
    None,
    /// `bool`.
    Bool(bool),
    /// `int` of up to 64 bits.
    Int(i64),
    /// `int` of more than 64 bits.
    BigInt(BigInt),
    /// `float`.
    Float(f64),
    /// `str`.
    Str(Str),
    /// `bytes`. Read ones of 4 KiB and more share the memory of the pickle they were in.
    Bytes(Bytes),
    /// `bytearray`.
    ByteArray(Bytes),
    /// `list`.
    List(Items),
    /// `tuple`.
    Tuple(Items),
    /// `dict`.
    Dict(Dict),
    /// `set`, in the order of the pickle. Not checked for equal elements.
    Set(Items),
    /// `frozenset`, in the order of the pickle. Not checked for equal elements.
    FrozenSet(Items),
    /// A type itself; in deltas.
    Type(PyType),
    /// `deepdiff.helper.Opcode`, seven values: tag, four indexes, old and new values; in deltas of
    /// deepdiff 7 and newer.
    Opcode(Items),
}

/// A type used as a value: what a delta says a value was or became.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as in Python")]
pub enum PyType {
    NoneType,
    Bool,
    Int,
    Float,
    Complex,
    Str,
    Bytes,
    List,
    Tuple,
    Dict,
    Set,
    FrozenSet,
}

impl PyType {
    /// Name in Python.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoneType => "NoneType",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float",
            Self::Complex => "complex",
            Self::Str => "str",
            Self::Bytes => "bytes",
            Self::List => "list",
            Self::Tuple => "tuple",
            Self::Dict => "dict",
            Self::Set => "set",
            Self::FrozenSet => "frozenset",
        }
    }
}

impl Value {
    /// A `str`.
    pub fn str(text: impl Into<Str>) -> Self {
        Self::Str(text.into())
    }

    /// A `bytes`.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::Bytes(bytes.into())
    }

    /// A `list`.
    pub fn list<T: Into<Self>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }

    /// A `tuple`.
    pub fn tuple<T: Into<Self>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::Tuple(items.into_iter().map(Into::into).collect())
    }

    /// Whether this is `None`.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The bool. (An `int` is none, as different from Python.)
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(bool) => Some(*bool),
            _ => None,
        }
    }

    /// The `int`, if it has no more than 64 bits. (A `bool` is none, as different from Python.)
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            _ => None,
        }
    }

    /// The `str`, if it has no surrogates.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => text.as_str(),
            _ => None,
        }
    }

    /// The `bytes`.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The elements of a `list` or `tuple`.
    pub fn as_sequence(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) | Self::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The `dict`.
    pub fn as_dict(&self) -> Option<&Dict> {
        match self {
            Self::Dict(dict) => Some(dict),
            _ => None,
        }
    }

    /// What Python calls the type; for messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::BigInt(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::Bytes(_) => "bytes",
            Self::ByteArray(_) => "bytearray",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Set(_) => "set",
            Self::FrozenSet(_) => "frozenset",
            Self::Type(_) => "type",
            Self::Opcode(_) => "Opcode",
        }
    }

    /// Puts what is directly inside behind what is still to be looked at: elements, keys, values.
    pub(crate) fn push_inside<'a>(&'a self, pending: &mut Vec<&'a Self>) {
        match self {
            Self::List(items)
            | Self::Tuple(items)
            | Self::Set(items)
            | Self::FrozenSet(items)
            | Self::Opcode(items) => pending.extend(items.iter()),
            Self::Dict(dict) => pending.extend(dict.iter().flat_map(|(key, value)| [key, value])),
            _ => {}
        }
    }

    /// Whether there are values inside (or could be).
    pub(super) fn is_container(&self) -> bool {
        matches!(
            self,
            Self::List(_)
                | Self::Tuple(_)
                | Self::Dict(_)
                | Self::Set(_)
                | Self::FrozenSet(_)
                | Self::Opcode(_)
        )
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        walk::same(self, other)
    }
}

impl Eq for Value {}

/// As Python would show it, nearly: for tests and traces, not for logs (it may be long).
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        walk::show(Repr::Value(self), f)
    }
}

impl PartialEq for Dict {
    fn eq(&self, other: &Self) -> bool {
        walk::same_dicts(self, other)
    }
}

impl Eq for Dict {}

impl fmt::Debug for Dict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        walk::show(Repr::Dict(self), f)
    }
}

impl PartialEq for Items {
    fn eq(&self, other: &Self) -> bool {
        walk::same_items(self, other)
    }
}

impl Eq for Items {}

impl fmt::Debug for Items {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        walk::show(Repr::Items("[", self, "]"), f)
    }
}

macro_rules! from {
    ($($type:ty: $from:ident => $to:expr),* $(,)?) => {$(
        impl From<$type> for Value {
            fn from($from: $type) -> Self {
                $to
            }
        }
    )*};
}

from! {
    bool: value => Self::Bool(value),
    i64: value => Self::Int(value),
    i32: value => Self::Int(value.into()),
    u32: value => Self::Int(value.into()),
    u16: value => Self::Int(value.into()),
    u8: value => Self::Int(value.into()),
    f64: value => Self::Float(value),
    &str: value => Self::Str(value.into()),
    String: value => Self::Str(value.into()),
    &String: value => Self::Str(value.as_str().into()),
    Str: value => Self::Str(value),
    Bytes: value => Self::Bytes(value),
    Dict: value => Self::Dict(value),
    PyType: value => Self::Type(value),
    Vec<Value>: value => Self::List(value.into()),
    &Value: value => value.clone(),
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}
