"""Applies deltas with the deepdiff of this interpreter.

Reads lines of a document and a dumped delta, writes for each the document that comes out, or `!`
and why nothing does.
"""

import logging
import sys

from deepdiff import Delta, helper
from deepdiff.path import _path_to_elements

from values import pack, unpack, unshared

logging.disable(logging.CRITICAL)

# Version 5 takes Python 3.10 and newer for older than 3.6, and dumps a dict of its own, which no
# later version knows. What the server sends has plain ones.
DATED = "deepdiff.helper.OrderedDictPlus"
if not hasattr(helper, "OrderedDictPlus"):
    helper.OrderedDictPlus = dict


def loaded(dump):
    """The delta that was dumped."""
    return Delta(dump, safe_to_import={DATED})


def applied(document, dump, look=None):
    """What a client makes of a delta it receives, packed. `look` gets it as it is."""
    if hasattr(_path_to_elements, "cache_clear"):
        # Where a path is no text, it remembers a `True` where there is a `1` now.
        _path_to_elements.cache_clear()
    try:
        made = document + loaded(dump)
        if look is not None:
            look(made)
        return pack(unshared(made))
    except Exception as error:
        reason = f"!{type(error).__name__}: {error}"
        return ascii(reason)[1:-1].replace("\t", " ")[:300]


def main():
    for line in sys.stdin:
        document, dump = line.split()
        print(applied(unpack(document), bytes.fromhex(dump)), flush=True)


if __name__ == "__main__":
    main()
