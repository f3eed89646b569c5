"""perf/peers/tables.py - the workloads, and the arithmetic of the comparison: medians, ratios, targets, and how they read as Markdown.
Pure functions over runs, tested by tests/perf/peers_test.py. A run is one measurement of one server:

    {"workload": KEY, "server": NAME, "repeat": N, "result": the line of JSON of the load generator}
    {"workload": KEY, "server": NAME, "repeat": N, "failure": why there is no result}
"""
import statistics

RATE = 5000
RATE_REACHED = 0.97  # of the messages that were due: below it the latencies are those of a queue that grows
OVERLOADED = "overloaded"


class Workload:
    """`key` names it on the command line; `metric` is "throughput", "latency" (two numbers) or "bytes"."""

    def __init__(self, key, title, options, metric="throughput", unit="messages/s", sessions=False, needs_subscribe=False):
        self.key, self.title, self.options, self.metric, self.unit = key, title, options, metric, unit
        self.sessions = sessions                # needs a server that keeps what came while a client was away
        self.needs_subscribe = needs_subscribe  # only where a connection can be without a subscription: MQTT


PAIRS = ["--groups", "100"]
ROOMS = [
    ("fanout-1x1000", "fanout 1 × 1,000", ["fanout", "--groups", "1", "--members", "1001"]),
    ("fanout-100x10", "fanout 100 × 10", ["fanout", "--groups", "100", "--members", "11"]),
    ("chatter", "chatter 100 × 10", ["chatter", "--groups", "100", "--members", "10"]),
]
WORKLOADS = [
    Workload("pair-1", "pair, window 1", ["pair", *PAIRS, "--window", "1"]),
    Workload("pair-16", "pair, window 16", ["pair", *PAIRS, "--window", "16"]),
    Workload("pair-64", "pair, window 64", ["pair", *PAIRS, "--window", "64"]),
    *(Workload(f"{key}-{window}", f"{title}, window {window}", [*options, "--window", str(window)], unit="deliveries/s")
      for key, title, options in ROOMS for window in (1, 16)),
    Workload("rate", "5,000 messages/s, p50 / p99", ["rate", *PAIRS, "--rate", str(RATE)], metric="latency", unit="ms"),
    Workload("drain", "drain 1,000 × 100", ["drain", "--groups", "100", "--members", "11", "--messages", "100"], sessions=True),
    Workload("idle", "idle connection", ["idle", "--subscribe", "0"], metric="bytes", unit="bytes", needs_subscribe=True),
    Workload("idle-subscribed", "idle connection, subscribed", ["idle", "--subscribe", "1"], metric="bytes", unit="bytes"),
]
WORKLOAD_KEYS = [workload.key for workload in WORKLOADS]


# ---- from runs to cells ----------------------------------------------------------------------------------------------------

def verdict(workload, result):
    """What speaks against a result: None, or the reason. A redelivery is none at QoS 1."""
    faults = [f"{count} {name}" for name, count in result["faults"].items() if count > 0]
    if faults:
        return ", ".join(faults)
    if workload.metric == "latency" and result["messages_per_s"] < RATE * RATE_REACHED:
        return f"{result['messages_per_s']:.0f} of {RATE} messages/s"
    return None


def numbers_of(workload, result):
    """The figures of one good run: one, or p50 and p99 in ms."""
    if workload.metric == "latency":
        return (result["delivery_us"]["p50"] / 1000, result["delivery_us"]["p99"] / 1000)
    return (result["value"],)


def cell_of(workload, runs):
    """Medians of the runs that went well; `failure` with the first reason instead, when half of them or more did not. None: not run."""
    if not runs:
        return None
    good, bad = [], []
    for run in runs:
        reason = run.get("failure") or verdict(workload, run["result"])
        if reason:
            bad.append(reason)
        else:
            good.append(numbers_of(workload, run["result"]))
    if len(bad) * 2 >= len(runs):
        return {"failure": bad[0], "bad": len(bad), "count": len(runs)}
    columns = list(zip(*good))
    return {"median": [statistics.median(column) for column in columns], "lowest": [min(column) for column in columns],
            "highest": [max(column) for column in columns], "bad": len(bad), "count": len(runs)}


def cells_of(runs):
    """{workload key: {server: cell}}."""
    servers = list(dict.fromkeys(run["server"] for run in runs))
    cells = {}
    for workload in WORKLOADS:
        for server in servers:
            cell = cell_of(workload, [run for run in runs if run["workload"] == workload.key and run["server"] == server])
            if cell is not None:
                cells.setdefault(workload.key, {})[server] = cell
    return cells


def value_of(cell, which=0):
    return cell["median"][which] if cell and "median" in cell else None


def median_of(cells, key, server, which=0):
    return value_of(cells.get(key, {}).get(server), which)


def ratio(value, base):
    return None if value is None or not base else value / base


# ---- reading ------------------------------------------------------------------------------------------------------------------

def short(number):
    """Three figures, the way people say numbers: 1,230 k, 68.1 k, 740, 0.34."""
    if number >= 100_000:
        return f"{number / 1000:,.0f} k"
    if number >= 10_000:
        return f"{number / 1000:.1f} k"
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def factor(number):
    return f"{number:.0f}×" if number >= 10 else f"{number:.1f}×" if number >= 1 else f"{number:.2f}×"


def cell_text(cell, base):
    if cell is None:
        return "-"
    if "failure" in cell:
        return OVERLOADED
    text = " / ".join(short(number) for number in cell["median"])
    if base and "median" in base and base is not cell:
        text += f" ({factor(cell['median'][-1] / base['median'][-1])})" if base["median"][-1] else ""
    return text + (f" [{cell['bad']} of {cell['count']} failed]" if cell["bad"] else "")


def markdown(header, rows):
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows]) + "\n"


def main_table(cells, servers, titles, base, floor="logging-floor"):
    """One row a workload, one column a server; in parentheses the ratio to `base`; last the ratio of `base` to the logging floor."""
    header = ["workload", *(titles[server] for server in servers), f"{titles[base]} / logging floor"]
    rows = []
    for workload in WORKLOADS:
        row = cells.get(workload.key)
        if row is None:
            continue
        base_cell = row.get(base)
        which = 1 if workload.metric == "latency" else 0
        to_floor = ratio(median_of(cells, workload.key, base, which), median_of(cells, workload.key, floor, which))
        title = f"{workload.title}, {workload.unit}"
        rows.append([title, *(cell_text(row.get(server), base_cell) for server in servers), "-" if to_floor is None else f"{to_floor:.2f}"])
    return markdown(header, rows)


def overloads(cells, titles):
    """What happened where the table says overloaded, or where a part of the runs failed."""
    return [f"{titles[server]}, {workload.title}: {cell['failure']} ({cell['bad']} of {cell['count']} runs)"
            for workload in WORKLOADS for server, cell in cells.get(workload.key, {}).items() if "failure" in cell]


# ---- targets ------------------------------------------------------------------------------------------------------------------

class Targets:
    """The table of what was set out to be reached. `server` is the column of Ringpost that is judged, `peers` the servers of others,
    `syncing` those of them whose acknowledged messages are on disk."""

    def __init__(self, cells, server, peers, syncing, floor="logging-floor"):
        self.cells, self.server, self.peers, self.syncing, self.floor = cells, server, peers, syncing, floor

    def own(self, key, which=0):
        return median_of(self.cells, key, self.server, which)

    def at_least(self, key, limit):
        return self.judge(f"≥ {short(limit)}", self.own(key), limit, 1)

    def at_most(self, key, limit):
        return self.judge(f"≤ {short(limit)}", self.own(key), limit, -1)

    def of_floor(self, key, share, which=0, sign=1):
        """`sign` 1: at least that share of the logging floor; -1: at most that multiple of it."""
        base = median_of(self.cells, key, self.floor, which)
        measured = ratio(self.own(key, which), base)
        return self.judge(f"{'≥' if sign > 0 else '≤'} {share} × logging floor", measured, share, sign, "×")

    def of_best_peer(self, key, times):
        others = [value for value in (median_of(self.cells, key, peer) for peer in self.peers) if value]
        measured = ratio(self.own(key), max(others)) if others else None
        wanted = f"≥ {times} × the best peer" if times > 1 else "above every peer"
        return self.judge(wanted, measured, times, 1, "×")

    def below_syncing_peers(self, key, which):
        others = [value for value in (median_of(self.cells, key, peer, which) for peer in self.syncing) if value]
        overloaded = any("failure" in self.cells.get(key, {}).get(peer, {}) for peer in self.syncing)
        wanted = "p99 below every peer that syncs"
        if not others:  # a peer that cannot keep up at all has no p99 to be compared with
            return (wanted, "every one of them is overloaded", "reached") if overloaded and self.own(key) else (wanted, "-", "-")
        return self.judge(wanted, ratio(self.own(key, which), min(others)), 1, -1, "×")

    @staticmethod
    def judge(wanted, measured, limit, sign, unit=""):
        if measured is None:
            return wanted, "-", "-"
        reached = (measured - limit) * sign >= 0
        return wanted, f"{measured:.2f} {unit}" if unit else short(measured), "reached" if reached else "**not reached**"

    def rows(self):
        goals = [("pair-1", self.of_floor("pair-1", 0.7)), ("pair-1", self.of_best_peer("pair-1", 1)),
                 ("pair-16", self.at_least("pair-16", 250_000)), ("pair-16", self.of_best_peer("pair-16", 5)),
                 *((key, goal) for room, share in (("fanout-1x1000", 0.6), ("fanout-100x10", 0.6), ("chatter", 0.5))
                   for key in (f"{room}-1", f"{room}-16") for goal in (self.of_floor(key, share), self.of_best_peer(key, 5))),
                 ("rate", self.of_floor("rate", 1.5, 0, -1)), ("rate", self.of_floor("rate", 2, 1, -1)),
                 ("rate", self.below_syncing_peers("rate", 1)),
                 ("drain", self.at_least("drain", 500_000)), ("idle-subscribed", self.at_most("idle-subscribed", 700))]
        titles = {workload.key: workload.title for workload in WORKLOADS}
        return [(titles[key], *goal) for key, goal in goals]


def targets_table(columns):
    """`columns`: [(title, Targets)]; a row a target that was measured, two cells for each column."""
    header = ["workload", "target"]
    for title, _ in columns:
        header += [title, ""]
    tables = [targets.rows() for _, targets in columns]
    rows = [[*row[0][:2], *(text for target in row for text in target[2:])] for row in zip(*tables)
            if any(target[2] != "-" for target in row)]
    return markdown(header, rows)
