"""Clients of different versions: kept apart while they meet, and able to take over one after the other."""

import venvs
import versions
from harness import Impossible
from scenarios import blocks, scenario

# A team that updates its add-on, and one that goes back.
UPDATES = {
    "0.9.10": ["0.10.3"], "0.5.4": ["0.9.11"], "0.9.11": ["0.5.4"], "0.10.3": ["0.9.10"],
    "0.1.31": ["0.1.17"], "0.1.17": ["0.1.42"],
}
# Versions that store nodes in another way.
STRANGERS = {"0.1.26": "0.9.11", "0.9.11": "0.1.26", "0.0.20": "0.1.26", "0.1.42": "0.5.4"}


@scenario("v")
def other_version(stage):
    """Who comes with another version is told which one is needed; the session goes on."""
    if stage.reference:
        raise Impossible("every version has a server of its own")
    other = "0.9.9" if stage.version != "0.9.9" else "0.9.11"
    venvs.make(other)
    stage.start_server()
    alice, _ = stage.host(blocks(3))
    stranger = stage.artist("stranger", version=other)
    stranger.login()
    stranger.wait_exit(15)
    log = (stranger.folder / "client.log").read_text()
    if stage.key >= (0, 0, 11):
        wanted = f"({other} != {versions.calls_itself(stage.version)})"
        stage.check(wanted in log, f"its log lacks {wanted}: {log}")
    stage.final([alice], count=3)


@scenario("v", seconds=90)
def update(stage):
    """Everybody leaves, and comes back with another version of the same kind: the same graph."""
    if stage.version not in UPDATES or stage.reference:
        raise Impossible("not one of the pairs")
    stage.start_server(timeout=2000)
    alice, uuids = stage.host(blocks(9))
    bob = stage.join("bob")
    for turn in range(3):
        bob.edit(uuid=uuids["n1"], patch={"turn": turn, "list": list(range(turn))})
    stage.wait_equal([alice, bob], count=9)
    before = _comparable(alice.dump())
    _all_leave(stage, alice, bob)
    for version in UPDATES[stage.version]:
        venvs.make(version)
        carol = stage.join("carol", version=version)
        stage.wait(lambda a=carol: _comparable(a.dump()) == before, 15, f"{version} has the graph as it was")
        dave = stage.join("dave", version=version)
        carol.edit(uuid=uuids["n1"], patch={"version": version})
        stage.wait_equal([carol, dave], count=9)
        _all_leave(stage, carol, dave)


@scenario("v")
def other_kind(stage):
    """A version that stores nodes in another way is told so, and finds an unharmed session."""
    if stage.version not in STRANGERS or stage.reference:
        raise Impossible("not one of the pairs")
    other = STRANGERS[stage.version]
    venvs.make(other)
    stage.start_server(timeout=2000)
    alice, _ = stage.host(blocks(3))
    before = alice.dump()
    _all_leave(stage, alice)
    stranger = stage.artist("stranger", version=other)
    stranger.login()
    stranger.wait_exit(15)
    log = (stranger.folder / "client.log").read_text()
    stage.check("the session holds work of client version" in log, f"its log lacks the reason: {log}")
    again = stage.join("alice", timeout=20)
    stage.wait(lambda: again.dump() == before, 15, "the graph as it was")


def _all_leave(stage, *artists):
    """While one of them is there only their own version is let in."""
    for artist in artists:
        artist.leave()
    left = [f"user left user={artist.name} " for artist in artists]
    log = stage.server.log
    stage.wait(lambda: all(line in log.read_text() for line in left), 10, "the server is empty", log.read_text)


def _comparable(dump):
    """What of a graph can be compared across versions: types are called differently."""
    return {uuid: (_plain(node["data"]), sorted(node["deps"])) for uuid, node in dump.items()}


def _plain(data):
    return {key: data[key] for key in ("name", "deps", "payload")}
