"""perf/peers/charts.py - the comparison as pictures: throughput and memory as bars on a logarithmic scale, latency as p50 and p99.
Needs Debian's python3-matplotlib."""
import math
import os

import matplotlib
matplotlib.use("Agg")
from matplotlib import pyplot, ticker  # pylint: disable=wrong-import-position

import tables  # pylint: disable=wrong-import-position

# Ours in one hue, the yardsticks grey, each peer its own.
COLOURS = {"floor": "#c9ced6", "logging-floor": "#8c95a3", "ringpost-mqtt": "#0b5fa5", "ringpost-tcp": "#4b97d6",
           "ringpost-mqtt-stock": "#9cc6ea", "ringpost-tcp-stock": "#c6def2", "mosquitto": "#3f7f4f", "nats": "#7b5ea7", "ejabberd": "#b8860b",
           "rabbitmq": "#c8553d"}
COLUMNS = 2
BAR_HEIGHT_INCHES = 0.27
ROW_EXTRA_INCHES = 1.0
WIDTH_INCHES = 12.5


def tick_text(number, _=None):
    """Of a power of ten: 0.1, 100, 10 k, 1 M."""
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:g}{unit}"
    return f"{number:g}"


def span_of(panels):
    """One axis for all panels, so that bars can be compared between them: from a power of ten to where the longest label has room."""
    known = [value for _, names, cell_of, which, _ in panels for name in names if (value := tables.value_of(cell_of(name), which))]
    return (10 ** math.floor(math.log10(min(known) / 1.2)), max(known) * 4) if known else None


def draw_bars(axes, span, names, cell_of, which, titles):
    """Horizontal bars from the top; what has no number says why in its place."""
    values = [tables.value_of(cell_of(name), which) for name in names]
    left, right = span
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    for place, (name, value) in enumerate(zip(names, values)):
        if value is None:
            axes.text(left * 1.08, place, tables.OVERLOADED, va="center", fontsize=8, color="#a33", style="italic")
        elif value <= 0:
            axes.text(left * 1.08, place, "0", va="center", fontsize=8)
        else:
            axes.barh(place, value - left, left=left, height=0.74, color=COLOURS[name])
            axes.text(value * 1.05, place, tables.short(value), va="center", fontsize=8)
    axes.set_yticks(range(len(names)), [titles[name] for name in names], fontsize=8.5)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(tick_text))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.tick_params(axis="x", labelsize=8, colors="#555")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def figure_of(panels, headline, caption, path):
    """`panels`: [(title, names, cell_of, which, titles)]."""
    span = span_of(panels)
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    most = max(len(names) for _, names, *_ in panels)
    height = lines * (most * BAR_HEIGHT_INCHES + ROW_EXTRA_INCHES) + 1.1
    figure, grid = pyplot.subplots(lines, columns, figsize=(WIDTH_INCHES, height), squeeze=False, layout="constrained")
    for axes, (title, names, cell_of, which, titles) in zip(grid.flat, panels):
        draw_bars(axes, span, names, cell_of, which, titles)
        axes.set_title(title, fontsize=10.5, loc="left", fontweight="bold")
    for axes in grid.flat[len(panels):]:
        axes.set_visible(False)
    figure.suptitle(headline, fontsize=13, fontweight="bold", x=0.01, ha="left")
    figure.supxlabel(caption, fontsize=8, color="#555", x=0.01, ha="left")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def panels_of(cells, metric, servers, titles, parts=((0, ""),)):
    panels = []
    for workload in tables.WORKLOADS:
        row = cells.get(workload.key)
        if row is None or workload.metric != metric:
            continue
        names = [server for server in servers if server in row]
        for which, part in parts:
            panels.append((f"{part or workload.title}, {workload.unit}", names, row.get, which, titles))
    return panels


def draw(cells, servers, titles, caption, directory):
    """Writes throughput.png, latency.png and memory.png; returns their names. One is left out when nothing of its kind was measured."""
    kinds = [("throughput", "Messages through one core (more is better; logarithmic)", ((0, ""),)),
             ("latency", f"Latency of a delivery at {tables.RATE:,} messages/s (less is better; logarithmic)", ((0, "p50"), (1, "p99"))),
             ("bytes", "Resident memory of the server per idle connection (less is better; logarithmic)", ((0, ""),))]
    names = []
    for metric, headline, parts in kinds:
        panels = panels_of(cells, metric, servers, titles, parts)
        name = "memory.png" if metric == "bytes" else f"{metric}.png"
        if span_of(panels):
            figure_of(panels, headline, caption, os.path.join(directory, name))
            names.append(name)
    return names
