"""The session file as the package itself saves and loads it.

    client.py FOLDER

Runs in the environment of a client version. Builds a graph of the package's own nodes and saves it
with the package's own function, then says what is in it: a line with the file's path, one for each
node, and an empty one. Then reads the path of another file from a line, loads it with the
package's own loader, and says `same` or what is different.

Up to 0.3.0 the loader is not in the package but in the add-on: there, what it does is done here,
with the package's own nodes.
"""

import gzip
import hashlib
import pathlib
import pickle
import pickletools
import sys
import types

from replication import __version__

VERSION = tuple(int(part) for part in __version__.split("."))
CHUNKS = VERSION >= (0, 4, 0)
TYPED = VERSION < (0, 2, 0)
# More than Python's pickler puts into a list at once.
MANY = 1100


class BlObject:
    """A type of the add-on, by its name."""


def node_class():
    """The package's class of nodes."""
    if not TYPED:
        from replication.objects import Node

        return Node
    from replication.data import ReplicatedDatablock

    return type("BlObject", (ReplicatedDatablock,), {})


Node = node_class()


def make(uuid, owner, data, dependencies):
    """A node as the package makes one."""
    given = {} if dependencies is None else {"dependencies": dependencies}
    node = Node(owner=owner, uuid=uuid, data=data, **given)
    node.data = data
    return node


def uuid(number):
    """The uuid of a node."""
    return f"{number:08x}-0000-4000-8000-000000000000"


def graph():
    """Nodes with everything that nodes hold."""
    shared = "a text that many nodes share"
    values = [
        {},
        {"name": "Cube", "type_id": "Object", shared: shared, "matrix": [[1.0, 0.0], [float("inf"), -0.0]]},
        # Which is stored in the file as it is, since it cannot be packed.
        {"noise": b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(20000))},
        {"vertices": {"co": bytes(range(256)) * 400, "few": b"", "some": b"x" * 300}, "count": 102400},
        {1: "one", -7: [None, True, False], 2**40: 2**100, "nan": float("nan"), "t": (1, (2,), ()), "s": {1}},
        {"deep": [[[[{"deeper": {"deepest": ["\u00e4\U0001f600", "\ud800"]}}]]]]},
        {"list": list(range(3000)), "texts": [f"text {number}" for number in range(300)]},
        {"long": "\u00fc" * 40000, "frozen": frozenset(["x"]), "array": bytearray(b"abc")},
        # Registered, but never filled.
        None,
    ]
    nodes = []
    for number, data in enumerate(values):
        # Python has each of the shortest texts and bytes only once.
        owner = ["Zo\u00eb", "COMMON", "x"][number % 3]
        dependencies = [uuid(number - 1), uuid(number + 1)] if number % 2 else None
        nodes.append(make(uuid(number), owner, data, dependencies))
    for number in range(len(nodes), MANY):
        data = {"name": f"node {number}", "type_id": "Object", shared: {shared: [shared]}}
        nodes.append(make(uuid(number), "COMMON", data, [uuid(1)] if number % 5 else None))
    return nodes


USERS = {"Zo\u00eb": {"id": "Zo\u00eb", "admin": True, "latency": 3, "status": 2, "metadata": {"selected": {"a", "b"}, "view": [1.5]}}}


def save(nodes, path):
    """Saves nodes with the package's own function."""
    by_uuid = {node.uuid: node for node in nodes}
    if CHUNKS:
        from replication.repository import Repository

        repository = Repository()
        for node in nodes:
            repository.object_store[node.uuid] = node
        # 0.4.0 saves no users.
        repository.remote = types.SimpleNamespace(online_users=USERS)
        repository.dumps(str(path))
    else:
        from replication.interface import Session

        # All that it asks of a session that is connected.
        session = types.SimpleNamespace(
            list=lambda: list(by_uuid),
            get=lambda uuid: by_uuid[uuid],
            repository=types.SimpleNamespace(get_node=by_uuid.get),
            online_users=USERS,
            _online_users=USERS,
        )
        Session.save(session, str(path))
    # The time was put into its name.
    [saved] = path.parent.glob(f"{path.stem}*{path.suffix}")
    return saved


def load(path):
    """The nodes of a file, in order."""
    if CHUNKS:
        from replication.repository import Repository

        repository = Repository()
        repository.loads(str(path))
        return list(repository.object_store.values())
    with gzip.open(path, "rb") as file:
        saved = pickle.load(file)
    nodes = []
    for uuid, parts in saved["nodes"]:
        if TYPED:
            assert parts["str_type"] == Node.__name__, parts["str_type"]
        nodes.append(make(uuid, parts["owner"], parts["data"], parts["dependencies"]))
    assert saved["users"] == {}
    return nodes


def show(value):
    """A text that tells values apart by type, order and sign."""
    kind = type(value)
    if kind is dict:
        return "{%s}" % ", ".join(f"{show(key)}: {show(item)}" for key, item in value.items())
    if kind in (list, tuple):
        return "%s(%s)" % (kind.__name__, ", ".join(map(show, value)))
    if kind in (set, frozenset):
        return "%s(%s)" % (kind.__name__, ", ".join(sorted(map(show, value))))
    return f"{kind.__name__} {ascii(value)}"


def facts(node):
    """All that matters of a node."""
    kind = node.str_type if TYPED else ""
    return [node.uuid, node.owner, kind, list(node.dependencies or []), show(node.data)]


def compare(nodes, found):
    """Whether the nodes are the same."""
    if len(nodes) != len(found):
        return f"{len(found)} nodes"
    for node, other in zip(nodes, found):
        if facts(node) != facts(other):
            return f"{facts(node)} became {facts(other)}"[:1000]
    return "same"


def check_opcodes(path):
    """Python 3.7 knows no protocol after 4."""
    with gzip.open(path, "rb") as file:
        whole = file.read()
    pickles = [whole]
    if CHUNKS:
        pickles += [node[at] for node in pickle.loads(whole)["nodes"] for at in (0, 3, 4)]
    for one in pickles:
        for code, _, _ in pickletools.genops(one):
            assert code.proto <= 4, code.name


def main():
    nodes = graph()
    # Not asked of the path: a real one is longer than the name.
    saved = save(nodes, pathlib.Path(sys.argv[1]) / "session.db")
    print(saved)
    for node in nodes:
        kind = node.str_type if TYPED else ""
        dependencies = ",".join(node.dependencies or [])
        parts = [node.uuid, node.owner.encode().hex(), kind, dependencies, pickle.dumps(node.data, 4).hex()]
        print("\t".join(parts))
    print(flush=True)
    path = sys.stdin.readline().strip()
    check_opcodes(path)
    print(compare(nodes, load(path)), flush=True)


if __name__ == "__main__":
    main()
