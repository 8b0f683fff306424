#!/usr/bin/env python3
"""Makes one virtual environment per client version under `target/clients/VERSION`.

    venvs.py [VERSION ...]

Idempotent: an environment whose stamp equals its pins is left alone. Several may run at once
(each environment has a lock file). Called by `run.py` before anything else.
"""

import concurrent.futures
import fcntl
import os
import pathlib
import shutil
import subprocess
import sys

import versions

ROOT = pathlib.Path(__file__).resolve().parents[2]

# The packages up to 0.1.31 import names from `collections` that Python 3.10 moved.
SITECUSTOMIZE = """\
import collections
import collections.abc

for _name in ("MutableMapping", "Mapping", "Iterable", "Sequence", "Callable"):
    if not hasattr(collections, _name):
        setattr(collections, _name, getattr(collections.abc, _name))
"""


def folder(version):
    """Where the environment of a version lives. `CLIENT_VENVS` overrides the parent folder."""
    parent = os.environ.get("CLIENT_VENVS") or ROOT / "target" / "clients"
    return pathlib.Path(parent) / version


def python(version):
    """The interpreter of a version's environment."""
    return str(folder(version) / "bin" / "python")


def make(version):
    """Builds the environment of one version unless it is there. Returns whether it was built."""
    home = folder(version)
    home.parent.mkdir(parents=True, exist_ok=True)
    with open(home.parent / f"{version}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _make_locked(version, home)


def _make_locked(version, home):
    stamp = home / "pins.txt"
    wanted = "\n".join([sys.version, *versions.pins(version), SITECUSTOMIZE])
    if stamp.exists() and stamp.read_text() == wanted:
        return False
    # Scripts inside an environment name its path, so it can't be built elsewhere and moved: a
    # half-built one is recognised by its missing stamp instead.
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    install = [sys.executable, "-m", "pip", "--python", python(version), "install", "--quiet"]
    install += ["--no-deps", "--disable-pip-version-check", *versions.pins(version)]
    done = subprocess.run(install, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{version}: pip failed\n{done.stdout}")
    where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = subprocess.run([python(version), "-c", where], check=True, capture_output=True, text=True)
    pathlib.Path(site.stdout.strip(), "sitecustomize.py").write_text(SITECUSTOMIZE)
    stamp.write_text(wanted)
    return True


def make_all(wanted):
    """Builds what is missing, two at a time."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for version, built in zip(wanted, pool.map(make, wanted)):
            if built:
                print(f"client {version}: environment built", flush=True)


if __name__ == "__main__":
    make_all(sys.argv[1:] or versions.VERSIONS)
