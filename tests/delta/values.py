"""Values on lines of text, and when two of them are the same."""

import io
import pickle


class Unpickler(pickle.Unpickler):
    """Knows how deltas, and so what is made of them, name a type that pickle can't."""

    def persistent_load(self, name):
        if name != "<<NoneType>>":
            raise pickle.UnpicklingError(name)
        return type(None)


def pack(value):
    """A value as a word of text."""
    return pickle.dumps(value, 4).hex()


def unpack(word):
    """The value of a word, made anew: nothing in it is part of another value."""
    return Unpickler(io.BytesIO(bytes.fromhex(word))).load()


def unshared(value):
    """A copy in which no container is in two places.

    In Python, what changes one then changes the other: values here can't do that. What Blender's data
    is made of has no such thing, but deepdiff makes it: see `in_two_places`.
    """
    if isinstance(value, dict):
        return {key: unshared(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)([unshared(item) for item in value])
    if isinstance(value, set):
        return set(value)
    if type(value).__name__ == "_SafeConstructor":
        # What deepdiff 8.6 reads some types as. Nothing else can unpack it.
        return "(a stand-in for a type)"
    return value


def in_two_places(value):
    """Whether something in a value that can be changed is elsewhere in it as well."""
    seen = set()
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, (list, dict, set)):
            if id(value) in seen:
                return True
            seen.add(id(value))
        if isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, (list, tuple)):
            pending.extend(value)
    return False


def show(value):
    """A text that tells values apart by type, order and sign, but sets by their elements only."""
    kind = type(value)
    if kind is dict:
        return "{%s}" % ", ".join(f"{show(key)}: {show(item)}" for key, item in value.items())
    if kind in (list, tuple):
        return "%s(%s)" % (kind.__name__, ", ".join(map(show, value)))
    if kind in (set, frozenset):
        return "%s(%s)" % (kind.__name__, ", ".join(sorted(map(show, value))))
    if kind in (type(None), bool, int, float, str, bytes):
        return ascii(value)
    return f"{kind.__name__}({ascii(value)})"
