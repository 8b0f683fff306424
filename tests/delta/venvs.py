#!/usr/bin/env python3
"""Makes one virtual environment per deepdiff version under `target/deepdiff/VERSION`.

    venvs.py

Idempotent: an environment whose stamp equals its pins is left alone. Several may run at once
(each environment has a lock file). `DEEPDIFF_VENVS` overrides the parent folder.
"""

import concurrent.futures
import fcntl
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What users of the add-on have had, and one for each way deltas were ever applied.
PINS = {
    "5.5.0": ["ordered-set==4.0.2"],
    "5.7.0": ["ordered-set==4.0.2"],
    "6.7.1": ["ordered-set==4.1.0"],
    "7.0.1": ["ordered-set==4.1.0"],
    "8.1.1": ["orderly-set==5.2.3"],
    "8.6.2": ["orderly-set==5.5.0"],
}


def make(version):
    """Builds the environment of one version unless it is there."""
    parent = pathlib.Path(os.environ.get("DEEPDIFF_VENVS") or ROOT / "target" / "deepdiff")
    parent.mkdir(parents=True, exist_ok=True)
    with open(parent / f"{version}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _make_locked(parent / version, [f"deepdiff=={version}", *PINS[version]])


def _make_locked(home, pins):
    stamp = home / "pins.txt"
    wanted = "\n".join([sys.version, *pins])
    if stamp.exists() and stamp.read_text() == wanted:
        return
    # A half-built one has no stamp.
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    install = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--quiet"]
    install += ["--no-deps", "--disable-pip-version-check", *pins]
    done = subprocess.run(install, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise SystemExit(f"deepdiff {home.name}: pip failed (it needs a network the first time)\n{done.stdout}")
    stamp.write_text(wanted)


def main():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(make, PINS))


if __name__ == "__main__":
    main()
