"""Shows a failed case as Python would: packed values, and the dumped delta.

Reads lines of a name and a word; the delta's name is `delta`.
"""

import sys

from deepdiff.serialization import pickle_load

from apply import DATED
from values import show, unpack

LONGEST = 2000


def shortened(text):
    """The text, or both its ends."""
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]} …{len(text) - LONGEST} more… {text[-half:]}"


def shown(word):
    """A packed value, or what stands in place of one."""
    try:
        return shortened(show(unpack(word)))
    except Exception:
        return shortened(word) or "-"


def main():
    sys.stdout.reconfigure(encoding="utf-8")
    for line in sys.stdin:
        name, word = line.rstrip("\n").split("\t")
        if name == "delta" and word:
            text = shortened(ascii(pickle_load(bytes.fromhex(word), safe_to_import={DATED})))
        else:
            text = shown(word)
        print(f"  {name + ':':11} {text}", flush=True)


if __name__ == "__main__":
    main()
