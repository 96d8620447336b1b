"""Compares what the gateway metered with what three upstreams counted, target by target.

    ledger.py WRK_RESULT METRICS MODEL=LEDGER...

Prints a Markdown table, writes target/failover.json, and fails if a client saw an error or a sum differs.
"""

import json
import re
import sys


def series(text, name, **labels):
    total = 0
    for line in text.splitlines():
        if line.startswith(name + "{") and all(f'{key}="{value}"' in line for key, value in labels.items()):
            total += float(line.rsplit(" ", 1)[1])
    return int(total)


wrk, metrics = open(sys.argv[1]).read().split(), open(sys.argv[2]).read()
requests, microseconds, p50, p99, failures = map(int, wrk)
rows, equal = [], True
for pair in sys.argv[3:]:
    model, ledger = pair.split("=", 1)
    lives = [json.loads(line) for line in open(ledger)]
    said = {key: sum(life[key] for life in lives) for key in ("requests", "prompt", "completion")}
    metered = {
        "requests": series(metrics, "tollgate_settlements_total", model=model, end="complete"),
        "prompt": series(metrics, "tollgate_tokens_total", model=model, provenance="provider", **{"class": "input"}),
        "completion": series(metrics, "tollgate_tokens_total", model=model, provenance="provider", **{"class": "output"}),
    }
    failed = sum(series(metrics, "tollgate_attempts_total", model=model, outcome=outcome)
                 for outcome in ("unreachable", "timeout", "http_5xx"))
    equal = equal and said == metered
    rows.append({"model": model, "kills": len(lives) - 1, "failed_attempts": failed,
                 "upstream": said, "gateway": metered})

print("| target | killed | failed attempts | answers: upstream, gateway | prompt tokens | completion tokens |")
print("|---|---|---|---|---|---|")
for row in rows:
    cells = (f"{row['upstream'][key]}, {row['gateway'][key]}" for key in ("requests", "prompt", "completion"))
    print(f"| {row['model']} | {row['kills']} | {row['failed_attempts']} | " + " | ".join(cells) + " |")
print(f"\n{requests} requests in {microseconds / 1e6:.0f} s, {failures} seen to fail; "
      f"p50 {p50 / 1000:.1f} ms, p99 {p99 / 1000:.1f} ms")
json.dump({"requests": requests, "failures": failures, "p50_us": p50, "p99_us": p99, "targets": rows},
          open("target/failover.json", "w"), indent=2)
if failures or not equal:
    sys.exit("a client saw an error" if failures else "the gateway's sums are not the upstreams'")
