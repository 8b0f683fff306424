"""What artists do together, written once for all versions.

A scenario is a function of a `harness.Stage` marked with `@scenario`. It raises
`harness.Failure` when something isn't as the protocol promises. Most end with `stage.final`:
every client equals one that joins last, which is the server's own view.
"""

import dataclasses
import importlib
import typing

MODULES = ["graph", "users", "rights", "leaving", "load", "lines", "ages", "malice", "disk", "crash", "operator"]
ALL = {}

# What the letters of scenarios stand for.
GROUPS = {
    "a": "upload", "b": "joining", "c": "bulk", "d": "many push", "e": "same node", "f": "editing", "g": "owners",
    "h": "metadata", "i": "kick", "j": "passwords", "k": "names", "l": "leaving", "m": "bad lines", "n": "return", "o": "malice",
    "p": "power cuts", "q": "operator", "v": "versions",
}


@dataclasses.dataclass
class Scenario:
    """A scenario and what the runner must know about it."""

    name: str
    letter: str
    run: typing.Callable
    seconds: float
    # Mostly waiting: may run beside the others.
    light: bool
    # Takes minutes: only when asked for by name or with `--slow`.
    slow: bool

    @property
    def about(self):
        """The first line of its description."""
        return (self.run.__doc__ or "").strip().splitlines()[0]


def scenario(letter, seconds=45, light=False, slow=False):
    """Registers a function as a scenario with a hard deadline in seconds."""

    def mark(function):
        name = function.__name__
        ALL[name] = Scenario(name, letter, function, seconds, light, slow)
        return function

    return mark


def load():
    """Imports all modules of scenarios; gives name → Scenario in order."""
    for module in MODULES:
        importlib.import_module(f"scenarios.{module}")
    return ALL


def payload(index):
    """Node data with every type of value that add-ons send."""
    return {
        "index": index,
        "name": f"Würfel.{index:03}",
        "matrix": [[1.0, 0.0, -0.5], [0.25, 1e-9, 3.5]],
        "nothing": None,
        "flags": [True, False],
        "big": 2**70 + index,
        "color": {"__tuple__": [0.1, 0.2, 0.3, 1.0]},
        "buffer": {"__bytes__": "00ff8040" * (index % 5)},
        "layers": {"__set__": ["a", "b", f"c{index}"]},
        "slots": {"__dict__": [[1, "one"], [2, {"nested": {"deeper": [index]}}]]},
        "far": {"__float__": "inf"},
        "empty": {},
    }


def blocks(count, prefix="n", big=0, owner=None):
    """Arguments of `add_many`: each block depends on one or two before it; `big` bytes in one."""
    made = []
    for index in range(count):
        block = {"name": f"{prefix}{index}", "payload": payload(index)}
        block["type"] = "Mesh" if index % 4 == 0 else "Thing"
        if index % 3:
            block["deps"] = [f"{prefix}{index - 1}"]
            if index > 10:
                block["deps"].append(f"{prefix}{index // 2}")
        if owner:
            block["owner"] = owner
        if big and index == count // 2:
            block["type"] = "Mesh"
            block["payload"] = {"vertices": {"__blob__": [big, 7]}}
        made.append(block)
    return made
