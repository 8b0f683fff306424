"""Python's side of the differential test in tests/pickle.rs.

Writes random values and given pickles to stdout, reads for each what our reader and writer made of
it from stdin, and compares. Blocks are preceded by their length in four bytes.
"""

import io
import os
import pickle
import random
import struct
import sys
import types
from collections import OrderedDict, namedtuple

Opcode = namedtuple("Opcode", "tag t1_from t1_to t2_from t2_to old_values new_values")
Opcode.__module__ = "deepdiff.helper"
sys.modules["deepdiff"] = types.ModuleType("deepdiff")
sys.modules["deepdiff.helper"] = types.ModuleType("deepdiff.helper")
sys.modules["deepdiff.helper"].Opcode = Opcode

TYPES = [bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, type(None)]


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return "<<NoneType>>" if value is type(None) and self.delta else None


class Unpickler(pickle.Unpickler):
    def persistent_load(self, name):
        assert name == "<<NoneType>>"
        return type(None)


def text(rng):
    alphabet = rng.choice(["abc", "aé\xff", "a€😀\U0010ffff", "a\udc80\ud83d\ude00"])
    return "".join(rng.choice(alphabet) for _ in range(rng.choice([0, 1, 5, 255, 256, 300])))


def scalar(rng):
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind == 1:
        bits = rng.choice([7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 1000, 2040, 5000])
        return rng.choice([-1, 1]) * ((1 << bits) + rng.randrange(-2, 3))
    if kind == 2:
        return rng.randrange(-300, 300)
    if kind == 3:
        return rng.choice([0.0, -0.0, 1.5, -2.0, 1e300, float("inf"), float("-inf"), float("nan")])
    if kind == 4:
        return bytes(rng.randrange(256) for _ in range(rng.choice([0, 1, 20, 256])))
    return text(rng)


def hashable(rng, depth):
    if depth and rng.randrange(4) == 0:
        return tuple(hashable(rng, depth - 1) for _ in range(rng.randrange(5)))
    made = scalar(rng)
    # Python takes every NaN for another key.
    return 0 if made != made else made


def value(rng, depth, pool):
    if pool and rng.randrange(6) == 0:
        return rng.choice(pool)
    kind = rng.randrange(14) if depth else 13
    size = rng.choice([0, 1, 2, 3, 4, 8])
    if kind < 3:
        made = [value(rng, depth - 1, pool) for _ in range(size)]
    elif kind < 6:
        made = {hashable(rng, 2): value(rng, depth - 1, pool) for _ in range(size)}
    elif kind < 8:
        made = tuple(value(rng, depth - 1, pool) for _ in range(size))
    elif kind == 8:
        made = {hashable(rng, 2) for _ in range(size)}
    elif kind == 9:
        made = frozenset(frozenset([hashable(rng, 1)]) for _ in range(size))
    elif kind == 10:
        made = bytearray(text(rng).encode("utf-8", "surrogatepass"))
    elif kind == 11:
        made = OrderedDict((hashable(rng, 0), value(rng, depth - 1, pool)) for _ in range(size))
    elif kind == 12:
        made = rng.choice(TYPES + [Opcode("equal", 0, 1, 0, 1, None, [value(rng, 0, pool)])])
    else:
        made = scalar(rng)
    pool.append(made)
    return made


def show(made):
    """A text that tells values apart by type, order and bits, but sets by their elements only."""
    kind = type(made)
    if kind in (list, tuple, Opcode):
        return "%s(%s)" % (kind.__name__, ",".join(map(show, made)))
    if kind in (set, frozenset):
        return "%s(%s)" % (kind.__name__, ",".join(sorted(map(show, made))))
    if kind in (dict, OrderedDict):
        return "dict(%s)" % ",".join(show(k) + ":" + show(v) for k, v in made.items())
    if kind is int:
        return hex(made)
    return ascii(made)


def load(data):
    return Unpickler(io.BytesIO(data)).load()


def main():
    cases = [bytes.fromhex(line.split()[1]) for line in open(sys.argv[1]) if line[0] != "#"]
    rng = random.Random(int(sys.argv[2]))
    fixed = [
        [list(range(2500)), frozenset(range(2500)), tuple(range(2500))],
        {i: str(i) for i in range(2500)},
        [b"\x00\xff" * size for size in (2047, 2048, 40000)],
        ["\u20ac" * size for size in (20000, 30000)],
        set(range(2500)),
    ]
    for number in range(int(sys.argv[3])):
        made = fixed[number // 4] if number // 4 < len(fixed) else value(rng, 5, [])
        protocol = 2 + number % 4
        # Python 3.7 has no protocol 5. What refers to itself a lot takes Python long to show.
        if protocol <= pickle.HIGHEST_PROTOCOL and len(show(made)) < 1000000:
            out = io.BytesIO()
            pickler = Pickler(out, protocol)
            pickler.delta = rng.randrange(2)
            pickler.dump(made)
            cases.append(out.getvalue())
    blocks = b"".join(struct.pack("<I", len(case)) + case for case in cases)
    with os.fdopen(1, "wb") as out:
        out.write(blocks)

    back = sys.stdin.buffer.read()
    at = 0
    for number, case in enumerate(cases):
        for protocol in (3, 4):
            (size,) = struct.unpack_from("<I", back, at)
            ours = back[at + 4 : at + 4 + size]
            at += 4 + size
            expected, found = show(load(case)), show(load(ours))
            if expected != found:
                same = len(os.path.commonprefix([expected, found]))
                near = slice(max(same - 100, 0), same + 100)
                sys.exit("case %d, protocol %d: %s\nbecame %s" % (number, protocol, expected[near], found[near]))
    assert at == len(back)


main()
