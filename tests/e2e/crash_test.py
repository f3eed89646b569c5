#!/usr/bin/python3
"""tests/e2e/crash_test.py - kill -9 at random moments of a lively talk, again and again; nothing that was acknowledged is ever lost.

Every round: the server starts with another number of workers (1, 2, 4) on the same four shards, the book is verified against it, people
talk, the server dies. Some rounds kill it while it recovers, some stop it in order in the middle of everything.
CRASH_ROUNDS and CRASH_SEED choose how long and which; the seed is printed.
"""
import asyncio
import itertools
import json
import os
import random
import re
import subprocess
import time

from harness import BINARY, Checks, Server
from ledger import OPTIONS, Ledger

ROUNDS = int(os.environ.get("CRASH_ROUNDS", 20))
SEED = int(os.environ.get("CRASH_SEED", time.time_ns() % 2**32))
SHARDS = 4
WORKERS = itertools.cycle([1, 2, 4])
LIFE_SECONDS = (0.05, 0.7)
RECOVERY_SECONDS = 0.1
KILL_IN_RECOVERY, STOP_IN_ORDER = 5, 6  # every fifth round, every sixth

checks = Checks()
choices = random.Random(SEED)
server = Server(shards=SHARDS, **OPTIONS)
ledger = Ledger(choices)
seen_recovering = []


def start_and_watch():
    """Starts it and asks all the time whether it is ready: while it recovers it is alive, and not ready, and says so."""
    server.launch(workers=next(WORKERS))
    while server.port:
        try:
            status, answer = server.get("/readyz")
            if status == 200:
                break
            assert (status, json.loads(answer)) == (503, {"ready": False, "reason": "recovering"}), (status, answer)
            status, answer = server.get("/v1/chat/sync")
            if status == 503:
                seen_recovering.append(json.loads(answer)["error"])
        except OSError:  # nobody listens yet, or the listener was just handed over
            assert server.process.poll() is None, server.log_lines()[-3:]
    server.wait_ready()


async def one_round(number):
    if number % KILL_IN_RECOVERY == 0:
        server.launch(workers=next(WORKERS))
        await asyncio.sleep(choices.uniform(0, RECOVERY_SECONDS))
        server.kill()
    start_and_watch()
    if not ledger.people:
        await ledger.found(server)
        await ledger.connect(server)
    else:
        await ledger.verify(server)
    talk = asyncio.create_task(ledger.load(server))
    await asyncio.sleep(choices.uniform(*LIFE_SECONDS))
    if number % STOP_IN_ORDER == 0:
        await asyncio.to_thread(server.stop)
    else:
        server.kill()
    await talk


@checks
def nothing_acknowledged_is_lost():
    print(f"# CRASH_SEED={SEED} CRASH_ROUNDS={ROUNDS}", flush=True)
    for number in range(1, ROUNDS + 1):
        asyncio.run(one_round(number))
    print(f"# after {ROUNDS} rounds: {ledger}", flush=True)
    assert len(ledger.acknowledged) > 20 * ROUNDS, "hardly anything was sent"


@checks
async def everything_is_still_there_at_the_end():
    server.start()
    await ledger.verify(server, whole=True)
    await ledger.disconnect()
    await asyncio.to_thread(server.stop)


@checks
def while_it_recovered_it_said_so():
    assert seen_recovering, "in none of the rounds was it asked while it recovered"
    for error in seen_recovering:
        assert (error["code"], error["reason"], error["retryable"]) == ("UNAVAILABLE", "not_ready", True), error


@checks
def the_logs_verify_offline():
    result = subprocess.run([BINARY, "log", "verify", "--json", server.data_dir], capture_output=True, text=True, check=False)
    assert result.returncode == 0, (result.returncode, result.stdout[-500:], result.stderr[-500:])
    said = [json.loads(line) for line in result.stdout.splitlines()]
    shards = [f"shard-{number:04}" for number in range(SHARDS)]
    assert [line["log"] for line in said if "verdict" in line] == shards + ["directory"], result.stdout
    assert all(line["verdict"] == "good" for line in said if "verdict" in line), result.stdout
    states = {line["log"]: line for line in said if "state" in line}
    assert list(states) == shards and all(re.fullmatch("[0-9a-f]{16}", line["state"]) for line in states.values()), result.stdout
    assert all(states[line["log"]]["index"] == int(line["last"]) for line in said if "last" in line), result.stdout
    again = subprocess.run([BINARY, "log", "verify", "--json", server.data_dir], capture_output=True, text=True, check=False)
    assert again.stdout == result.stdout, "a look changes nothing"


checks.run()
