"""The servers, each started anew for every run, on ports that are free."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

import build
import versions  # of tests/clients, see build

# The package whose server speaks a way of talking, as what the load generator logs in.
VERSIONS = {"four": "0.0.20", "three": "0.9.11", "framed": "0.10.3"}
PORTS = {"four": 4, "three": 3, "framed": 1}
PATIENCE = 20
NAMES = ("ours", "ours-off", "original", "libzmq")


class Kind:
    """A server that can be started. `bare` ones only forward."""

    def __init__(self, name, command, ports=tuple(PORTS), keys=None, bare=False):
        self.name, self.command, self.ports, self.keys, self.bare = name, command, ports, keys, bare


def check(wanted):
    """Ends if there is no server with one of these names."""
    for name in wanted:
        if name not in NAMES:
            raise SystemExit(f"there is no server {name!r}: {', '.join(NAMES)}")


def kinds(wanted, ports, binary):
    """The servers with these names, for these ways of talking."""
    made = {}
    for name in wanted:
        if name == "ours" or name == "ours-off":
            flush = {"durability.flush": "off"} if name == "ours-off" else {}
            made[name] = Kind(name, lambda talk, port: [binary, "--port", str(port)], keys=flush)
        elif name == "original":
            pythons = {talk: build.original(VERSIONS[talk]) for talk in ports}
            made[name] = Kind(name, lambda talk, port: versions.reference_command(
                VERSIONS[talk], pythons[talk], port, 5000, "admin", ""))
        elif name == "libzmq":
            forward = build.anchor()
            if forward:
                made[name] = Kind(name, lambda talk, port: [forward, talk, str(port)], ("four", "three"), bare=True)
    return made


def free_ports(count):
    """The first of so many free ports in a row, below those that the system hands out itself."""
    for first in range(12000 + os.getpid() * 8 % 8000, 30000, 4):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
            return first
        except OSError:
            pass
    raise SystemExit("there are no free ports")


class Running:
    """A server that runs. As a context it is ended at the end, whatever happens."""

    def __init__(self, kind, talk):
        self.kind, self.talk = kind, talk
        self.port = free_ports(4)
        # On the disk that the build is on: what is written there is measured, too.
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=build.OUT))
        env = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        if kind.keys is not None:
            env["MULTI_USER_BIND"] = "127.0.0.1"
            env["MULTI_USER_DATA_DIR"] = str(self.home)
            env["MULTI_USER_SESSION__ADMIN_PASSWORD"] = "admin"
            for key, value in kind.keys.items():
                env["MULTI_USER_" + key.upper().replace(".", "__")] = str(value)
        self.log = open(self.home / "log", "wb")
        begin = time.perf_counter()
        self.process = subprocess.Popen(
            kind.command(talk, self.port), cwd=self.home, env=env, stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True,
        )
        try:
            self._wait(begin)
        except BaseException:
            self.close()
            raise
        self.started = time.perf_counter() - begin

    def _wait(self, begin):
        for port in range(self.port, self.port + PORTS[self.talk]):
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if self.process.poll() is not None or time.perf_counter() - begin > PATIENCE:
                        raise RuntimeError(f"{self.kind.name} does not start:\n{self.tail()}") from None
                    time.sleep(0.0005)

    def tail(self):
        """The end of what it has said."""
        return (self.home / "log").read_bytes()[-1500:].decode(errors="replace")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
