#!/usr/bin/python3
"""tests/e2e/memory_test.py - the account of memory: its parts sum to what the process holds, and what a crowd took comes back.

The bounds are those that docs/operations.md states.
"""
import asyncio
import pathlib
import re

from harness import Checks, Http, Person, Server, SlowReader, Tcp, eventually, wait_for

checks = Checks()
MIB = 1 << 20
SUM_SLACK, SUM_SLACK_BYTES = 0.10, 8 * MIB      # between the sum of the parts and the resident memory
OTHER_SLACK, OTHER_SLACK_BYTES = 0.10, 16 * MIB  # what no part explains
LEFT_BYTES = 24 * MIB                            # more than before a crowd, when it has gone
GIVEN_BACK_SECONDS = 60
READERS, BODY, SOFT = 12, 30000, 4 * MIB


def resident_bytes(server):
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) << 10


def parts_of(server):
    parts = {}
    for part, value in re.findall(r'^ringpost_memory_bytes\{[^}]*part="([^"]+)"\} (\d+)$', server.get("/metrics")[1], re.MULTILINE):
        parts[part] = parts.get(part, 0) + int(value)
    return parts


def sums_up(server):
    """The parts are of the last second and the resident memory is of now: looked at again while traffic changes it."""
    parts, resident = parts_of(server), resident_bytes(server)
    off = abs(sum(parts.values()) - resident) > SUM_SLACK * resident + SUM_SLACK_BYTES
    return None if off or parts["other"] > OTHER_SLACK * resident + OTHER_SLACK_BYTES else parts


def expect_sum(server, when):
    try:
        return wait_for(f"the parts to sum up {when}", lambda: sums_up(server), seconds=10)
    except AssertionError as error:
        raise AssertionError(f"{error}: {resident_bytes(server) // MIB} MiB resident, parts {parts_of(server)}") from None


async def write_until_behind(server, writer, people):
    """To each what nobody else gets, until the server has told all of them that they are behind."""
    number = 0
    while server.metric("ringpost_sessions_behind_total") < len(people):
        for person in people:
            await writer.call("send", to_user_id=person.user_id, client_msg_id=f"{number}", body=bytes([number % 128]) * BODY)
        number += 1
        assert number < 1000, "nobody fell behind"


@checks
async def the_parts_sum_to_the_resident_memory_and_a_crowd_leaves_nothing():
    server = Server(shards=1, workers=1, outbound_soft=SOFT, outbound_hard=2 * SOFT, rate_messages_per_second=0, rate_requests_per_second=0,
                    connections_per_ip_max=0).start()
    writer = await Person.register(server, Tcp)
    people = [await Person.register(server, Http) for _ in range(READERS)]
    for person in people:
        await person.door.close()
    at_start = await asyncio.to_thread(expect_sum, server, "at start")
    readers = [SlowReader(server, person) for person in people]
    await write_until_behind(server, writer, people)

    async def full():
        return (await asyncio.to_thread(parts_of, server))["payloads"] >= READERS * SOFT * 9 // 10
    await eventually("what the crowd holds to be told", full)
    with_crowd = await asyncio.to_thread(expect_sum, server, "with a crowd")
    # What was stored meanwhile stays in memtables and caches, which are told apart.
    stays = sum(with_crowd[part] - at_start[part] for part in ("memtables", "block_cache", "repeat_window", "log_batches", "store_batches"))
    before = resident_bytes(server)
    for reader in readers:
        reader.close()
    await eventually("their memory to be counted back", lambda: asyncio.to_thread(lambda: parts_of(server)["payloads"] < MIB))
    wanted = sum(at_start.values()) + max(0, stays) + LEFT_BYTES
    await eventually(f"{before // MIB} MiB to fall to {wanted // MIB}", lambda: asyncio.to_thread(lambda: resident_bytes(server) <= wanted),
                     seconds=GIVEN_BACK_SECONDS)
    await asyncio.to_thread(expect_sum, server, "after the crowd")
    server.stop()


checks.run()
