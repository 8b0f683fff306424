"""How sessions end: closing, crashes, cut lines. What a leaver owned must become free."""

import versions
from harness import ACTIVE, LOBBY, SRV_SYNC, Impossible
from scenarios import blocks, scenario


def _trio(stage, timeout=5000, line=False, settings=None):
    """Alice (host), bob (who owns two nodes) and carol; gives them and the uuids and bob's line."""
    stage.start_server(timeout=timeout, settings=settings)
    alice, uuids = stage.host(blocks(5))
    way = stage.line() if line else None
    bob = stage.join("bob", via=way)
    carol = stage.join("carol")
    bob.change_owner(uuid=uuids["n1"], owner="bob")
    bob.add(name="bobs", owner="bob")
    stage.wait_equal([alice, bob, carol], count=6)
    for artist in (alice, bob, carol):
        stage.wait(lambda a=artist: len(a.users()) == 3, 10, f"{artist.label} sees three users")
    return alice, bob, carol, uuids, way


def _wait_gone(stage, artists, seconds):
    """Waits until bob is in nobody's table and owns nothing."""
    for artist in artists:
        stage.wait(lambda a=artist: "bob" not in a.users(), seconds, f"{artist.label} sees that bob is gone")
        stage.wait(
            lambda a=artist: all(node["owner"] != "bob" for node in a.dump().values()), 5,
            f"{artist.label} sees that bob's nodes are free",
            lambda a=artist: {node["owner"] for node in a.dump().values()},
        )


@scenario("l")
def closing(stage):
    """A proper close: nodes free, user gone, and the name can be used again within a second."""
    alice, bob, carol, uuids, _ = _trio(stage, timeout=2000)
    left = bob.leave()
    again = stage.artist("bob")
    if not stage.reference:
        stage.check(left == [] or stage.key < (0, 1, 30), f"{left} had to be ended by hand")
        # Not a wait for something: a second is what the server promises.
        stage.pause(1.0)
    else:
        _wait_gone(stage, [alice, carol], 10)
    again.login()
    again.wait_state(ACTIVE, timeout=10)
    for artist in (alice, carol):
        stage.wait(
            lambda a=artist: all(node["owner"] == "COMMON" for node in a.dump().values()), 5,
            f"{artist.label} sees that bob's nodes are free",
        )
        stage.wait(lambda a=artist: set(a.users()) == {"alice", "bob", "carol"}, 5, "the new bob is seen")
    stage.wait_equal([alice, carol, again], count=6)


@scenario("l", seconds=60)
def back_at_once(stage):
    """Leaving and joining again at once, three times: nothing that was meant for the login before arrives."""
    alice, bob, carol, uuids, _ = _trio(stage, timeout=2000)
    for again in range(3):
        bob.leave()
        alice.edit(uuid=uuids["n0"], patch={"while": f"bob was away, {again}"})
        bob = stage.join("bob")
        bob.edit(uuid=uuids["n2"], patch={"by": f"bob, {again}"})
        bob.change_owner(uuid=uuids["n1"], owner="bob")
        stage.wait_equal([alice, bob, carol], count=6)
    # Longer than anything waits for who is gone.
    stage.pause(2.0)
    stage.check(bob.state == ACTIVE, f"bob was ended: {bob.exit_reason}")
    stage.final([alice, bob, carol], count=6)


@scenario("l")
def crash(stage):
    """Main process and heartbeat child killed at once."""
    alice, bob, carol, uuids, _ = _trio(stage, timeout=2000)
    bob.kill(child=True)
    _wait_gone(stage, [alice, carol], 12)
    stage.final([alice, carol], count=6, name="bob")


@scenario("l")
def crash_of_main(stage):
    """Only the main process killed: its heartbeat child goes on answering."""
    alice, bob, carol, uuids, _ = _trio(stage, timeout=2000)
    bob.kill(child=False)
    _wait_gone(stage, [alice, carol], 12)
    stage.final([alice, carol], count=6, name="bob")


@scenario("l", light=True)
def silence(stage):
    """A line that goes silent for good: the user is lost after the timeout, its nodes free."""
    alice, bob, carol, uuids, way = _trio(stage, timeout=2000, line=True)
    way.cut("blackhole")
    bob.expect(".")
    _wait_gone(stage, [alice, carol], 20)
    stage.final([alice, carol], count=6)


def _blink(stage, mode):
    """Cuts bob's line and mends it while the others work; nobody is lost, nothing is missing."""
    if versions.framed(stage.version):
        raise Impossible("never connects again")
    # Links closed in order mean a leaving user unless they are back very soon.
    settings = {"net.leave_delay": "1s"} if mode == "fin" else None
    alice, bob, carol, uuids, way = _trio(stage, timeout=10000, line=True, settings=settings)
    way.cut(mode)
    alice.edit(uuid=uuids["n0"], patch={"while": "the line was cut"})
    deleted = uuids["n4"]
    carol.delete(uuid=deleted, deps=False)
    carol.change_owner(uuid=uuids["n2"], owner="carol")
    new = alice.add(name="new", payload={"made": "while the line was cut"})
    if mode != "fin":
        stage.wait_equal([alice, carol], count=6)
    way.resume()
    stage.wait_equal([alice, bob, carol], 20, count=6)
    stage.check(bob.state == ACTIVE and bob.exit_reason is None, f"bob was ended: {bob.exit_reason}")
    bob.edit(uuid=new, patch={"after": "the line was mended"})
    bob.edit(uuid=uuids["n1"], patch={"still": "bob's"})
    stage.wait_equal([alice, bob, carol], 20, count=6)
    stage.check(carol.dump()[uuids["n1"]]["owner"] == "bob", "bob lost what it owned")
    stage.final([alice, bob, carol], count=6)


@scenario("l", light=True)
def blink_reset(stage):
    """All links of a client are reset; it reconnects within the grace and nothing is missing."""
    _blink(stage, "rst")


@scenario("l", light=True)
def blink_closed(stage):
    """All links of a client are closed; it reconnects within the grace and nothing is missing."""
    _blink(stage, "fin")


@scenario("l", light=True)
def blink_silent(stage):
    """A line is silent for a moment; everything arrives late, nothing is lost."""
    _blink(stage, "blackhole")


@scenario("l")
def uploader_leaves(stage):
    """The first client vanishes before its upload; the next one can upload."""
    stage.start_server(timeout=2000)
    alice = stage.join("alice", admin=True, state=LOBBY)
    alice.kill(child=True)
    bob, _ = stage.host(blocks(5), name="bob")
    stage.final([bob], count=5)


@scenario("l")
def upload_breaks_off(stage):
    """The first client vanishes in the midst of its upload; one who waits can upload instead."""
    stage.start_server(timeout=2000)
    line = stage.line(rate=125_000)
    alice = stage.join("alice", admin=True, state=LOBBY, via=line)
    bob = stage.join("bob", admin=True, state=LOBBY)
    alice.add_many(blocks=blocks(9, prefix="a", big=1_000_000), push=False)
    alice.init()
    alice.wait_state(SRV_SYNC)
    # The announcement and some of the nodes are through, the big one can't be.
    stage.wait(lambda: line.moved[0] > 100_000, 15, "a part of the upload is through")
    alice.kill(child=True)
    # What the system had taken from alice would still flow for seconds.
    line.cut("rst")
    bob.add_many(blocks=blocks(5), push=False)

    def hosts():
        # Refused while the server still believes in alice; the add-on's user presses again.
        if bob.state == LOBBY:
            bob.init()
            stage.pause(0.3)
        return bob.state == ACTIVE

    stage.wait(hosts, 20, "bob can upload", lambda: f"bob is in state {bob.state}")
    later = stage.final([bob], count=5)
    stage.check("alice" not in later.users(), "alice is still there")


@scenario("l")
def shutdown(stage):
    """The server ends in order: every client is told, at once."""
    alice, bob, carol, _, _ = _trio(stage)
    stage.server.expect_end = True
    if stage.reference:
        raise Impossible("the reference doesn't tell")
    code = stage.server.stop()
    for artist in (alice, bob, carol):
        reason = artist.wait_exit(timeout=4)
        stage.check(reason not in ("", "None"), f"{artist.label} isn't told why")
    stage.check(code == 0, f"the server's exit code is {code}")


@scenario("l", light=True)
def line_lost(stage):
    """The newest clients never connect again: who loses the line is told so, and gone at once."""
    if not versions.framed(stage.version):
        raise Impossible("connects again")
    alice, bob, carol, uuids, way = _trio(stage, timeout=2000, line=True)
    way.cut("rst")
    _wait_gone(stage, [alice, carol], 4)
    bob.expect(".")
    bob.wait_exit(10)
    stage.final([alice, carol], count=6, name="bob")
