"""Ends of the server, good and bad: what artists did is there when it is back."""

import random
import time

from harness import Impossible
from scenarios import blocks, scenario

# How soon the server promises that changes are safe, and what the way to another client may take.
FLUSH, SLACK = 0.1, 0.25
NODES = 6


@scenario("p", seconds=150)
def power_cut(stage):
    """The server is killed again and again in the midst of work: what was a moment old is there, in order."""
    _only_ours(stage)
    stage.start_server(timeout=2000)
    alice, uuids = stage.host(blocks(NODES, big=300_000))
    bob = stage.join("bob")
    rng = random.Random(stage.version)
    step = 0
    for turn in range(4):
        seen, last = {}, step + rng.randrange(5, 60)
        while step < last:
            step += 1
            patch = {"step": step}
            if step % 7 == 0:
                patch["vertices"] = {"__blob__": [rng.randrange(1_000, 200_000), step]}
            alice.edit(uuid=uuids[f"n{step % NODES}"], patch=patch)
            if step % 3 == 0:
                now = time.monotonic()
                seen.update({found: now for found in _steps(bob) if found not in seen})
        cut = time.monotonic()
        stage.server.kill()
        for artist in (alice, bob):
            # It has no server any more, and says so.
            artist.expect(".")
            artist.kill()
        stage.start_again()
        carol = stage.join(f"carol{turn}", timeout=20)
        steps = _steps(carol)
        safe = [found for found, at in seen.items() if at < cut - FLUSH - SLACK]
        stage.check(max(steps) >= max(safe, default=0), f"{max(safe, default=0)} was safe, {max(steps)} is there")
        # Everything before the last one that is there: nothing was lost in between.
        wanted = {found for found in range(max(steps) - NODES + 1, max(steps) + 1) if found > 0}
        stage.check(wanted <= steps, f"{sorted(wanted - steps)} are missing of {sorted(steps)}")
        step = max(steps)
        alice, bob = stage.join(f"alice{turn}", admin=True), carol
    alice.edit(uuid=uuids["n1"], patch={"after": "all that"})
    stage.final([alice, bob], count=NODES)


@scenario("p", seconds=60)
def restart(stage):
    """The server is stopped in order, right after an edit and right after an upload: everything is there again."""
    _only_ours(stage)
    stage.start_server(timeout=2000)
    alice, uuids = stage.host(blocks(12, big=2_000_000))
    for turn in range(2):
        before = alice.dump()
        alice.expect(".")
        stage.server.expect_end = True
        stage.check(stage.server.stop() == 0, "the server ended with an error")
        stage.start_again()
        alice.kill()
        alice = stage.join(f"alice{turn}", admin=True, timeout=20)
        stage.wait(lambda a=alice, b=before: _free(a.dump()) == _free(b), 15, "the graph as it was")
        new = alice.add(name=f"new{turn}", payload={"turn": turn})
        alice.edit(uuid=uuids["n1"], patch={"turn": turn, "list": list(range(turn + 3))})
        bob = stage.join(f"bob{turn}")
        stage.wait(lambda b=bob, n=new: n in b.dump(), 15, "what was made after the restart")
        bob.leave()
    stage.final([alice], count=14)


def _only_ours(stage):
    if stage.reference:
        raise Impossible("the clients' own servers forget everything")


def _steps(artist):
    """The numbers of the edits that are in a graph."""
    payloads = [node["data"]["payload"] for node in artist.dump().values()]
    return {payload.get("step", 0) for payload in payloads}


def _free(dump):
    """A graph without its owners: after a restart nobody owns anything."""
    return {uuid: {**node, "owner": None} for uuid, node in dump.items()}
