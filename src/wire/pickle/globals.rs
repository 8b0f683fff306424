//! The names a pickle may contain, and what may be done with each (wire spec, payload decoder).
//! Consulted by the stack machine; nothing is ever looked up in a Python.

use super::value::PyType;

/// A permitted name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// A type, which may stand for itself.
    Type(PyType),
    /// Something that must be called, in one form each.
    Function(Function),
}

/// What must be called where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// `builtins.bytearray` of nothing, bytes, or Latin-1 text.
    ByteArray,
    /// `_codecs.encode` of Latin-1 text: bytes in protocol 2.
    Encode,
    /// `collections.OrderedDict` or deepdiff 5's `OrderedDictPlus` of nothing.
    OrderedDict,
    /// `deepdiff.helper.Opcode` of seven values.
    Opcode,
    /// `builtins.type` of `None`: deepdiff 5.0.1's way to say NoneType.
    TypeOf,
}

/// Looks a name up. Python 2's names count up to protocol 2 only, as in Python 3.
pub(super) fn find(module: &[u8], name: &[u8], protocol: u8) -> Option<Global> {
    match module {
        b"builtins" => builtin(name),
        b"__builtin__" if protocol <= 2 => match name {
            b"unicode" => builtin(b"str"),
            b"long" => builtin(b"int"),
            _ => builtin(name),
        },
        b"_codecs" => function(name, b"encode", Function::Encode),
        b"collections" => function(name, b"OrderedDict", Function::OrderedDict),
        _ if is_dated(module, name) => Some(Global::Function(Function::OrderedDict)),
        b"deepdiff.helper" => function(name, b"Opcode", Function::Opcode),
        _ => None,
    }
}

/// Whether this is `deepdiff.helper.OrderedDictPlus`, a dict that only deepdiff 5 has: 6 and later
/// refuse what names it.
pub(super) fn is_dated(module: &[u8], name: &[u8]) -> bool {
    module == b"deepdiff.helper" && name == b"OrderedDictPlus"
}

fn builtin(name: &[u8]) -> Option<Global> {
    Some(Global::Type(match name {
        b"bool" => PyType::Bool,
        b"int" => PyType::Int,
        b"float" => PyType::Float,
        b"complex" => PyType::Complex,
        b"str" => PyType::Str,
        b"bytes" => PyType::Bytes,
        b"list" => PyType::List,
        b"tuple" => PyType::Tuple,
        b"dict" => PyType::Dict,
        b"set" => PyType::Set,
        b"frozenset" => PyType::FrozenSet,
        b"bytearray" => return Some(Global::Function(Function::ByteArray)),
        b"type" => return Some(Global::Function(Function::TypeOf)),
        _ => return None,
    }))
}

fn function(name: &[u8], expected: &[u8], function: Function) -> Option<Global> {
    (name == expected).then_some(Global::Function(function))
}

/// A name for an error message: short and printable, whatever the pickle says.
pub(super) fn display(module: &[u8], name: &[u8]) -> String {
    let [module, name] = [module, name].map(|part| {
        let part = part.get(..64).unwrap_or(part);
        part.escape_ascii()
    });
    format!("{module}.{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_exact_names_only() {
        let int = Some(Global::Type(PyType::Int));
        assert_eq!(find(b"builtins", b"int", 4), int);
        assert_eq!(find(b"__builtin__", b"int", 2), int);
        assert_eq!(find(b"__builtin__", b"long", 2), int);
        assert_eq!(find(b"__builtin__", b"int", 3), None);
        for (module, name) in [
            ("builtins", "eval"),
            ("builtins", "int.from_bytes"),
            ("builtins", "getattr"),
            ("os", "system"),
            ("posix", "system"),
            ("collections", "namedtuple"),
            ("_codecs", "decode"),
            ("deepdiff.helper", "os"),
            ("", ""),
        ] {
            assert_eq!(find(module.as_bytes(), name.as_bytes(), 4), None);
        }
    }

    #[test]
    fn messages_stay_short_and_printable() {
        let text = display(b"o\ns\xff", &[b'x'; 1000]);
        assert_eq!(text, format!("o\\ns\\xff.{}", "x".repeat(64)));
    }
}
