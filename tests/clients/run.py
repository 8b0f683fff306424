#!/usr/bin/env python3
"""Runs the scenarios: real clients of several versions against a server.

    run.py --server-cmd 'target/release/multi-user-server --port {port} ...' \
           [--versions 0.1.26,0.9.11] [--scenarios upload,j] [--jobs 2] [--json out.json]
    run.py --reference ...                 against each version's own reference server

In the server's command line {port}, {admin}, {timeout} and {tmp} are replaced; what stands in
`[[…]]` is used only when a server password is set, with {server} in it. Without --server-cmd the
release build of this project is used. A failed scenario is tried once more, which the output says.
Ends with what failed, a line each, and `N passed, N failed, N skipped`; the exit code is 1 if anything
failed.
"""

import argparse
import collections
import json
import pathlib
import re
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import harness  # noqa: E402
import scenarios  # noqa: E402
import venvs  # noqa: E402
import versions  # noqa: E402

DEFAULT_SERVER = (
    "{root}/target/release/multi-user-server --port {port} --bind 127.0.0.1 --admin-password {admin} "
    "[[--server-password {server}]] --timeout {timeout} --data-dir {tmp}"
)


def server_command(options):
    """Gives the function that makes a server's command line for a stage."""

    def command(stage, port, folder):
        if options["reference"]:
            python = venvs.python(stage.version)
            return versions.reference_command(
                stage.version, python, port, stage.timeout, stage.admin_password, stage.server_password
            )
        text = options["server_cmd"]
        text = re.sub(r"\[\[(.*?)\]\]", r"\1" if stage.server_password else "", text)
        fields = {
            "root": str(venvs.ROOT), "port": port, "admin": stage.admin_password,
            "server": stage.server_password or "", "timeout": stage.timeout, "tmp": str(folder),
        }
        words = [word.format(**fields) for word in shlex.split(text)]
        # The server runs in a directory of its own, where a relative path would mean another file.
        if "/" in words[0]:
            words[0] = str(pathlib.Path(words[0]).resolve())
        return words

    return command


class Runner:
    """Hands scenarios to threads and keeps the results."""

    def __init__(self, options):
        self.options = options
        self.lock = threading.Lock()
        self.results = []
        self.done = collections.defaultdict(collections.Counter)
        self.lost = 0.0
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="clients-"))

    def attempt(self, version, scenario, number, seed):
        """One try. Gives (outcome, text, races, stage)."""
        folder = self.folder / f"{version}-{scenario.name}-{seed}-{number}"
        options = {**self.options, "seed": seed}
        stage = harness.Stage(version, server_command(options), folder, scenario.seconds, options)
        outcome, text, races = "passed", "", []
        try:
            scenario.run(stage)
        except harness.Impossible as reason:
            outcome, text = "skipped", str(reason)
        except harness.Failure as failure:
            outcome, text = "failed", str(failure)
        except Exception:
            outcome, text = "failed", "the scenario itself broke: " + traceback.format_exc()
        try:
            serious, races = stage.violations()
            if serious and outcome != "skipped":
                outcome = "failed"
                unique = list(dict.fromkeys(serious))
                text = "\n    ".join(filter(None, [text, *unique[:8]]))
                if len(unique) > 8:
                    text += f"\n    and {len(unique) - 8} more"
        finally:
            stage.close()
        return outcome, text, races, stage

    def one(self, version, scenario, seed):
        """A scenario with its second chance."""
        start = time.monotonic()
        tries = []
        for number in (1, 2):
            outcome, text, races, stage = self.attempt(version, scenario, number, seed)
            tries.append({"outcome": outcome, "text": text, "races": races})
            if outcome != "failed":
                stage.discard()
                break
            self.show_failure(version, scenario, number, text, stage, seed)
            if self.options["no_retry"]:
                break
        result = {
            "version": version, "scenario": scenario.name, "letter": scenario.letter, "outcome": outcome,
            "seconds": round(time.monotonic() - start, 1), "tries": tries,
        }
        with self.lock:
            self.results.append(result)
            self.done[version] += stage.done
            self.lost = max(self.lost, stage.lost)
            note = f" ({text})" if outcome == "skipped" else ""
            if len(tries) > 1:
                note += f" — the first try failed: {tries[0]['text'].splitlines()[0][:160]}"
            if tries[-1]["races"]:
                note += f" — races of the client: {len(tries[-1]['races'])}"
            print(f"{outcome:8}{version:10}{scenario.name:28}{result['seconds']:6.1f} s{note}", flush=True)

    def show_failure(self, version, scenario, number, text, stage, seed):
        """Prints why a try failed, with the logs of everything that took part."""
        # A server that was started again writes on in the same log.
        logs = list(dict.fromkeys(server.log for server in stage.servers))
        for artist in stage.artists:
            logs += [artist.folder / "events.log", artist.folder / "client.log"]
        limit = self.options["log_lines"]
        with self.lock:
            print(f"\n--- {version} {scenario.name} with seed {seed}, try {number} failed: {text}", flush=True)
            for log in logs:
                if limit and log.exists():
                    lines = log.read_text(errors="replace").splitlines()
                    if lines:
                        print(f"--- {log.relative_to(stage.folder)}, last lines of {len(lines)}")
                        print("\n".join(line[:300] for line in lines[-limit:]))
            print("---", flush=True)

    def run(self, wanted):
        """Runs (version, scenario, seed) triples; light ones get threads of their own."""
        queues = {False: [], True: []}
        for one in wanted:
            queues[one[1].light].append(one)

        def work(light):
            while True:
                with self.lock:
                    if not queues[light]:
                        return
                    one = queues[light].pop(0)
                self.one(*one)

        jobs = self.options["jobs"]
        threads = [threading.Thread(target=work, args=(light,)) for light in (False, True) for _ in range(jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def table(self, chosen, wanted_versions):
        """version × scenario with times."""
        found = {(result["version"], result["scenario"]): result for result in self.results}
        marks = {"passed": "", "failed": " FAIL", "skipped": "–"}
        print("\n" + " " * 28 + "".join(f"{version:>12}" for version in wanted_versions))
        for scenario in chosen:
            row = f"{scenario.letter} {scenario.name:26}"
            for version in wanted_versions:
                result = found.get((version, scenario.name))
                if result is None:
                    cell = ""
                elif result["outcome"] == "skipped":
                    cell = "–"
                else:
                    cell = f"{result['seconds']:.1f}{marks[result['outcome']]}"
                    if len(result["tries"]) > 1 and result["outcome"] == "passed":
                        cell += " 2nd"
                row += f"{cell:>12}"
            print(row)


    def show_done(self):
        """What was done how often, where scenarios count that."""
        for version, done in self.done.items():
            if done:
                print(f"{version}: " + ", ".join(f"{what} {count}" for what, count in sorted(done.items())))
        total = sum(self.done.values(), collections.Counter())
        if total:
            kills = sum(count for what, count in total.items() if what.startswith("killed"))
            print(f"the server was killed {kills} times, the seeds were {self.options['seed']} and on; "
                  f"the oldest change that was lost had been seen {1000 * self.lost:.0f} ms before")


def summary(results, wanted_versions):
    """version × group of scenarios as a table in Markdown: passed of those that apply."""
    groups = scenarios.GROUPS
    lines = ["| client | " + " | ".join(groups.values()) + " |", "|---|" + "---|" * len(groups)]
    for version in wanted_versions:
        cells = []
        for letter in groups:
            outcomes = [r["outcome"] for r in results if (r["version"], r["letter"]) == (version, letter)]
            applying = [outcome for outcome in outcomes if outcome != "skipped"]
            cells.append(f"{applying.count('passed')}/{len(applying)}" if applying else "–")
        lines.append(f"| {version} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server-cmd", default=DEFAULT_SERVER)
    parser.add_argument("--reference", action="store_true", help="run each version's own reference server")
    parser.add_argument("--versions", default=",".join(versions.VERSIONS), help='separated by commas; "published" for all there are')
    parser.add_argument("--scenarios", default="all", help="names or letters, separated by commas")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("--markdown", action="store_true", help="also print a summary as a table in Markdown")
    parser.add_argument("--slow", action="store_true", help="also those that take minutes")
    parser.add_argument("--no-retry", action="store_true")
    parser.add_argument("--repeat", type=int, default=1, help="run everything so often")
    parser.add_argument("--seed", type=int, default=1, help="what chance decides follows from it; each repetition has the next")
    parser.add_argument("--log-lines", type=int, default=400, help="last lines of each log shown for a failure")
    parser.add_argument("--keep", action="store_true", help="keep the folders of failed tries")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    options = vars(parser.parse_args())

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, harness.end_with)

    known = scenarios.load()
    if options["list"]:
        for scenario in known.values():
            print(f"{scenario.letter} {scenario.name:28}{'slow ' if scenario.slow else ''}{scenario.about}")
        return 0
    if options["scenarios"] == "all":
        chosen = [one for one in known.values() if options["slow"] or not one.slow]
    else:
        asked = options["scenarios"].split(",")
        unknown = [name for name in asked if name not in known and name not in {s.letter for s in known.values()}]
        if unknown:
            parser.error(f"unknown scenarios: {', '.join(unknown)}")
        chosen = [one for one in known.values() if one.name in asked or (one.letter in asked and (options["slow"] or not one.slow))]
    published = options["versions"] == "published"
    wanted_versions = versions.PUBLISHED if published else options["versions"].split(",")
    unknown = [version for version in wanted_versions if not versions.is_one(version)]
    if unknown:
        parser.error(f"unknown versions: {', '.join(unknown)}")
    venvs.make_all(wanted_versions)

    start = time.monotonic()
    runner = Runner(options)
    seeds = range(options["seed"], options["seed"] + options["repeat"])
    runner.run([(version, one, seed) for seed in seeds for one in chosen for version in wanted_versions])
    runner.table(chosen, wanted_versions)
    if options["json"]:
        pathlib.Path(options["json"]).write_text(json.dumps(runner.results, indent=1))
    outcomes = [result["outcome"] for result in runner.results]
    if options["keep"] and "failed" in outcomes:
        print(f"logs: {runner.folder}")
    else:
        shutil.rmtree(runner.folder, ignore_errors=True)
    runner.show_done()
    if options["markdown"]:
        print("\n" + summary(runner.results, wanted_versions))
    second = sum(len(result["tries"]) > 1 and result["outcome"] == "passed" for result in runner.results)
    print(f"\n{time.monotonic() - start:.0f} s; {second} passed on the second try")
    for result in runner.results:
        if result["outcome"] == "failed":
            first = next(iter(result["tries"][-1]["text"].splitlines()), "")
            print(f"failed: {result['version']} {result['scenario']}: {first[:200]}")
    print(f"{outcomes.count('passed')} passed, {outcomes.count('failed')} failed, {outcomes.count('skipped')} skipped")
    return 1 if "failed" in outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
