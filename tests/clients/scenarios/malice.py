"""Malice: a user who sends what would run code on the others' computers, or end their Blender."""

import marshal
import pickle

import versions
from harness import LOBBY
from scenarios import blocks, scenario


def _text(text):
    """A text as a pickle has it in every protocol that has lengths."""
    raw = text.encode()
    return b"X" + len(raw).to_bytes(4, "little") + raw


def _gadgets(command):
    """Name → opcodes that leave one value and would run a command, or raise, when unpickled."""
    call, system, words = _text(command), b"cos\nsystem\n", _text("os") + _text("system") + b"\x93"
    quoted = f"S'{command}'\n".encode()
    code = _text(f"__import__('os').system({command!r})")
    return {
        "reduce": system + call + b"\x85R",
        "reduce, stack": words + call + b"\x85R",
        "reduce, old": system + b"(" + quoted + b"tR",
        "posix": b"cposix\nsystem\n" + call + b"\x85R",
        "subprocess": b"csubprocess\ncall\n](" + _text("sh") + _text("-c") + call + b"e\x85R",
        "eval": b"cbuiltins\neval\n" + code + b"\x85R",
        "exec, Python 2": b"c__builtin__\nexec\n" + code + b"\x85R",
        "inst": b"(" + call + b"ios\nsystem\n",
        "obj": b"(" + system + call + b"o",
        "newobj": b"csubprocess\nPopen\n](" + _text("sh") + _text("-c") + call + b"e\x85\x81",
        "newobj_ex": b"csubprocess\nPopen\n](" + _text("sh") + _text("-c") + call + b"e\x85}\x92",
        "build": b"ctypes\nSimpleNamespace\n)\x81}" + _text("__setstate__") + system + b"sb" + call + b"b",
        "build a set": b"\x8f}" + _text("x") + call + b"sb",
        "extension": b"\x82\x01",
        "extension, two bytes": b"\x83\x01\x00",
        "extension, four bytes": b"\x84\x01\x00\x00\x00",
        "persistent id": _text("os.system") + b"Q",
        "persistent id, old": b"Pos.system\n",
        "dotted": _text("collections") + _text("OrderedDict.__init__.__globals__") + b"\x93",
        "subclasses": _text("builtins") + _text("int.__subclasses__") + b"\x93)R",
        "getattr": b"cbuiltins\ngetattr\n" + system + _text("x") + b"\x86R",
        "import": b"c__main__\nCLIENT\n",
        "an unknown module": b"cno_such_module\nx\n)R",
        "type makes a class": b"cbuiltins\ntype\n" + _text("x") + b")}\x87R",
        "type of a call": b"cbuiltins\ntype\n" + system + call + b"\x85R\x85R",
        "set of a call": b"cbuiltins\nset\n" + system + call + b"\x85R\x85R",
        "set of a number": b"cbuiltins\nset\nK\x01\x85R",
        "bytes of a length": b"cbuiltins\nbytes\nJ\xff\xff\xff\x7f\x85R",
        "encode, other": b"c_codecs\nencode\n" + call + _text("rot13") + b"\x86R",
        "encode, hook": b"c_codecs\nregister\n" + system + b"\x85R",
        "dict with arguments": b"ccollections\nOrderedDict\n](" + system + b"K\x01\x86e\x85R",
        "unhashable": b"}]K\x01s",
        "contains itself": b"]\x94h\x00a",
        "deep": b"]" * 30000 + b"a" * 29999,
        "next buffer": b"\x97",
        "memory": b"(\x8e\xff\xff\xff\xff\x0f\x00\x00\x00xt",
    }


def _only_in_deltas():
    """What a delta may hold but no plain unpickler loads, or nobody calls data."""
    return {
        "type of None": _text("<<NoneType>>") + b"Q",
        "Opcode": b"cdeepdiff.helper\nOpcode\n(NNNNNNNt\x81",
        "class": b"cbuiltins\nint\n",
    }


def _pickles(marker, in_delta):
    """Name → payloads for versions that pickle."""
    gadgets = _gadgets(f"touch {marker}")
    # Inside of what is otherwise a node.
    head = b"\x80\x04}" + _text("payload") + b"}" + _text("x")
    crafted = {name: head + value + b"ss." for name, value in _only_in_deltas().items() if not in_delta}
    for name, gadget in gadgets.items():
        crafted[name] = head + gadget + b"ss."
        crafted[name + ", without protocol"] = crafted[name][2:]
        crafted[name + ", thrown away"] = b"\x80\x04" + gadget + b"0}."
        crafted[name + ", alone"] = b"\x80\x04" + gadget + b"."
    inner = b"\x80\x04" + gadgets["reduce"] + b"."
    plain = {"pickled twice": inner, "pickled thrice": pickle.dumps(inner), "list": [], "text": "x", "number": 123456}
    crafted.update({name: pickle.dumps(value, protocol=4) for name, value in plain.items()})
    crafted["two pickles"] = pickle.dumps({}, protocol=4) + inner
    crafted["cut off"] = pickle.dumps({"payload": {"x": 1}}, protocol=4)[:-3]
    crafted["no pickle"] = b"\x00\x01\x02"
    return crafted


def _marshals(marker):
    """Name → payloads for the versions with marshal."""
    code = compile(f"__import__('os').system('touch {marker}')", "x", "exec")
    whole = {"payload": {"x": 1}}
    return {
        "code": marshal.dumps({"payload": code}),
        "code as key": marshal.dumps({code: 1}),
        "code alone": marshal.dumps(code),
        "ellipsis": marshal.dumps({"payload": ...}),
        "list": marshal.dumps([]),
        "bytes": marshal.dumps(pickle.dumps({})),
        "a pickle": b"\x80\x04" + _gadgets(f"touch {marker}")["reduce"] + b".",
        "contains itself": b"{z\x01x\xa9\x01r\x00\x00\x00\x000",
        "dict contains itself": b"\xfbz\x01xr\x00\x00\x00\x000",
        "unhashable": b"{[\x00\x00\x00\x00N0",
        "announces gigabytes": b"{z\x01x(\xff\xff\xff\x7f",
        "deep": b"{z\x01x" + b"[\x01\x00\x00\x00" * 30000 + b"N0",
        "ends with null": b"{z\x01x00",
        "cut off": marshal.dumps(whole)[:-3],
        "followed by more": marshal.dumps(whole) + b"N",
    }


def _crafted(stage, marker, in_delta):
    if versions.marshal(stage.version):
        return _marshals(marker)
    return _pickles(marker, in_delta)


@scenario("o", seconds=120)
def malice(stage):
    """Crafted nodes and deltas reach nobody; who sent them may go on."""
    stage.start_server()
    alice, uuids = stage.host(blocks(5))
    mallory = stage.join("mallory")
    stage.wait_equal([alice, mallory], count=5)
    marker = stage.folder / "owned"
    # One block that sends its whole state wherever a version can, one that sends deltas.
    for name in ("n0", "n1"):
        uuid = uuids[name]
        in_delta = (0, 1, 40) <= stage.key < (0, 7, 0) or (name == "n1" and stage.key >= (0, 7, 0))
        before = alice.dump()
        for what, data in _crafted(stage, marker, in_delta).items():
            mallory.forge(uuid=uuid, data=data.hex())
            if stage.key >= (0, 1, 21):
                mallory.force_set(uuid=uuid, data=data.hex())
            stage.check(not marker.exists(), f"{what} ran")
            if versions.threaded(stage.version):
                # Their threads stumble when a node comes back while they send it.
                stage.wait(
                    lambda u=uuid, b=before[uuid]: mallory.dump(uuids=[u]).get(u) == b, 10, f"mallory's {name} is back"
                )
        # What mallory sees of it is the true state again, and so what comes next is honest.
        stage.wait_equal([alice, mallory], count=5)
        stage.check(alice.dump() == before, f"alice's {name} is another one")
        stage.wait(lambda u=uuid: _arrives(stage, alice, mallory, u), 20, f"alice has the honest {name}")
    if not versions.threaded(stage.version):
        _metadata(stage, alice, mallory)
    # The add-on waits for its own name in the table before it tells anything.
    for artist in (alice, mallory):
        stage.wait(lambda a=artist: "mallory" in a.users(), 10, f"{artist.label} sees mallory")
    mallory.metadata(fields={"frame_current": 7})
    stage.wait(
        lambda: alice.users()["mallory"]["metadata"].get("frame_current") == 7, 10, "alice sees honest metadata",
        alice.users,
    )
    later = stage.final([alice, mallory], count=5)
    stage.check(not marker.exists(), "something ran")
    stage.check(all(artist.exit_reason is None for artist in (alice, mallory, later)), "somebody is gone")


def _arrives(stage, alice, mallory, uuid):
    """Whether an honest edit arrives. A delta is refused as long as the state that mallory made it
    from may be a refused one."""
    mallory.edit(uuid=uuid, patch={"honest": stage.left()})
    for _ in range(10):
        stage.pause(0.05)
        # The oldest take a node out while they put a newer one in.
        node = alice.dump(uuids=[uuid]).get(uuid)
        if node and "honest" in node["data"]["payload"]:
            return True
    return False


def _metadata(stage, alice, mallory):
    """What is told about users goes to everybody in one table, so it must be readable for all."""
    marker = stage.folder / "owned"
    for gadget in [*_gadgets(f"touch {marker}").values(), *_only_in_deltas().values()]:
        data = b"\x80\x04}" + _text("x") + gadget + b"s."
        mallory.forge_metadata(data=data.hex())


@scenario("o", seconds=60)
def malicious_upload(stage):
    """Who brings a crafted scene is sent away; the others don't notice, and can bring their own."""
    stage.start_server()
    marker = stage.folder / "owned"
    alice = stage.join("alice", admin=True, state=LOBBY)
    mallory = stage.join("mallory", admin=True, state=LOBBY)
    [uuid] = mallory.add_many(blocks=blocks(1), push=False)
    crafted = _crafted(stage, marker, False)
    mallory.forge_upload(uuid=uuid, data=crafted["code" if versions.marshal(stage.version) else "reduce"].hex())
    reason = mallory.wait_exit()
    if stage.key >= (0, 1, 30):
        stage.check("does not pass on" in reason, f"the reason is {reason!r}")
    uuids = alice.add_many(blocks=blocks(3), push=False)
    alice.init()
    alice.wait_state(2)
    stage.final([alice], count=3)
    stage.check(uuid not in uuids and not marker.exists(), "something ran")
