"""Says whether replacing the process broke, refused, lost or doubled anything.

    replaced.py STREAMS_RESULT METRICS LEDGER REPLACEMENTS WRK_RESULT...

Prints a Markdown table, writes target/upgrade.json, and fails if anything was.
"""

import json
import sys

streams = json.load(open(sys.argv[1]))
metrics = open(sys.argv[2]).read()
said = json.loads(open(sys.argv[3]).readlines()[-1])
replacements = int(sys.argv[4])
loads = [dict(zip(("requests", "microseconds", "p50_us", "p99_us", "failures"), map(int, open(path).read().split())))
         for path in sys.argv[5:]]


def series(name, label):
    lines = (line for line in metrics.splitlines() if line.startswith(name + "{") and label in line)
    return sum(int(line.rsplit(" ", 1)[1]) for line in lines)


metered = {
    "requests": series("tollgate_settlements_total", 'end="complete"'),
    "prompt": series("tollgate_tokens_total", 'class="input"'),
    "completion": series("tollgate_tokens_total", 'class="output"'),
}
kong = {
    "prompt": series("kong_ai_llm_tokens_total", 'token_type="prompt_tokens"'),
    "completion": series("kong_ai_llm_tokens_total", 'token_type="completion_tokens"'),
}
faults = [
    *(f"stream broken: {why}" for why in streams["broken"][:5]),
    *(f"scrape failed: {why}" for why in streams["failed_scrapes"][:5]),
    *(f"counter fell: {what}" for what in streams["falls"][:5]),
    *(f"{load['failures']} of {load['requests']} requests failed" for load in loads if load["failures"]),
    *([] if metered == said else ["the gateway's sums are not the upstream's"]),
    *([] if kong == {key: said[key] for key in kong} else ["Kong's sums are not the upstream's"]),
]
print("| | upstream | gateway |\n|---|---|---|")
for key, name in (("requests", "answers"), ("prompt", "prompt tokens"), ("completion", "completion tokens")):
    print(f"| {name} | {said[key]} | {metered[key]} |")
print(f"\n{replacements} replacements; {streams['whole']} of {streams['streams']} streams whole; "
      f"{streams['scrapes']} scrapes, {len(streams['falls'])} counters fell")
for load, kind in zip(loads, ("new connections", "kept connections")):
    print(f"{load['requests']} requests on {kind}, {load['failures']} failed, p99 {load['p99_us'] / 1000:.1f} ms")
json.dump({"replacements": replacements, "streams": streams, "loads": loads, "upstream": said, "gateway": metered},
          open("target/upgrade.json", "w"), indent=2)
if faults:
    sys.exit("\n".join(faults))
