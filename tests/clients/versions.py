"""The versions of the `replication` package that are run as clients, and what each needs.

Used by `venvs.py` (pins), `run.py` (reference servers, names of scenarios) and the scenarios
themselves (which behaviour to expect from which age of client).
"""

import re

# Those that are tried with everything, newest first: the order in which failures are most interesting.
# At least one for every way of talking there ever was; any other version can be named as well.
VERSIONS = [
    "0.10.3", "0.9.12", "0.9.11", "0.9.10", "0.9.9", "0.9.5", "0.9.1", "0.8.3", "0.7.3", "0.7.0", "0.6.6", "0.5.4",
    "0.4.0", "0.2.4", "0.2.2", "0.2.1", "0.1.42", "0.1.41", "0.1.40", "0.1.36", "0.1.35", "0.1.33", "0.1.31", "0.1.26",
    "0.1.17", "0.1.3", "0.0.21", "0.0.21a19", "0.0.21a15", "0.0.21a8", "0.0.21a3", "0.0.20", "0.0.10", "0.0.3",
]


def _releases(series, first, last, never=()):
    """Versions of a series, newest first, but for numbers that were never published."""
    return [f"{series}{number}" for number in range(last, first - 1, -1) if number not in never]


# All there are, newest first, but for 0.0.21a2, which Python refuses to read.
PUBLISHED = [
    "0.10.3", "0.10.2", *_releases("0.9.", 1, 12), *_releases("0.8.", 0, 3), *_releases("0.7.", 0, 3),
    *_releases("0.6.", 0, 6), *_releases("0.5.", 0, 4, never=[2]), "0.4.0", "0.3.0", *_releases("0.2.", 1, 4, never=[3]),
    *_releases("0.1.", 1, 42, never=[27, 28, 29, 32, 37, 38, 39]), "0.0.21",
    *_releases("0.0.21a", 1, 21, never=[2]),
    *_releases("0.0.", 3, 20),
]

# From which version on which requirements are installed: what people had in its time.
_PINS = [
    ("0.0.3", ["jsondiff==1.2.0"]),
    ("0.0.21a1", ["deepdiff==5.0.2", "ordered-set==4.0.2"]),
    ("0.1.21", ["deepdiff==5.2.3", "ordered-set==4.0.2"]),
    ("0.1.30", ["deepdiff==5.5.0", "ordered-set==4.0.2"]),
    ("0.8.0", ["deepdiff==5.7.0", "ordered-set==4.0.2"]),
    ("0.9.10", ["deepdiff==8.1.1", "orderly-set==5.2.3"]),
]


# Versions of deepdiff that artists have beside the one of its time, with what each needs.
DEEPDIFFS = {
    "5.5.0": ["ordered-set==4.0.2"], "5.7.0": ["ordered-set==4.0.2"], "6.7.1": ["ordered-set==4.1.0"],
    "7.0.1": ["ordered-set==4.1.0"], "8.1.1": ["orderly-set==5.2.3"], "8.6.2": ["orderly-set==5.5.0"],
}


def is_one(version):
    """Whether the text names a version, also one that is not listed here."""
    return re.fullmatch(r"\d+\.\d+\.\d+(a\d+)?", version.split("+")[0]) is not None


def key(version):
    """Sortable form of a version text, which may end in `+` and the version of deepdiff."""
    release, _, alpha = version.split("+")[0].partition("a")
    major, minor, patch = (int(part) for part in release.split("."))
    # Alphas come before their release, after the one before that.
    return (major, minor, patch - 1 + int(alpha) / 100) if alpha else (major, minor, patch)


def calls_itself(version):
    """What a package says its version is: 0.10.3 was published with its predecessor's number."""
    return "0.10.2" if version == "0.10.3" else version


def pins(version):
    """Exact requirements of one version's environment, `pip install --no-deps` style."""
    own = [requirements for since, requirements in _PINS if key(version) >= key(since)][-1]
    network = [] if framed(version) else ["pyzmq==25.1.2"]
    version, _, deepdiff = version.partition("+")
    if deepdiff:
        own = [f"deepdiff=={deepdiff}", *DEEPDIFFS[deepdiff]]
    return [f"replication=={version}", *network, *own]


def marshal(version):
    """Whether nodes are marshal, not pickles."""
    return key(version) < (0, 1, 1) and version not in ("0.0.21a17", "0.0.21a18", "0.0.21a19")


def framed(version):
    """From 0.9.12 on everything goes over one port, without ZeroMQ."""
    return key(version) >= (0, 9, 12)


def threaded(version):
    """Up to 0.1.26 the package runs its own network threads; later ones must be polled."""
    return key(version) < (0, 1, 30)


def two_passwords(version):
    """From 0.9.1 on the login carries a server password beside the admin password."""
    return key(version) >= (0, 9, 1)


def reference_command(version, python, port, timeout, admin, server):
    """Command line of the version's own server, for `run.py --reference`."""
    command = [python, "-m", "replication.server", "-p", str(port), "-t", str(timeout)]
    if two_passwords(version):
        return [*command, "-apwd", admin, "-spwd", server or ""]
    return [*command, "-pwd", admin]


def ports(version):
    """Number of consecutive ports a session of this version uses."""
    if framed(version):
        return 1
    return 4 if key(version) < (0, 1, 33) else 3
