#!/usr/bin/env python3
"""tests/perf/peers_test.py - the arithmetic of the comparison (perf/peers/tables.py): a median, a ratio or a verdict that is wrong would be
believed. Tables of cases; one line each, as tests/run counts them."""
import pathlib
import sys

import cases

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "perf" / "peers"))
import tables  # noqa: E402

BY_KEY = {workload.key: workload for workload in tables.WORKLOADS}


def run(key, server, value=None, failure=None, faults=None, p50=0, p99=0, rate=5000):
    if failure:
        return {"workload": key, "server": server, "repeat": 1, "failure": failure}
    result = {"value": value, "faults": faults or {"lost": 0}, "messages_per_s": rate, "delivery_us": {"p50": p50, "p99": p99}}
    return {"workload": key, "server": server, "repeat": 1, "result": result}


def cells(**values):
    """cells(pair_16={"a": 5}) as cells_of() would make them from one run each."""
    return {key.replace("_", "-"): {server: {"median": list(value) if isinstance(value, tuple) else [value], "bad": 0, "count": 1}
                                    for server, value in row.items()} for key, row in values.items()}


def cell_cases():
    pair, rate = BY_KEY["pair-1"], BY_KEY["rate"]
    yield "median of an odd count", tables.cell_of(pair, [run("pair-1", "a", v) for v in (5, 1, 3)])["median"], [3]
    yield "median of an even count", tables.cell_of(pair, [run("pair-1", "a", v) for v in (4, 1, 3, 2)])["median"], [2.5]
    yield "latencies are ms, each with its own median", tables.cell_of(rate, [run("rate", "a", p50=p, p99=q) for p, q in
                                                                             ((1000, 9000), (3000, 2000), (2000, 4000))])["median"], [2, 4]
    one_bad = tables.cell_of(pair, [run("pair-1", "a", 1), run("pair-1", "a", 9, faults={"lost": 2}), run("pair-1", "a", 3)])
    yield "a bad run does not count", (one_bad["median"], one_bad["bad"]), ([2], 1)
    half = tables.cell_of(pair, [run("pair-1", "a", 1), run("pair-1", "a", failure="not done after 9 s")])
    yield "half of them bad is a failure", half["failure"], "not done after 9 s"
    yield "faults are named", tables.cell_of(pair, [run("pair-1", "a", 1, faults={"lost": 2, "reordered": 0})])["failure"], "2 lost"
    yield "a rate that was not reached", tables.cell_of(rate, [run("rate", "a", rate=4000)])["failure"], "4000 of 5000 messages/s"
    yield "what did not run has no cell", tables.cell_of(pair, []), None
    both = tables.cells_of([run("pair-1", "b", 1), run("drain", "a", 2), run("pair-1", "a", 3)])
    yield "cells by workload and server", {key: sorted(row) for key, row in both.items()}, {"pair-1": ["a", "b"], "drain": ["a"]}


def text_cases():
    for number, text in ((1234567, "1,235 k"), (68100, "68.1 k"), (4321.9, "4,322"), (99.94, "99.9"), (0.337, "0.34")):
        yield f"short {number}", tables.short(number), text
    base = {"median": [200.0], "bad": 0, "count": 1}
    yield "a cell has its ratio", tables.cell_text({"median": [50.0], "bad": 0, "count": 1}, base), "50.0 (0.25×)"
    yield "the base has none", tables.cell_text(base, base), "200"
    yield "an overloaded cell", tables.cell_text({"failure": "x", "bad": 1, "count": 1}, base), "overloaded"
    yield "no cell", tables.cell_text(None, base), "-"
    table = tables.main_table(cells(pair_1={"r": 70, "logging-floor": 100}), ["logging-floor", "r"], {"logging-floor": "F", "r": "R"}, "r")
    yield "the last column is the ratio to the logging floor", table.splitlines()[2], \
        "| pair, window 1, messages/s | 100 (1.4×) | 70.0 | 0.70 |"


def target_cases():
    def rows(measured):
        found = {}
        for title, wanted, value, reached in tables.Targets(measured, "r", ["p", "q"], ["q"]).rows():
            found[title, wanted] = (value, reached)
        return found

    found = rows(cells(pair_1={"r": 70, "logging-floor": 100, "p": 71, "q": 3}, pair_16={"r": 250_000, "p": 50_001},
                       rate={"r": (1.0, 4.0), "logging-floor": (1.0, 2.0), "q": (9.0, 5.0), "p": (0.1, 0.2)},
                       idle_subscribed={"r": 701}))
    yield "a share of the floor is reached when it is exact", found["pair, window 1", "≥ 0.7 × logging floor"], ("0.70 ×", "reached")
    yield "one peer above is enough", found["pair, window 1", "above every peer"], ("0.99 ×", "**not reached**")
    yield "an absolute target", found["pair, window 16", "≥ 250 k"], ("250 k", "reached")
    yield "times the best peer", found["pair, window 16", "≥ 5 × the best peer"], ("5.00 ×", "**not reached**")
    rate = "5,000 messages/s, p50 / p99"
    yield "p50 and p99 are told apart", (found[rate, "≤ 1.5 × logging floor"], found[rate, "≤ 2 × logging floor"]), \
        (("1.00 ×", "reached"), ("2.00 ×", "reached"))
    yield "only peers that sync count for the p99", found[rate, "p99 below every peer that syncs"], ("0.80 ×", "reached")
    yield "bytes are better when fewer", found["idle connection, subscribed", "≤ 700"], ("701", "**not reached**")
    yield "not measured", found["drain 1,000 × 100", "≥ 500 k"], ("-", "-")


if __name__ == "__main__":
    sys.exit(cases.check(cell_cases, text_cases, target_cases))
