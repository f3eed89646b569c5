#!/usr/bin/env python3
"""tests/perf/budget_test.py - the budget of CPU time (perf/budget.py): each name in its table is a function of the server still, so that the
table cannot silently become untrue when functions move; what `perf script` prints is read as it is meant."""
import pathlib
import re
import sys

import cases

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "perf"))
import budget  # noqa: E402

LIBRARY = {"protobuf_c_message_unpack"}
DEFINITION = re.compile(r"^[a-z][\w \*]*?\b(\w+)\(", re.M)

SCRIPT = """worker-0 333444:
\tffffffff81000000 tcp_sendmsg_locked+0x10 ([kernel.kallsyms])
\t    55d0a0001000 conn_flush+0x20 (/usr/bin/ringpost)

worker-0  1000:
\t    55d0a0002000 memcpy+0x20 (/usr/lib/libc.so.6)
\t    55d0a0003000 apply_send.isra.0+0x20 (/usr/bin/ringpost)

rocksdb:low  7:
\t    55d0a0004000 apply_send+0x20 (/usr/bin/ringpost)
"""


def functions():
    found = set(LIBRARY)
    for path in (TOP / "src").rglob("*.[ch]"):
        found |= set(DEFINITION.findall(path.read_text()))
    return found


def table_cases():
    known = functions()
    for stage, words in budget.STAGES:
        gone = [word for word in words.split()
                if not any(re.fullmatch(re.escape(word).replace(r"\*", ".*"), name) for name in known)]
        yield f"functions of {stage}", gone, []


def stage_cases():
    for name, thread, frames, want in [
            ("the innermost that is named counts", "worker-0", [("memcpy", False), ("conn_feed", False), ("io_turn", False)], "parse"),
            ("names are matched whole", "worker-0", [("peekaboo", False)], "turn"),
            ("a star is any end", "worker-0", [("commitlog_append", False)], "log"),
            ("the kernel goes before what called it", "worker-0", [("tcp_sendmsg_locked", True), ("conn_flush", False)], "kernel: send"),
            ("a kernel that no row names", "worker-0", [("schedule", True)], "kernel: other"),
            ("other threads by their names", "storage-1", [("store_write", False)], "storage thread"),
            ("and without", "logger", [("conn_feed", False)], "other threads")]:
        yield name, budget.stage_of(thread, frames), want


def script_cases():
    yield "samples of perf script", list(budget.samples(SCRIPT.splitlines())), [
        ("worker-0", 333444, [("tcp_sendmsg_locked", True), ("conn_flush", False)]),
        ("worker-0", 1000, [("memcpy", False), ("apply_send", False)]),
        ("rocksdb:low", 7, [("apply_send", False)])]


if __name__ == "__main__":
    sys.exit(cases.check(table_cases, stage_cases, script_cases))
