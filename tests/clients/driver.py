"""One artist: a real, unmodified `replication` client, driven over standard input and output.

    VENV/bin/python driver.py IPC_PORT

Runs inside a version's environment with a scratch folder as working directory. A line of JSON on
standard input is one request, `{"id": 1, "verb": "connect", ...}`; it is answered by
`{"id": 1, "ok": true, "result": ...}` or `{"id": 1, "ok": false, "error": "Type: text"}` on
standard output. Lines with `event` instead of `id` tell what happened by itself: changes of
state, the end of the session and its reason, and everything that a client must never meet
(exceptions in its threads, error lines in its log, the death of its heartbeat child).

`harness.py` is the other side. The classes that know the package's three shapes are in `apis.py`.
"""

import json
import logging
import os
import queue
import sys
import threading
import time
import traceback

# The package prints on standard output, and so does its child: keep the real one for us.
_OUT = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
_OUT_LOCK = threading.Lock()


def emit(**line):
    """Sends one line to the runner. Called from any thread of the package too."""
    with _OUT_LOCK:
        _OUT.write(json.dumps(line) + "\n")
        _OUT.flush()


class _LogEvents(logging.Handler):
    """Turns the package's error lines into events; keeps the last lines that tell a reason."""

    REASONS = ("Quitting session", "Exiting", "refused", "Connection failed", "Service launching")

    def __init__(self):
        super().__init__()
        self.reason = None

    def emit(self, record):
        text = record.getMessage()[:400]
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {record.levelname} {text}\n")
        if any(word in text for word in self.REASONS):
            self.reason = text
        if record.levelno >= logging.ERROR:
            emit(event="log_error", text=text)


class Driver:
    """The loop that serves requests, polls the package and steps the background jobs."""

    def __init__(self, ipc_port):
        self.log = _LogEvents()
        logging.basicConfig(level=logging.INFO, handlers=[self.log])
        threading.excepthook = self._thread_exception
        import apis  # noqa: PLC0415 (imports the package, whose errors must already be caught)

        self.client = apis.make(ipc_port, self._exit)
        self.requests = queue.Queue()
        self.jobs = {}
        self.state = 0
        self.exited = False
        self.child_reported = False
        self.hung = False

    def _thread_exception(self, args):
        trace = "".join(traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback))
        sys.stderr.write(trace)
        name = args.thread.name if args.thread else "?"
        emit(event="thread_exception", thread=name, text=f"{args.exc_type.__name__}: {args.exc_value}", trace=trace)

    def _exit(self, reason=None):
        """The package's own `on_exit`, where it has one (any thread)."""
        if not self.exited:
            self.exited = True
            emit(event="exit", reason=str(reason if reason is not None else self.log.reason))

    def _read(self):
        for line in sys.stdin:
            self.requests.put(json.loads(line))
        self.requests.put(None)

    def run(self):
        """Serves until standard input ends."""
        threading.Thread(target=self._read, daemon=True).start()
        while True:
            request = self._next()
            if request is None:
                return
            if request:
                self._serve(request)
            if not self.hung:
                self._poll()
            self._observe()
            self._step_jobs()

    def _next(self):
        """The next request, False if there is none now, None at the end of standard input."""
        polled = self.client.polled and not self.hung and self.client.state() not in (0, 8)
        try:
            if polled or not self.requests.empty():
                # The wait for the network in `_poll` is the pause of this loop.
                return self.requests.get_nowait()
            return self.requests.get(timeout=self._pause(0.02))
        except queue.Empty:
            return False

    def _pause(self, longest):
        """Seconds until a job is due, at most `longest`."""
        due = min((job["due"] for job in self.jobs.values()), default=None)
        return longest if due is None else min(max(due - time.monotonic(), 0.0), longest)

    def _serve(self, request):
        number = request.pop("id")
        verb = request.pop("verb")
        try:
            method = getattr(self, "do_" + verb, None) or getattr(self.client, verb)
            emit(id=number, ok=True, result=method(**request))
        except Exception as error:
            traceback.print_exc()
            emit(id=number, ok=False, error=f"{type(error).__name__}: {error}")

    def _poll(self):
        """≥ 0.1.30: what the add-on's timer does. An exception here ends a Blender session."""
        try:
            # Everything that waits is taken, as the add-on's 1 ms timer would in a few turns.
            wait = 0 if not self.requests.empty() else int(self._pause(0.005) * 1000)
            for _ in range(64):
                if not self.client.poll(wait):
                    break
                wait = 0
        except Exception as error:
            traceback.print_exc()
            emit(event="listen_exception", text=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
            self.client.disconnect()

    def _observe(self):
        state = self.client.state()
        if state != self.state:
            before, self.state = self.state, state
            emit(event="state", state=state, before=before)
            if state == 0 and not self.exited:
                self._exit()
        child = self.client.child()
        if child is not None and not self.child_reported and child.poll() is not None:
            self.child_reported = True
            emit(event="child_exit", code=child.returncode, leaving=self.exited or state in (0, 8))

    def _step_jobs(self):
        now = time.monotonic()
        for name, job in list(self.jobs.items()):
            try:
                # Late steps are caught up, in small portions so that the network isn't forgotten.
                for _ in range(8):
                    if job["due"] > now:
                        break
                    next(job["steps"])
                    job["due"] = max(job["due"] + job["interval"], now - 0.5)
            except StopIteration:
                del self.jobs[name]
                emit(event="job", job=name, done=job["done"], seconds=time.monotonic() - job["start"])
            except Exception as error:
                traceback.print_exc()
                del self.jobs[name]
                emit(event="job", job=name, done=job["done"], error=f"{type(error).__name__}: {error}")

    # Verbs that are not the package's own.

    def do_info(self):
        """Process ids and the state."""
        child = self.client.child()
        return {"pid": os.getpid(), "child": child.pid if child else None, "state": self.state}

    def do_stream(self, job, uuids, count, rate, tag, key="last", filler=0):
        """Starts `count` edits at `rate` per second over `uuids`; an event `job` tells the end."""
        record = {"due": time.monotonic(), "interval": 1.0 / rate, "start": time.monotonic(), "done": 0, "dangling": 0}

        def steps():
            for index in range(count):
                uuid = uuids[index % len(uuids)]
                patch = {key: f"{tag}-{index}", tag: index}
                if filler:
                    patch["filler"] = f"{index % 10}" * filler
                if self.client.has(uuid):
                    try:
                        self.client.edit(uuid, patch)
                        record["done"] += 1
                    except (AttributeError, KeyError):
                        # A commit looks at everything the node depends on, and one of them is
                        # gone: another client's update crossed the delete.
                        traceback.print_exc()
                        record["dangling"] += 1
                yield

        record["steps"] = steps()
        self.jobs[job] = record

    def do_stop_stream(self, job):
        """Ends a stream before its count. Gives its edits per second, and how many commits failed
        because a node depended on one that isn't there."""
        record = self.jobs.pop(job)
        return [record["done"] / (time.monotonic() - record["start"]), record["dangling"]]

    def do_hang(self):
        """Stops taking anything from the network, as a Blender that renders does."""
        self.hung = True
        self.client.hang()

    def do_resume(self):
        """Ends `hang`."""
        self.hung = False
        self.client.resume()


if __name__ == "__main__":
    Driver(int(sys.argv[1])).run()
