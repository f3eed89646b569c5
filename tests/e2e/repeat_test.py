#!/usr/bin/python3
"""tests/e2e/repeat_test.py - what is sent again is stored once, however much others have sent meanwhile.

Somebody's connection breaks before the answer comes. Before the message is sent again, hundreds of thousands of messages of others go through
the shard: several times what it remembers. Then the server is killed, and all of it happens once more.
"""
import asyncio
import pathlib
import subprocess

from harness import DEADLINE_SECONDS, BINARY, LOCALHOST, PASSWORD, Checks, Http, Person, Server, Tcp, WebSocketBinary, WebSocketJson, eventually, pb, refused
from mqtt_raw import PUBACK, Raw

checks = Checks()
GENERATOR = BINARY.parent / "load"
REMEMBERED = 65536
FLOOD = 200_000
TALKERS = 15  # pairs, whose last 1,024 sends each fill nearly half of it
OPTIONS = {"shards": 1, "workers": 1, "dedup_entries": REMEMBERED, "rate_messages_per_second": 0, "rate_requests_per_second": 0,
           "connections_per_ip_max": 0, "store_backlog_max": "64MiB", "segment_size": "16MiB", "log_pending_max": "8MiB"}


def flood(server):
    """Messages of others, until FLOOD more are stored."""
    want = server.metric("ringpost_messages_stored_total") + FLOOD
    while server.metric("ringpost_messages_stored_total") < want:
        subprocess.run([GENERATOR, "pair", "--server", f"{LOCALHOST}:{server.port}", "--data-dir", server.data_dir,
                        "--users", server.directory / "users", "--server-pid", str(server.process.pid), "--protocol", "tcp",
                        "--groups", str(TALKERS), "--window", "64", "--seconds", "2", "--warmup", "0"],
                       check=True, stdout=subprocess.DEVNULL, timeout=10 * DEADLINE_SECONDS)


class Sender:
    """Somebody who writes over one of the doors, and does it again."""

    def __init__(self, door, person, friend, room):
        self.door, self.name, self.friend, self.room = door, person.name, friend, room
        self.first = None

    @staticmethod
    async def begin(server, door, friend):
        person = await Person.register(server, door)
        room = (await person.call("create_room", **Sender.group(friend))).room
        return Sender(door, person, friend, room)

    @staticmethod
    def group(friend, name="Those two"):
        return {"client_room_id": "the room", "name": name, "member_ids": [friend.user_id]}

    def messages(self):
        """To a person, to a room, and with properties."""
        properties = pb.Properties(content_type="text/plain", user=[pb.Property(name="colour", value="blue")])
        return [{"client_msg_id": "one", "to_user_id": self.friend.user_id, "body": b"hello"},
                {"client_msg_id": "two", "room_id": self.room.room_id, "body": b"hello", "properties": properties}]

    async def send(self, server):
        """All of it, on a new connection; the same answers as the first time."""
        person = await Person.enter(await self.door.open(server), self.name, "first")
        answers = [await person.call("send", **message) for message in self.messages()]
        assert self.first in (None, answers), (self.door.name, self.first, answers)
        self.first = answers
        room = (await person.call("create_room", **self.group(self.friend))).room
        assert room.room_id == self.room.room_id, self.door.name
        for answer in answers:
            bodies = [message.body for message in await person.timeline(answer.room_id)]
            assert bodies == [b"hello"], (self.door.name, bodies)
        await refused("client_id_conflict", person.call("send", **self.messages()[1] | {"properties": pb.Properties(content_type="text/html")}))
        await refused("client_id_conflict", person.call("create_room", **self.group(self.friend, "Others")))
        await person.door.close()


class Publisher:
    """A client of MQTT with a session that is kept; QoS 1. Of its first connection it never reads an acknowledgement."""

    def __init__(self, name, friend, version):
        self.name, self.friend, self.version = name, friend, version
        self.text = f"by MQTT {version}"

    def connect(self, server):
        return Raw(server.port, self.name, PASSWORD, f"publisher-{self.version}", self.version)

    async def send(self, server, duplicate):
        client = await asyncio.to_thread(self.connect, server)
        client.publish(f"u/{self.friend.user_id}", self.text, 1, 7, duplicate)
        if duplicate:
            client.expect(PUBACK, 7)
        else:
            await eventually("the message to be stored", self.arrivals)
        client.drop()

    async def arrivals(self):
        return sum(event.message.body == self.text.encode() for event in await self.friend.stream())


async def everybody_again(server, friend, senders, publishers):
    await asyncio.to_thread(flood, server)
    for sender in senders:
        await sender.send(server)
    for publisher in publishers:
        await publisher.send(server, True)
    again = await friend.again(server, Tcp, "first")
    await friend.door.close()
    for publisher in publishers:
        publisher.friend = again
        assert await publisher.arrivals() == 1, publisher.text
    return again


@checks
async def what_is_sent_again_is_stored_once_on_every_door():
    server = Server(**OPTIONS).start()
    friend = await Person.register(server, Tcp)
    senders = [await Sender.begin(server, door, friend) for door in (Tcp, WebSocketJson, WebSocketBinary, Http)]
    publishers = [Publisher((await Person.register(server, Http)).name, friend, version) for version in (4, 5)]
    for sender in senders:
        await sender.send(server)
    for publisher in publishers:
        await publisher.send(server, False)
    friend = await everybody_again(server, friend, senders, publishers)
    server.kill()
    server.start()
    friend = await everybody_again(server, friend, senders, publishers)
    await friend.door.close()
    assert server.metric("ringpost_repeats_per_sender") == 1024
    assert server.metric("ringpost_repeat_window_seconds") == 600
    server.stop()


if not pathlib.Path(GENERATOR).exists():
    checks.skip_suite("the load generator is not built beside the server: make load")
checks.run()
