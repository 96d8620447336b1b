"""User instructions of fixed exchanges, counted by callgrind and held against loadtest/instructions.json.

Unlike time they are nearly the same in every run, so that a few per cent more are seen. The proxy runs once: the
counters are read out between the exchanges, after as many to warm it up.
"""
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import answers
import machine
from lockstep import Lockstep, reply, stream
from rig import Rig, headers

BASELINE = machine.HERE / "instructions.json"
SLACK = 0.03


@dataclasses.dataclass
class Exchange:
    route: str
    body: bytes
    pieces: list
    marks: list
    count: int


def whole(route, body, answer):
    return Exchange(route, body, reply(answer), [], 300)


def streamed(route, body, groups):
    """A stream whose pieces are these groups of events; every one but the last ends with a text of its own."""
    marked = [group.replace(" \"", f" <{index}>\"") for index, group in enumerate(groups[:-1])]
    marks = [f"<{index}>".encode() for index in range(len(marked))]
    return Exchange(route, body, stream([*marked, groups[-1]]), marks, 40)


def exchanges():
    """What is counted, by name. The first text brings what stands before it, the end comes in one piece."""
    openai, anthropic = list(answers.openai_events(53)), list(answers.anthropic_events(64))
    same = ["".join(openai[:2]), *openai[2:-3], "".join(openai[-3:])]
    translated = ["".join(anthropic[:4]), *anthropic[4:-3], "".join(anthropic[-3:])]
    return {
        "chat": whole("chat", answers.CHAT, answers.CHAT_REPLY),
        "chat behind guard, decorator and key-auth": whole("protected", answers.CHAT, answers.CHAT_REPLY),
        "chat translated, OpenAI to Anthropic": whole("translated", answers.CLAUDE_CHAT, answers.anthropic_reply()),
        "stream of 53 events": streamed("stream", answers.STREAM, same),
        "stream of 64 events translated from Anthropic": streamed("translated-stream", answers.CLAUDE_STREAM, translated),
    }


class Counter:
    """A proxy under callgrind, with both ends in lockstep."""

    def __init__(self, rig, through):
        self.rig, self.through, self.dumps = rig, through, 0
        port, = machine.free_ports(1)
        rig.ports |= {"fixed": port, "paced": port}
        self.ends = Lockstep(port)
        self.out = rig.scratch / f"callgrind.{through}"
        wrapper = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.out}"]
        rig.proxy(through, wrapper=wrapper, patience=120)
        self.process = rig.accounts(through, "chat")
        self.ends.connect(rig.where(through, "chat")[0])

    def count(self, exchange):
        """The instructions of one such exchange."""
        self.fire(exchange, max(exchange.count // 4, 5))
        self.dump()
        self.fire(exchange, exchange.count)
        return self.dump() / exchange.count

    def fire(self, exchange, count):
        path = self.rig.where(self.through, exchange.route)[1]
        for _ in range(count):
            answer = self.ends.exchange(path, headers(exchange.route), exchange.body, exchange.pieces, exchange.marks)
            if not answer.startswith(b"HTTP/1.1 200"):
                sys.exit(f"{exchange.route}: {answer[:500]!r}")

    def dump(self):
        """The instructions since the last time."""
        subprocess.run(["callgrind_control", "--dump", str(self.process.pid)], check=True, capture_output=True)
        self.dumps += 1
        lines = pathlib.Path(f"{self.out}.{self.dumps}").read_text().splitlines()
        return next(int(line.split()[1]) for line in reversed(lines) if line.startswith(("totals:", "summary:")))


def counted(scratch, through, names=None):
    """The instructions of each exchange, or of those with these names."""
    with Rig(scratch) as rig:
        counter = Counter(rig, through)
        return {name: round(counter.count(one)) for name, one in exchanges().items() if names is None or name in names}


def judged(now, baseline):
    """A line for each exchange, and the names of those that rose and that fell by more than the slack."""
    lines, rose, fell = ["| exchange | user instructions | baseline | change |", "|---|--:|--:|--:|"], [], []
    for name, count in now.items():
        before = baseline.get(name)
        change = count / before - 1 if before else None
        lines.append(f"| {name} | {count:,} | {f'{before:,}' if before else '–'} | {'new' if change is None else f'{change:+.1%}'} |")
        if before is None or count > before * (1 + SLACK):
            rose.append(name)
        elif count < before * (1 - SLACK):
            fell.append(name)
    return lines, rose, fell


def counted_anew():
    with tempfile.TemporaryDirectory() as scratch:
        return counted(pathlib.Path(scratch), "tollgate")


def main():
    now = counted_anew()
    kept = json.loads(BASELINE.read_text()) if BASELINE.exists() else {"instructions": {}}
    if judged(now, kept["instructions"])[1]:
        # A machine that is slow only adds, as timers go on ticking: the lesser of two counts is the truer.
        again = counted_anew()
        now = {name: min(count, again[name]) for name, count in now.items()}
    lines, rose, fell = judged(now, kept["instructions"])
    print("\n".join(lines))
    rustc = machine.said("rustc", "--version")
    if os.environ.get("BLESS"):
        BASELINE.write_text(json.dumps({"rustc": rustc, "instructions": now}, indent=2) + "\n")
        return
    if fell:
        print(f"\nfewer than before: {', '.join(fell)}. BLESS=1 make instructions keeps that.")
    if rose:
        why = f" The baseline was made with {kept['rustc']}." if kept.get("rustc") not in (None, rustc) else ""
        sys.exit(f"\nmore than {SLACK:.0%} above the baseline: {', '.join(rose)}.{why} If that is worth it: BLESS=1 make instructions.")


if __name__ == "__main__":
    main()
