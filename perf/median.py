#!/usr/bin/env python3
"""perf/median.py [--table] FILE... - of all runs of one measurement the one with the median value, as a line of JSON or as its row.

Reads what `load --json` appends. Runs of one measurement have the same server, protocol, workload and setting. With an even number of runs it
takes the lower of the two in the middle, so that every figure of the line belongs to one run that was made. Added are `runs`, `value_min` and
`value_max`; `ok` is that of all runs, and a run that failed is shown by its own row.
"""
import json
import sys


def measurements(paths):
    """The runs of each measurement, in the order in which the measurements first appear."""
    found = {}
    for path in paths:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                run = json.loads(line)
                key = (run["server"], run["protocol"], run["workload"], run["setting"])
                found.setdefault(key, []).append(run)
    return found.values()


def median(runs):
    ordered = sorted(runs, key=lambda run: run["value"])
    chosen = dict(ordered[(len(ordered) - 1) // 2])
    chosen["runs"] = len(runs)
    chosen["value_min"] = ordered[0]["value"]
    chosen["value_max"] = ordered[-1]["value"]
    chosen["ok"] = all(run["ok"] for run in runs)
    return chosen


def main(arguments):
    table = "--table" in arguments
    paths = [argument for argument in arguments if not argument.startswith("--")]
    if not paths:
        sys.exit("usage: perf/median.py [--table] FILE...")
    for runs in measurements(paths):
        chosen = median(runs)
        if not table:
            print(json.dumps(chosen, ensure_ascii=False))
            continue
        print(chosen["row"])
        for run in runs:
            if not run["ok"] and run["row"] != chosen["row"]:
                print(run["row"])


if __name__ == "__main__":
    main(sys.argv[1:])
