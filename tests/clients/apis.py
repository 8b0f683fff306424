"""The package's two shapes behind one set of verbs, and the datablocks that are shared.

* `Threaded`, up to 0.1.26: `Session` with its own network threads and a service manager;
* `Polled`, from 0.1.30: `Session.listen()` must be called; what were methods of the session
  became functions on a `Repository`, one after the other.

Used by `driver.py` only, which calls the public methods as verbs.
"""

import contextlib
import copy
import hashlib
import inspect
import json
import queue
import subprocess
import sys
import threading
import time
import types

import values
import versions
from replication import __version__ as VERSION

ADDED, COMMITED, PUSHED, FETCHED, UP, MODIFIED = range(6)
ACTIVE, SRV_SYNC, LOBBY = 2, 7, 10
COMMON = "COMMON"


class Block:
    """Stands for a Blender datablock: a name, a payload, and other blocks it depends on."""

    known = {}

    def __init__(self, name):
        self.name = name
        self.uuid = None
        self.payload = {}
        self.deps = []
        Block.known[name] = self

    def dump(self):
        """The node data. Copied: the package keeps it as the last committed state."""
        return {"name": self.name, "deps": list(self.deps), "payload": copy.deepcopy(self.payload)}

    def load(self, data):
        """Takes over received node data."""
        self.payload = copy.deepcopy(data.get("payload", {}))
        self.deps = list(data.get("deps", []))

    def live_deps(self):
        """The blocks it depends on that are still part of the session."""
        found = (Block.known.get(name) for name in self.deps)
        return [block for block in found if block is not None and CLIENT.has(block.uuid)]

    @classmethod
    def of(cls, data, uuid):
        """The block for received data, made if need be. `cls` is the type."""
        block = Block.known.get(data.get("name"))
        if block is None or block.uuid != uuid:
            block = cls(data.get("name"))
            block.uuid = uuid
        return block


class Thing(Block):
    """A type that sends deltas where the package can."""


class Mesh(Block):
    """A type that always sends its whole state."""


class Scene(Block):
    """A type that sends deltas in which the order of lists does not matter."""

    diff_params = {"ignore_order": True, "report_repetition": True}


TYPES = {"Thing": Thing, "Mesh": Mesh, "Scene": Scene}
CLIENT = None
# uuid → whether each push of the node was one, where nodes push themselves.
PUSHES = {}


def make(ipc_port, on_exit):
    """The client for the installed version; `on_exit(reason)` is called when its session ends."""
    global CLIENT
    age = versions.key(VERSION)
    if age < (0, 1, 30):
        CLIENT = Threaded(ipc_port, on_exit)
    else:
        CLIENT = Polled(on_exit)
    return CLIENT


def _datablock_types(base):
    """The pairs of a type and its old-style (≤ 0.1.42) implementation class."""

    def implementation(block_type):
        class Implementation(base):
            is_root = True

            def _construct(self, data=None):
                return block_type.of(data, self.uuid)

            def resolve(self):
                if self.data:
                    self.instance = block_type.of(self.data, self.uuid)

            def _load(self, data=None, target=None):
                target.load(data)

            def _dump(self, instance=None):
                return instance.dump()

            def resolve_deps(self):
                return self.instance.live_deps()

            def is_valid(self):
                return True

        if isinstance(getattr(base, "instance", None), types.MemberDescriptorType):
            # Received nodes of 0.1.5 have an empty slot there, which nothing in it expects.
            Implementation.instance = None
        if hasattr(base, "push"):
            Implementation.push = _noted(base.push)
        if not hasattr(base, "patch"):
            # From 0.1.40 on the package computes deltas itself.
            Implementation.diff = lambda self: self.data != self._dump(self.instance)
        elif block_type is Scene:
            Implementation.diff = lambda self: base.diff(self, diff_params=Scene.diff_params)
        Implementation.__name__ = "Bl" + block_type.__name__
        return Implementation

    return [(block_type, implementation(block_type)) for block_type in TYPES.values()]


def _noted(push):
    """A node's `push` that notes whether anything was sent: old clients push in a thread of their own,
    and no more if a received update came in between."""

    def noted(self, *args, **kwargs):
        sent = self.state in (COMMITED, UP)
        try:
            return push(self, *args, **kwargs)
        finally:
            PUSHES.setdefault(self.uuid, []).append(sent)

    return noted


class Api:
    """What the three shapes have in common. Subclasses name the parts that differ."""

    def __init__(self):
        self.user = None
        self.own = {}

    # Reading

    def nodes(self):
        """uuid → node object of the package, a copy that other threads don't change."""
        return dict(list(self.store().items()))

    def has(self, uuid):
        """Whether a node is part of the session here."""
        return uuid is not None and uuid in self.store()

    def dump(self, uuids=None):
        """Every node (or those named): type, data, dependencies, owner."""
        found = {}
        for uuid, node in self.nodes().items():
            if uuids is None or uuid in uuids:
                found[uuid] = {
                    "type": self.type_of(node),
                    "data": values.encode(node.data),
                    "deps": list(node.dependencies or []),
                    "owner": node.owner,
                }
        return found

    def digest(self):
        """A short text that is equal for equal graphs, and the number of nodes."""
        dump = self.dump()
        text = json.dumps(dump, sort_keys=True)
        return [hashlib.sha256(text.encode()).hexdigest()[:16], len(dump)]

    def numbers(self):
        """Name → the number in the payload, for every node. Costs no copy of the data."""
        data = [node.data or {} for node in self.nodes().values()]
        return {one["name"]: one["payload"].get("step", 0) for one in data if "name" in one}

    def structure(self):
        """Which nodes there are and who owns them."""
        return {uuid: node.owner for uuid, node in self.nodes().items()}

    def users(self):
        """Name → user record, as the package's table has it."""
        return values.encode(copy.deepcopy(self.online()))

    # Writing

    def add(self, name, type="Thing", payload=None, deps=(), owner=None, push=True):
        """Registers a block whose dependencies (names) are registered already. Gives its uuid."""
        block = TYPES[type](name)
        block.payload = values.decode(payload or {})
        block.deps = list(deps)
        uuid = _again(lambda: self.register(block, owner))
        block.uuid = uuid
        if push and self.state() == ACTIVE and not self.commit_and_push(uuid):
            self.edit(uuid, payload or {})
        return uuid

    def add_many(self, blocks, push=True):
        """`add` for a list of arguments. Gives the uuids."""
        return [self.add(push=push, **block) for block in blocks]

    def edit(self, uuid, patch, replace=False, deps=None):
        """Changes a block as an artist would and publishes it. `patch` is set in the payload."""
        patch = values.decode(patch)
        for _ in range(100):
            node = self.store().get(uuid)
            if node is None:
                raise KeyError(f"no node {uuid}")
            block = _again(lambda node=node: self.materialise(node))
            if block is None:
                continue
            if replace:
                block.payload = {}
            block.payload.update(patch)
            if deps is not None:
                block.deps = list(deps)
            if self.commit_and_push(uuid):
                return
        raise RuntimeError(f"node {uuid} can't be committed, its state is {node.state}")

    def force_edit(self, uuid, patch):
        """`edit` without the client's own check: for this client the node is nobody's."""
        for _ in range(20):
            self.store()[uuid].owner = COMMON
            try:
                return self.edit(uuid, patch)
            except Exception as error:
                # The server's word on the owner came in between.
                if type(error).__name__ != "NonAuthorizedOperationError":
                    raise
        raise RuntimeError(f"node {uuid} is always somebody's")

    # What no client does

    def forge(self, uuid, data):
        """Publishes a node, or a change of it, as these bytes (in hex)."""
        with _Forger.of(data):
            self.edit(uuid, {"forged": hashlib.sha256(data.encode()).hexdigest()})

    def forge_metadata(self, data):
        """Tells these bytes (in hex) about this user."""
        with _Forger.of(data):
            self.metadata({"forged": True})

    def forge_upload(self, uuid, data):
        """Uploads the graph with these bytes (in hex) as its nodes."""
        # For good: they are sent when the server has accepted the offer, maybe by other threads.
        _Forger.arm(data)
        self.init()

    def force_set(self, uuid, data):
        """Sends a node as an uploader does, although this client is none."""
        part = {"owner": COMMON.encode(), "uuid": uuid.encode(), "type": b"BlThing", "data": bytes.fromhex(data)}
        part["dependencies"] = b"\x80\x04]."
        self.force_command("ServerSnapshot", {"STATE": "SET", "DATA": part})

    def edit_many(self, edits):
        """`edit` for a list of arguments."""
        for edit in edits:
            self.edit(**edit)

    def materialise(self, node):
        """The block of a node, with received data applied; None if it must be tried again."""
        if node.instance is None or node.state == FETCHED:
            try:
                self.apply(node.uuid)
            except AssertionError:
                return None
        return node.instance

    def take_over(self):
        """Applies all that was received, as the add-on does by itself."""
        for node in self.nodes().values():
            if self.materialise(node) is None:
                raise RuntimeError(f"node {node.uuid} can't be applied, its state is {node.state}")

    def wait_published(self, node):
        """Waits until a committed node has left for the network."""
        deadline = time.monotonic() + 30
        while node.state == COMMITED and time.monotonic() < deadline:
            time.sleep(0.0005)
        return node.state != COMMITED

    def hang(self):
        """Nothing to do where the driver itself polls."""

    def resume(self):
        """Nothing to do where the driver itself polls."""

    # Whether the application must take messages from the network itself.
    polled = False

    def poll(self, wait):
        """Takes what came from the network where that is the application's task."""
        return False


class Threaded(Api):
    """Up to 0.1.26."""

    def __init__(self, ipc_port, on_exit):
        super().__init__()
        from replication import data, interface

        self.data = data
        self.ipc_port = ipc_port
        self.resumed = threading.Event()
        factory = data.ReplicatedDataFactory()
        for block_type, implementation in _datablock_types(data.ReplicatedDatablock):
            factory.register_type(block_type, implementation)
        if hasattr(interface, "session"):
            self.session = interface.session
            # (0.0.21a14 has another name for it.)
            configure = getattr(self.session, "configure", None) or self.session.setup
            configure(factory=factory, python_path=sys.executable)
        else:
            self.session = interface.Session(factory=factory, python_path=sys.executable)
        if hasattr(self.session, "register"):
            self.session.register("on_exit")(on_exit)
        self.orchestrator = self.session._orchestrator
        self.manager = self.orchestrator._service_manager
        self.net_calls = _Calls()
        self.manager_calls = _Calls()
        self.net = None
        self.heartbeat = None

    def connect(self, host, port, name, admin=None, server=None, timeout=5000):
        """Logs in. One password field: the admin password wins."""
        self.user = name
        # The orchestrator's socket may only be used by its thread: let it make our calls.
        self.manager.handle_services_com = self.manager_calls.before(self.manager.handle_services_com)
        self.session.connect(
            id=name, address=host, port=port, ipc_port=self.ipc_port, timeout=timeout, password=admin or server
        )
        services = self.manager._services
        self.heartbeat = services["TTL"]["instance"]
        self.net = services["NetworkIO"]["instance"]
        # The same for the network thread's sockets.
        self.net.main = self.net_calls.before(self.net.main)
        if "TaskExecutor" in services:
            # It takes one task per interval, and an edit is two: 10 ms would allow 50 edits/s.
            # (0.0.3 counts in seconds, and has a short one by itself.)
            executor = services["TaskExecutor"]["instance"]
            executor._loop_interval = min(executor._loop_interval, 1)

    def init(self, thread="network"):
        """Uploads the graph. `thread="user"` calls it where the add-on does, races included."""
        if thread == "user":
            self.session.init()
        else:
            self.net_calls.run(self.session.init)

    def disconnect(self):
        """Closes the session as the add-on's button does."""
        if self.orchestrator.is_alive():
            self.manager_calls.run(self.orchestrator.disconnect)
        publish = getattr(self.session, "_publish", None)
        if publish is not None:
            publish.close()

    def gone(self):
        """Whether the threads and the child of a closed session have ended."""
        threads = [thread for thread in (self.orchestrator, self.net) if thread is not None]
        return not any(thread.is_alive() for thread in threads) and self.heartbeat.poll() is not None

    def release(self):
        """Ends what a closed session left running (it tells its services over a socket that it
        closes at once). Tells what was left."""
        left = []
        if self.net is not None and self.net.is_alive():
            left.append("network")
            self.net._stop_flag.set()
        if self.heartbeat is not None and self.heartbeat.poll() is None:
            left.append("heartbeat")
            self.heartbeat.kill()
        return left

    def state(self):
        """The session's state number. A refused upload shows in the network thread only."""
        state = self.session.state["STATE"]
        return LOBBY if state == SRV_SYNC and self.net is not None and self.net._state == LOBBY else state

    def online(self):
        """The package's user table."""
        return self.session.online_users

    def child(self):
        """The heartbeat process."""
        return self.heartbeat

    def store(self):
        """The graph's own dictionary."""
        return self.session._graph.store

    def type_of(self, node):
        """A node's type name."""
        return node.str_type

    def register(self, block, owner):
        """Adds a block to the graph."""
        return self.session.add(block, owner=owner)

    def apply(self, uuid):
        """Takes received data over into the block."""
        if versions.key(VERSION) < (0, 0, 21):
            self.session.apply(uuid, force=True)
        else:
            self.session.apply(uuid)

    def commit_and_push(self, uuid):
        """Publishes a node. False if a received update came in between."""
        node = self.store().get(uuid)
        if node is None:
            return True
        if not self.wait_published(node):
            raise TimeoutError(f"node {uuid} is never published")
        try:
            _again(lambda: self.session.commit(uuid))
        except Exception as error:
            if type(error).__name__ in ("StateError", "AssertionError"):
                return False
            raise
        # ≤ 0.1.3 commits in a thread of its own.
        deadline = time.monotonic() + 5
        while node.state in (ADDED, UP, MODIFIED) and time.monotonic() < deadline:
            time.sleep(0.0005)
        if node.state != COMMITED:
            return False
        pushes = PUSHES.setdefault(uuid, [])
        before = len(pushes)
        _again(lambda: self.session.push(uuid))
        deadline = time.monotonic() + 30
        while len(pushes) == before and self.has(uuid):
            if time.monotonic() > deadline:
                raise TimeoutError(f"node {uuid} is never pushed")
            time.sleep(0.0005)
        return any(pushes[before:]) or not self.has(uuid)

    def delete(self, uuid, deps=True):
        """Removes a node, and what it depends on."""
        _again(lambda: self.session.remove(uuid, remove_dependencies=deps))

    def change_owner(self, uuid, owner, deps=False):
        """Gives a node to a user or to COMMON."""
        change = self.session.change_owner
        name = "recursive" if "recursive" in inspect.signature(change).parameters else "affect_dependencies"
        _again(lambda: change(uuid, owner, **{name: deps}))

    def force_owner(self, uuid, owner):
        """Sends a Right without the client's own check, applied locally first as it always is."""
        right = self.data.RepRightCommand(owner=self.user, data={"uuid": uuid, "owner": owner})
        right.execute(self.session._graph)
        self.session._item_to_push.put(right)

    def force_command(self, name, data):
        """Sends a command without the client's own checks."""
        self.session._item_to_push.put(getattr(self.data, f"Rep{name}Command")(owner=self.user, data=data))

    def metadata(self, fields):
        """Tells the others about this user."""
        self.session.update_user_metadata(values.decode(fields))

    def kick(self, user):
        """Kicks as the button does (which is for admins from 0.0.21 on)."""
        self.session.kick(user)

    def force_kick(self, user):
        """Sends a Kick without the client's own check."""
        self.session._item_to_push.put(self.data.RepKickCommand(owner=self.user, data={"user": user}))

    def hang(self):
        """Blocks the network thread."""
        self.resumed.clear()
        self.net_calls.later(self.resumed.wait)

    def resume(self):
        """Unblocks the network thread."""
        self.resumed.set()


class Polled(Api):
    """From 0.1.30 on. The application polls; what can be done moved from methods of the session to
    functions on a `Repository`, one by one, so each verb looks where it is in this version. From
    0.1.41 on own Deletes and Rights take effect when the server echoes them."""

    def __init__(self, on_exit):
        super().__init__()
        from replication import interface, porcelain, repository

        self.porcelain = porcelain
        self.session = interface.session
        try:
            from replication.data import ReplicatedDatablock, DataTranslationProtocol
        except ImportError:
            self.repository = self._of_functions(repository)
        else:
            protocol = DataTranslationProtocol()
            for block_type, implementation in _datablock_types(ReplicatedDatablock):
                protocol.register_type(block_type, implementation)
            self.repository = repository.Repository(data_protocol=protocol)
        self.session.register("on_exit")(on_exit)

    @staticmethod
    def _of_functions(repository):
        """From 0.2.1: types are classes of static functions."""
        from replication import protocol

        rdp = protocol.DataTranslationProtocol()
        for block_type in TYPES.values():
            rdp.register_implementation(block_type, _functions(block_type, protocol.ReplicatedDatablock))
        return repository.Repository(rdp=rdp, username=None)

    def connect(self, host, port, name, admin=None, server=None, timeout=5000):
        """Logs in. Where there is one password field, the admin password wins; where there are two,
        the add-on sends '' for no server password."""
        self.user = name
        wanted = inspect.signature(self.session.connect).parameters
        if "id" in wanted:
            self.session.connect(
                repository=self.repository, id=name, address=host, port=port, timeout=timeout, password=admin or server
            )
            return
        self.repository.username = name
        if "server_password" in wanted:
            passwords = {"server_password": "" if server is None else server, "admin_password": admin}
        else:
            passwords = {"password": admin or server}
        known = inspect.signature(self.porcelain.remote_add).parameters
        for_remote = {"admin_password": admin or server, **passwords}
        for_remote = {key: value for key, value in for_remote.items() if key in known}
        self.porcelain.remote_add(self.repository, "origin", host, port, **for_remote)
        self.session.connect(repository=self.repository, timeout=timeout, **passwords)

    def remote(self):
        """The connection, where it is an object of its own."""
        return getattr(self.repository, "remote", None) or getattr(self.session, "remote", None)

    def poller(self):
        """The package's own poller, to learn whether something waits."""
        return getattr(self.session, "_poller", None) or self.remote().poller

    polled = True

    def poll(self, wait):
        """One turn of the add-on's timer, `wait` in milliseconds. Tells whether more waits."""
        if self.state() in (0, 8):
            return False
        self.session.listen(wait)
        return self.state() not in (0, 8) and bool(self.poller().poll(0))

    def init(self, thread="user"):
        """Uploads the graph."""
        self.session.init()

    def disconnect(self):
        """Closes the session as the add-on's button does."""
        if self.state() not in (0, 8):
            self.session.disconnect("user")

    def gone(self):
        """Whether the heartbeat child has ended."""
        child = self.child()
        return child is None or child.poll() is not None

    def release(self):
        """Nothing is left running."""
        return []

    def state(self):
        """The session's state number."""
        return self.session.state

    def online(self):
        """The package's user table."""
        if hasattr(type(self.session), "online_users"):
            return self.session.online_users
        return self.remote().online_users if self.remote() else {}

    def child(self):
        """The heartbeat process."""
        child = getattr(self.session, "_ttl", None)
        return child if isinstance(child, subprocess.Popen) else None

    def store(self):
        """The graph's own dictionary."""
        return self.repository.object_store.store

    def type_of(self, node):
        """A node's type name."""
        return getattr(node, "str_type", None) or (node.data or {}).get("type_id")

    def register(self, block, owner):
        """Adds a block to the graph."""
        return self.porcelain.add(self.repository, block, owner=owner)

    def apply(self, uuid):
        """Takes received data over into the block."""
        self.porcelain.apply(self.repository, uuid)

    def commit_and_push(self, uuid):
        """Publishes a node. Nothing can come in between."""
        if not self.has(uuid):
            return True
        if hasattr(self.session, "commit"):
            self.session.commit(uuid)
            self.session.push(uuid)
        else:
            self.porcelain.commit(self.repository, uuid)
            self.porcelain.push(self.repository, "origin", uuid)
        return True

    def delete(self, uuid, deps=True):
        """Removes a node, and what it depends on."""
        if hasattr(self.porcelain, "rm"):
            self.porcelain.rm(self.repository, uuid, remove_dependencies=deps)
        else:
            self.session.remove(uuid, remove_dependencies=deps)

    def change_owner(self, uuid, owner, deps=False):
        """Gives a node to a user or to COMMON."""
        if not hasattr(self.porcelain, "lock"):
            self.session.change_owner(uuid, owner, affect_dependencies=deps)
            return
        self.repository.assert_modification_rights(uuid)
        if VERSION == "0.5.0":
            # Its own function looks for the remote under a wrong name.
            needs = self.repository.get_dependencies_ordered(node=uuid) if deps else []
            for node in [*needs, uuid]:
                self.send(self.command("Right", {"uuid": node, "owner": owner}))
            return
        several = "node_ids" in inspect.signature(self.porcelain.lock).parameters
        nodes = [uuid] if several else uuid
        if owner == COMMON:
            self.porcelain.unlock(self.repository, nodes, affect_dependencies=deps)
        else:
            self.porcelain.lock(self.repository, nodes, new_owner=owner, affect_dependencies=deps)

    def change_owners(self, uuids, owner):
        """Gives several nodes to a user or to COMMON at once. From 0.8.0 on."""
        if owner == COMMON:
            self.porcelain.unlock(self.repository, uuids, affect_dependencies=False)
        else:
            self.porcelain.lock(self.repository, uuids, new_owner=owner, affect_dependencies=False)

    def force_owner(self, uuid, owner):
        """Sends a Right without the client's own check; where Rights don't wait for the server's
        echo, it takes effect here first as it always does."""
        if versions.key(VERSION) >= (0, 8, 0):
            uuid = [uuid]
        right = self.command("Right", {"uuid": uuid, "owner": owner})
        if versions.key(VERSION) < (0, 1, 41):
            right.execute(self.repository.object_store)
        self.send(right)

    def force_command(self, name, data):
        """Sends a command without the client's own checks."""
        self.send(self.command(name, data))

    def metadata(self, fields):
        """Tells the others about this user."""
        fields = values.decode(fields)
        if hasattr(self.porcelain, "update_user_metadata"):
            self.porcelain.update_user_metadata(self.repository, fields)
        else:
            self.session.update_user_metadata(fields)

    def kick(self, user):
        """Kicks as the button does."""
        if hasattr(self.porcelain, "kick"):
            self.porcelain.kick(self.repository, user)
        else:
            self.session.kick(user)

    def force_kick(self, user):
        """Sends a Kick without the client's own check."""
        self.send(self.command("Kick", {"user": user}))

    def session_info(self, address, timeout=500):
        """What the add-on's server list asks: private? which version? From 0.9.1 on."""
        return self.porcelain.request_session_info(address, timeout=timeout)

    def command(self, name, data):
        """A command of the package."""
        try:
            from replication import objects

            return getattr(objects, name)(owner=self.user, data=data)
        except (ImportError, AttributeError):
            from replication import data as module

            return getattr(module, f"Rep{name}Command")(owner=self.user, data=data)

    def send(self, command):
        """Sends a command as the package does."""
        if hasattr(command, "push"):
            remote = self.remote()
            command.push(remote.command if remote else self.session._command)
        elif hasattr(self.repository, "push_cmd"):
            self.repository.push_cmd(self.remote().command, command)
        else:
            self.repository.push(self.remote().command, command)


def _functions(block_type, base):
    """The implementation of a type for versions from 0.2.1 on."""

    class Implementation(base):
        is_root = True
        use_delta = block_type is not Mesh

        construct = staticmethod(lambda data: block_type.of(data, data.get("uuid")))
        resolve = staticmethod(lambda data: block_type.of(data, data.get("uuid")))
        load = staticmethod(lambda data, datablock: datablock.load(data))
        dump = staticmethod(lambda datablock: datablock.dump())
        resolve_deps = staticmethod(lambda datablock: datablock.live_deps())
        needs_update = staticmethod(lambda datablock, data: True)

    if block_type is Scene:
        from deepdiff import DeepDiff, Delta

        def compute_delta(last, current):
            return Delta(DeepDiff(last, current, cache_size=5000, **Scene.diff_params))

        Implementation.compute_delta = staticmethod(compute_delta)
    return Implementation


class _Forger:
    """Stands where the package's modules have `pickle` and `marshal`: gives crafted bytes for nodes
    and for metadata (and doesn't load them, as the package does to check what it sends)."""

    data = None

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        return getattr(self.module, name)

    def dumps(self, value, *args, **kwargs):
        """The crafted bytes, if there are any and they are meant."""
        meant = isinstance(value, dict) and ("payload" in value or "forged" in value)
        return _Forger.data if meant and _Forger.data is not None else self.module.dumps(value, *args, **kwargs)

    def loads(self, data, *args, **kwargs):
        """What is not crafted."""
        return {} if data == _Forger.data else self.module.loads(data, *args, **kwargs)

    @classmethod
    @contextlib.contextmanager
    def of(cls, data):
        """While this holds, these bytes (in hex) are sent instead of nodes and deltas."""
        cls.arm(data)
        try:
            yield
        finally:
            cls.data = None

    @classmethod
    def arm(cls, data):
        """From now on these bytes (in hex) are sent instead of nodes and deltas."""
        for name, module in list(sys.modules.items()):
            if name.split(".")[0] == "replication":
                for codec in ("pickle", "marshal"):
                    if isinstance(getattr(module, codec, None), types.ModuleType):
                        setattr(module, codec, cls(getattr(module, codec)))
        cls._forge_deltas()
        cls.data = bytes.fromhex(data)

    @staticmethod
    def _forge_deltas():
        try:
            from deepdiff import Delta
        except ImportError:
            return
        honest = Delta.dumps
        if not hasattr(honest, "forged"):
            Delta.dumps = lambda self: honest(self) if _Forger.data is None else _Forger.data
            Delta.dumps.forged = True


class _Calls:
    """Calls handed to another thread, made before that thread's own function."""

    def __init__(self):
        self.waiting = queue.SimpleQueue()

    def before(self, function):
        """`function`, preceded by the calls that wait."""

        def wrapper(*args, **kwargs):
            while not self.waiting.empty():
                self.waiting.get()()
            return function(*args, **kwargs)

        return wrapper

    def later(self, call):
        """Hands over a call."""
        self.waiting.put(call)

    def run(self, call, timeout=10):
        """Hands over a call and waits until it was made; its exception is ours."""
        done = threading.Event()
        failure = []

        def made():
            try:
                call()
            except Exception as error:
                failure.append(error)
            done.set()

        self.waiting.put(made)
        if not done.wait(timeout):
            raise TimeoutError("the package's thread doesn't answer")
        if failure:
            raise failure[0]


def _again(call):
    """Repeats a call that lost the package's own race: it walks its graph without a lock."""
    for _ in range(50):
        try:
            return call()
        except RuntimeError as error:
            if "changed size during iteration" not in str(error):
                raise
    return call()
