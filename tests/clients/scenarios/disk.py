"""Ends of the server in good order: what artists did is there when it is back."""

from harness import Impossible
from scenarios import blocks, scenario


@scenario("p", seconds=60)
def restart(stage):
    """The server is stopped in order, right after an edit and right after an upload: everything is there again."""
    if stage.reference:
        raise Impossible("the clients' own servers forget everything")
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


def _free(dump):
    """A graph without its owners: after a restart nobody owns anything."""
    return {uuid: {**node, "owner": None} for uuid, node in dump.items()}
