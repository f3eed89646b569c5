#!/usr/bin/python3
"""tests/e2e/options_test.py - random legal configurations, and a short session of every door through each of them.

  tests/e2e/options_test.py                     some fixed seeds, then fresh ones, for about a minute
  RINGPOST_OPTIONS_SEED=7 tests/e2e/options_test.py   that one alone, with its options

A configuration is drawn from the table of options (`ringpost config options`), within its ranges, and made legal by doing what the refusals of
`ringpost config check` say would do. Whatever it is: every request is answered, everything acknowledged is there for everybody who should have
it, by every door, and still there after kill -9. Left out are addresses and files, and values with which a session is cut by intent: time-outs
below those of a busy machine, rates and limits below what the session does.
"""
import asyncio
import math
import os
import queue
import random
import re
import subprocess
import time

import paho.mqtt.client as paho

from harness import (BINARY, DEADLINE_SECONDS, LOCALHOST, PASSWORD, Checks, HttpGet, Person, Refused, Server, Tcp, WebSocketBinary, WebSocketJson,
                     clean_environment, eventually, pb, wait_for)

checks = Checks()
FIXED_SEEDS = range(1, 7)
SECONDS = 60
DOORS = [WebSocketJson, WebSocketBinary, Tcp, HttpGet]
BODY_MAX = 200 << 10  # of most of what is sent, so that a session stays short
UNITS = {"": 1, "k": 10**3, "M": 10**6, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "us": 0.001, "ms": 1, "s": 1000, "m": 60000,
         "h": 3600000, "d": 86400000}
BOUNDS = {  # what the session and this machine need: a smallest value, a largest one
    "workers": (1, 4), "shards": (1, 4), "connections_max": (200, 5000), "connections_per_ip_max": (100, None), "devices_per_user_max": (4, None),
    "room_members_max": (8, None), "rooms_per_user_max": (16, 5000), "segment_size": (None, "4MiB"), "memtable_size": (None, "64MiB"),
    "block_cache": (None, "64MiB"), "dedup_entries": (None, 65536), "entities_max": (None, 100000), "password_memory": (None, "8MiB"),
    "password_ops": (None, 2), "password_threads": (None, 4), "keep_alive_requests_max": (100, None), "spin": (None, "100us"),
    "mailbox_slots": (None, 65536), "ring_entries": (None, 4096), "receive_buffers": (None, 4096), "outbox_entries_max": (None, 100000),
    "password_queue_max": (16, None), "rate_requests_burst": (200, None), "rate_messages_burst": (200, None), "rate_logins_burst": (100, None),
    "outbound_hard": (None, "64MiB"), "outbound_soft": (None, "16MiB"), "http_body_size_max": (None, "8MiB"), "frame_size_max": (None, "8MiB"),
}
PATIENT = ("_timeout", "_ttl")  # at least ten seconds
LEFT_OUT = re.compile(r"^(listen|data_dir|log_level|log_format|heartbeat_interval|tls_\w+|hsts_\w+|allowed_origins|trusted_\w+|token_\w+|privacy_\w+)$")


def number(text):
    digits, unit = re.fullmatch(r"([\d.]+) ?([a-zA-Z]*)", str(text)).groups()
    return float(digits) * UNITS[unit]


class Option:
    def __init__(self, name, allowed, meaning):
        self.name, self.is_power = name, "power of two" in meaning
        self.words = allowed.split(", ") if ".." not in allowed else None
        if self.words:
            return
        low, high = allowed.split(" .. ")
        self.unit = next((unit for unit in ("us", "ms") if re.search(r"\d(us|ms|s|m|h|d)$", high) and (unit == "ms" or high.endswith("us"))), "")
        if high.endswith("us") or low.endswith("us") or name == "spin":
            self.unit = "us"
        self.low, self.high = number(low), number(high)
        at_least, at_most = BOUNDS.get(name, (None, None))
        if name.endswith(PATIENT):
            at_least = "10s"
        if at_least is not None:
            self.low = max(self.low, number(at_least))
        if at_most is not None:
            self.high = min(self.high, number(at_most))

    def draw(self, dice):
        if self.words:
            return dice.choice(self.words)
        edge = dice.random()
        value = self.low if edge < 0.2 else self.high if edge > 0.9 else math.exp(dice.uniform(math.log(max(self.low, 1e-3)), math.log(self.high)))
        value = min(max(value, self.low), self.high)
        if self.is_power:
            value = 1 << int(math.log2(value))
            value = value if value >= self.low else value * 2
        if self.unit == "us":
            return f"{int(value * 1000)}us"
        return f"{int(value)}{self.unit}"


def options():
    table = subprocess.run([BINARY, "config", "options"], capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^\| `(\w+)` \| .*? \| (.*?) \| (.*) \|$", table, re.MULTILINE)
    return [Option(name, allowed, meaning) for name, allowed, meaning in rows
            if not LEFT_OUT.match(name) and (".. " in allowed and "bytes of text" not in allowed or allowed == "false, true")]


def server_of(drawn):
    server = Server(**drawn)
    server.small = {}
    return server


def draw(seed):
    """A legal configuration: drawn, then mended as the refusals advise."""
    dice = random.Random(seed)
    drawn = {option.name: option.draw(dice) for option in options() if dice.random() < 0.6}
    drawn.setdefault("segment_size", "1MiB")
    drawn.setdefault("shards", "2")
    for name in ("rate_messages_per_second", "rate_requests_per_second", "rate_logins_per_second"):
        drawn[name] = str(dice.choice([0, 1000, 100000]))
    for _ in range(30):
        command = server_of(drawn).command()[2:]
        run = subprocess.run([BINARY, "config", "check", *command], capture_output=True, text=True, check=False, env=clean_environment())
        if run.returncode == 0:
            return drawn
        advice = re.findall(r"Remedy: (?:raise|lower) (\w+) to (\w+)", run.stderr)
        assert run.returncode == 2 and advice, f"seed {seed}: refused without advice: {run.stderr} {drawn}"
        drawn.update(advice)
    raise AssertionError(f"seed {seed}: the advice leads in a circle: {run.stderr}")


# ---- the session --------------------------------------------------------------------------------------------------------------

class Device:
    """A person's MQTT client: what it received of its topics, by body."""

    def __init__(self, server, person):
        self.messages, self.connected, self.granted, self.published, self.ended = queue.Queue(), False, False, set(), None
        self.client = paho.Client("device", protocol=paho.MQTTv5)
        self.client.username_pw_set(person.name, PASSWORD)
        self.client.on_connect = lambda client, data, flags, code, properties=None: setattr(self, "connected", code.value == 0 or code)
        self.client.on_subscribe = lambda *rest: setattr(self, "granted", True)
        self.client.on_message = lambda client, data, message: self.messages.put(message.payload)
        self.client.on_publish = lambda client, data, mid, *rest: self.published.add(mid)
        self.client.on_disconnect = lambda client, data, code, *rest: setattr(self, "ended", code)
        self.client.connect(LOCALHOST, server.port, 60)
        self.client.loop_start()
        wait_for("CONNACK", lambda: self.connected)
        assert self.connected is True, self.connected
        self.client.subscribe([("r/+", 1), (f"u/{person.name}", 1)])
        wait_for("SUBACK", lambda: self.granted)

    def publish(self, topic, body):
        info = self.client.publish(topic, body, 1)
        wait_for("PUBACK", lambda: info.mid in self.published or self.ended is not None)
        assert info.mid in self.published, f"ended with {self.ended} before PUBACK"

    def take(self, wanted):
        """Waits until all of `wanted` came."""
        missing, give_up = set(wanted), time.monotonic() + DEADLINE_SECONDS
        while missing:
            try:
                missing.discard(self.messages.get(timeout=max(0.01, give_up - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"{len(missing)} of {len(wanted)} messages did not come by MQTT, ended: {self.ended}") from None

    def leave(self):
        self.client.disconnect()
        self.client.loop_stop()


async def patiently(call):
    """Retries what may be tried again, with the same client_msg_id; all else is a fault."""
    give_up = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            return await call()
        except Refused as refusal:
            if not refusal.error.retryable or time.monotonic() > give_up:
                raise
            await asyncio.sleep(max(refusal.error.retry_after_ms, 10) / 1000)


def body_of(sender, index, size):
    text = f"{sender} {index} ".encode()
    return (text + bytes(byte % 251 for byte in range(size)))[:size]


async def talk(person, room, other, everybody, sizes, book):
    """What was acknowledged goes into the book of whoever should have it: user id -> (room id, seq) -> body."""
    for index, size in enumerate(sizes):
        where = {"room_id": room} if index % 2 == 0 else {"to_user_id": other.user_id}
        body = body_of(person.name, index, size)
        sent = await patiently(lambda: person.call("send", client_msg_id=f"{person.name}-{index}", kind=pb.CUSTOM, body=body, **where))
        for reader in everybody if "room_id" in where else (person, other):
            book[reader.user_id][sent.room_id or room, sent.seq] = body


async def everything(person, room_id):
    messages, after = {}, 0
    while True:
        page = await patiently(lambda: person.call("history", room_id=room_id, after_seq=after, limit=200))
        for message in page.messages:
            messages[room_id, message.seq] = message.body
        if not page.has_more:
            assert sorted(seq for _, seq in messages) == list(range(1, page.head_seq + 1)), "no hole"
            return messages
        assert page.messages, "a page that goes on has something"
        after = page.next_seq


async def synced(person):
    """The stream by pages, or None when it was too long for inbox_events_max."""
    found, key = {}, 0
    while True:
        page = await patiently(lambda: person.call("sync", sync_key=key, limit=500))
        if page.reset:
            return None
        for event in page.events:
            if event.WhichOneof("kind") == "message":
                found[event.message.room_id, event.message.seq] = event.message.body
        assert not page.has_more or page.sync_key > key, "a page that goes on moves on"
        key = page.sync_key
        if not page.has_more:
            return found


async def session(server, drawn):
    body_size_max = int(number(drawn.get("body_size_max", "32KiB")))
    largest = min(body_size_max, BODY_MAX)
    people = [await Person.register(server, door) for door in DOORS]
    fifth = await Person.register(server, HttpGet)
    device = await asyncio.to_thread(Device, server, fifth)
    made = await patiently(lambda: people[0].call("create_room", name="All", client_room_id="all", member_ids=[person.user_id for person in [*people[1:], fifth]]))
    room = made.room.room_id
    sizes = [body_size_max, body_size_max, 1, min(100, largest), largest // 2 + 1, largest, min(1000, largest), 1]
    in_streams = number(drawn.get("fanout_threshold", 500)) > len(people) + 1
    book = {person.user_id: {} for person in people}
    await asyncio.gather(*(talk(person, room, people[(number + 1) % len(people)], people, sizes, book) for number, person in enumerate(people)))
    own = [body_of("device", index, size) for index, size in enumerate(sizes)]
    for body in own:
        await asyncio.to_thread(device.publish, f"r/{room}", body)
    kept = number(drawn.get("inbox_events_max", "10k")) > 100
    if kept:
        await asyncio.to_thread(device.take, [body for (room_id, _), body in book[people[0].user_id].items() if room_id == room])
    await asyncio.to_thread(device.leave)
    await check_all(people, book, room, own, in_streams)
    server.kill()
    server.start()
    again = [await Person.enter(await door.open(server), person.name, "first") for door, person in zip(DOORS, people)]
    await check_all(again, book, room, own, in_streams)


async def rooms_of(person):
    rooms, cursor = set(), 0
    while True:
        page = await patiently(lambda: person.call("conversations", cursor=cursor, limit=100))
        rooms |= {conversation.room.room_id for conversation in page.conversations}
        if not page.has_more:
            return rooms
        assert page.conversations, "a page that goes on has something"
        cursor = page.next_cursor


async def rooms_with(person, wanted):
    rooms = await rooms_of(person)
    return rooms if wanted <= rooms else None


async def stream_has(person, mine):
    stream = await synced(person)
    return stream is None or all(stream.get(key) == body for key, body in mine.items())


async def check_all(people, book, room, own, in_streams):
    for person in people:
        mine = book[person.user_id]
        await eventually("every room among the conversations", lambda: rooms_with(person, {room_id for room_id, _ in mine}))
        seen = {}
        for room_id in {room_id for room_id, _ in mine}:
            seen |= await everything(person, room_id)
        missing = [key for key, body in mine.items() if seen.get(key) != body]
        assert not missing, f"{person.door.name}: acknowledged and not in the history: {missing}"
        bodies = [body for (room_id, _), body in seen.items() if room_id == room]
        assert all(bodies.count(body) >= own.count(body) for body in own), "what was acknowledged to MQTT"
        await eventually("all of it in the stream", lambda: stream_has(person, mine if in_streams else {}))


def run(seed):
    drawn = draw(seed)
    print(f"# seed {seed}: {' '.join(f'--{name}={value}' for name, value in sorted(drawn.items()))}", flush=True)
    server = server_of(drawn).start()
    try:
        asyncio.run(asyncio.wait_for(session(server, drawn), 6 * DEADLINE_SECONDS))
        server.stop()
    except BaseException:
        print(f"# repeat it with RINGPOST_OPTIONS_SEED={seed}")
        raise


@checks
def every_legal_configuration_delivers_what_it_acknowledges():
    if "RINGPOST_OPTIONS_SEED" in os.environ:
        run(int(os.environ["RINGPOST_OPTIONS_SEED"]))
        return
    until = time.monotonic() + SECONDS
    for seed in FIXED_SEEDS:
        run(seed)
    while time.monotonic() < until:
        run(random.SystemRandom().randrange(1 << 32))


checks.run()
