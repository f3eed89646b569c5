"""perf/sustained/picture.py - a long run as curves over what is stored: CPU by thread, latencies, bytes written. Needs Debian's python3-matplotlib."""
import matplotlib
matplotlib.use("Agg")
from matplotlib import pyplot  # pylint: disable=wrong-import-position

LEAST_US = 0.02  # threads below that everywhere are not worth a colour


def draw(intervals, title, path):
    figure, (cpu, latency, written) = pyplot.subplots(3, 1, figsize=(11, 11), sharex=True)
    millions = [interval["messages_total"] / 1e6 for interval in intervals]
    names = sorted({name for interval in intervals for name, us in interval["threads_us_per_message"].items() if us >= LEAST_US})
    cpu.stackplot(millions, [[interval["threads_us_per_message"].get(name, 0) for interval in intervals] for name in names], labels=names)
    cpu.plot(millions, [interval["server_us_per_message"] for interval in intervals], color="black", linewidth=1.2, label="all")
    cpu.set(ylabel="CPU of a message, µs", ylim=(0, None), title=title)
    for share in ("p50", "p99", "p999"):
        latency.plot(millions, [interval.get("ack_ms", {}).get(share) for interval in intervals], label=f"acknowledgement, {share}")
    reads = [interval.get("read_ms", {}).get("p99") for interval in intervals]
    if any(reads):
        latency.plot(millions, reads, label="cold history, p99")
    latency.set(ylabel="ms", yscale="log")
    written.plot(millions, [interval["disk_bytes_per_message"] for interval in intervals], label="to the disk")
    written.set(ylabel="bytes written for a message", ylim=(0, None), xlabel="millions of messages stored")
    for axes in (cpu, latency, written):
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    figure.savefig(path, dpi=100, bbox_inches="tight")
    pyplot.close(figure)
