"""One command for the table of docs/performance.md: Markdown on standard output, every sample in target/loadtest.json.

    ROUNDS=5 SECONDS_=2.5 ONLY=chat,stream make loadtest

BLESS=1 also puts the table into docs/performance.md.
"""
import dataclasses
import json
import os
import pathlib
import sys
import tempfile
import time
from functools import partial

import instructions
import machine
import rows
from rig import THROUGHS, Rig
from rows import AWAKE

STREAMS = 10_000
# What a held stream needs of this process's and the proxies' open files besides its own.
SPARE_FILES = 100


@dataclasses.dataclass(frozen=True)
class Cell:
    name: str
    route: str
    body: str
    # wrk: as much as goes on 64 connections; else a command of the load example with its flags
    tool: str
    # Of SECONDS_.
    share: float = 1
    flags: tuple = ()
    throughs: tuple = THROUGHS


CELLS = [
    Cell("chat", "chat", "chat", "wrk"),
    Cell("protected", "protected", "chat", "wrk", 0.7, throughs=("plain", "tollgate")),
    Cell("translated", "translated", "claude-chat", "wrk", 0.7, throughs=("nginx", "tollgate")),
    Cell("translated-stream", "translated-stream", "claude-stream", "wrk", 0.7, throughs=("nginx", "tollgate")),
    Cell("stream", "stream", "stream", "wrk"),
    Cell("paced", "paced", "stream", "streams", 0.8, ("--connections", 32), ("nginx", "bare", "tollgate")),
    Cell("events", "events", "stream", "streams", 0.3, ("--connections", 5), (*THROUGHS, AWAKE)),
    Cell("single", "chat", "chat", "chats", 0.4, throughs=(*THROUGHS, AWAKE)),
    Cell("tenth", "chat", "chat", "chats", 0.7, ("--connections", 64), (*THROUGHS, AWAKE)),
    Cell("large", "whole", "large", "chats", 0.4),
]


class Run:
    """The samples of a run, and what of them later measurements rest on."""

    def __init__(self, scratch):
        self.scratch = scratch
        self.seconds = float(os.environ.get("SECONDS_", 2.5))
        self.rounds = int(os.environ.get("ROUNDS", 5))
        self.only = [name for name in os.environ.get("ONLY", "").split(",") if name]
        self.files = machine.raise_file_limit()
        self.samples, self.streams = [], 0

    def wants(self, name):
        return not self.only or name in self.only

    def add(self, count, cell, through, sample):
        self.samples.append({"round": count, "cell": cell, "through": through} | sample)

    def tenth(self):
        """A tenth of the rate at which the gateway is saturated: of what it did on 64 connections."""
        chats = rows.rounds(self.samples, "chat")
        if not chats:
            sys.exit("ONLY=tenth needs chat beside it")
        return chats[0]["tollgate"]["rps"] / 10

    def measure(self, rig, cell, through):
        seconds = self.seconds * cell.share
        route = "chat" if through == "plain" else cell.route
        through = "tollgate" if through == "plain" else through
        if cell.tool == "wrk":
            # wrk knows no part of a second.
            fire = partial(rig.wrk, through, route, cell.body, max(round(seconds), 1))
        else:
            flags = (*cell.flags, "--seconds", seconds)
            flags += ("--rate", self.tenth()) if cell.name == "tenth" else ()
            fire = partial(rig.load, cell.tool, through, route, cell.body, *flags)
        return rig.accounted(through, route, fire)

    def alternate(self, cells):
        """All cells in turn, round after round, so that what else the machine does falls on all of them."""
        with Rig(self.scratch) as rig:
            rig.upstreams()
            for through in ("nginx", "bare", "tollgate", AWAKE):
                rig.proxy(through)
            for cell in cells:
                verify(rig, cell)
            for count in range(1, self.rounds + 1):
                for cell in cells:
                    for through in cell.throughs:
                        self.add(count, cell.name, through, self.measure(rig, cell, through))
                print(f"round {count} of {self.rounds}", file=sys.stderr)

    def idle(self):
        """Memory at rest and with streams that have begun, each in a process of its own."""
        for count in range(1, self.rounds + 1):
            for through in ("nginx", "bare", "tollgate"):
                self.add(count, "idle", through, self.held(through))
            print(f"idle streams, {count} of {self.rounds}", file=sys.stderr)

    def held(self, through):
        with Rig(self.scratch, connections=self.files) as rig:
            rig.upstreams()
            process = rig.proxy(through)
            time.sleep(2)
            rest, own = process.rss()
            rig.probe(through, "whole", "chat")
            before = process.rss()[0]
            client, held, trouble = rig.hold(through, min(STREAMS, (self.files - SPARE_FILES) // 2))
            if trouble:
                print(f"{through}: {held} streams, then {trouble}", file=sys.stderr)
            time.sleep(1)
            each = (process.rss()[0] - before) / max(held, 1)
            rig.stop(client)
        self.streams = held
        return {"rest_mb": rest / 1024, "rest_own_mb": own / 1024, "stream_kb": each, "streams": held}

    def count_instructions(self):
        for through in ("bare", "tollgate"):
            counted = instructions.counted(self.scratch, through, ["chat"])
            self.add(1, "instructions", through, {"kinstr": counted["chat"] / 1e3})


def verify(rig, cell):
    """Every proxy answers, and what is not translated as the upstream does; a stream's stamps and usage differ."""
    answers = {through: rig.probe("tollgate" if through == "plain" else through, cell.route, cell.body)
               for through in cell.throughs}
    if cell.name == "translated-stream":
        good = answers["tollgate"].endswith(b"data: [DONE]\n\n")
    elif cell.name == "translated":
        good = b'"chat.completion"' in answers["tollgate"]
    else:
        good = len({(len(answer), answer.count(b"data:")) for answer in answers.values()}) == 1
    if not good:
        sys.exit(f"{cell.name}: the answers are not alike: { {name: answer[-300:] for name, answer in answers.items()} }")


def below(facts, run):
    """What stands below the table: of what and when it is."""
    return (
        f"tollgate {facts['commit']}, {facts['date'][:16]} UTC; {run.rounds} alternating rounds; wrk {facts['wrk']}, "
        f"nginx {facts['nginx']}, {facts['cpu']} with {facts['cores']} cores, Linux {facts['kernel']}; load average "
        f"{facts['load_average']:.1f} before, {facts['load_average_after']:.1f} after; {run.streams:,} idle streams with "
        f"{run.files:,} open files allowed."
    )


def keep(text):
    """Puts the table into its page."""
    page = machine.ROOT / "docs/performance.md"
    before, begin, rest = page.read_text().partition("<!-- table -->\n")
    end = "<!-- /table -->"
    page.write_text(f"{before}{begin}\n{text}\n\n{end}{rest.partition(end)[2]}")


def main():
    facts = machine.facts()
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(pathlib.Path(scratch))
        if run.wants("instructions"):
            run.count_instructions()
        if cells := [cell for cell in CELLS if run.wants(cell.name)]:
            run.alternate(cells)
        if run.wants("idle"):
            run.idle()
    lines, results = rows.table(run.samples)
    facts |= {"rounds": run.rounds, "seconds": run.seconds, "cores_used": machine.cores(), "idle_streams": run.streams}
    facts["load_average_after"] = os.getloadavg()[0]
    machine.TARGET.mkdir(exist_ok=True)
    out = machine.TARGET / "loadtest.json"
    out.write_text(json.dumps({"facts": facts, "rows": results, "samples": run.samples}, indent=1))
    text = "\n".join([*lines, "", below(facts, run)])
    print(text)
    if os.environ.get("BLESS"):
        keep(text)


if __name__ == "__main__":
    main()
