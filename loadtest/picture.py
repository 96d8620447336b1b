"""The curves as one picture: three panels, CPU above and memory below."""
import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

COLORS = {"tollgate": "#c2410c", "bare": "#6b7280", "nginx": "#1d4ed8"}
MARKERS = {"tollgate": "o", "bare": "s", "nginx": "^"}
NAMES = {"tollgate": "tollgate", "bare": "bare Pingora", "nginx": "nginx"}
# curve: title, what grows, what the CPU is of, whether its axis is logarithmic
PANELS = {
    "bodies": ("Request body", "bytes of the body", "CPU µs a request", True),
    "routes": ("Routes", "routes in the configuration", "CPU µs a chat", False),
    "streams": ("Concurrent streams", "open streams, 1,000 events a second over all", "CPU µs an event", False),
}


def short(value, _):
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def lines(axes, samples, curve, figure):
    for through, color in COLORS.items():
        points = sorted((one["x"], one[figure]) for one in samples if (one["curve"], one["through"]) == (curve, through))
        if points:
            axes.plot(*zip(*points, strict=True), color=color, marker=MARKERS[through], markersize=4, linewidth=1.6, label=NAMES[through])


def scale(axes, logarithmic):
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(short))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(short))
    axes.grid(True, color="#e5e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def draw(samples, facts, out):
    plt.rcParams |= {"font.size": 9, "svg.hashsalt": "tollgate", "svg.fonttype": "none", "axes.edgecolor": "#9ca3af"}
    figure, grid = plt.subplots(2, 3, figsize=(12, 6.4), sharex="col", layout="constrained")
    for column, (curve, (title, grows, cost, logarithmic)) in enumerate(PANELS.items()):
        above, below = grid[0][column], grid[1][column]
        lines(above, samples, curve, "cpu_us")
        lines(below, samples, curve, "memory_mb")
        scale(above, logarithmic)
        scale(below, True)
        above.set_title(title, loc="left", fontweight="bold")
        above.set_ylabel(cost)
        below.set_ylabel("memory, MB")
        below.set_xlabel(grows)
    grid[0][0].legend(frameon=False, loc="upper left")
    figure.suptitle(f"Cost and scale: one worker thread, tollgate {facts['commit']}, nginx {facts['nginx']}, {facts['cpu']}", x=0.01, ha="left")
    figure.savefig(out, metadata={"Date": None})
