#!/usr/bin/python3
"""tests/e2e/restore_test.py - a backup is restored under clients that were further: they learn it, whatever door and client they use.

As docs/operations.md has it: stop, copy the directory, start again; later stop, copy it back, start. What was written between the copy and
the restoring is gone, and its numbers are given out again; nobody may go on from one of them as if nothing had happened.
"""
import asyncio
import json
import os
import shutil
import subprocess

from harness import BINARY, LOCALHOST, PASSWORD, Checks, Http, Person, Server, Tcp, WebSocketBinary, WebSocketJson, clean_environment, new_directory, pb

checks = Checks()


class Backup:
    """A copy of a server's whole directory."""

    def __init__(self, server):
        self.server, self.path = server, new_directory("backup")
        server.stop()
        shutil.copytree(server.data_dir, self.path)
        server.start()

    def restore(self):
        self.server.stop()
        shutil.rmtree(self.server.data_dir)
        shutil.copytree(self.path, self.server.data_dir)
        self.server.start()


async def at(server, person, door=Http):
    """The person again, on the same device, over a new connection."""
    return await Person.enter(await door.open(server), person.name, person.device_id)


async def say(server, person, room_id, count, word):
    speaker = await at(server, person)
    for number in range(count):
        await speaker.send(f"{word} {number}", client_msg_id=f"{word}-{number}", room_id=room_id)
    await speaker.door.close()


async def sync(server, person, cursor, door=Http):
    """A sync from (sync_key, stream_epoch), as it is answered."""
    who = await at(server, person, door)
    answer = await who.call("sync", sync_key=cursor[0], stream_epoch=cursor[1], limit=500)
    await who.door.close()
    return answer


def cursor_of(answer):
    return answer.sync_key, answer.stream_epoch


async def history_of_two(server):
    """Two people on one shard or two, a room, six entries in the second one's stream; who, the room, and where the second one is."""
    ann, ben = [await Person.register(server, Http) for _ in range(2)]
    room_id = (await ann.call("create_room", name="Room", member_ids=[ben.user_id])).room.room_id
    await say(server, ann, room_id, 5, "before")
    return ann, ben, room_id, cursor_of(await sync(server, ben, (0, "")))


@checks
async def a_cursor_from_after_the_backup_is_reset_over_every_door():
    server = Server(shards=2, workers=2, rate_messages_per_second=0).start()
    ann, ben, room_id, in_the_copy = await history_of_two(server)
    assert in_the_copy[0] == 6
    backup = Backup(server)
    await say(server, ann, room_id, 10, "lost")
    beyond = cursor_of(await sync(server, ben, in_the_copy))
    assert beyond[0] == 16
    backup.restore()
    await say(server, ann, room_id, 13, "anew")
    for door in (Http, Tcp, WebSocketBinary, WebSocketJson):
        answer = await sync(server, ben, beyond, door)
        assert answer.reset and answer.reset_reason == pb.OTHER_STREAM and not answer.events, f"{door.name}: {answer}"
        assert answer.sync_key == 19
        answer = await sync(server, ben, in_the_copy, door)
        assert not answer.reset and len(answer.events) == 13, "who was not further has missed nothing"
    unknowing = await sync(server, ben, (16, ""))
    assert not unknowing.reset and len(unknowing.events) == 3, "a client that does not say its epoch cannot be told"
    assert (await sync(server, ben, (20, ""))).reset_reason == pb.OTHER_STREAM, "but for a key that is beyond the newest"
    fresh = await at(server, ben)
    listed = await fresh.call("conversations")
    again = await fresh.call("sync", sync_key=listed.sync_key, stream_epoch=listed.stream_epoch)
    assert not again.reset and cursor_of(again)[0] == 19
    assert [message.body.decode() for message in await fresh.timeline(room_id)] == \
        [f"before {n}" for n in range(5)] + [f"anew {n}" for n in range(13)]
    assert server.metric("ringpost_sync_resets_other_total") >= 5
    await fresh.door.close()
    server.stop()


@checks
async def restarts_and_kills_are_no_restore():
    server = Server(shards=2, workers=2, rate_messages_per_second=0).start()
    ann, ben, room_id, cursor = await history_of_two(server)
    for number in range(4):
        await say(server, ann, room_id, 2, f"life {number}")
        if number % 2 == 0:
            server.kill()
        else:
            server.stop()
        server.start()
        answer = await sync(server, ben, cursor)
        assert not answer.reset and len(answer.events) == 2, answer
        cursor = cursor_of(answer)
    answer = await sync(server, ben, (6, (await sync(server, ben, (0, ""))).stream_epoch))
    assert not answer.reset
    server.stop()


def ringpost(server, home, *arguments):
    """A command of the client, as the person that is logged in at `home`."""
    return subprocess.run([BINARY, *arguments, "--server", f"{LOCALHOST}:{server.port}"], capture_output=True, text=True, timeout=30,
                          env=clean_environment() | {"XDG_STATE_HOME": str(home)}, input=PASSWORD + "\n", check=False)


@checks
async def tail_says_that_the_server_was_restored_and_goes_on():
    server = Server(shards=2, workers=2, rate_messages_per_second=0).start()
    ann, ben, room_id, _ = await history_of_two(server)
    home = new_directory("home")
    home.mkdir()
    def command(*arguments):
        return asyncio.to_thread(ringpost, server, home, *arguments)
    logged_in = await command("user", "login", ben.name, "--password-stdin")
    assert logged_in.returncode == 0, logged_in.stderr
    assert len((await command("tail", "--count", "6")).stdout.splitlines()) == 6
    backup = Backup(server)
    await say(server, ann, room_id, 10, "lost")
    assert "lost 9" in (await command("tail", "--count", "10")).stdout
    backup.restore()
    await say(server, ann, room_id, 13, "anew")
    follower = asyncio.create_task(command("tail", "--count", "1"))
    [file] = home.glob("ringpost/*.json")
    while json.loads(file.read_text())["sync_key"] != "19":  # it has begun anew; bounded by the command's own time-out
        assert not follower.done(), follower.result()
        await asyncio.sleep(0.02)
    await say(server, ann, room_id, 1, "newest")
    run = await follower
    assert "restored from a backup" in run.stderr and "newest 0" in run.stdout and "anew" not in run.stdout, run
    run = await command("tail", "--since", "18", "--count", "2")
    assert run.stderr == "" and "anew 12" in run.stdout and "newest 0" in run.stdout, run
    server.stop()


checks.run()
