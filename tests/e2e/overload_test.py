#!/usr/bin/python3
"""tests/e2e/overload_test.py - more than the server can take at once, with limits so small that every client is held again and again.

Nothing may be refused or lost, nobody disconnected, and each sender's messages stay in their order.
"""
import asyncio
import queue

import paho.mqtt.client as paho

from harness import (DEADLINE_SECONDS, LOCALHOST, PASSWORD, Checks, Http, Person, Server, SlowReader, Tcp, WebSocketBinary, WebSocketJson, texts,
                     wait_for)

checks = Checks()
PAIRS, MESSAGES, BODY = 12, 200, 2000
TINY = {"requests_parked_max": 2, "store_backlog_max": "1MiB", "log_pending_max": "256KiB", "outbox_entries_max": 256, "mailbox_slots": 16,
        "rate_messages_per_second": 0, "rate_requests_per_second": 0, "connections_per_ip_max": 0}


def numbered(number):
    return f"{number} ".ljust(BODY, ".")


ALL = [numbered(number) for number in range(MESSAGES)]


def expect_held_and_released(server):
    assert server.metric("ringpost_clients_held_total") > 0, "that was no overload"
    assert server.metric("ringpost_requests_refused_total") == 0
    wait_for("all to be released", lambda: server.metric("ringpost_clients_held") == 0)
    assert server.metric("ringpost_requests_parked") == 0


async def send_all(sender, receiver):
    answers = [await sender.door.submit("send", to_user_id=receiver.user_id, client_msg_id=f"{number}", body=text.encode())
               for number, text in enumerate(ALL)]
    answers = await asyncio.wait_for(asyncio.gather(*answers), DEADLINE_SECONDS)
    assert [answer.send.seq for answer in answers] == list(range(1, MESSAGES + 1)), [answer for answer in answers if answer.HasField("error")][:1]
    assert not sender.door.closed.done() and not receiver.door.closed.done()
    assert texts(await receiver.timeline(answers[0].send.room_id)) == ALL


async def overload_sockets(workers):
    server = Server(shards=2, workers=workers, **TINY).start()
    doors = [WebSocketJson, WebSocketBinary, Tcp]
    pairs = [[await Person.register(server, doors[n % 3]) for _ in range(2)] for n in range(PAIRS)]
    await asyncio.gather(*(send_all(*pair) for pair in pairs))
    await asyncio.to_thread(expect_held_and_released, server)
    server.stop()


@checks
async def sockets_are_slowed_down_by_one_worker():
    await overload_sockets(1)


@checks
async def sockets_are_slowed_down_by_two_workers():
    await overload_sockets(2)


SLOW_READERS, SLOW_MESSAGES, SLOW_BODY = 12, 80, 30000


async def speak(people, busy):
    """Small messages in turn for as long as the others are busy; whoever is closed fails the test."""
    number = 0
    while not busy.done():
        for one, other in zip(people, people[1:] + people[:1]):
            await one.call("send", to_user_id=other.user_id, client_msg_id=f"{number}", body=b"hello")
        number += 1
    assert number > 0 and not any(one.door.closed.done() for one in people)


async def fill(writer, slow):
    """To each of them what nobody else gets: the server holds it for him alone."""
    for number in range(SLOW_MESSAGES):
        for one in slow:
            await writer.call("send", to_user_id=one.user_id, client_msg_id=f"{number}", body=bytes([number]) * SLOW_BODY)


@checks
async def slow_readers_do_not_end_other_connections():
    server = Server(shards=1, workers=1, connection_memory="4MiB", connection_memory_per_address=0, outbound_soft="512KiB", outbound_hard="1MiB",
                    rate_messages_per_second=0, rate_requests_per_second=0, connections_per_ip_max=0).start()
    writer = await Person.register(server, Tcp)
    people = [await Person.register(server, door) for door in [WebSocketJson, WebSocketBinary, Tcp]]
    slow = [await Person.register(server, Http) for _ in range(SLOW_READERS)]
    readers = [SlowReader(server, one) for one in slow]
    for one in slow:
        await one.door.close()
    await asyncio.to_thread(wait_for, "the slow readers' logins", lambda: server.metric("ringpost_sessions_open") == 1 + len(people) + SLOW_READERS)
    busy = asyncio.create_task(fill(writer, slow))
    talk = asyncio.create_task(speak(people, busy))
    while not busy.done():
        status, _ = await asyncio.to_thread(server.get, "/healthz")
        assert status == 200
        assert await asyncio.to_thread(server.metric, "ringpost_connections_open") > 0
    await asyncio.gather(busy, talk)
    evicted = server.metric("ringpost_connections_evicted_total")
    assert 0 < evicted < SLOW_READERS, f"{evicted} of {SLOW_READERS} evicted"
    line = next(line for line in server.log_lines() if "reason=slow_reader" in line)
    assert "limit=connection_memory" in line and "address=127.0.0.1" in line, line
    assert not any(one.door.closed.done() for one in people)
    for reader in readers:
        reader.close()
    await asyncio.to_thread(wait_for, "the crowd's memory", lambda: server.metric("ringpost_connections_open") <= 2 + len(people))
    server.stop()


class Publisher:
    """Speaks MQTT 3.1.1, which has no word for `busy`."""

    def __init__(self, server, person):
        self.acknowledged, self.ended, self.connected = queue.Queue(), [], []
        self.client = paho.Client("publisher", protocol=paho.MQTTv311, clean_session=True)
        self.client.username_pw_set(person.name, PASSWORD)
        self.client.max_inflight_messages_set(MESSAGES)
        self.client.on_connect = lambda client, data, flags, code: self.connected.append(code)
        self.client.on_publish = lambda client, data, packet_id: self.acknowledged.put(packet_id)
        self.client.on_disconnect = lambda client, data, code: self.ended.append(code)
        self.client.connect(LOCALHOST, server.port, 60)
        self.client.loop_start()
        wait_for("CONNACK", lambda: self.connected)
        assert self.connected == [0], self.connected

    def publish(self, user_id):
        self.packet_ids = [self.client.publish(f"u/{user_id}", text, 1).mid for text in ALL]

    def expect_acknowledgements(self):
        assert [self.acknowledged.get(timeout=DEADLINE_SECONDS) for _ in ALL] == self.packet_ids
        assert self.ended == [], "it was disconnected"
        self.client.disconnect()
        self.client.loop_stop()


@checks
async def mqtt_clients_of_3_1_1_are_slowed_down_and_stay_connected():
    server = Server(shards=2, workers=2, **TINY).start()
    people = [[await Person.register(server, Http) for _ in range(2)] for _ in range(PAIRS)]
    publishers = [await asyncio.to_thread(Publisher, server, sender) for sender, _ in people]
    for publisher, (_, receiver) in zip(publishers, people):
        publisher.publish(receiver.user_id)
    for publisher in publishers:
        await asyncio.to_thread(publisher.expect_acknowledgements)
    await asyncio.to_thread(expect_held_and_released, server)
    for _, receiver in people:
        message = next(event.message for event in await receiver.stream() if event.WhichOneof("kind") == "message")
        assert texts(await receiver.timeline(message.room_id)) == ALL
    server.stop()


checks.run()
