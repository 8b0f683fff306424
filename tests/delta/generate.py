"""Deltas as the deepdiff of this interpreter computes them, and worse ones.

    generate.py SEED FIRST

Writes for ever, from chain number FIRST on. A chain is a document and its edits one after another.
A line has, tab between: kind, chain, what happened, the document, the dumped delta, what becomes of
the document with this interpreter's deepdiff, and what it should become. The last two are `-` for
deltas that no client would send for that document. What happened says if something comes to be in two
places at once.
"""

import itertools
import logging
import random
import sys

from deepdiff import DeepDiff, Delta, __version__
from deepdiff.serialization import pickle_dump

from apply import applied
from documents import ORDERED, UNORDERED, Maker, edited
from mutations import Mutator
from values import in_two_places, pack, unpack, unshared

logging.disable(logging.CRITICAL)

# What clients compute deltas with, for most kinds of nodes and for collections and scenes.
USUAL = {"cache_size": 5000}
LOOSE = {**USUAL, "ignore_order": True, "report_repetition": True}


def dumped(old, new, params):
    """The delta a client would send."""
    return Delta(DeepDiff(old, new, **params)).dumps()


class Chain:
    """One document, its edits, and deltas that don't belong to it."""

    def __init__(self, seed, number):
        self.rng = rng = random.Random(f"{__version__} {seed} {number}")
        kind = rng.randrange(10)
        awkward, exotic = (rng.random() < share for share in (0.12, 0.35))
        self.params = USUAL
        if kind < 6:
            self.maker = Maker(rng, awkward, exotic)
            document = self.maker.document()
            self.params = LOOSE if rng.random() < 0.12 else USUAL
        else:
            self.maker = Maker(rng, False, False)
            unordered = kind > 7
            document = rng.choice(UNORDERED if unordered else ORDERED)(rng)
            self.params = LOOSE if unordered else USUAL
        self.number = number
        self.states = [pack(unshared(document))]

    def line(self, kind, what, document, dump, theirs="-", wanted="-"):
        print(kind, self.number, what, document, dump.hex(), theirs, wanted, sep="\t")

    def run(self):
        rng = self.rng
        if rng.random() < 0.1:
            # A new node: clients start with nothing.
            self.states.insert(0, pack(None))
        else:
            self.edit()
        dumps = [self.honest(0)]
        for index in range(1, rng.randrange(2, 5)):
            if index >= len(self.states) - 1:
                self.edit()
            dumps.append(self.honest(index))
        for index, dump in enumerate(dumps):
            if dump is not None:
                self.misfits(index, dump)

    def edit(self):
        document = unpack(self.states[-1])
        for _ in range(self.rng.choice([1, 1, 1, 2, 4])):
            document = edited(self.maker, document)
        self.states.append(pack(unshared(document)))

    def honest(self, index):
        old, new = self.states[index : index + 2]
        try:
            dump = dumped(unpack(old), unpack(new), self.params)
        except Exception as error:
            self.line("unmade", f"{type(error).__name__}", old, b"", wanted=new)
            return None
        what = "unordered" if self.params is LOOSE else "ordered"
        looked = []
        theirs = applied(unpack(old), dump, lambda made: looked.append(in_two_places(made)))
        if any(looked):
            what += ", in two places"
        self.line("honest", what, old, dump, theirs, new)
        return dump

    def misfits(self, index, dump):
        rng = self.rng
        here = self.states[index]
        others = [state for state in self.states if state != here]
        others += [pack(None), pack(unshared(self.maker.document()))]
        self.line("misfit", "other document", rng.choice(others), dump)
        mutator = Mutator(rng, self.maker, unpack(here))
        delta = unpack(dump.hex())
        if delta:
            self.changed("mutated", here, mutator.mutated(delta))
        self.changed("made", here, mutator.made())

    def changed(self, what, document, delta):
        try:
            dump = pickle_dump(unshared(delta))
        except Exception as error:
            self.line("unmade", type(error).__name__, document, b"")
        else:
            self.line("misfit", what, document, dump)


def main():
    seed, first = sys.argv[1], int(sys.argv[2])
    for number in itertools.count(first):
        Chain(seed, number).run()


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        # Enough was read.
        sys.stderr.close()
