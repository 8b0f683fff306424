"""Who may do what: owners of nodes, and kicks."""

from harness import ACTIVE, Impossible
from scenarios import blocks, scenario


def _owners(artist, uuids):
    dump = artist.dump()
    return {name: dump[uuid]["owner"] for name, uuid in uuids.items()}


@scenario("g")
def owners(stage):
    """Take, give away, release; with and without what a node depends on."""
    stage.start_server()
    alice, uuids = stage.host(blocks(9))
    bob = stage.join("bob")
    stage.wait_equal([alice, bob], count=9)
    alice.change_owner(uuid=uuids["n1"], owner="alice")
    bob.change_owner(uuid=uuids["n5"], owner="bob", deps=True)
    expected = dict.fromkeys(uuids, "COMMON") | {"n1": "alice", "n5": "bob", "n4": "bob", "n3": "bob"}
    for artist in (alice, bob):
        stage.wait(
            lambda a=artist: _owners(a, uuids) == expected, 10, f"{artist.label} sees the owners",
            lambda a=artist: _owners(a, uuids),
        )
    alice.edit(uuid=uuids["n1"], patch={"mine": 1})
    bob.edit(uuid=uuids["n5"], patch={"mine": 2})
    alice.change_owner(uuid=uuids["n1"], owner="bob")
    expected["n1"] = "bob"
    stage.wait(lambda: _owners(bob, uuids) == expected, 10, "bob was given n1")
    bob.edit(uuid=uuids["n1"], patch={"mine": "bob's now"})
    bob.change_owner(uuid=uuids["n5"], owner="COMMON", deps=True)
    expected |= {"n5": "COMMON", "n4": "COMMON", "n3": "COMMON"}
    new = bob.add(name="new", owner="bob")
    uuids["new"] = new
    expected["new"] = "bob"
    later = stage.final([alice, bob], count=10)
    for artist in (alice, bob, later):
        stage.check(_owners(artist, uuids) == expected, f"{artist.label}: {_owners(artist, uuids)}, not {expected}")


@scenario("g")
def refused_right(stage):
    """Who takes what another one owns ends with the true owner, and so does everybody."""
    stage.start_server()
    alice, uuids = stage.host(blocks(4))
    bob = stage.join("bob")
    carol = stage.join("carol")
    artists = [alice, bob, carol]
    bob.change_owner(uuid=uuids["n1"], owner="bob")
    stage.wait(lambda: all(_owners(a, uuids)["n1"] == "bob" for a in artists), 10, "n1 is bob's everywhere")
    carol.force_owner(uuid=uuids["n1"], owner="carol")
    # Something after it on the same link shows that the Right has been handled.
    carol.change_owner(uuid=uuids["n2"], owner="carol")
    stage.wait(lambda: all(_owners(a, uuids)["n2"] == "carol" for a in artists), 10, "n2 is carol's everywhere")
    stage.wait(
        lambda: all(_owners(a, uuids)["n1"] == "bob" for a in artists), 10, "n1 is still bob's everywhere",
        lambda: [_owners(a, uuids) for a in artists],
    )
    bob.edit(uuid=uuids["n1"], patch={"still": "bob's"})
    # An admin may take what another one owns.
    alice.force_owner(uuid=uuids["n1"], owner="alice")
    stage.wait(
        lambda: all(_owners(a, uuids)["n1"] == "alice" for a in artists), 10, "the admin took n1",
        lambda: [_owners(a, uuids) for a in artists],
    )
    stage.final(artists, count=4)


@scenario("i")
def kick(stage):
    """A plain user's kick does nothing; an admin's ends the session of the other, who is told."""
    stage.start_server()
    alice, uuids = stage.host(blocks(4))
    bob = stage.join("bob")
    carol = stage.join("carol")
    for artist in (alice, bob, carol):
        stage.wait(lambda a=artist: len(a.users()) == 3, 10, f"{artist.label} sees three users")
    bob.change_owner(uuid=uuids["n2"], owner="bob")
    stage.wait_equal([alice, bob, carol], count=4)
    carol.kick(user="bob") if stage.key >= (0, 0, 21) else None
    carol.force_kick(user="bob")
    carol.force_kick(user="alice")
    carol.edit(uuid=uuids["n1"], patch={"after": "the kicks"})
    stage.wait_equal([alice, bob, carol], count=4)
    stage.check(bob.state == ACTIVE and alice.state == ACTIVE, "a plain user kicked somebody")
    alice.kick(user="bob")
    reason = bob.wait_exit(timeout=10)
    stage.check("kicked" in reason, f"bob is told {reason!r}")
    for artist in (alice, carol):
        stage.wait(lambda a=artist: set(a.users()) == {"alice", "carol"}, 6, f"{artist.label} sees that bob is gone")
        stage.wait(
            lambda a=artist: _owners(a, uuids)["n2"] == "COMMON", 6, f"{artist.label} sees that n2 is free",
            lambda a=artist: _owners(a, uuids),
        )
    bob.release()
    stage.final([alice, carol], count=4, name="bob" if not stage.reference else "later")


@scenario("g")
def owners_by_list(stage):
    """Several nodes are taken and given back at once; of a mixed list what is permitted happens."""
    if stage.key < (0, 8, 0):
        raise Impossible("takes nodes one by one")
    stage.start_server()
    alice, uuids = stage.host(blocks(6))
    bob = stage.join("bob")
    bob.change_owners(uuids=[uuids["n0"], uuids["n1"], uuids["n2"]], owner="bob")
    expected = dict.fromkeys(uuids, "COMMON") | dict.fromkeys(["n0", "n1", "n2"], "bob")
    carol = stage.join("carol")
    artists = [alice, bob, carol]
    for artist in artists:
        stage.wait(lambda a=artist: _owners(a, uuids) == expected, 10, f"{artist.label} sees bob's nodes")
    carol.change_owners(uuids=[uuids["n2"], uuids["n3"], uuids["n4"]], owner="carol")
    expected |= {"n3": "carol", "n4": "carol"}
    for artist in artists:
        stage.wait(
            lambda a=artist: _owners(a, uuids) == expected, 10, f"{artist.label} sees carol's nodes",
            lambda a=artist: _owners(a, uuids),
        )
    bob.change_owners(uuids=[uuids["n0"], uuids["n1"], uuids["n2"]], owner="COMMON")
    expected |= dict.fromkeys(["n0", "n1", "n2"], "COMMON")
    later = stage.final(artists, count=6)
    stage.check(_owners(later, uuids) == expected, f"{_owners(later, uuids)}, not {expected}")


@scenario("g")
def refused_edit(stage):
    """An edit of what another one owns is taken back; the edits that follow are everybody's."""
    if stage.reference:
        raise Impossible("the reference takes it")
    if stage.key < (0, 1, 17):
        raise Impossible("asks its own copy in another thread, before every commit and push")
    stage.start_server()
    alice, uuids = stage.host(blocks(4))
    bob = stage.join("bob")
    carol = stage.join("carol")
    artists = [alice, bob, carol]
    bob.change_owner(uuid=uuids["n1"], owner="bob")
    stage.wait(lambda: all(_owners(a, uuids)["n1"] == "bob" for a in artists), 10, "n1 is bob's everywhere")
    for turn in range(5):
        carol.force_edit(uuid=uuids["n1"], patch={"stolen": turn})
    stage.wait_equal(artists, count=4)
    stage.check("stolen" not in str(bob.dump()[uuids["n1"]]), "the edit was taken")
    bob.edit(uuid=uuids["n1"], patch={"bobs": "own"})
    stage.wait_equal(artists, count=4)
    bob.change_owner(uuid=uuids["n1"], owner="COMMON")
    stage.wait(lambda: _owners(carol, uuids)["n1"] == "COMMON", 10, "n1 is free")
    # Not a wait for something: what follows a refusal at once may still build on what was taken
    # back, and is refused as well.
    stage.pause(1.0)
    for turn in range(5):
        carol.edit(uuid=uuids["n1"], patch={"free": turn})
    later = stage.final(artists, count=4)
    payload = later.dump()[uuids["n1"]]["data"]["payload"]
    stage.check(payload.get("free") == 4 and payload.get("bobs") == "own", f"edits are missing: {payload}")
