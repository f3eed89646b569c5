"""perf/soak/picture.py - the soak as a picture: the parts of the memory over time, stacked, the resident memory as a line above them, and a grey
ground while a crowd was there. Needs Debian's python3-matplotlib."""
import matplotlib
matplotlib.use("Agg")
from matplotlib import pyplot  # pylint: disable=wrong-import-position

MIB = 1 << 20
SHOWN = 12  # the largest parts; the others are one


def series(samples):
    """(name, MiB at each sample), the largest last of them first."""
    told = [sample for sample in samples if sample["parts"]]
    names = sorted({name for sample in told for name in sample["parts"]}, key=lambda name: -max(sample["parts"].get(name, 0) for sample in told))
    rows = [(name, [sample["parts"].get(name, 0) / MIB for sample in told]) for name in names[:SHOWN]]
    if names[SHOWN:]:
        rows.append(("the others", [sum(sample["parts"].get(name, 0) for name in names[SHOWN:]) / MIB for sample in told]))
    return [sample["at"] for sample in told], rows


def draw(samples, visits, report, path):
    figure, axes = pyplot.subplots(figsize=(12, 6))
    times, rows = series(samples)
    if rows:
        axes.stackplot(times, [values for _, values in rows], labels=[name for name, _ in rows], colors=pyplot.get_cmap("tab20").colors)
    axes.plot([sample["at"] for sample in samples], [sample["resident"] / MIB for sample in samples], color="black", linewidth=1.4, label="resident")
    for begun, ended in visits:
        axes.axvspan(begun, ended, color="#888", alpha=0.2, linewidth=0)
    axes.set(xlabel="seconds (grey: a crowd of slow readers is here)", ylabel="MiB", xlim=(0, samples[-1]["at"]), ylim=(0, None),
             title=f"{report['rate']} messages a second, crowds of {report['crowd']} slow readers")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    figure.savefig(path, dpi=100, bbox_inches="tight")
    pyplot.close(figure)
