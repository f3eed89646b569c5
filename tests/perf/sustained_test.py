#!/usr/bin/env python3
"""tests/perf/sustained_test.py - the arithmetic of the long run (perf/sustained/curves.py): a ratio that is wrong would be believed."""
import pathlib
import sys

import cases

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "perf" / "sustained"))
import curves  # noqa: E402


def interval(at, us, seconds=10.0, messages=100, p999=5.0, total=None, **threads):
    return {"at_s": at, "seconds": seconds, "messages": messages, "messages_total": total or round(at * 10), "server_us_per_message": us,
            "ack_ms": {"p50": 1.0, "p99": 2.0, "p999": p999}, "delivery_ms": {"p999": p999}, "disk_bytes_per_message": 300.0,
            "disk_bytes_total": round(at * 3000), "resident_bytes": 1 << 20, "threads_us_per_message": threads}


def choice_cases():
    ten = [interval(at, at) for at in range(10, 110, 10)]
    yield "the first ten seconds are one interval of ten", [i["at_s"] for i in curves.first(ten)], [10]
    yield "or five of two", len(curves.first([interval(at, 1, seconds=2) for at in range(2, 40, 2)])), 5
    yield "and one that is longer", [i["at_s"] for i in curves.first([interval(30, 1, seconds=30), interval(60, 1, seconds=30)])], [30]
    yield "a late timer makes an interval no later one", len(curves.first([interval(10.3, 1), interval(20.3, 1)])), 1
    yield "the end is three at least", [i["at_s"] for i in curves.end(ten)], [80, 90, 100]
    yield "and a third of many", len(curves.end([interval(at, 1) for at in range(10, 910, 10)])), 30
    yield "the rest after the last whole one does not count", [i["at_s"] for i in curves.whole([*ten[:3], interval(31, 9, seconds=1)])], [10, 20, 30]
    yield "nor one without a message", len(curves.whole([interval(10, 1), interval(20, 0, messages=0)])), 1
    yield "nothing is nothing", curves.whole([]), []


def summary_cases():
    told = curves.summary([interval(10, 2.0, worker=1.0), interval(20, 9.0), interval(30, 3.0, worker=1.0, low=0.5), interval(40, 3.0, low=1.5),
                           interval(50, 8.0, low=1.0, messages=200, p999=10.0)], 75_000)
    cpu = told["measures"]["server_us_per_message"]
    yield "the end is the mean of its messages, so that waves count", (cpu["first"], cpu["end"], cpu["ratio"]), (2.0, 5.5, 2.75)
    yield "of the tails the worst counts", told["measures"]["ack_p999_ms"], {"first": 5.0, "end": 10.0, "ratio": 2.0}
    yield "and the usual one is told", told["measures"]["ack_p999_ms_median"]["end"], 5.0
    yield "what was not measured has no value", told["measures"]["read_p99_ms"], {"first": None, "end": None, "ratio": None}
    yield "a thread that came later has no first", told["threads_us_per_message"]["low"], {"first": None, "end": 1.0}
    yield "bytes for each message and for each byte stored", (told["written_bytes_per_message"], told["stored_bytes_per_message"],
                                                              told["written_to_stored"]), (300.0, 150.0, 2.0)


if __name__ == "__main__":
    sys.exit(cases.check(choice_cases, summary_cases))
