"""The samples of run.sh as a Markdown table on standard output and as JSON: SAMPLES JSON NAME=VALUE..."""
import json
import os
import platform
import sys
from statistics import median

TICK = 1e6 / os.sysconf("SC_CLK_TCK")  # microseconds
COLUMNS = "round scenario through requests micros p50 p99 failures user0 sys0 user1 sys1".split()
NUMBERS = ["rps", "p50_ms", "p99_ms", "cpu_us", "user_us", "sys_us", "rps_to_nginx", "cpu_to_nginx"]


def sample(line):
    row = dict(zip(COLUMNS, line.split(), strict=True))
    values = {k: v if k in ("scenario", "through") else int(v) for k, v in row.items()}
    if not values["requests"]:
        sys.exit("no request was answered: " + line)
    out = {k: values[k] for k in ("round", "scenario", "through", "requests", "failures")}
    out |= {"rps": values["requests"] / values["micros"] * 1e6, "p50_ms": values["p50"] / 1e3, "p99_ms": values["p99"] / 1e3}
    if values["through"] != "direct":
        user, system = ((values[f"{kind}1"] - values[f"{kind}0"]) * TICK / values["requests"] for kind in ("user", "sys"))
        out |= {"user_us": user, "sys_us": system, "cpu_us": user + system}
    return out


def compare(samples):
    """Adds each sample's ratios to nginx in the same round."""
    nginx = {(s["round"], s["scenario"]): s for s in samples if s["through"] == "nginx"}
    for one in samples:
        other = nginx[one["round"], one["scenario"]]
        one["rps_to_nginx"] = one["rps"] / other["rps"]
        if "cpu_us" in one:
            one["cpu_to_nginx"] = one["cpu_us"] / other["cpu_us"]


def medians(samples):
    cells = {}
    for one in samples:
        cells.setdefault((one["scenario"], one["through"]), []).append(one)
    for (scenario, through), rows in cells.items():
        cell = {"scenario": scenario, "through": through, "failures": sum(s["failures"] for s in rows)}
        cell |= {name: median(s[name] for s in rows) for name in NUMBERS if name in rows[0]}
        if "cpu_us" in cell:
            # All three of the middle sample: medians of their own would not add up.
            middle = sorted(rows, key=lambda s: s["cpu_us"])[(len(rows) - 1) // 2]
            cell |= {name: middle[name] for name in ("cpu_us", "user_us", "sys_us")}
        yield cell


def table(rows, events):
    title = {"chat": "chat, not streamed", "stream": f"chat, stream of {events} events"}
    order = list(title)
    yield "| exchange | through | requests/s | p50 ms | p99 ms | CPU µs/request (user + system) | requests/s to nginx | CPU to nginx |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|"
    for row in sorted(rows, key=lambda row: order.index(row["scenario"])):
        cpu = "{cpu_us:.1f} ({user_us:.1f} + {sys_us:.1f})".format(**row) if "cpu_us" in row else "–"
        ratio = "{:.2f}".format(row["cpu_to_nginx"]) if "cpu_us" in row else "–"
        yield (
            f"| {title[row['scenario']]} | {row['through']} | {row['rps']:,.0f} | {row['p50_ms']:.2f} | {row['p99_ms']:.2f} "
            f"| {cpu} | {row['rps_to_nginx']:.2f} | {ratio} |"
        )


def main():
    source, target, *settings = sys.argv[1:]
    settings = dict(pair.split("=", 1) for pair in settings)
    with open(source, encoding="utf-8") as lines:
        samples = [sample(line) for line in lines]
    compare(samples)
    rows = list(medians(samples))
    with open(target, "w", encoding="utf-8") as out:
        machine = {"cores": os.cpu_count(), "kernel": platform.release(), "load_average": os.getloadavg()[0]}
        json.dump({"settings": settings | machine, "rows": rows, "samples": samples}, out, indent=1)
    print("\n".join(table(rows, settings["events"])))
    where = "not pinned"
    if settings["gateway_core"]:
        where = "gateway on core {gateway_core}, upstream on {upstream_core}, load on {load_core}".format(**settings)
    rounds = max(s["round"] for s in samples)
    print(
        f"\nMedians of {rounds} alternating rounds of {settings['seconds']} s, {settings['generator']} with {settings['connections']} "
        f"connections, one gateway thread, {where}; nginx {settings['nginx']}; load average at the end {machine['load_average']:.1f}.\n"
        "A rate close to the direct one is limited by the upstream and the load generator, not by the gateway: compare CPU there."
    )
    failures = sum(row["failures"] for row in rows)
    if failures:
        sys.exit(f"{failures} requests failed: the table is not to be trusted")


main()
