"""Python's side of the test in tests/marshal.rs.

Writes random dicts in every version of the format to stdout. Then reads from stdin what the
scanner accepted of their mutations, and loads it: all of it must be dicts of plain data. Blocks
are preceded by their length in four bytes.
"""

import marshal
import os
import random
import struct
import sys

PLAIN = (type(None), bool, int, float, complex, str, bytes)


def text(rng):
    alphabet = rng.choice(["abc", "aé\xff", "a€😀\U0010ffff", "a\udc80\ud83d\ude00"])
    return "".join(rng.choice(alphabet) for _ in range(rng.choice([0, 1, 5, 255, 256, 300])))


def scalar(rng):
    kind = rng.randrange(9)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind == 1:
        bits = rng.choice([7, 14, 15, 16, 29, 30, 31, 32, 33, 45, 63, 64, 65, 1000, 5000])
        return rng.choice([-1, 1]) * ((1 << bits) + rng.randrange(-2, 3))
    if kind == 2:
        return rng.randrange(-300, 300)
    if kind == 3:
        return rng.choice([0.0, -0.0, 1.5, 1e300, float("inf"), float("-inf"), float("nan")])
    if kind == 4:
        return complex(rng.random(), -1.0)
    if kind == 5:
        return bytes(rng.randrange(256) for _ in range(rng.choice([0, 1, 20, 256])))
    if kind == 6:
        return sys.intern("name%d" % rng.randrange(9))
    return text(rng)


def hashable(rng, depth):
    kind = rng.randrange(6) if depth else 5
    if kind == 0:
        return tuple(hashable(rng, depth - 1) for _ in range(rng.randrange(5)))
    if kind == 1:
        return frozenset(hashable(rng, depth - 1) for _ in range(rng.randrange(5)))
    return scalar(rng)


def value(rng, depth, pool):
    if pool and rng.randrange(6) == 0:
        return rng.choice(pool)
    kind = rng.randrange(12) if depth else 11
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
        made = frozenset(hashable(rng, 1) for _ in range(size))
    else:
        made = scalar(rng)
    pool.append(made)
    return made


def check(top):
    """Whether it is a dict of plain data. What is shared is looked at once."""
    seen, pending = set(), [top]
    assert type(top) is dict, type(top)
    while pending:
        found = pending.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if type(found) is dict:
            pending += found.keys()
            pending += found.values()
        elif type(found) in (list, tuple, set, frozenset):
            pending += found
        else:
            assert type(found) in PLAIN, type(found)


def main():
    rng = random.Random(int(sys.argv[1]))
    fixed = [
        {"list": list(range(2500)), "tuple": tuple(range(2500)), "set": set(range(2500))},
        {index: str(index) for index in range(2500)},
        {"mesh": b"\x00\xff" * 40000, "again": ["Würfel"] * 3000},
        {},
    ]
    with os.fdopen(1, "wb") as out:
        for number in range(int(sys.argv[2])):
            if number < len(fixed):
                made = fixed[number]
            else:
                made = {hashable(rng, 1): value(rng, 5, []) for _ in range(rng.randrange(6))}
            for version in (2, 3, 4):
                case = marshal.dumps(made, version)
                out.write(struct.pack("<I", len(case)) + case)

    back = sys.stdin.buffer.read()
    at = count = 0
    while at < len(back):
        (size,) = struct.unpack_from("<I", back, at)
        case = back[at + 4 : at + 4 + size]
        at += 4 + size
        count += 1
        try:
            check(marshal.loads(case))
        except Exception as error:
            sys.exit("%r: %r" % (case[:2000], error))
    print(count, "loaded", file=sys.stderr)


main()
