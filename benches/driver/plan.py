"""What is run: scenarios of the load generator with their keys, and how often."""

KIB, MIB = 1024, 1024 * 1024
# What a server that only forwards can do.
BARE = ("fanout", "latency", "start")


class Step:
    """One run of the load generator, or (no scenario) a start alone. `group` is what `--only` names."""

    def __init__(self, group, scenario, repeat=1, servers=None, ports=None, **keys):
        self.group, self.scenario, self.repeat, self.keys = group, scenario, repeat, keys
        self.servers, self.ports = servers, ports

    def suits(self, kind, talk):
        """Whether it can be run against this server, talking so."""
        if self.servers and kind.name not in self.servers:
            return False
        if not self.servers and kind.name == "ours-off":
            return False
        if self.ports and talk not in self.ports:
            return False
        return talk in kind.ports and (not kind.bare or self.group in BARE)


def sizes(*of):
    return ",".join(str(size) for size in of)


def steps(mode):
    """All steps of a mode: quick, normal or full."""
    pickled = ("three", "framed")
    if mode == "quick":
        return [
            Step("start", None, 3),
            Step("fanout", "fanout", 3, receivers=4, sizes=sizes(256, 4 * KIB, 64 * KIB, MIB), secs=0.4),
            Step("latency", "latency", 2, secs=1),
            Step("latency", "latency", 1, ports=("four",), editors=1, secs=1, views="no"),
            Step("fanout", "fanout", 1, ports=pickled, receivers=4, secs=0.3, content="nested",
                 sizes=sizes(4 * KIB, 64 * KIB)),
            Step("join", "join", 1, nodes=500, size=20 * KIB),
            Step("join", "join", 1, nodes=4, size=20 * MIB),
            Step("memory", "memory", 1, total=128 * MIB, size=256 * KIB),
            Step("memory", "burst", 1, users=6, size=4 * MIB),
            Step("slow", "slow", 1, total=50 * MIB, rate=400),
            Step("idle", "crowd", 1, users=16, secs=2),
            Step("durability", "fanout", 1, ("ours", "ours-off"), receivers=4, sizes=sizes(64 * KIB), secs=0.5),
            Step("durability", "latency", 1, ("ours", "ours-off"), secs=1, views="no"),
            Step("durability", "join", 1, ("ours", "ours-off"), nodes=4, size=20 * MIB),
        ]
    full = mode == "full"
    repeat, secs = (5, 1.5) if full else (3, 0.8)
    made = [Step("start", None, 10)]
    made += [
        Step("fanout", "fanout", repeat, receivers=receivers, secs=secs,
             sizes=sizes(256, 4 * KIB, 64 * KIB, MIB, 16 * MIB))
        for receivers in ((1, 4, 8, 16) if full else (1, 4, 16))
    ]
    made += [
        Step("fanout", "fanout", repeat, ports=pickled, receivers=4, secs=secs, content="nested",
             sizes=sizes(4 * KIB, 64 * KIB, MIB)),
        Step("latency", "latency", repeat, secs=5 if full else 3),
        # Two who push at once end the original of four ports.
        Step("latency", "latency", repeat, ports=("four",), editors=1, secs=5 if full else 3),
        Step("join", "join", repeat, nodes=2000, size=20 * KIB),
        Step("join", "join", repeat, nodes=20, size=20 * MIB),
        Step("join", "join", repeat, ports=pickled, nodes=2000, size=20 * KIB, editors=4, rate=20),
        Step("join", "join", repeat, ports=("four",), nodes=2000, size=20 * KIB, editors=1, rate=80),
        Step("memory", "memory", 1, total=1024 * MIB, size=MIB),
        Step("memory", "burst", 1, users=16, size=16 * MIB),
        Step("slow", "slow", 3 if full else 1, total=200 * MIB, rate=400),
        Step("slow", "slow", 1, ("ours",), total=100 * MIB, rate=100, speed=125000),
        Step("slow", "join", 1, ("ours",), nodes=5, size=20 * KIB, editors=4, rate=20, distance=0.2),
        Step("idle", "crowd", 3 if full else 1, users=16, secs=20 if full else 6, views="no"),
        Step("crowd", "crowd", 3 if full else 1, users=128, secs=5 if full else 3),
    ]
    made += [
        Step("growth", "growth", 1, ("ours",), nodes=nodes, secs=1) for nodes in (10, 1000, 100_000)
    ]
    if full:
        made.append(Step("crowd", "crowd", 1, users=512, secs=5))
        made.append(Step("soak", "soak", 1, ("ours",), ports=("three",)))
    made += [
        Step("durability", "fanout", repeat, ("ours", "ours-off"), receivers=4, sizes=sizes(64 * KIB), secs=2 * secs),
        Step("durability", "latency", repeat, ("ours", "ours-off"), secs=3, views="no"),
        Step("durability", "join", repeat, ("ours", "ours-off"), nodes=20, size=20 * MIB),
    ]
    return made
