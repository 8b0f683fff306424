"""Compares documents: reads lines of an expected one and one that was got, writes `same` for each
or where they part."""

import os
import sys

from values import show, unpack

# Characters shown of what both have before the difference, and of each after it.
BEFORE, AFTER = 60, 200


def difference(expected, got):
    """`same`, or the texts of both around the first difference."""
    try:
        expected, got = show(unpack(expected)), show(unpack(got))
    except Exception as error:
        return ascii(f"can't be read: {error}")
    if expected == got:
        return "same"
    start = max(len(os.path.commonprefix([expected, got])) - BEFORE, 0)
    end = start + BEFORE + AFTER
    return f"expected …{expected[start:end]}…  got …{got[start:end]}…"


def main():
    sys.stdout.reconfigure(encoding="utf-8")
    for line in sys.stdin:
        expected, got = line.split()
        print(difference(expected, got), flush=True)


if __name__ == "__main__":
    main()
