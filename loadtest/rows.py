"""The rows of the table: what each is measured by, how it is judged, and how it is shown. Pure: figures in, text out."""
import dataclasses
from statistics import median

ORDER = ("tollgate", "bare", "nginx", "direct")
AWAKE = "awake"


@dataclasses.dataclass(frozen=True)
class Row:
    what: str
    goal: float
    at_most: bool
    # The figure of a sample that is shown and judged, how it is written, and the unit of the goal.
    figure: str
    shown: str
    unit: str
    # (round of samples by proxy, figure) -> what is held against the goal
    judge: object
    # The measurement it reads; several rows may read one.
    cell: str
    # Whose sample stands as the gateway's.
    of: str = "tollgate"


def to_nginx(samples, figure):
    return samples["tollgate"][figure] / samples["nginx"][figure]


def itself(samples, figure):
    return samples["tollgate"][figure]


def over_direct(samples, figure):
    return samples["tollgate"][figure] - samples["direct"][figure]


def over_nginx(samples, figure):
    return samples["tollgate"][figure] - samples["nginx"][figure]


def added_to_nginx(samples, figure):
    direct = samples["direct"][figure]
    return (samples["tollgate"][figure] - direct) / (samples["nginx"][figure] - direct)


def percent_over_plain(samples, figure):
    return (samples["tollgate"][figure] / samples["plain"][figure] - 1) * 100


ROWS = [
    Row("OpenAI chat, not streamed, CPU µs a request", 1.25, True, "cpu_us", "{:.1f}", "× nginx", to_nginx, "chat"),
    Row("the same, requests per second", 0.78, False, "rps", "{:,.0f}", "× nginx", to_nginx, "chat"),
    Row("the same, user instructions a request", 65, True, "kinstr", "{:.1f} k", "k", itself, "instructions"),
    Row("stream of 51 events, OpenAI-shaped, CPU µs", 1.0, True, "cpu_us", "{:.0f}", "× nginx", to_nginx, "stream"),
    Row("stream of 64 events, 2 ms apart, 32 at once, CPU µs", 1.1, True, "cpu_us", "{:.0f}", "× nginx", to_nginx, "paced"),
    Row("stream of 64 events translated, flat out, CPU µs", 350, True, "cpu_us", "{:.0f}", "µs", itself, "translated-stream"),
    Row("translated chat, CPU µs", 1.5, True, "cpu_us", "{:.1f}", "× nginx", to_nginx, "translated"),
    Row("event delay, median, 50 ms between events, µs", 50, True, "p50_us", "{:.0f}", "µs over direct", over_direct, "events"),
    Row("the same with busy_polling, µs", 50, True, "p50_us", "{:.0f}", "µs over direct", over_direct, "events", AWAKE),
    Row("median on one connection, µs", 15, True, "p50_us", "{:.0f}", "µs over nginx", over_nginx, "single"),
    Row("the same with busy_polling, µs", 15, True, "p50_us", "{:.0f}", "µs over nginx", over_nginx, "single", AWAKE),
    Row("p99 at a tenth of the saturation rate, µs", 80, True, "p99_us", "{:.0f}", "µs over direct", over_direct, "tenth"),
    Row("the same with busy_polling, µs", 80, True, "p99_us", "{:.0f}", "µs over direct", over_direct, "tenth", AWAKE),
    Row("10 MB body, ms", 2, True, "p50_ms", "{:.1f}", "× what nginx adds", added_to_nginx, "large"),
    Row("10,000 idle streams, KB each", 30, True, "stream_kb", "{:.1f}", "KB", itself, "idle"),
    Row("memory at rest, MB", 12, True, "rest_mb", "{:.1f}", "MB", itself, "idle"),
    Row("guard, decorator and key-auth together, CPU µs", 8, True, "cpu_us", "{:.1f}", "% more than without", percent_over_plain, "protected"),
]


def derived(sample):
    """A sample with the figures that follow from what was measured."""
    out = dict(sample)
    if "requests" in out:
        out["rps"] = out["requests"] / out["seconds"]
    if out.get("p50_us"):
        out["p50_ms"] = out["p50_us"] / 1e3
    return out


def rounds(samples, cell):
    """The samples of a measurement, round by round: {through: sample}."""
    found = {}
    for one in samples:
        if one["cell"] == cell:
            found.setdefault(one["round"], {})[one["through"]] = derived(one)
    return [found[key] for key in sorted(found)]


def result(row, samples):
    """The medians of a row and its verdict; None if it was not measured."""
    each = [one | {"tollgate": one[row.of]} for one in rounds(samples, row.cell) if row.of in one]
    if not each:
        return None
    throughs = [through for through in (*ORDER, "plain") if row.figure in each[0].get(through, {})]
    medians = {through: median(one[through][row.figure] for one in each) for through in throughs}
    judged = [row.judge(one, row.figure) for one in each]
    value = median(judged)
    short = value - row.goal if row.at_most else row.goal - value
    return {"what": row.what, "goal": row.goal, "at_most": row.at_most, "unit": row.unit, "medians": medians,
            "judged": value, "of_rounds": judged, "met": short <= 0, "short_by": max(short, 0)}


def number(value, unit):
    return f"{value:.2f}" if unit.startswith("×") else f"{value:,.1f}".removesuffix(".0")


def beside(row, found, through):
    """A proxy's figure, and what the goal is about in brackets."""
    value = found["medians"].get(through)
    if value is None:
        return "–"
    text = row.shown.format(value)
    if through == "tollgate" and row.judge is percent_over_plain:
        return f"{text} ({row.shown.format(found['medians']['plain'])} without)"
    others = {name: {row.figure: other} for name, other in found["medians"].items()}
    if through == "bare" and row.judge in (to_nginx, added_to_nginx, over_direct, over_nginx):
        return f"{text} ({number(row.judge(others | {'tollgate': others['bare']}, row.figure), row.unit)})"
    if through == "nginx" and row.judge in (over_direct, over_nginx):
        return f"{text} ({number(value - found['medians']['direct'], '')} over direct)"
    return text


def spread(row, found):
    """The least and the most of all rounds, if there were several."""
    each = found["of_rounds"]
    return f" ({number(min(each), row.unit)} to {number(max(each), row.unit)})" if len(each) > 1 else ""


def line(row, found):
    goal = f"{'≤' if row.at_most else '≥'} {row.goal:g} {row.unit}"
    verdict = "met" if found["met"] else f"not met by {number(found['short_by'], row.unit)} ({found['short_by'] / row.goal:.0%})"
    cells = " | ".join(beside(row, found, through) for through in ORDER)
    return f"| {row.what} | {goal} | {cells} | {number(found['judged'], row.unit)} {row.unit}{spread(row, found)} | {verdict} |"


def table(samples):
    """The lines of the table and the results that it shows."""
    results = [(row, result(row, samples)) for row in ROWS]
    results = [(row, found) for row, found in results if found]
    lines = ["| what | goal | tollgate | bare pingora | nginx | direct | judged | verdict |", "|---|---|--:|--:|--:|--:|--:|---|"]
    return lines + [line(row, found) for row, found in results], [found for _, found in results]
