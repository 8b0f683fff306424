"""What the operator does while artists work: say something, make a backup, go back to it, set nodes aside."""

import json
import subprocess

from harness import Impossible
from scenarios import blocks, scenario
from versions import threaded


@scenario("q", seconds=60, light=True)
def going_back(stage):
    """A text is shown and goes away; the session goes back to a backup, and on from there."""
    if stage.reference:
        raise Impossible("the clients' own servers cannot be told anything")
    stage.start_server(timeout=2000)
    alice, uuids = stage.host(blocks(6, big=300_000))
    bob = stage.join("bob")
    artists = [alice, bob]
    _look(stage, artists)
    stage.check(_ctl(stage, "say", "coffee is ready")["users"] == 2, "not everybody was told")
    for artist in artists:
        stage.wait(lambda a=artist: "» coffee is ready" in a.users(), 10, f"{artist.label} sees the text")
    before = alice.dump()
    made = _ctl(stage, "backup")
    stage.check(made["nodes"] == 6, f"the backup is {made}")
    alice.edit(uuid=uuids["n1"], patch={"after": "the backup"})
    bob.add(name="new", payload={"after": "the backup"})
    for artist in artists:
        stage.wait(lambda a=artist: len(a.dump()) == 7, 15, f"{artist.label} has the new node")
        stage.wait(lambda a=artist: "» coffee is ready" not in a.users(), 20, f"{artist.label} sees the text no more")

    for artist in artists:
        # It is sent away, and says so.
        artist.expect(".")
    restored = _ctl(stage, "restore", "manual")
    stage.check(restored["nodes"] == 6 and restored["backup"]["nodes"] == 7, f"restored: {restored}")
    for artist in artists:
        artist.kill()
    alice = stage.join("alice2", admin=True)
    stage.wait(lambda: _free(alice.dump()) == _free(before), 15, "the scene as it was")
    bob = stage.join("bob2")
    bob.edit(uuid=uuids["n2"], patch={"after": "going back"})
    stage.final([alice, bob], count=6)


@scenario("q", seconds=60, light=True)
def set_aside_and_back(stage):
    """Nodes are set aside and released at once, again and again, while everybody changes them."""
    if stage.reference:
        raise Impossible("the clients' own servers cannot be told anything")
    if threaded(stage.version):
        raise Impossible("its threads fail when a node is deleted that the artist changes at that moment")
    stage.start_server(timeout=2000)
    alice, uuids = stage.host(blocks(6))
    bob = stage.join("bob", via=stage.line(delay=0.08))
    carol = stage.join("carol", via=stage.line(delay=0.02))
    artists = [alice, bob, carol]
    nodes = list(uuids.values())
    for artist in artists:
        artist.stream(job="flow", uuids=nodes, count=100_000, rate=60, tag=artist.name)
    for turn in range(12):
        node = nodes[turn % len(nodes)]
        _ctl(stage, "quarantine", node)
        _ctl(stage, "release", node)
    for artist in artists:
        stage.check(artist.stop_stream(job="flow")[0] > 0, f"{artist.label} changed nothing")
    # (Whoever changes a node when something it needs is set aside makes that anew under another uuid.)
    stage.final(artists)


def _ctl(stage, *words):
    """Has the running server do something. Gives its answer."""
    server = stage.server
    line = [server.process.args[0], "ctl", "--json", "--data-dir", str(server.folder / "data"), *words]
    done = subprocess.run(line, capture_output=True, text=True, timeout=20)
    stage.check(done.returncode == 0, f"ctl {words}: {done.stderr}")
    return json.loads(done.stdout)


def _look(stage, artists):
    """Tells what add-ons tell of where their artists look."""
    for artist in artists:
        stage.wait(lambda a=artist: len(a.users()) == 2, 10, f"{artist.label} sees both users")
        artist.metadata(fields={
            "view_corners": [[float(i), float(i % 3), 1.0] for i in range(7)],
            "view_matrix": [[1.0 if i == j else 0.0 for j in range(4)] for i in range(4)],
            "color": {"__tuple__": [0.1, 0.2, 0.3, 1]},
            "frame_current": 24, "scene_current": "Szene", "mode_current": "OBJECT",
        })


def _free(dump):
    """A graph without its owners: who goes back owns nothing."""
    return {uuid: {**node, "owner": None} for uuid, node in dump.items()}
