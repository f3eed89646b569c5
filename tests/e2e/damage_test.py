#!/usr/bin/python3
"""tests/e2e/damage_test.py - a store whose bytes rot: the shard is named and serves nothing, the others go on, a start changes nothing of that,
and the store of a backup with the log of today makes it whole again.
"""
import re
import shutil
import subprocess

from harness import BINARY, Checks, Http, Person, Refused, Server, eventually, new_directory, refused, texts

SHARDS = 3
DAMAGED = 1

checks = Checks()


async def person_of(server, shard):
    while True:
        person = await Person.register(server, Http)
        if person.user_id >> 48 == shard:
            return person


async def again(server, person):
    """With the token it has: a login writes, and reads its home."""
    connection = await Http.open(server)
    connection.token = person.token
    back = Person.__new__(Person)
    back.__dict__.update(person.__dict__)
    back.door, back.call = connection, connection.call
    return back


def rot(store):
    """Every large file of the store loses a bit in each block of its middle, which an open does not look at, as a bad disk may do it."""
    assert list(store.glob("*.sst")) and list(store.glob("values-*")), "nothing was flushed"
    for path in [*store.glob("*.sst"), *store.glob("values-*")]:
        size = path.stat().st_size
        with open(path, "r+b") as file:
            for offset in range(size // 5, size * 3 // 5 if size > 50_000 else 0, 512):
                file.seek(offset)
                byte = file.read(1)[0]
                file.seek(offset)
                file.write(bytes([byte ^ 0x10]))


async def serves(person, partner, room_id, messages):
    assert texts(await person.timeline(room_id)) == messages
    sent = await person.send("still here", to_user_id=partner.user_id)
    messages.append("still here")
    assert sent.room_id == room_id


@checks
async def a_damaged_store_takes_its_shard_out_and_no_other():
    server = Server(shards=SHARDS, workers=2, flush_interval="1s").start()
    homes = [[await person_of(server, shard) for _ in range(2)] for shard in range(SHARDS)]
    rooms, said = [], []
    for ann, ben in homes:
        said.append([f"message {number} " + "x" * 3000 for number in range(60)])
        for text in said[-1]:
            sent = await ann.send(text, to_user_id=ben.user_id)
        rooms.append(sent.room_id)
    server.stop()
    backup, store = new_directory("backup"), server.data_dir / f"shard-{DAMAGED:04}" / "store"
    shutil.copytree(store, backup)
    server.start()
    homes = [[await again(server, person) for person in home] for home in homes]
    for shard, (ann, ben) in enumerate(homes):
        await serves(ann, ben, rooms[shard], said[shard])
    server.stop()
    rot(store)

    server.start()
    homes = [[await again(server, person) for person in home] for home in homes]
    victim = homes[DAMAGED][0]

    async def is_noticed():
        try:
            await victim.timeline(rooms[DAMAGED])
        except Refused as refusal:
            return refusal.reason == "shard_damaged"
        return False
    await eventually("the damage to be noticed", is_noticed)
    for _ in "the life that met the damage", "the next one":
        for shard, (ann, ben) in enumerate(homes):
            if shard != DAMAGED:
                await serves(ann, ben, rooms[shard], said[shard])
        error = await refused("shard_damaged", victim.call("conversations"), 503)
        assert error.code == "UNAVAILABLE" and not error.retryable, error
        await refused("shard_damaged", victim.send("lost?", to_user_id=homes[DAMAGED][1].user_id), 503)
        assert server.metric("ringpost_shards_damaged") == 1
        assert server.get("/readyz")[0] == 200
        line = next(line for line in server.log_lines() if "is damaged and serves nothing" in line)
        assert f"shard={DAMAGED} " in line and re.search(r"\.sst|/values-[0-9]+: value of [0-9]+ bytes at", line) and "from the latest backup" in line, line
        assert (store / "DAMAGED").exists()
        server.stop()
        server.start()
        homes = [[await again(server, person) for person in home] for home in homes]
        victim = homes[DAMAGED][0]

    server.stop()
    verified = subprocess.run([BINARY, "log", "verify", server.data_dir], capture_output=True, text=True, check=False)
    assert verified.returncode == 6 and f"shard-{DAMAGED:04}: its store is damaged" in verified.stderr, verified
    shutil.rmtree(store)
    shutil.copytree(backup, store)
    verified = subprocess.run([BINARY, "log", "verify", server.data_dir], capture_output=True, text=True, check=False)
    assert verified.returncode == 0 and "directory: good" in verified.stdout, verified
    server.start()
    homes = [[await again(server, person) for person in home] for home in homes]
    for shard, (ann, ben) in enumerate(homes):
        await serves(ann, ben, rooms[shard], said[shard])
    assert server.metric("ringpost_shards_damaged") == 0
    server.stop()


checks.run()
