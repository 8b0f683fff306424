"""What a scenario works with: free ports, a server, artists, and waiting for conditions.

A scenario gets one `Stage`. `stage.server` runs; `stage.artist("alice")` starts a client process
(`driver.py`); `stage.wait(...)` waits for a condition with a deadline. `run.py` makes the stage,
closes it, and reads `stage.violations()`: whatever a client met that a server must never cause.
"""

import collections
import concurrent.futures
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import net
import values
import venvs
import versions

HERE = pathlib.Path(__file__).resolve().parent

# The session states that scenarios look at.
SYNCING, ACTIVE, SRV_SYNC, LOBBY = 1, 2, 7, 10

# Races inside the old clients, whatever the server does. They are named in the output only;
# if one breaks its scenario, the scenario is tried again like any other.
CLIENT_RACES = [
    r"changed size during iteration",
    r"not a socket|Socket operation on non-socket|Context was terminated",
    # An update came in between the commit and the push of the same node, in other threads.
    r"Attempting to push (uncomited node|node in a wrong state)",
]

# Error lines of the packages that belong to what the scenarios do on purpose.
HARMLESS = [
    r"Insufisent rights to kick",
    r"You can't kick",
    r"client snapshot refused",
    r"Connection refused by server|Failed to connect|Connection failed",
    r"A service as stopped",
]


# Verbs that only look, often: they aren't worth a line in the log.
POLLED = {"digest", "dump", "numbers", "structure", "users", "gone", "info"}


class Failure(Exception):
    """A scenario's expectation that didn't hold."""


class Impossible(Exception):
    """The scenario makes no sense for this version or server; it counts as skipped."""


class _Ports:
    """Runs of free ports below the range that the system hands out for outgoing connections."""

    def __init__(self):
        self.lock = threading.Lock()
        self.taken = set()
        self.random = random.Random(os.getpid() * 1000003 + time.time_ns())

    def take(self, count):
        """First of `count` consecutive ports that nobody listens on."""
        with self.lock:
            for _ in range(2000):
                first = self.random.randrange(11000, 31000)
                run = range(first, first + count)
                if self.taken.isdisjoint(run) and all(map(self.free, run)):
                    self.taken.update(run)
                    return first
        raise Failure("no free ports")

    @staticmethod
    def free(port):
        """Whether nobody listens on a port."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                return False
            return True


PORTS = _Ports()


class Server:
    """A server process in a folder of its own."""

    def __init__(self, stage, command, folder, settings, port=None, wait=True):
        self.stage = stage
        self.folder = folder
        self.settings = settings
        self.port = port or PORTS.take(4)
        self.log = folder / "server.log"
        self.expect_end = False
        self.words = words = command(self.port)
        environment = dict(os.environ)
        environment.setdefault("RUST_BACKTRACE", "1")
        environment.update({"MULTI_USER_" + key.upper().replace(".", "__"): value for key, value in settings.items()})
        with open(self.log, "ab") as log:
            log.write((" ".join(words) + "\n").encode())
            log.flush()
            self.process = _start(
                words, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=environment, start_new_session=True,
            )
        if wait:
            count = versions.ports(stage.version)
            stage.wait(lambda: all(map(self._listens, range(self.port, self.port + count))), 20, "server listens")

    def _listens(self, port):
        if self.process.poll() is not None:
            raise Failure(f"the server ended with {self.process.returncode}")
        # Looking at the system's table instead of connecting: a connection would be a stranger's.
        wanted = f"{port:04X}"
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            try:
                with open(table) as lines:
                    if any(re.search(rf":{wanted} [0-9A-F]+:0000 0A ", line) for line in lines):
                        return True
            except FileNotFoundError:
                continue
        return False

    def alive(self):
        """Whether the process still runs."""
        return self.process.poll() is None

    def kill(self):
        """What a power cut does to the process: it is gone, at once."""
        self.expect_end = True
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(5)

    def ctl(self, *words):
        """Has our server do something, as soon as it takes orders; gives its answer."""
        environment = {**os.environ, "MULTI_USER_DATA_DIR": str(self.folder / "data")}
        command = [self.words[0], "ctl", "--json", *words]

        def done():
            run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
            # Its ports are open before that.
            return None if "no server runs" in run.stderr else run

        done = self.stage.wait(done, 20, "the server takes orders")
        if done.returncode != 0:
            raise Failure(f"ctl {' '.join(words)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def stop(self):
        """Ends the server. Gives its exit code (negative: the signal it needed)."""
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                pass
        _kill_group(self.process)
        return self.process.wait(5)


class Artist:
    """One client process. Unknown attributes are verbs: `artist.edit(uuid=…, patch=…)`."""

    def __init__(self, stage, name, label=None, version=None):
        self.stage = stage
        self.name = name
        self.version = version or stage.version
        self.label = label or name or "unnamed"
        self.folder = stage.folder / self.label
        (self.folder / "D:").mkdir(parents=True, exist_ok=True)
        self.events = []
        self.answers = {}
        self.changed = threading.Condition()
        self.writing = threading.Lock()
        self.number = 0
        self.state = 0
        self.exit_reason = None
        self.may_fail = []
        self.closing = False
        with open(self.folder / "client.log", "ab") as log:
            self.process = _start(
                [venvs.python(self.version), str(HERE / "driver.py"), str(PORTS.take(1))],
                cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                start_new_session=True, text=True, bufsize=1,
            )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            message = json.loads(line)
            if "event" in message or not message["ok"]:
                self._note(line)
            with self.changed:
                if "id" in message:
                    self.answers[message["id"]] = message
                else:
                    self._event(message)
                self.changed.notify_all()
        with self.changed:
            self.answers[None] = True
            self.changed.notify_all()

    def _note(self, text):
        """A line for the log that is shown when the scenario fails."""
        with self.writing, open(self.folder / "events.log", "a") as log:
            log.write(f"{time.monotonic() - self.stage.start:8.3f} {text[:2000].rstrip()}\n")

    def _event(self, message):
        self.events.append(message)
        if message["event"] == "state":
            self.state = message["state"]
        elif message["event"] == "exit":
            self.exit_reason = message["reason"]

    def call(self, verb, timeout=30, **arguments):
        """Runs a verb in the client process; its exception becomes a `Failure`."""
        with self.changed:
            self.number += 1
            number = self.number
        if verb not in POLLED:
            self._note(f"{verb} {json.dumps(arguments)[:300]}")
        try:
            with self.writing:
                self.process.stdin.write(json.dumps({"id": number, "verb": verb, **arguments}) + "\n")
                self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise Failure(f"{self.label}: the client process is gone (verb {verb})") from None
        timeout = min(timeout, max(self.stage.left(), 0.1))
        with self.changed:
            done = self.changed.wait_for(lambda: number in self.answers or None in self.answers, timeout)
            answer = self.answers.pop(number, None)
        if answer is None:
            raise Failure(f"{self.label}: {'no answer to' if not done else 'died in'} {verb}")
        if not answer["ok"]:
            raise Failure(f"{self.label}: {verb}: {answer['error']}")
        return answer["result"]

    def __getattr__(self, verb):
        if verb.startswith("_"):
            raise AttributeError(verb)
        return lambda **arguments: self.call(verb, **arguments)

    def wait_event(self, wanted, timeout, what):
        """Waits for an event that satisfies `wanted`; gives it."""
        deadline = min(time.monotonic() + timeout, self.stage.deadline)
        seen = 0
        with self.changed:
            while True:
                for event in self.events[seen:]:
                    if wanted(event):
                        return event
                seen = len(self.events)
                left = deadline - time.monotonic()
                if left <= 0 or None in self.answers:
                    raise Failure(f"{self.label}: {what} didn't happen within {timeout} s (state {self.state}"
                                  f", exit {self.exit_reason!r})")
                self.changed.wait(left)

    def login(self, admin=None, server=None, timeout=5000, via=None, host="127.0.0.1"):
        """Sends the login; `via` is a `net.Line` or None. Doesn't wait."""
        port = via.port if via else self.stage.server.port
        self.call("connect", host=host, port=port, name=self.name, admin=admin, server=server, timeout=timeout)
        return self

    def wait_state(self, *states, timeout=15):
        """Waits until the client is in one of these states."""
        with self.changed:
            reached = self.changed.wait_for(
                lambda: self.state in states or None in self.answers or self.exit_reason is not None,
                min(timeout, max(self.stage.left(), 0.1)),
            )
        if self.state not in states:
            raise Failure(f"{self.label}: state {self.state} instead of {states}"
                          f"{'' if reached else f' after {timeout} s'}, exit {self.exit_reason!r}")
        return self

    def wait_exit(self, timeout=15):
        """Waits for the end of the session; gives its reason."""
        return self.wait_event(lambda event: event["event"] == "exit", timeout, "end of session")["reason"]

    def wait_job(self, job, timeout=60):
        """Waits for the end of a background job of the client."""
        event = self.wait_event(lambda e: e["event"] == "job" and e["job"] == job, timeout, f"end of {job}")
        if "error" in event:
            raise Failure(f"{self.label}: {job}: {event['error']}")
        return event

    def leave(self, timeout=10):
        """Closes the session properly and waits until nothing of it runs any more."""
        self.closing = True
        self.call("disconnect")
        self.wait_event(lambda event: event["event"] == "exit", timeout, "end of session")
        # Old clients tell their services to stop over a socket that they close at once: the
        # message may be lost, and Blender would keep the sockets open until it is closed itself.
        end = time.monotonic() + 1.0
        while time.monotonic() < end and not self.call("gone"):
            self.stage.pause(0.02)
        return self.call("release")

    def kill(self, child=True):
        """SIGKILL to the main process, and to its heartbeat child if `child`."""
        self.closing = True
        info = self.call("info")
        os.kill(self.process.pid, signal.SIGKILL)
        if child and info["child"]:
            try:
                os.kill(info["child"], signal.SIGKILL)
            except ProcessLookupError:
                # Without a server it ends by itself.
                pass
        self.process.wait(5)

    def expect(self, *patterns):
        """Says which violations this scenario provokes by itself."""
        self.may_fail.extend(patterns)

    def violations(self):
        """(serious, races): what this client met that a server must not cause, as texts."""
        serious, races = [], []
        for event in self.events:
            kind = event["event"]
            if kind in ("thread_exception", "listen_exception"):
                text = f"{kind} {event.get('thread', '')}: {event['text']}"
            elif kind == "log_error":
                text = f"error line: {event['text']}"
                if any(re.search(pattern, text) for pattern in HARMLESS):
                    continue
            elif kind == "child_exit":
                if event["leaving"] or self.closing:
                    continue
                text = f"the heartbeat child ended with {event['code']}"
            else:
                continue
            if any(re.search(pattern, text) for pattern in self.may_fail):
                continue
            if any(re.search(pattern, text) for pattern in CLIENT_RACES):
                races.append(f"{self.label}: {text}")
            else:
                serious.append(f"{self.label}: {text}")
        return serious, races

    def close(self):
        """Ends every process of this client."""
        self.closing = True
        try:
            self.process.stdin.close()
        except (BrokenPipeError, OSError):
            pass
        _kill_group(self.process)
        self.process.wait(5)


class Stage:
    """One run of one scenario."""

    def __init__(self, version, command, folder, seconds, options):
        self.version = version
        self.key = versions.key(version)
        self.command = command
        self.folder = folder
        self.options = options
        self.start = time.monotonic()
        self.deadline = self.start + seconds
        self.artists = []
        self.lines = []
        self.servers = []
        self.server = None
        self.admin_password = "geheim-7"
        self.server_password = None
        self.timeout = 5000
        # What chance decides in a scenario follows from it.
        self.seed = options.get("seed", 1)
        # How often what was done, for the summary.
        self.done = collections.Counter()
        # How old the oldest change was, in seconds, that a killed server had lost.
        self.lost = 0.0
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def reference(self):
        """Whether the server is the version's own reference server."""
        return self.options["reference"]

    def start_server(self, server_password=None, timeout=5000, settings=None):
        """Starts a fresh server on free ports. `settings` are keys of our configuration."""
        self.server_password = server_password
        self.timeout = timeout
        folder = self.folder / f"server{len(self.servers)}"
        (folder / "D:").mkdir(parents=True)
        self.server = Server(self, lambda port: self.command(self, port, folder / "data"), folder, settings or {})
        self.servers.append(self.server)
        return self.server

    def start_again(self, wait=True):
        """Starts the server once more after its end: same port, same data. `wait` until it listens."""
        old = self.server
        self.server = Server(
            self, lambda port: self.command(self, port, old.folder / "data"), old.folder, old.settings, old.port, wait
        )
        self.servers.append(self.server)
        return self.server

    def left(self):
        """Seconds until the hard deadline of the scenario."""
        return self.deadline - time.monotonic()

    def pause(self, seconds):
        """Between two looks at a condition; never a synchronisation by itself."""
        if self.left() <= 0:
            raise Failure("the scenario's hard deadline has passed")
        time.sleep(seconds)

    def wait(self, condition, timeout, what, detail=None):
        """Waits until `condition()` is true and gives its value."""
        end = min(time.monotonic() + timeout, self.deadline)
        pause = 0.01
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                more = f": {detail()}" if detail else ""
                raise Failure(f"not within {timeout} s: {what}{more}")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.2)

    def artist(self, name, label=None, version=None):
        """Starts a client process that isn't connected yet, of another version than the others if
        one is named."""
        label = label or f"{len(self.artists):02}-{re.sub(r'[^a-z0-9]', '_', str(name).lower())[:20]}"
        artist = Artist(self, name, label, version)
        self.artists.append(artist)
        return artist

    def join(self, name, admin=False, via=None, state=ACTIVE, timeout=20, version=None, **login):
        """A client that is logged in and in the given state."""
        artist = self.artist(name, version=version)
        login.setdefault("admin", self.admin_password if admin else None)
        artist.login(via=via, **login)
        return artist.wait_state(state, timeout=timeout)

    def host(self, blocks, name="alice", via=None, timeout=30, **login):
        """The first client: an admin who uploads `blocks`. Gives (artist, {name: uuid})."""
        artist = self.join(name, admin=True, state=LOBBY, via=via, **login)
        uuids = artist.add_many(blocks=blocks, push=False)
        artist.init()
        artist.wait_state(ACTIVE, timeout=timeout)
        return artist, dict(zip((block["name"] for block in blocks), uuids))

    def together(self, *calls):
        """Makes calls at the same time; gives their results."""
        with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
            futures = [pool.submit(call) for call in calls]
            return [future.result() for future in futures]

    def line(self, **options):
        """A slow or breakable line to the server."""
        line = net.Line(self.server.port, PORTS.take(4), **options)
        self.lines.append(line)
        return line

    def wait_equal(self, artists, timeout=15, count=None):
        """Waits until all have the same graph (data, dependencies, owners of every node)."""

        def equal():
            digests = [artist.digest() for artist in artists]
            return all(digest == digests[0] for digest in digests) and count in (None, digests[0][1])

        def detail():
            return self.difference(artists, count)

        self.wait(equal, timeout, "the same graph everywhere", detail)

    def difference(self, artists, count=None):
        """Says where the graphs of some artists differ."""
        dumps = [artist.dump() for artist in artists]
        texts = [f"{artist.label} has {len(dump)} nodes" for artist, dump in zip(artists, dumps)]
        if count is not None:
            texts.append(f"{count} wanted")
        for artist, dump in zip(artists[1:], dumps[1:]):
            for uuid in sorted(set(dump) | set(dumps[0])):
                mine, theirs = dumps[0].get(uuid), dump.get(uuid)
                if mine != theirs:
                    a, b = (json.dumps(side, sort_keys=True)[:400] for side in (mine, theirs))
                    texts.append(f"{uuid}: {artists[0].label} {a} / {artist.label} {b}")
                if len(texts) > 6:
                    return "; ".join([*texts, "…"])
        return "; ".join(texts)

    def final(self, artists, timeout=20, count=None, name="later"):
        """The end of most scenarios: everybody equals a client that joins now, i.e. the server.
        Nothing may depend on a node that isn't there: the packages' commits fail on that."""
        later = self.join(name, timeout=timeout)
        self.wait_equal([*artists, later], timeout, count)
        dump = later.dump()
        for uuid, node in dump.items():
            missing = set(node["deps"]) - set(dump)
            self.check(not missing, f"node {uuid} depends on {missing}, which isn't there")
        return later

    def check(self, condition, text):
        """An expectation."""
        if not condition:
            raise Failure(text)

    def violations(self):
        """What clients met that a server must not cause, and dead servers: (serious, races)."""
        serious, races = [], []
        for server in self.servers:
            if not server.alive() and not server.expect_end:
                serious.append(f"the server ended with {server.process.returncode}")
            if b"panicked at" in server.log.read_bytes():
                serious.append("the server's log tells of a panic")
        for artist in self.artists:
            more, extra = artist.violations()
            serious += more
            races += extra
        return serious, races

    def close(self):
        """Ends every process of the scenario."""
        for artist in self.artists:
            artist.close()
        for line in self.lines:
            line.close()
        for server in self.servers:
            server.stop()

    def discard(self):
        """Removes the scenario's folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


# Processes that have groups of their own, which nobody ends when the run is ended.
_STARTED = []


def _start(*arguments, **options):
    process = subprocess.Popen(*arguments, **options)
    _STARTED.append(process)
    return process


def end_with(number, _frame):
    """For signals that end the run: everything it started ends with it."""
    for process in _STARTED:
        _kill_group(process)
    os._exit(128 + number)


def _kill_group(process):
    """Ends a process and its children; they have a session, and so a group, of their own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def wanted(value):
    """A value as it will show in a dump."""
    return values.encode(values.decode(value))
