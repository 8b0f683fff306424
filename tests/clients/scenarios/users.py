"""Users: what they tell about themselves, names, passwords."""

import versions
from harness import ACTIVE, LOBBY, Impossible, wanted
from scenarios import blocks, scenario

REFUSED = (0,)


def _metadata(artist, name):
    user = artist.users().get(name)
    return user["metadata"] if user else None


@scenario("h")
def metadata(stage):
    """Metadata with sets and tuples; the table of users is right for everybody."""
    stage.start_server()
    alice, _ = stage.host(blocks(3))
    bob = stage.join("bob")
    artists = {"alice": alice, "bob": bob}
    # The add-on waits for its own name in the table before it tells anything.
    for artist in artists.values():
        stage.wait(lambda a=artist: set(a.users()) == set(artists), 10, f"{artist.label} sees both users")
    told = {
        "view_corners": [{"__tuple__": [0.5, 1.0, -2.0]}, [1.0, 2.0, 3.0]],
        "view_matrix": [[1.0, 0.0], [0.0, 1.0]],
        "color": {"__tuple__": [0.1, 0.2, 0.3, 1]},
        "frame_current": 24,
        "scene_current": "Szene",
        "mode_current": None,
    }
    alice.metadata(fields=told)
    bob.metadata(fields={"selected_objects": {"__set__": ["Cube", "Lamp", "Ünicode"]}, "frame_current": 1})
    bob.metadata(fields={"frame_current": 2})
    expected = {
        "alice": wanted(told),
        "bob": wanted({"selected_objects": {"__set__": ["Cube", "Lamp", "Ünicode"]}, "frame_current": 2}),
    }
    later = stage.join("later")
    artists["later"] = later
    for artist in artists.values():
        stage.wait(lambda a=artist: set(a.users()) == set(artists), 10, f"{artist.label} sees three users")
    for name, artist in artists.items():
        for other, fields in expected.items():
            if other == name and stage.key >= (0, 1, 41):
                # From 0.1.41 on a user's own entry changes only with the next whole table.
                continue
            stage.wait(
                lambda a=artist, o=other, f=fields: _metadata(a, o) == f, 10, f"{artist.label} sees what {other} told",
                lambda a=artist, o=other: _metadata(a, o),
            )
    for artist in artists.values():
        for name, user in artist.users().items():
            stage.check(set(user) == {"id", "admin", "latency", "status", "metadata"}, f"odd user record {user}")
            stage.check(user["id"] == name, f"{name} is called {user['id']}")
            stage.check(user["admin"] == (name == "alice"), f"{name} has admin {user['admin']}")
            stage.check(isinstance(user["latency"], int), f"{name} has latency {user['latency']!r}")
    if stage.key >= (0, 0, 21):
        stage.wait(
            lambda: all(user["status"] == ACTIVE for user in later.users().values()), 10, "everybody is shown as active"
        )
    stage.wait(
        lambda: all(0 <= user["latency"] < 999 for user in later.users().values()) or stage.key < (0, 0, 21),
        10, "latencies are measured",
    )
    bob.leave()
    left = 10 if stage.reference else 4
    for name in ("alice", "later"):
        stage.wait(lambda n=name: set(artists[n].users()) == {"alice", "later"}, left, f"{name} sees that bob left")


def _one_field(stage, text, state=LOBBY):
    """Logs in with the one password field of the versions before 0.9.1."""
    return stage.join(f"user-{len(stage.artists)}", state=state, admin=False, **{"server": text})


def _refused(stage, name, **login):
    """A login that must be refused; gives the reason the client shows."""
    artist = stage.artist(name)
    # A 0.0.3 client doesn't notice a refusal by itself, it gives up after a second.
    artist.login(timeout=4000, **login)
    reason = artist.wait_exit(timeout=12)
    stage.check(artist.state != ACTIVE, f"{artist.label} is in state {artist.state}")
    return reason


def _admin(stage, artist, expected):
    seen = stage.wait(lambda: artist.users().get(artist.name), 10, f"{artist.label} is in its own table")
    stage.check(seen["admin"] is expected, f"{artist.label} has admin {seen['admin']}, {expected} was expected")


@scenario("j", seconds=60)
def passwords_one_field(stage):
    """Before 0.9.1: one field for both passwords; a refusal tells why."""
    if versions.two_passwords(stage.version):
        raise Impossible("has two fields")
    stage.start_server()
    _admin(stage, stage.join("root", admin=True, state=LOBBY), True)
    _admin(stage, stage.join("plain", state=LOBBY), False)
    reason = _refused(stage, "wrong", admin="not the password")
    if stage.key >= (0, 0, 11):
        stage.check("password" in reason or "refused" in reason, f"the reason is {reason!r}")
    _refused(stage, "wrong2", admin="ungültig")
    # The name of one who was refused is free.
    stage.join("wrong", state=LOBBY)


@scenario("j", seconds=60)
def server_password_one_field(stage):
    """Before 0.9.1 with a server password: it logs in plain users, the admin's logs in admins."""
    if versions.two_passwords(stage.version):
        raise Impossible("has two fields")
    if stage.reference:
        raise Impossible("the reference has no server password here")
    stage.start_server(server_password="offen-3")
    _admin(stage, stage.join("root", admin=True, state=LOBBY), True)
    _admin(stage, stage.join("plain", state=LOBBY, server="offen-3"), False)
    _refused(stage, "none")
    _refused(stage, "wrong", server="offen-4")


@scenario("j", seconds=60)
def passwords_two_fields(stage):
    """From 0.9.1: both fields, with and without a server password configured."""
    if not versions.two_passwords(stage.version):
        raise Impossible("has one field")
    stage.start_server()
    _admin(stage, stage.join("root", admin=True, state=LOBBY), True)
    _admin(stage, stage.join("plain", state=LOBBY), False)
    info = stage.artists[-1].session_info(address=f"127.0.0.1:{stage.server.port}")
    told = versions.calls_itself(stage.version)
    stage.check(info and info["version"] == told and info["private"] is False, f"the session tells {info}")
    stage.check("password" in _refused(stage, "wrong", admin="not the password"), "no word of a password")
    stage.server.expect_end = True
    stage.server.stop()
    stage.start_server(server_password="offen-3")
    _admin(stage, stage.join("root2", admin=True, state=LOBBY, server="offen-3"), True)
    _admin(stage, stage.join("plain2", state=LOBBY, server="offen-3"), False)
    info = stage.artists[-1].session_info(address=f"127.0.0.1:{stage.server.port}")
    stage.check(info and info["private"] is True, f"the session tells {info}")
    stage.check("password" in _refused(stage, "none"), "no word of a password")
    stage.check("password" in _refused(stage, "wrong2", server="offen-4"), "no word of a password")
    stage.check("password" in _refused(stage, "wrong3", server="offen-3", admin="x"), "no word of a password")


@scenario("k", seconds=90)
def names(stage):
    """Duplicate and forbidden names are refused; odd ones that are allowed work."""
    stage.start_server()
    alice, _ = stage.host(blocks(3))
    _refused(stage, "alice")
    bad = [] if stage.reference else ["COMMON", "Server", "client", "guest", "a\nb", "\x1b[31mred", "x" * 129]
    for name in bad:
        _refused(stage, name)
    good = ["Zoë 画家", "x" * 128, "O'Neil \"the\" [artist]"]
    joined = [stage.join(name) for name in good]
    stage.wait(lambda: set(alice.users()) == {"alice", *good}, 10, "alice sees the odd names", alice.users)
    joined[0].add(name="zoë", payload={"by": "Zoë"}, owner="Zoë 画家")
    stage.wait_equal([alice, *joined], count=4)
    # `stage.final` also proves that the session survived all of it.
    stage.final([alice, *joined], count=4)


@scenario("k")
def full(stage):
    """Who finds the session full is told so, and may come when somebody has left."""
    if stage.reference:
        raise Impossible("takes any number")
    stage.start_server(timeout=2000, settings={"session.max_users": "2"})
    alice, _ = stage.host(blocks(3))
    bob = stage.join("bob")
    reason = _refused(stage, "carol")
    if stage.key >= (0, 0, 11):
        stage.check("full" in reason or "refused" in reason, f"the reason is {reason!r}")
    stage.wait(lambda: set(alice.users()) == {"alice", "bob"}, 10, "alice sees bob alone", alice.users)
    bob.leave()
    stage.wait(lambda: set(alice.users()) == {"alice"}, 10, "alice sees that bob left", alice.users)
    # The name of one who was refused is free.
    carol = stage.join("carol")
    stage.wait_equal([alice, carol], count=3)
