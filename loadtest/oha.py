"""oha's JSON as the line that chat.lua prints: requests, duration, p50, p99 (all in microseconds), failures."""
import json
import sys

report = json.load(sys.stdin)
statuses = report["statusCodeDistribution"]
# What is under way when the time is up is given up: that is no failure.
errors = {what: n for what, n in report["errorDistribution"].items() if "deadline" not in what}
micros = [report["summary"]["total"], report["latencyPercentiles"]["p50"], report["latencyPercentiles"]["p99"]]
failures = sum(n for status, n in statuses.items() if status != "200") + sum(errors.values())
print(sum(statuses.values()), *(round(seconds * 1e6) for seconds in micros), failures)
