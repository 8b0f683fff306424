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
FLUSH, SLACK = 0.1, 0.2
# What is edited within so long may still be on its way to the disk. It waits for another step before it,
# and each takes several syncs.
RECENT = 2.0
SYNCS = 6


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
    while crash.kills < 12:
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
        self.turn = self.kills = 0
        self.alice = self.bob = None
        self.work = numbered.Work({})
        self.stop = threading.Event()
        self.disk = Disk(stage.folder / "written")
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
        blocks = numbered.scene(self.work, self.large)
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
        nodes = stage.server.ctl("stats")["nodes"]
        stage.check(nodes in ([len(blocks)] if told else [0, len(blocks)]), f"{nodes} nodes of an upload, told: {told}")
        stage.done["uploads kept" if nodes else "uploads gone"] += 1
        if nodes == 0:
            alice, _ = stage.host(blocks, name=f"alice{self.turn}b")
        self.work = numbered.Work({block["name"]: numbered.node(block) for block in blocks}, self.work.number)
        self._meet((0, 0), alice if nodes == 0 else None)

    def at_work(self, kind, loads=0):
        """Kills it while nodes are made, changed and deleted."""
        self.turn += 1
        worker = numbered.Worker(self.alice, self.uuids, self.work, self.rng, self.large, self.disk.sent)
        seen = []

        def watch():
            while not self.stop.is_set():
                # The server knows of it at the latest when the other client says so.
                certain = self.work.see(self.bob.numbers())
                seen.append((time.monotonic(), certain))

        if self.deltas:
            names = [name for name in numbered.SCENE if name not in numbered.WHOLE or self.stage.key < (0, 2, 1)]
            touched = worker.touch(names).items()
            self.stage.wait(lambda: touched <= self.bob.numbers().items(), 20, "the first deltas")
        self._begin(kind, [self.alice, self.bob], lambda: worker.run(self.stop, kind == "folding"), watch)
        longest = 2.0
        if kind == "backup":
            os.kill(self.stage.server.process.pid, signal.SIGUSR1)
            longest = 0.2 + self.large / 2e7
        self._kill(self.moments.uniform(0.02, longest))
        self._end_turn(loads)
        late = FLUSH + SLACK + self.disk.takes(self.cut)
        safe = [certain for at, certain in seen if at < self.cut - late]
        change, delete = self._meet(safe[-1] if safe else (0, 0))
        lost = [at for at, certain in seen if certain[0] > change or certain[1] > delete]
        self.stage.lost = max(self.stage.lost, self.cut - min(lost, default=self.cut))

    def end(self):
        """Work goes on with what is left."""
        self.alice.edit(uuid=self.uuids["small0"], patch={"after": "all that"})
        self.stage.final([self.alice, self.bob], count=len(self.uuids))

    # How a turn goes.

    def _begin(self, kind, artists, *works):
        """Starts what these artists do, each in a thread."""
        self.kind, self.artists = kind, artists
        self.stop.clear()
        self.trouble = []
        works = [*works, lambda: self.disk.watch(self.stop)]
        self.workers = [threading.Thread(target=self._until_killed, args=[work], daemon=True) for work in works]
        for worker in self.workers:
            worker.start()

    def _until_killed(self, work):
        try:
            work()
        except Failure as failure:
            # Clients that lose their server in the midst of a node wait for the rest for ever.
            self.trouble.append((time.monotonic(), failure))

    def _kill(self, after):
        """Kills the server after so many seconds: any moment is good, this is what is tested, not waited for."""
        self.stop.wait(after)
        self.before = [text for artist in self.artists for text in artist.violations()[0]]
        self.cut = time.monotonic()
        self.stage.server.kill()
        self.stop.set()

    def _end_turn(self, loads):
        """After the kill: ends the clients, looks at what was left, and starts the server again; it is
        killed so many times while it loads."""
        stage = self.stage
        self._killed(self.kind)
        stage.check(not self.before, f"before the kill: {self.before}")
        self._send_away()
        for worker in self.workers:
            worker.join()
        for at, failure in self.trouble:
            if at < self.cut:
                raise failure
        self._check_backups()
        unfinished = set(self._backups("*.new"))
        stage.done["backups cut short"] += len(unfinished)
        for _ in range(loads):
            stage.start_again(wait=False)
            time.sleep(self.moments.uniform(0, 0.1 + self.large / 1e8))
            stage.server.kill()
            self._killed("loading")
        stage.start_again()
        stage.wait(lambda: unfinished.isdisjoint(self._backups("*.new")), 15, "unfinished backups are removed")

    def _killed(self, when):
        self.kills += 1
        self.stage.done[f"killed: {when}"] += 1

    def _send_away(self):
        for artist in self.artists:
            # It has no server any more, and says so.
            artist.expect(".")
            artist.close()

    def _meet(self, safe, alice=None):
        """One who joins now sees what is left, which must have been there once, not before what is
        safe. Gives the last change and the last delete that are left."""
        stage, reason = self.stage, ""
        self.bob = stage.join(f"bob{self.turn}", timeout=60)

        def fits():
            nonlocal reason
            try:
                found, self.uuids = numbered.graph(self.bob.dump())
                return found, self.work.moment(found, safe)
            except Failure as failure:
                reason = str(failure)
                return None

        found, moment = stage.wait(fits, 5, f"{self.kind}, turn {self.turn}, seed {stage.seed}", lambda: reason)
        self.work = numbered.Work(found, self.work.number)
        self.alice = alice or stage.join(f"alice{self.turn}", admin=True, timeout=60)
        self.alice.take_over()
        self.artists = [self.alice, self.bob]
        return moment

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


class Disk:
    """How fast the disk is at the moment, with all that others do to it."""

    def __init__(self, path):
        self.path = path
        # When a sync had ended, and how long it took; what was sent to the server when.
        self.syncs = []
        self.sent = []

    def watch(self, stop):
        """Looks until it is stopped."""
        while not stop.wait(0.01):
            self._write(4096)

    def takes(self, until):
        """How long what was edited last before a moment may have taken to be written, at most."""
        count = sum(size for at, size in self.sent if at > until - RECENT)
        longest = max((took for at, took in self.syncs if at > until - RECENT), default=0)
        return 3 * self._write(count) + SYNCS * longest

    def _write(self, count):
        start = time.monotonic()
        with open(self.path, "wb") as file:
            file.write(bytes(count))
            os.fsync(file.fileno())
        self.syncs.append((time.monotonic(), time.monotonic() - start))
        return self.syncs[-1][1]
