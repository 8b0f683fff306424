"""Deltas that no client computes: changed ones, and ones put together from what a document has."""

import copy

from deepdiff import helper

PATHS = ["values_changed", "type_changes", "dictionary_item_added", "dictionary_item_removed"]
ITEMS = ["iterable_item_added", "iterable_item_removed"]
SETS = ["set_item_added", "set_item_removed"]
INDEXES = ["iterable_items_added_at_indexes", "iterable_items_removed_at_indexes"]
SECTIONS = PATHS + ITEMS + SETS + INDEXES
OTHERS = [
    "iterable_item_moved", "attribute_added", "attribute_removed", "repetition_change", "_numpy_paths",
    "_iterable_compare_func_was_used", "unknown",
]
TYPES = [bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, type(None)]
# Known from version 7 on.
Opcode = getattr(helper, "Opcode", None)

# What versions from 6 on take for an escape.
ESCAPE = "\U0001d1ba\U0001d165\U0001d16f"
ELEMENTS = [
    "['a']", "['name']", '["a"]', "[0]", "[1]", "[2]", "[-1]", "[99]", "[1.0]", "[1.5]", "[None]", "[True]", "[a]",
    "['items']", "['__class__']", "['a' 'b']", "[(1, 2)]", "[ 1]", "[1 ]", "[]", "['']", "[b'k']", "[...]", "[1_0]",
    "[0x1]", "[007]", "[1e0]", "[+1]", "[--1]", "[1+2j]", "[inf]", "[[0]]", "['a'][", "]", "[", "['", "'", ".", "..",
    ".a", ".root", ".__class__", ".append", ".items", ".real", ".__dict__", ".diff", "['a\\'b']", "['\\x61']", "[{}]",
    "['a'", "'a']", " ['a']", "['a'] ", "x", "['\0']", "[0:1]", "[1,]", "['a']['b']", "[0][0]", "[1e999]",
    "[99999999999999999999]", f"[{ESCAPE}]", f"['{ESCAPE}']",
]
ROOT = ("root", "GETATTR")
NO_PATHS = [
    "", "root", "Root", "roo", "['a']", "x" * 9, 1, 1.5, None, True, b"root",
    ("root",), (ROOT,), (ROOT, ("a", "GET")), (ROOT, (0, "GET")),
]


def places(value, path="root"):
    """Paths of what is in a value, with what is there."""
    yield path, value
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, (list, tuple)):
        inside = enumerate(value)
    else:
        return
    for key, item in inside:
        yield from places(item, f"{path}['{key}']" if isinstance(key, str) else f"{path}[{key}]")


class Mutator:
    """Changes deltas for a document."""

    def __init__(self, rng, maker, document):
        self.rng = rng
        self.maker = maker
        self.places = list(places(document))

    def some_value(self):
        """A value of the document, or any."""
        rng = self.rng
        if rng.random() < 0.4:
            return copy.deepcopy(rng.choice(self.places)[1])
        return self.maker.value(1)

    def some_path(self):
        """A path: of the document, near one, or none at all."""
        rng = self.rng
        if rng.random() < 0.04:
            return rng.choice(NO_PATHS)
        # Places near the root are few, and would seldom be chosen.
        path = rng.choice(self.places[: rng.choice([5, 50, 5000])])[0]
        return self.other_path(path) if rng.random() < 0.4 else path

    def other_path(self, path):
        rng = self.rng
        if not isinstance(path, str):
            return rng.choice(NO_PATHS)
        cut = path.rfind("[")
        kind = rng.randrange(8)
        if kind < 3:
            return path + rng.choice(ELEMENTS)
        if kind < 6 and cut > 0:
            return path[:cut] + rng.choice(ELEMENTS)
        if kind == 6 and cut > 0:
            return path[:cut]
        if path and rng.random() < 0.5:
            place = rng.randrange(len(path))
            return path[:place] + rng.choice(["", "[", "]", "'", '"', ".", "_", "\\", "0"]) + path[place + 1 :]
        return rng.choice(self.places)[0]

    def shifted(self, path):
        """The path with another last index, if it ends with one."""
        head, bracket, index = path.rpartition("[") if isinstance(path, str) else ("", "", "")
        try:
            return f"{head}{bracket}{int(index[:-1]) + self.rng.choice([-5, -1, 1, 1, 2, 10])}]"
        except ValueError:
            return self.other_path(path)

    def opcodes(self, value):
        """Instructions for a list, some of them wrong."""
        rng = self.rng
        made = []
        at = 0
        size = len(value) if isinstance(value, (list, tuple)) else 3
        while at < size:
            step = rng.randrange(1, 4)
            tag = rng.choice(["equal", "equal", "replace", "insert", "delete"] + ["other"] * (rng.random() < 0.1))
            new = [self.some_value() for _ in range(rng.randrange(3))] if tag in ("replace", "insert") else None
            code = [tag, at, at + step, at, at + step, None, new]
            if rng.random() < 0.1:
                code[rng.randrange(7)] = rng.choice([None, -1, 99, "x", [1], True, 1.5])
            made.append(Opcode(*code))
            at += step
        if rng.random() < 0.05:
            return rng.choice([None, made + [3], made + [["equal", 0, 1, 0, 1, None, None]], {}, tuple(made), "x"])
        return made

    def entry(self, section, path):
        """What a section may say about a path."""
        rng = self.rng
        there = [value for known, value in self.places if known == path]
        if rng.random() < 0.03:
            return self.maker.value(1)
        if section == "values_changed":
            return {"new_value": self.some_value()}
        if section == "type_changes":
            made = {"old_type": rng.choice(TYPES), "new_type": rng.choice(TYPES)}
            return made if rng.random() < 0.5 else {**made, "new_value": self.some_value()}
        if section in SETS:
            members = set(self.maker.members())
            return rng.choice([members, members, frozenset(members), list(members), "ab"])
        if section in INDEXES:
            items = list(there[0]) if there and isinstance(there[0], (list, tuple)) else []
            items += [self.some_value() for _ in range(2)]
            return {rng.randrange(len(items)): rng.choice(items) for _ in range(rng.randrange(1, 4))}
        if section == "iterable_item_moved":
            return {"new_path": self.some_path(), "value": self.some_value()}
        if section == "_iterable_opcodes":
            return self.opcodes(there[0] if there else None)
        return copy.deepcopy(there[0]) if there and rng.random() < 0.6 else self.some_value()

    def made(self):
        """A delta out of nothing."""
        rng = self.rng
        delta = {}
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            opcodes = ["_iterable_opcodes"] * (Opcode is not None)
            section = rng.choice(SECTIONS + opcodes + OTHERS * (rng.random() < 0.1))
            paths = [self.some_path() for _ in range(rng.choice([1, 1, 2, 3]))]
            if section in ITEMS and rng.random() < 0.8:
                # Several of one list say more about the order of things.
                within = rng.choice(paths)
                paths += [f"{within}[{rng.randrange(12)}]" for _ in range(rng.randrange(4))]
            delta[section] = {path: self.entry(section, path) for path in paths}
        return delta

    def mutated(self, delta):
        """The delta with one thing changed."""
        rng = self.rng
        delta = copy.deepcopy(delta)
        section = rng.choice(list(delta))
        entries = delta[section]
        path = rng.choice(list(entries))
        kind = rng.randrange(12)
        if kind < 3:
            entries[self.other_path(path)] = entries.pop(path)
        elif kind < 5:
            delta[section] = {self.shifted(path): entry for path, entry in entries.items()}
        elif kind == 5:
            other = rng.choice(SECTIONS + ["_iterable_opcodes"])
            delta[section], delta[other] = delta.get(other, {}), entries
        elif kind == 6:
            entries[path] = self.entry(section, path)
        elif kind == 7:
            entries[path] = self.spoilt(entries[path])
        elif kind == 8:
            other = rng.choice(SECTIONS + OTHERS)
            delta[other] = {self.some_path(): self.entry(other, path), **delta.get(other, {})}
        elif kind == 9:
            entries[self.some_path()] = entries[path]
        elif kind == 10:
            delta[section] = dict(reversed(list(entries.items())))
        elif rng.random() < 0.5:
            delta[section] = rng.choice([None, [], {}, 0, 3, "root", list(entries), set(), True, [path]])
        else:
            return rng.choice([None, [], 3, "root", list(delta), {}, [delta]])
        return delta

    def spoilt(self, entry):
        """What a path is said to become, with one thing wrong in it."""
        rng = self.rng
        if not isinstance(entry, dict) or not entry:
            return [entry]
        entry = dict(entry)
        kind = rng.randrange(4)
        if kind == 0:
            del entry[rng.choice(list(entry))]
        elif kind == 1:
            entry[rng.choice(list(entry))] = rng.choice(TYPES + [None, 1, "int", (), [], self.some_value()])
        elif kind == 2:
            entry[rng.choice(["old_value", "new_path", "new_value", "new_type", 0, "0"])] = self.some_value()
        else:
            entry = {key: self.some_value() for key in entry}
        return entry
