"""Says whether a soak was clean: WRK_RESULT MEMORY HANGUPS RELOADED POSTS REFUSED.

MEMORY has a line for each second: the second, and the KiB that the process held. Of each ten seconds from the
second minute on the median counts: none may be more than 5 % above the first. (Less is no fault: the allocator
gives back what the first minute took.)
"""

import json
import statistics
import sys

requests, microseconds, p50, p99, failures = map(int, open(sys.argv[1]).read().split())
memory = [tuple(map(int, line.split())) for line in open(sys.argv[2])]
hangups, reloaded, posts, refused = map(int, sys.argv[3:7])
spans = {}
for second, held in memory:
    if second >= 60:
        spans.setdefault(second // 10, []).append(held)
held = [statistics.median(span) for span in spans.values()]
base, most, least = held[0], max(held), min(held)
growth = most / base - 1
figures = {
    "requests": requests, "seconds": microseconds / 1e6, "failures": failures, "p50_us": p50, "p99_us": p99,
    "hangups": hangups, "reloaded": reloaded, "posts": posts, "refused": refused,
    "resident_kib": {"second_minute": base, "most": most, "least": least, "last": held[-1]},
    "medians_kib": held,
}
json.dump(figures, open("target/soak.json", "w"), indent=2)
print(f"{requests} requests in {microseconds / 1e6:.0f} s ({requests / microseconds * 1e6:.0f} a second), {failures} failed; "
      f"p50 {p50 / 1000:.2f} ms, p99 {p99 / 1000:.2f} ms")
print(f"{hangups} SIGHUPs and {posts} POST /config, {refused} refused")
print(f"resident: {base / 1024:.1f} MiB in the second minute, at most {most / 1024:.1f} ({growth:+.1%}), "
      f"at least {least / 1024:.1f}, {held[-1] / 1024:.1f} at the end")
faults = [
    *([f"{failures} requests failed"] if failures else []),
    *([f"{refused} reloads were refused"] if refused else []),
    # Signals that come while a reload is under way are one.
    *(["SIGHUP did nothing"] if reloaded < hangups / 2 else []),
    *([f"the memory grows: {growth:+.1%}"] if growth > 0.05 else []),
]
if faults:
    sys.exit("\n".join(faults))
