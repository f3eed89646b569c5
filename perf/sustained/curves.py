"""perf/sustained/curves.py - what the intervals of a long run say: how the end compares with the first ten seconds."""
import json
import statistics

FIRST_SECONDS = 10.0
END_SHARE = 1 / 3  # of all intervals, and
END_LEAST = 3      # at least so many, are "the end": long enough for what comes in waves
FULL_SHARE = 0.5  # an interval shorter than this share of the usual is the rest after the last whole one


def load(path):
    with open(path, encoding="utf-8") as lines:
        return whole([json.loads(line) for line in lines])


def whole(intervals):
    """Without intervals in which nothing happened or that ended early."""
    if not intervals:
        return []
    usual = statistics.median(interval["seconds"] for interval in intervals)
    return [interval for interval in intervals if interval["messages"] > 0 and interval["seconds"] >= FULL_SHARE * usual]


def first(intervals):
    """Those that ended within the first ten seconds; at least one."""
    early = [interval for interval in intervals if interval["at_s"] <= FIRST_SECONDS * 1.05]
    return early or intervals[:1]


def end(intervals):
    return intervals[-max(END_LEAST, round(len(intervals) * END_SHARE)):]


def value(interval, *path):
    for name in path:
        interval = interval.get(name) if isinstance(interval, dict) else None
    return interval


def values(intervals, path):
    return [one for one in (value(interval, *path) for interval in intervals) if one is not None]


def mean(intervals, path):
    """Of all messages: what comes in waves counts, which a median would leave out."""
    pairs = [(value(interval, *path), interval["messages"]) for interval in intervals]
    if all(cost is None for cost, _ in pairs):
        return None
    return sum((cost or 0) * messages for cost, messages in pairs) / sum(messages for _, messages in pairs)


def median(intervals, path):
    return statistics.median(values(intervals, path) or [0]) or None


def worst(intervals, path):
    return max(values(intervals, path), default=None)


def ratio(part, base):
    return None if part is None or not base else part / base


MEASURES = {"server_us_per_message": (mean, "server_us_per_message"), "ack_p50_ms": (median, "ack_ms", "p50"), "ack_p99_ms": (worst, "ack_ms", "p99"),
            "ack_p999_ms": (worst, "ack_ms", "p999"), "ack_p999_ms_median": (median, "ack_ms", "p999"), "delivery_p999_ms": (worst, "delivery_ms", "p999"),
            "read_p99_ms": (worst, "read_ms", "p99"), "disk_bytes_per_message": (mean, "disk_bytes_per_message")}


def summary(intervals, stored_bytes):
    """First and end of each measure with their ratio; bytes written for each that is stored."""
    told = {name: {"first": how(first(intervals), path), "end": how(end(intervals), path)} for name, (how, *path) in MEASURES.items()}
    for both in told.values():
        both["ratio"] = ratio(both["end"], both["first"])
    last = intervals[-1]
    written = last["disk_bytes_total"]
    threads = {name for interval in end(intervals) for name in interval["threads_us_per_message"]}
    return {"messages": last["messages_total"], "seconds": last["at_s"], "measures": told,
            "threads_us_per_message": {name: {"first": mean(first(intervals), ("threads_us_per_message", name)),
                                              "end": mean(end(intervals), ("threads_us_per_message", name))} for name in sorted(threads)},
            "written_bytes_per_message": ratio(written, last["messages_total"]), "stored_bytes_per_message": ratio(stored_bytes, last["messages_total"]),
            "written_to_stored": ratio(written, stored_bytes),
            "resident_mib": {"first": round(intervals[0]["resident_bytes"] / 2**20), "most": round(max(i["resident_bytes"] for i in intervals) / 2**20)}}
