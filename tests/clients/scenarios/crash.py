"""The server is killed at any moment: what comes back was there, whole, and only the last of it is lost."""

import os
import pathlib
import random
import signal
import threading
import time

import numbered
import versions
from harness import ACTIVE, LOBBY, Failure, Impossible
from scenarios import scenario

# How soon the server promises that changes are safe, and how long processes may wait for each other.
FLUSH, SLACK = 0.1, 0.3
# What is edited within so long may still be on its way to the disk.
RECENT = 5.0
MOST_NODES = 40


@scenario("p", seconds=90)
def power_cut(stage):
    """The server is killed during an upload, at work, and while it loads: what was a moment old is there, in order."""
    crash = Crash(stage, large=6_000_000)
    crash.during_upload()
    threaded = versions.threaded(stage.version)
    crash.at_work("folding" if crash.deltas else "backup" if threaded else "editing", loads=1)
    crash.end()


@scenario("p", seconds=600, slow=True)
def kills(stage):
    """The server is killed twelve times and more, in all ways, with nodes of up to 50 MB."""
    rng = random.Random(f"{stage.version} {stage.seed}")
    crash = Crash(stage, large=rng.choice([1_000_000, 8_000_000, 50_000_000]))
    crash.during_upload()
    while stage.done.total() < 12:
        loads = rng.choice([0, 0, 1, 1, 3])
        kind = rng.choice(["upload", "editing", "editing", "backup", *["folding"] * 2 * crash.deltas])
        if kind == "upload":
            crash.during_upload(loads)
        else:
            crash.at_work(kind, loads)
    crash.end()


class Crash:
    """A session whose server is killed, and the two who work in it until then."""

    def __init__(self, stage, large):
        if stage.reference:
            raise Impossible("the clients' own servers forget everything")
        self.stage = stage
        self.large = large
        self.deltas = stage.key >= (0, 1, 40)
        # What is done, and when it ends: in threads of their own.
        self.rng = random.Random(f"{stage.version} {stage.seed} done")
        self.moments = random.Random(f"{stage.version} {stage.seed} moments")
        self.turn = 0
        self.alice = self.bob = None
        self.work = numbered.Work({})
        self.stop = threading.Event()
        self.sent = []
        self.checked = set()
        stage.start_server()

    # What is done until the server is killed.

    def during_upload(self, loads=0):
        """Kills it while the scene is brought: afterwards there is all of it or nothing, and all if the
        artist was told so."""
        stage = self.stage
        if self.alice:
            self._send_away()
            stage.server.ctl("reset")
        self.turn += 1
        blocks = self._blocks()
        alice = stage.join(f"alice{self.turn}", admin=True, state=LOBBY)
        alice.add_many(blocks=blocks, push=False)
        told = self.moments.random() < 0.3
        self._begin("upload", [alice], alice.init)
        if told:
            alice.wait_state(ACTIVE)
            self._kill(self.moments.uniform(0, 0.05))
        else:
            self._kill(self.moments.uniform(0, 0.2 + self.large / 2e7))
        self._end_turn(loads)
        told = alice.state == ACTIVE
        wanted = numbered.Work({block["name"]: _node(block) for block in blocks}, self.work.number)
        nodes = stage.server.ctl("stats")["nodes"]
        stage.check(nodes in ([len(blocks)] if told else [0, len(blocks)]), f"{nodes} nodes of an upload, told: {told}")
        if nodes == 0:
            alice, _ = stage.host(blocks, name=f"alice{self.turn}b")
        self.work = wanted
        self._meet((0, 0), alice if nodes == 0 else None)

    def at_work(self, kind, loads=0):
        """Kills it while nodes are made, changed and deleted."""
        self.turn += 1
        self._begin(kind, [self.alice, self.bob], lambda: self._work(kind))
        if kind == "backup":
            os.kill(self.stage.server.process.pid, signal.SIGUSR1)
        killer = threading.Thread(target=self._kill, args=[self.moments.uniform(0.02, 2.0)])
        killer.start()
        seen = []
        while killer.is_alive():
            # The others know of it at the latest when they say so.
            certain = self.work.see(self.bob.numbers())
            seen.append((time.monotonic(), certain))
        killer.join()
        self._end_turn(loads)
        late = FLUSH + SLACK + self._disk()
        safe = [certain for at, certain in seen if at < self.cut - late]
        self._meet(safe[-1] if safe else (0, 0))

    def end(self):
        """Work goes on with what is left."""
        self.alice.edit(uuid=self.uuids["small0"], patch={"after": "all that"})
        self.stage.final([self.alice, self.bob], count=len(self.uuids))

    # How a turn goes.

    def _begin(self, kind, artists, work):
        """Starts the work of the first of these artists."""
        self.kind, self.artists = kind, artists
        self.stop.clear()
        self.sent.clear()
        self.trouble = None

        def guarded():
            try:
                work()
            except Failure as failure:
                self.trouble = (time.monotonic(), failure)

        self.worker = threading.Thread(target=guarded)
        self.worker.start()

    def _kill(self, after):
        """Kills the server after so many seconds: any moment is good, this is what is tested."""
        self.stop.wait(after)
        self.before = [text for artist in self.artists for text in artist.violations()[0]]
        self.cut = time.monotonic()
        self.stage.server.kill()
        self.stop.set()

    def _end_turn(self, loads):
        """After the kill: ends the clients, looks at what was left, and starts the server again; it is
        killed so many times while it loads."""
        stage = self.stage
        stage.done[self.kind] += 1
        stage.check(not self.before, f"before the kill: {self.before}")
        self._send_away()
        self.worker.join()
        if self.trouble and self.trouble[0] < self.cut:
            raise self.trouble[1]
        self._check_backups()
        unfinished = set(self._backups("*.new"))
        for _ in range(loads):
            stage.start_again(wait=False)
            self.stop.clear()
            self._kill(self.moments.uniform(0, 0.1 + self.large / 1e8))
            stage.done["loading"] += 1
        stage.start_again()
        stage.wait(lambda: unfinished.isdisjoint(self._backups("*.new")), 15, "unfinished backups are removed")

    def _send_away(self):
        for artist in self.artists:
            # It has no server any more, and says so.
            artist.expect(".")
            artist.close()

    def _meet(self, safe, alice=None):
        """One who joins now sees what is left, which must have been there once, not before what is safe."""
        stage, reason = self.stage, ""
        self.bob = stage.join(f"bob{self.turn}", timeout=60)

        def fits():
            nonlocal reason
            try:
                found, self.uuids = numbered.graph(self.bob.dump())
                self.work.moment(found, safe)
            except Failure as failure:
                reason = str(failure)
                return None
            return found

        found = stage.wait(fits, 5, f"{self.kind}, turn {self.turn}, seed {stage.seed}", lambda: reason)
        self.work = numbered.Work(found, self.work.number)
        self.alice = alice or stage.join(f"alice{self.turn}", admin=True, timeout=60)
        self.alice.take_over()
        self.artists = [self.alice, self.bob]

    def _backups(self, pattern):
        return sorted(pathlib.Path(self.stage.server.folder, "data", "backups").glob(f"*/{pattern}"))

    def _check_backups(self):
        """What has a backup's name is one, of a state that was there."""
        for path in self._backups("*db"):
            if path not in self.checked:
                self.checked.add(path)
                nodes, _ = numbered.graph(numbered.backup(path))
                if "_deletion_" not in path.name:
                    # That one has what was deleted just before, too.
                    self.work.moment(nodes)
                self.stage.done["backups read"] += 1

    def _disk(self):
        """How long the disk takes at the moment for what was edited lately, and for what came before it."""
        count = sum(size for at, size in self.sent if at > self.cut - RECENT)
        path = self.stage.folder / "written"
        start = time.monotonic()
        with open(path, "wb") as file:
            file.write(os.urandom(count))
            os.fsync(file.fileno())
        path.unlink()
        return 3 * (time.monotonic() - start)

    # What artists do.

    def _blocks(self):
        """The scene: nodes of all sizes that need each other."""
        sizes = {"small0": 1000, "small1": 1000, "small2": 1000, "medium0": 100_000, "medium1": 100_000}
        sizes |= {"mesh": 2_000_000, "large": self.large, "sheet": 1000}
        made = []
        for name, size in sizes.items():
            number = self.work.next()
            payload = {"step": number, "body": {"__blob__": [size, number]}}
            if name == "sheet":
                payload |= {f"cell{place}": {"__blob__": [24_000, number + place]} for place in range(16)}
            deps = [made[-1]["name"]] if len(made) % 3 else []
            made.append({"name": name, "type": "Mesh" if size > 1e6 else "Thing", "payload": payload, "deps": deps})
        return made

    def _work(self, kind):
        """Makes, changes and deletes nodes until it is stopped."""
        while not self.stop.is_set():
            roll = self.rng.random()
            if kind == "folding" and roll < 0.9:
                # Many small changes of a node, which the server adds up.
                self._change("sheet", f"cell{self.rng.randrange(16)}", 24_000)
                continue
            if roll < 0.08:
                self._delete()
            elif roll < 0.2:
                self._make()
            elif roll < 0.23:
                self._change("large", "body", self.rng.randrange(self.large // 2, self.large))
            elif roll < 0.3:
                self._change("mesh", "body", self.rng.randrange(500_000, 2_000_000))
            elif roll < 0.5:
                self._change(f"medium{self.rng.randrange(2)}", "body", 100_000)
            else:
                self._change(f"small{self.rng.randrange(3)}", "body", 1000)
            self.stop.wait(self.rng.choice([0, 0, 0.002, 0.02]))

    def _change(self, name, key, size):
        number = self.work.next()
        patch = {"step": number, key: {"__blob__": [size, number]}}
        self.sent.append((time.monotonic(), size))
        self.work.changed(number, name, patch)
        self.alice.edit(uuid=self.uuids[name], patch=patch)

    def _make(self):
        if len(self.work.deps) >= MOST_NODES:
            return
        number = self.work.next()
        payload = {"step": number, "body": {"__blob__": [self.rng.choice([1000, 20_000]), number]}}
        # Mostly the newest, so that there are chains.
        names = list(self.work.deps)
        deps = sorted({names[-1], self.rng.choice(names)})
        name = f"made{number}"
        self.work.changed(number, name, payload, deps)
        kind = self.rng.choice(["Mesh", "Thing"])
        self.uuids[name] = self.alice.add(name=name, type=kind, payload=payload, deps=deps)

    def _delete(self):
        names = self.work.deletable()
        if names:
            name = self.rng.choice(names)
            self.work.deleted(name)
            self.alice.delete(uuid=self.uuids[name], deps=False)


def _node(block):
    """A block that was uploaded as it comes out of a graph."""
    return {"payload": numbered.shown(block["payload"]), "deps": block["deps"]}
