"""Thin and long lines, as at an artist's home."""

from harness import ACTIVE, SYNCING, Impossible
from scenarios import blocks, scenario
from versions import ports

# 1 Mbit/s in bytes per second.
HOME = 125_000


def no_heartbeat_over_distance(stage):
    """Up to 0.0.11 a client takes the answer of its own service manager, which comes every two
    seconds, for a missing PING unless a PING is there within some milliseconds: on long or busy
    lines, or on a busy machine, it ends its session (with its own server, too)."""
    if stage.key < (0, 0, 12):
        raise Impossible("its heartbeat fails by itself under such conditions")


def _thin_line(stage, size):
    """Bob pushes `size` bytes over a thin line, carol receives them over another one."""
    no_heartbeat_over_distance(stage)
    stage.start_server(timeout=1000)
    alice, uuids = stage.host(blocks(5))
    bob = stage.join("bob", via=stage.line(rate=HOME), timeout=30)
    carol = stage.join("carol", via=stage.line(rate=HOME), timeout=30)
    artists = (alice, bob, carol)
    for artist in artists:
        stage.wait(lambda a=artist: len(a.users()) == 3, 10, f"{artist.label} sees three users")
    bob.edit(uuid=uuids["n0"], patch={"vertices": {"__blob__": [size, 3]}})
    seconds = size / HOME
    start = stage.left()
    stage.wait_equal([alice, bob], seconds * 1.5 + 10, count=5)
    needed = start - stage.left()
    stage.check(needed > 0.7 * seconds, f"the line isn't thin: {needed:.1f} s for {size} bytes")
    # Small things of the others find their way beside the big one.
    alice.edit(uuid=uuids["n1"], patch={"meanwhile": True})
    # From 0.1.30 to 0.1.41 a client has half a node, and waits for the other half: it answers after that.
    patience = seconds * 1.5 + 10
    stage.wait(
        lambda: carol.dump(timeout=patience, uuids=[uuids["n1"]])[uuids["n1"]]["data"]["payload"].get("meanwhile") is True,
        patience, "a small edit arrives",
    )
    stage.wait_equal(artists, seconds * 1.5 + 10, count=5)
    for artist in artists:
        stage.check(artist.state == ACTIVE and artist.exit_reason is None, f"{artist.label}: {artist.exit_reason}")
        sees_all = lambda a=artist: set(a.users()) == {"alice", "bob", "carol"}
        stage.wait(sees_all, 10, f"{artist.label} sees everybody", artist.users)
    stage.final(artists, count=5)


@scenario("m", seconds=90, light=True)
def thin_line(stage):
    """2 MB over 1 Mbit/s with a timeout of one second: nobody is lost."""
    _thin_line(stage, 2_000_000)


@scenario("m", seconds=700, light=True, slow=True)
def thin_line_long(stage):
    """20 MB over 1 Mbit/s with a timeout of one second: nobody is lost."""
    _thin_line(stage, 20_000_000)


@scenario("m", seconds=60, light=True)
def long_line(stage):
    """Everything once over a line of 200 ms round trip."""
    no_heartbeat_over_distance(stage)
    stage.start_server()
    line = stage.line(delay=0.1)
    alice, uuids = stage.host(blocks(12), via=line, timeout=30)
    bob = stage.join("bob", via=stage.line(delay=0.1), timeout=30)
    carol = stage.join("carol")
    stage.wait_equal([alice, bob, carol], count=12)
    # An edit and at once the delete of the same node: the edit must not revive it anywhere.
    alice.edit(uuid=uuids["n11"], patch={"last": "words"})
    alice.delete(uuid=uuids["n11"], deps=False)
    # A new node and at once its owner.
    new = bob.add(name="new", payload={"by": "bob"}, owner="bob")
    if stage.key < (0, 1, 41):
        bob.change_owner(uuid=new, owner="COMMON")
    carol.change_owner(uuid=uuids["n5"], owner="carol")
    stage.wait_equal([alice, bob, carol], count=12)
    stage.check(uuids["n11"] not in carol.dump(), "a deleted node came back")
    stage.final([alice, bob, carol], count=12)


@scenario("f", seconds=60, light=True)
def delete_crosses_edit(stage):
    """A node is deleted while another client edits what depends on it: nobody keeps the reference."""
    no_heartbeat_over_distance(stage)
    stage.start_server()
    line = stage.line(delay=0.2)
    alice, uuids = stage.host(blocks(6), via=line, timeout=30)
    bob = stage.join("bob")
    stage.wait_equal([alice, bob], count=6)
    # n2 depends on n1. The delete of n1 is at the server before alice's edit of n2, which still
    # names n1, and alice learns of the delete only after her edit.
    bob.delete(uuid=uuids["n1"], deps=False)
    alice.edit(uuid=uuids["n2"], patch={"edited": "before alice knew"})
    stage.final([alice, bob], count=5)


@scenario("f", seconds=60, light=True)
def delete_overtakes(stage):
    """A delete while an edit of what depends on the node is still queued behind bulk for a peer."""
    no_heartbeat_over_distance(stage)
    stage.start_server()
    alice, uuids = stage.host(blocks(6), timeout=30)
    bob = stage.join("bob")
    carol = stage.join("carol", via=stage.line(rate=HOME), timeout=30)
    stage.wait_equal([alice, bob, carol], count=6)
    # Two seconds of bulk, then the edit, both on carol's data link; the delete has its own link.
    alice.edit(uuid=uuids["n0"], patch={"vertices": {"__blob__": [250_000, 1]}})
    alice.edit(uuid=uuids["n2"], patch={"edited": "before the delete"})
    stage.wait(
        lambda: "edited" in bob.dump(uuids=[uuids["n2"]])[uuids["n2"]]["data"]["payload"], 10, "bob has the edit"
    )
    bob.delete(uuid=uuids["n1"], deps=False)
    stage.final([alice, bob, carol], count=5)


@scenario("b", seconds=60, light=True)
def deleted_while_joining(stage):
    """The node a joiner asks for last is deleted, and others change, while it is on its way there."""
    no_heartbeat_over_distance(stage)
    stage.start_server()
    alice, uuids = stage.host(blocks(40))
    bob = stage.join("bob")
    stage.wait_equal([alice, bob], count=40)
    carol = stage.artist("carol").login(via=stage.line(delay=0.02))
    carol.wait_state(SYNCING)
    # Catalogs are fetched from their end, so n0 comes last.
    alice.delete(uuid=uuids["n0"], deps=False)
    bob.edit(uuid=uuids["n2"], patch={"edited": "while carol joins"})
    bob.change_owner(uuid=uuids["n3"], owner="bob")
    new = bob.add(name="new", payload={"made": "while carol joins"}, deps=["n5"])
    stage.wait_equal([alice, bob], count=40)
    carol.wait_state(ACTIVE, timeout=20)
    # Live data right after the last node is what a lost one would collide with.
    alice.edit(uuid=new, patch={"edited": "after the join"})
    stage.final([alice, bob, carol], count=40)


def _with_one_line(stage):
    """Alice, and bob whose every connection can be broken by itself."""
    no_heartbeat_over_distance(stage)
    if stage.key >= (0, 10, 0):
        raise Impossible("its clients open no connection again")
    stage.start_server()
    alice, uuids = stage.host(blocks(6))
    line = stage.line()
    bob = stage.join("bob", via=line)
    stage.wait_equal([alice, bob], count=6)
    return alice, bob, line, uuids


@scenario("m", seconds=60, light=True)
def data_link_breaks(stage):
    """New nodes are lost with bob's data link; before it is back all are edited, and half of them deleted."""
    alice, bob, line, _ = _with_one_line(stage)
    carol = stage.join("carol")
    artists = (alice, bob, carol)
    line.lose(1)
    new = [alice.add(name=f"new{n}", payload={"n": n}) for n in range(10)]
    # So they have gone to bob as well.
    stage.wait_equal([alice, carol], count=16)
    line.break_link(1, 1.0)
    for uuid in new:
        alice.edit(uuid=uuid, patch={"edited": True})
    for uuid in new[:5]:
        alice.delete(uuid=uuid, deps=False)
    stage.wait_equal(artists, count=11)
    stage.check(bob.state == ACTIVE and bob.exit_reason is None, f"bob: {bob.exit_reason}")
    stage.final(artists, count=11)


@scenario("m", seconds=60, light=True)
def push_comes_late(stage):
    """A new node waits for the link over which bob pushes, and he deletes it before that is back: it stays deleted."""
    alice, bob, line, _ = _with_one_line(stage)
    artists = (alice, bob)
    bob.add(name="before", payload={"n": 0})
    stage.wait_equal(artists, count=7)
    line.break_link(2 if ports(stage.version) == 4 else 1, 3.0)
    # What his client pushes before it has noticed is lost.
    stage.pause(0.5)
    gone = bob.add(name="gone", payload={"n": 1})
    bob.delete(uuid=gone, deps=False)
    bob.add(name="after", payload={"n": 2})
    stage.wait_equal(artists, 20, count=8)
    stage.check(bob.state == ACTIVE and bob.exit_reason is None, f"bob: {bob.exit_reason}")
    later = stage.final(artists, count=8)
    stage.check(gone not in later.dump(), "a deleted node came back")


@scenario("m", seconds=90, light=True)
def command_link_breaks(stage):
    """Bob's command link is dead while somebody joins and moves about, and a node is deleted."""
    alice, bob, line, uuids = _with_one_line(stage)
    line.lose(0)
    carol = stage.join("carol")
    alice.delete(uuid=uuids["n5"], deps=False)
    alice.change_owner(uuid=uuids["n0"], owner="alice")
    stage.wait_equal([alice, carol], count=5)
    line.break_link(0, 0.5)
    for frame in range(12):
        carol.metadata(fields={"frame_current": frame})
        stage.pause(0.1)
    artists = (alice, bob, carol)
    stage.wait_equal(artists, 20, count=5)
    for artist in artists:
        stage.check(artist.state == ACTIVE and artist.exit_reason is None, f"{artist.label}: {artist.exit_reason}")
        sees_all = lambda a=artist: set(a.users()) == {"alice", "bob", "carol"}
        stage.wait(sees_all, 10, f"{artist.label} sees everybody", artist.users)
    later = stage.final(artists, count=5)
    stage.check(uuids["n5"] not in later.dump(), "a deleted node came back")


@scenario("m", seconds=60, light=True)
def last_node_is_lost(stage):
    """Bob's data link breaks when the last node of his join is on its way: he gets it, or is asked to join again."""
    no_heartbeat_over_distance(stage)
    stage.start_server()
    alice, _ = stage.host(blocks(12))
    line = stage.line(delay=0.1)
    bob = stage.artist("bob")
    bob.login(via=line)
    bob.wait_state(SYNCING)
    stage.wait(lambda: len(bob.dump()) >= 11, 20, "eleven nodes")
    line.lose(1)
    # Until the server has sent the last one, which nobody sees.
    stage.pause(0.5)
    line.break_link(1, 0.5)
    has_all = lambda: bob.state == ACTIVE and len(bob.dump()) == 12
    stage.wait(lambda: bob.exit_reason is not None or has_all(), 20, "bob has everything, or is gone")
    if bob.exit_reason is None:
        stage.final([alice, bob], count=12)
    else:
        stage.check("join again" in bob.exit_reason, bob.exit_reason)
        stage.final([alice], count=12)
