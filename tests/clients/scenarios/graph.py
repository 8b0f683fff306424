"""The graph itself: upload, live editing, deletion, and what stays when everybody left."""

import venvs
from harness import ACTIVE, LOBBY, Impossible, wanted
from scenarios import blocks, scenario


def _check_content(stage, artist, made, uuids, owner="COMMON"):
    """Compares a client's nodes with what was put in."""
    dump = artist.dump()
    stage.check(set(dump) == set(uuids.values()), f"{artist.label} has other nodes than were uploaded")
    for block in made:
        node = dump[uuids[block["name"]]]
        stage.check(
            node["data"]["payload"] == wanted(block["payload"]), f"{artist.label}: the data of {block['name']} changed"
        )
        deps = [uuids[name] for name in block.get("deps", ())]
        stage.check(node["deps"] == deps, f"{artist.label}: {block['name']} depends on {node['deps']}, not {deps}")
        stage.check(node["owner"] == owner, f"{artist.label}: {block['name']} is owned by {node['owner']}")


@scenario("a", seconds=60)
def upload(stage):
    """Upload of 30 nodes, one of 5 MB, with a client waiting in the lobby; a later joiner."""
    stage.start_server()
    alice = stage.join("alice", admin=True, state=LOBBY)
    bob = stage.join("bob", state=LOBBY)
    made = blocks(30, big=5_000_000)
    uuids = dict(zip((block["name"] for block in made), alice.add_many(blocks=made, push=False)))
    alice.init()
    alice.wait_state(ACTIVE, timeout=20)
    bob.wait_state(ACTIVE, timeout=20)
    carol = stage.final([alice, bob], count=30, name="carol")
    for artist in (alice, bob, carol):
        _check_content(stage, artist, made, uuids)


@scenario("a")
def upload_from_user_thread(stage):
    """Upload started in the user's thread, as the add-on does: the answer must not come too fast."""
    stage.start_server()
    alice = stage.join("alice", admin=True, state=LOBBY)
    made = blocks(12)
    alice.add_many(blocks=made, push=False)
    alice.init(thread="user")
    alice.wait_state(ACTIVE, timeout=15)
    stage.final([alice], count=12)


@scenario("a")
def two_uploads(stage):
    """Two clients want to upload: one is accepted, the other gets that graph."""
    stage.start_server()
    alice = stage.join("alice", admin=True, state=LOBBY)
    bob = stage.join("bob", admin=True, state=LOBBY)
    alice.add_many(blocks=blocks(6, prefix="a"), push=False)
    alice.init()
    alice.wait_state(ACTIVE, timeout=15)
    bob.wait_state(ACTIVE, timeout=15)
    stage.final([alice, bob], count=6)


@scenario("f")
def editing(stage):
    """New nodes, edits, changed dependencies, from both sides."""
    stage.start_server()
    alice, uuids = stage.host(blocks(8))
    bob = stage.join("bob")
    stage.wait_equal([alice, bob], count=8)
    bob.edit(uuid=uuids["n1"], patch={"by": "bob", "more": {"__set__": ["x", "y"]}})
    alice.edit(uuid=uuids["n2"], patch={"by": "alice", "layers": {"__set__": ["b"]}})
    new = bob.add(name="new", payload={"made": "by bob"}, deps=["n5", "n7"])
    stage.wait_equal([alice, bob], count=9)
    alice.edit(uuid=new, patch={"made": "over by alice", "list": [1, 2, 3]})
    stage.wait_equal([alice, bob], count=9)
    # Lists that grow and shrink are where deltas go wrong.
    for shape in ([1, 3], [0, 1, 3, 4], [4, 3, 1, 0], [], [{"a": 1}, {"__tuple__": [1, 2]}]):
        bob.edit(uuid=new, patch={"list": shape})
        stage.wait_equal([alice, bob], count=9)
    alice.edit(uuid=new, patch={}, replace=True, deps=["n3"])
    later = stage.final([alice, bob], count=9)
    dump = later.dump()
    stage.check(dump[new]["data"]["payload"] == {}, "the last edit is missing")
    stage.check(dump[new]["deps"] == [uuids["n3"]], "the changed dependencies are missing")
    stage.check(dump[uuids["n1"]]["data"]["payload"]["by"] == "bob", "the edit of bob is missing")


@scenario("f")
def deleting(stage):
    """Deletes with and without what a node depends on; nobody keeps a reference."""
    stage.start_server()
    alice, uuids = stage.host(blocks(12))
    bob = stage.join("bob")
    stage.wait_equal([alice, bob], count=12)
    # n11 depends on n10 (which depends on n9) and on n5 (n4, n3): six nodes go.
    alice.delete(uuid=uuids["n11"], deps=True)
    stage.wait_equal([alice, bob], count=6)
    # n1 depends on n0; only n1 goes, and n2 must lose its reference.
    bob.delete(uuid=uuids["n1"], deps=False)
    stage.wait_equal([alice, bob], count=5)
    for artist in (alice, bob):
        stage.check(artist.dump()[uuids["n2"]]["deps"] == [], f"{artist.label} keeps a reference to a deleted node")
    again = bob.add(name="n1", payload={"again": True}, deps=["n0"])
    alice.edit(uuid=uuids["n2"], patch={"still": "here"})
    stage.wait_equal([alice, bob], count=6)
    later = stage.final([alice, bob], count=6)
    stage.check(again in later.dump(), "a node added after deletes is missing")


@scenario("n")
def second_session(stage):
    """Everybody leaves; who comes back finds the graph, and nothing locked."""
    stage.start_server(timeout=2000)
    alice, uuids = stage.host(blocks(9))
    bob = stage.join("bob")
    bob.change_owner(uuid=uuids["n3"], owner="bob")
    bob.edit(uuid=uuids["n3"], patch={"mine": True})
    stage.wait_equal([alice, bob], count=9)
    before = alice.dump()
    before[uuids["n3"]]["owner"] = "COMMON"
    bob.leave()
    alice.leave()
    # The names are taken until the server has noticed; ours notices at once.
    dave = stage.join("dave", timeout=20)
    stage.wait(lambda: dave.dump() == before, 15, "the graph as it was left, nothing locked")
    dave.edit(uuid=uuids["n3"], patch={"mine": "dave's"})
    erin = stage.join("erin")
    stage.wait_equal([dave, erin], count=9)


# What happens to a list, one step after the other.
ROW = [1, "two", 3.0, None, {"five": [5]}]
STEPS = [
    ROW, [*ROW, 6], [0, *ROW], [*ROW[:2], "new", *ROW[2:]], ROW[1:], [ROW[0], *ROW[2:]], [ROW, ROW[:1]],
    [[*ROW, "deep"], ROW[:1]], [[], [[]]], [], [{"__tuple__": [1, 2]}, {"__set__": ["a"]}],
    [{"__tuple__": [1, 2, 3]}, {"__set__": ["a", "b"]}], list(range(50)), list(range(1, 51)), list(range(49, -1, -1)),
]


@scenario("f")
def lists(stage):
    """Edits inside lists: at the end, at the start, in the middle, in lists of lists."""
    stage.start_server()
    alice, uuids = stage.host(blocks(3))
    bob = stage.join("bob")
    uuid = uuids["n1"]
    for number, step in enumerate(STEPS):
        artist = (alice, bob)[number % 2]
        artist.edit(uuid=uuid, patch={"row": step, "step": number})
        if number == 7:
            carol = stage.join("carol")
        # The other one's next edit has to build on this one.
        stage.wait_equal([alice, bob], count=3)
    later = stage.final([alice, bob, carol], count=3)
    for artist in stage.artists:
        # deepdiff up to 5.5 says so when a list grows, and lets it grow.
        artist.expect(r"Key or index of \d+ is not found for root\['payload'\]\['row'\]")
    stage.check(later.dump()[uuid]["data"]["payload"]["row"] == STEPS[-1], "the last list is another one")


@scenario("f", seconds=120)
def mixed_deepdiff(stage):
    """Artists with three versions of deepdiff, which describe and apply changes of lists differently."""
    if stage.key < (0, 1, 40) or stage.reference:
        raise Impossible("no deltas, or a server that passes on what some cannot read")
    ages = ["5.7.0", "7.0.1", "8.1.1"] if stage.key >= (0, 8, 0) else ["5.5.0", "7.0.1", "8.6.2"]
    mixed = [f"{stage.version}+{age}" for age in ages]
    venvs.make_all(mixed)
    stage.start_server()
    alice, uuids = stage.host([*blocks(3), {"name": "scene", "type": "Scene", "payload": {"row": [1, 2, 3]}}])
    artists = [stage.join(f"artist{number}", version=version) for number, version in enumerate(mixed)]
    crowd = [1, 2, 2, "x", {"__tuple__": [0, 1]}, {"a": 1}]
    crowds = [crowd, crowd[1:], [5, *crowd, 6], crowd[::-1], [2, 2, 2], [], list(range(15)), list(range(5, 12))]
    for number, step in enumerate([*STEPS, *STEPS]):
        artist = artists[number % len(artists)]
        odd = {f"it's {number}": number, "set": {"__set__": list(range(number % 4))}, f"key{number}": [number]}
        artist.edit(uuid=uuids["n1"], patch={"row": step, "step": number, **odd})
        artist.edit(uuid=uuids["scene"], patch={"row": crowds[number % len(crowds)], "step": number})
        stage.wait_equal([alice, *artists], count=4)
    stage.final([alice, *artists], count=4)
    for artist in artists:
        # What versions before 7 say of the changes they make themselves. Who only receives has nothing to say.
        artist.expect(r"(Key or index of \d+ is not found for|Unable to get the item at) root")
