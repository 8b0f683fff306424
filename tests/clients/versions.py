"""The versions of the `replication` package that are run as clients, and what each needs.

Used by `venvs.py` (pins), `run.py` (reference servers, names of scenarios) and the scenarios
themselves (which behaviour to expect from which age of client).
"""

# Newest first: the order in which failures are most interesting.
VERSIONS = ["0.9.11", "0.1.31", "0.1.26", "0.1.17", "0.1.3", "0.0.21", "0.0.20", "0.0.3"]

_JSONDIFF = ["jsondiff==1.2.0"]
_PINS = {
    "0.0.3": _JSONDIFF,
    "0.0.20": _JSONDIFF,
    "0.0.21": ["deepdiff==5.0.2", "ordered-set==4.0.2"],
    "0.1.3": ["deepdiff==5.0.2", "ordered-set==4.0.2"],
    "0.1.17": ["deepdiff==5.0.2", "ordered-set==4.0.2"],
    "0.1.26": ["deepdiff==5.2.3", "ordered-set==4.0.2"],
    "0.1.31": ["deepdiff==5.5.0", "ordered-set==4.0.2"],
    "0.9.11": ["deepdiff==8.1.1", "orderly-set==5.2.3"],
}


def key(version):
    """Sortable form of a version text."""
    return tuple(int(part) for part in version.split("."))


def pins(version):
    """Exact requirements of one version's environment, `pip install --no-deps` style."""
    return [f"replication=={version}", "pyzmq==25.1.2", *_PINS[version]]


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
    return 4 if key(version) < (0, 1, 33) else 3
