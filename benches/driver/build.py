"""What is measured and what measures: built or installed once, below `target/`."""

import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / (os.environ.get("CARGO_TARGET_DIR") or "target")
OUT = TARGET / "bench"

sys.path.insert(0, str(ROOT / "tests" / "clients"))
import venvs  # the tests' own environments, which are there already after scripts/test


def server():
    """The static binary, as it is handed out."""
    musl = f"{platform.machine()}-unknown-linux-musl"
    command = [ROOT / "scripts" / "package", "--binary-only", "--target", musl]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return ROOT / done.stdout.split()[-1]


def generator():
    """The load generator, optimised, though not for minutes."""
    command = ["cargo", "build", "--locked", "--profile", "quick", "--bench", "load"]
    done = subprocess.run(
        [*command, "--message-format=json-render-diagnostics"],
        check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message["reason"] == "compiler-artifact" and message["target"]["name"] == "load":
            return message["executable"]
    raise SystemExit("cargo made no load generator")


def anchor():
    """The forwarder on libzmq; None where it cannot be built."""
    source, binary = ROOT / "benches" / "anchor" / "forward.cpp", OUT / "forward"
    if shutil.which("g++") is None:
        print("note: there is no g++, so libzmq is left out", file=sys.stderr)
        return None
    done = subprocess.run(
        ["g++", "-O2", "-o", binary, source, "-lzmq"], stderr=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        print("note: libzmq is left out; it needs its headers (libzmq3-dev)", file=sys.stderr)
        return None
    return binary


def original(version):
    """The interpreter that has the original server of this version."""
    venvs.make(version)
    return venvs.python(version)
