#!/usr/bin/env python3
"""The figures of the house: how long its functions and files are, what could panic, what stands twice,
what is public without a word, which stages know each other.

    house.py                    this crate, against the goals; exit status 1 if one is missed
    house.py name=folder …      the same figures of other sources, without goals

It reads text, not syntax: strings and comments are blanked out first, tests are left out, and what a macro
writes is not seen. docs/house.md keeps what it printed.
"""

import re
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUN = 6

# What the house holds itself to; a figure over its goal fails. The last three say what there is: a repetition of
# logic, a panic or an edge that comes to them has to argue for itself here.
GOALS = {
    "function median": 8,
    "function p95": 40,
    "function longest": 60,
    "file longest": 600,
    "undocumented items": 0,
    "undocumented fields": 0,
    "unwraps": 2,
    "duplicated runs": 12,
    "stage edges": 11,
}

# The stages of a request, as tests/architecture.rs orders them.
STAGES = {"listen", "accept", "route", "plugins", "target", "provider", "upstream", "respond", "meter", "log"}

TOKENS = re.compile(
    r"""//[^\n]* | /\*.*?\*/
      | b?r(?P<hash>\#*)".*?"(?P=hash)
      | b?"(?:\\.|[^"\\])*"
      | b?'(?:\\(?:u\{[^}]*\}|x..|.)|[^\\'])'""",
    re.VERBOSE | re.DOTALL,
)
FUNCTION = re.compile(r"\bfn\s+\w+")
PANICS = re.compile(r"\.unwrap\(\)|\.expect\(|\b(?:panic|unreachable|todo|unimplemented)!")
ITEM = re.compile(r"\s*pub\s+(?:(?:const|async|unsafe)\s+)*(?:fn|struct|enum|trait|type|union|const|static|mod\b.*\{)")
FIELD = re.compile(r"\s*pub\s+\w+\s*:")
SILENT = re.compile(r"#!?\[(?:expect|allow)\(missing_docs")
IMPORT = re.compile(r"\bcrate::(\w+)")


def blank(match):
    """The same number of lines and columns, without what could be taken for code."""
    return re.sub(r"[^\n]", " ", match.group())


def closing(code, start):
    """Where the brace that opens at `start` is closed."""
    depth = 0
    for brace in re.finditer(r"[{}]", code[start:]):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return start + brace.end()
    return len(code)


def line_of(code, at):
    return code.count("\n", 0, at)


class Source:
    """One file: its lines as written, and its code without strings, comments and tests."""

    def __init__(self, path, root):
        self.path = path.relative_to(root)
        text = path.read_text(encoding="utf-8", errors="replace")
        self.lines = text.splitlines()
        self.code = TOKENS.sub(blank, text)
        self.tests = set()
        for mark in re.finditer(r"#\[cfg\((?:all\()?test\b[^\]]*\]", self.code):
            opens = re.compile(r"[{;]").search(self.code, mark.end())
            if opens is None:
                continue
            end = closing(self.code, opens.start()) if opens.group() == "{" else opens.end()
            self.tests.update(range(line_of(self.code, mark.start()), line_of(self.code, end) + 1))

    def functions(self):
        """Lines of each function, from `fn` to its last brace."""
        for found in FUNCTION.finditer(self.code):
            first = line_of(self.code, found.start())
            opens = self.body(found.end())
            if first not in self.tests and opens is not None:
                yield line_of(self.code, closing(self.code, opens)) - first + 1, first + 1

    def body(self, at):
        """Where a function's body opens; `;` before it: there is none."""
        depth = 0
        for byte in re.finditer(r"[()\[\]{};]", self.code[at:]):
            depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(byte.group(), 0)
            if depth == 0 and byte.group() in "{;":
                return at + byte.start() if byte.group() == "{" else None
        return None

    def outside_tests(self):
        return [(number, line) for number, line in enumerate(self.code.splitlines()) if number not in self.tests]

    def test_files(self):
        """The files of modules that only tests see: `#[cfg(test)] mod name;`."""
        home = self.path.parent if self.path.stem in ("mod", "lib", "main") else self.path.with_suffix("")
        return [home / name for name in re.findall(r"#\[cfg\(test\)\]\s*mod\s+(\w+);", self.code)]

    def length(self):
        return len(self.lines) - len([number for number in self.tests if number < len(self.lines)])

    def over_attributes(self, at):
        """The line above the attributes and plain comments that stand above an item."""
        while at >= 0 and re.match(r"\s*(#\[|//(?!/))|.*\)\]\s*$", self.lines[at]):
            while at > 0 and self.lines[at].endswith(")]") and not re.match(r"\s*#\[", self.lines[at]):
                # One of several lines: back to where it begins.
                at = next(up for up in range(at - 1, -1, -1) if re.match(r"\s*#\[", self.lines[up]))
            at -= 1
        return at

    def undocumented(self, what):
        """Public items, or fields, without a word. A module says it of itself; `expect(missing_docs)` over a
        structure says that its fields are named for what they are."""
        exempt = set()
        for mark in SILENT.finditer(self.code):
            opens = self.code.find("{", mark.end())
            exempt.update(range(line_of(self.code, mark.start()), line_of(self.code, closing(self.code, opens)) + 1))
        for number, line in self.outside_tests():
            if not what.match(line) or number in exempt:
                continue
            above = self.over_attributes(number - 1)
            if above < 0 or not re.match(r"\s*///|\s*#\[doc|.*\*/\s*$", self.lines[above]):
                yield number + 1


def sources(root):
    """The files below a folder, without those that are tests as a whole."""
    def is_test(path):
        parts = path.relative_to(root).with_suffix("").parts
        return any(part in ("tests", "test", "benches", "examples", "fuzz") or part.endswith("_test") for part in parts)
    files = [Source(path, root) for path in sorted(root.rglob("*.rs")) if not is_test(path)]
    only = {stem for file in files for stem in file.test_files()}
    return [file for file in files if file.path.with_suffix("") not in only]


def duplicates(files):
    """Runs of at least RUN equal lines of code in two places: each as long as it goes, once."""
    places, seen = {}, {}
    for file in files:
        kept = [(number, file.lines[number].strip()) for number, line in file.outside_tests() if line.strip()]
        # Imports and the ends of blocks are the same everywhere.
        seen[file.path] = [(number, text) for number, text in kept if not re.match(r"(pub )?use |[\])};,]*$", text)]
    for path, lines in seen.items():
        for start in range(len(lines) - RUN + 1):
            key = tuple(text for _, text in lines[start:start + RUN])
            places.setdefault(key, []).append((path, start))
    runs = set()
    for found in places.values():
        for (a, i), (b, j) in zip(found, found[1:]):
            apart = a != b or abs(j - i) >= RUN
            if apart and (i == 0 or j == 0 or seen[a][i - 1][1] != seen[b][j - 1][1]):
                runs.add((f"{a}:{seen[a][i][0] + 1}", f"{b}:{seen[b][j][0] + 1}"))
    return sorted(runs)


def edges(files):
    """Pairs of stages of which the first imports the second."""
    found = set()
    for file in files:
        stage = file.path.parts[0].removesuffix(".rs")
        for number, line in file.outside_tests():
            found.update((stage, other) for other in IMPORT.findall(line) if stage != other)
    return sorted((a, b) for a, b in found if a in STAGES and b in STAGES)


def figures(files):
    """What is counted, with the worst places of each."""
    functions = sorted((lines, f"{file.path}:{at}") for file in files for lines, at in file.functions())
    lengths = sorted((file.length(), str(file.path)) for file in files)
    panics = [f"{file.path}:{number + 1}" for file in files for number, line in file.outside_tests() if PANICS.search(line)]
    silent = lambda what: [f"{file.path}:{number}" for file in files for number in file.undocumented(what)]
    items, fields = silent(ITEM), silent(FIELD)
    twice = [" ~ ".join(run) for run in duplicates(files)]
    rank = lambda values, share: values[min(len(values) - 1, int(len(values) * share))][0]
    worst = lambda values: [f"{lines} {place}" for lines, place in reversed(values[-3:])]
    return {
        "files": (len(files), []),
        "functions": (len(functions), []),
        "function median": (statistics.median(lines for lines, _ in functions), []),
        "function p95": (rank(functions, 0.95), []),
        "function longest": (functions[-1][0], worst(functions)),
        "functions over 60": (len([lines for lines, _ in functions if lines > 60]), []),
        "file median": (statistics.median(lines for lines, _ in lengths), []),
        "file p95": (rank(lengths, 0.95), []),
        "file longest": (lengths[-1][0], worst(lengths)),
        "unwraps": (len(panics), panics),
        "duplicated runs": (len(twice), twice),
        "undocumented items": (len(items), items),
        "undocumented fields": (len(fields), fields),
    }


def main(arguments):
    if arguments:
        for argument in arguments:
            name, folder = argument.split("=", 1)
            print(name, {figure: value for figure, (value, _) in figures(sources(Path(folder))).items()})
        return 0
    files = sources(ROOT / "src")
    counted = figures(files)
    known = [f"{a} -> {b}" for a, b in edges(files)]
    counted["stage edges"] = (len(known), known)
    missed = 0
    for figure, (value, places) in counted.items():
        goal = GOALS.get(figure)
        over = goal is not None and value > goal
        missed += over
        aim = "" if goal is None else f"goal {goal}" + (": missed" if over else "")
        print(f"{figure:20}{value:>8g}  {aim}".rstrip())
        for place in places if over or figure in ("function longest", "duplicated runs") else []:
            print(f"{'':30}{place}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
