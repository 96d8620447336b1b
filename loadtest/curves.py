"""Where cost grows: with the body, with the routes, with the streams. Samples in target/curves.json, the picture in
docs/performance-curves.svg.

    SECONDS_=1 ROUNDS=3 make curves
"""
import json
import os
import pathlib
import sys
import tempfile
import time
from functools import partial
from statistics import median

import answers
import machine
import picture
from rig import Rig

SIZES = [1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000]
ROUTES = [10, 30, 100, 300, 1_000, 3_000, 10_000]
STREAMS = [10, 30, 100, 300, 1_000, 3_000, 10_000]
PROXIES = ("tollgate", "bare", "nginx")
TICKS = 1_000  # events a second over all held streams


class Curves:
    def __init__(self, scratch):
        self.scratch, self.samples = scratch, []
        self.seconds = float(os.environ.get("SECONDS_", 1))
        self.rounds = int(os.environ.get("ROUNDS", 3))
        self.files = machine.raise_file_limit()

    def add(self, curve, through, x, **figures):
        self.samples.append({"curve": curve, "through": through, "x": x} | figures)
        shown = " ".join(f"{name} {value:.1f}" for name, value in figures.items())
        print(f"{curve} {x} {through}: {shown}", file=sys.stderr)

    def bodies(self):
        """CPU of a request by the size of its body, and the most memory that the process had after it."""
        with Rig(self.scratch) as rig:
            rig.upstreams()
            for through in PROXIES:
                rig.proxy(through)
            for size in SIZES:
                (self.scratch / "sized.json").write_bytes(answers.large(size))
                spent = {through: [] for through in PROXIES}
                for _ in range(self.rounds):
                    for through in PROXIES:
                        fire = partial(rig.load, "chats", through, "whole", "sized", "--seconds", self.seconds / 3)
                        spent[through].append(rig.accounted(through, "whole", fire)["cpu_us"])
                for through in PROXIES:
                    memory = rig.accounts(through, "whole").most_rss() / 1024
                    self.add("bodies", through, size, cpu_us=median(spent[through]), memory_mb=memory)

    def routes(self):
        """CPU of a chat by the number of routes, and memory at rest. The one that is asked for is the last."""
        for count in ROUTES:
            for through in ("tollgate", "nginx"):
                with Rig(self.scratch) as rig:
                    rig.upstreams()
                    process = rig.proxy(through, routes=count, patience=60)
                    time.sleep(0.5)
                    memory = process.rss()[0] / 1024
                    route = f"team-{count - 1}/chat"
                    rig.wrk(through, route, "chat", 1)
                    fire = partial(rig.wrk, through, route, "chat", max(round(self.seconds), 1))
                    spent = median(rig.accounted(through, route, fire)["cpu_us"] for _ in range(self.rounds))
                self.add("routes", through, count, cpu_us=spent, memory_mb=memory)

    def streams(self):
        """CPU of an event by the number of streams that are open, and memory. The events are as many each time."""
        for count in STREAMS:
            count = min(count, (self.files - 100) // 2)
            for through in PROXIES:
                with Rig(self.scratch, connections=self.files) as rig:
                    rig.upstreams(ticks=TICKS)
                    process = rig.proxy(through)
                    rig.hold(through, count)
                    spent = median(self.event(process) for _ in range(self.rounds))
                    memory = process.rss()[0] / 1024
                self.add("streams", through, count, cpu_us=spent, memory_mb=memory)

    def event(self, process):
        before, start = process.cpu()[0], time.monotonic()
        time.sleep(self.seconds)
        return (process.cpu()[0] - before) / (time.monotonic() - start) / TICKS


def main():
    facts = machine.facts()
    with tempfile.TemporaryDirectory() as scratch:
        curves = Curves(pathlib.Path(scratch))
        curves.bodies()
        curves.routes()
        curves.streams()
    out = machine.TARGET / "curves.json"
    out.write_text(json.dumps({"facts": facts, "samples": curves.samples}, indent=1))
    picture.draw(curves.samples, facts, machine.ROOT / "docs/performance-curves.svg")


if __name__ == "__main__":
    main()
