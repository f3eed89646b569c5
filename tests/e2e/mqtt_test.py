#!/usr/bin/python3
"""tests/e2e/mqtt_test.py - the MQTT door as clients nobody here wrote see it: Debian's paho and mosquitto, and raw bytes.

  /usr/bin/python3 tests/e2e/mqtt_test.py           starts a server of its own in a temporary directory
  RINGPOST_BIN=path                                 the binary (default build/ringpost)

Nothing waits for a fixed time: every wait is for a condition, with a deadline. "Nothing more came" is shown by a later message
that did come."""
import base64
import json
import os
import queue
import re
import shutil
import socket
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.request
import uuid

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

import test_lines
from harness import wait_for
from mqtt_raw import DISCONNECT, Raw

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.abspath(os.environ.get("RINGPOST_BIN", os.path.join(ROOT, "build", "ringpost")))
DEADLINE_S = 30
PASSWORD = "correct horse battery"
NEVER = 0xFFFFFFFF
LARGE = 3  # a room of more members is a large one


class Server:
    def __init__(self, *options, rate=100000, burst=100000):
        self.rate, self.burst = str(rate), str(burst)
        self.directory = tempfile.mkdtemp(prefix="ringpost-mqtt-test-")
        self.options = options
        self.port = "0"
        self.process = None
        self.start()

    def start(self):
        """Again on the port it had, which for a moment may be that of somebody's outgoing connection."""
        wait_for("the server to have its port", self.try_start)

    def try_start(self):
        log_path = os.path.join(self.directory, "serve.log")
        begin = os.path.getsize(log_path) if os.path.exists(log_path) else 0
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RINGPOST_")}
        with open(log_path, "a") as log:
            self.process = subprocess.Popen(
                [BINARY, "serve", "--data-dir", os.path.join(self.directory, "data"), "--listen", f"127.0.0.1:{self.port}",
                 "--shards", "2", "--workers", "2", "--rate-messages-per-second", self.rate, "--rate-messages-burst", self.burst,
                 "--rate-requests-per-second", "100000", "--rate-requests-burst", "100000", "--password-memory", "1MiB",
                 "--connections-max", "1000", "--fanout-threshold", str(LARGE), "--rate-logins-per-second", "0", *self.options], stdout=log, stderr=subprocess.STDOUT, env=environment)

        def port():
            with open(log_path, encoding="utf-8") as file:
                text = file.read()[begin:]
            if self.process.poll() is not None and "is in use" in text:
                return "in use"
            if self.process.poll() is not None:
                raise AssertionError("the server ended: " + text)
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", text)
            return found and found.group(1)

        found = wait_for("the server to serve", port)
        if found == "in use":
            return False
        self.port = found
        return True

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        return self.process.wait(DEADLINE_S)

    def remove_directory(self):
        shutil.rmtree(self.directory)

    def remove(self):
        code = self.stop() if self.process.poll() is None else 0
        self.remove_directory()
        assert code == 0, f"the server ended with {code}"

    def call(self, path, body, token=None):
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = "Bearer " + token
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as response:
            return json.load(response)


server = None


def setUpModule():
    global server
    server = Server()


def tearDownModule():
    server.remove()


def metric(name):
    """The sum of the MQTT metrics in whose line `name` stands."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=DEADLINE_S) as response:
        lines = [line for line in response.read().decode().splitlines() if line.startswith("ringpost_mqtt_") and name in line]
    return sum(int(line.split()[-1]) for line in lines)


class Person:
    def __init__(self, name):
        self.name = f"{name}-{uuid.uuid4().hex[:8]}"
        self.id = server.call("/v1/account/register", {"name": self.name, "password": PASSWORD})["user_id"]
        self.token = self.login("http")

    def login(self, device):
        return server.call("/v1/account/login", {"name": self.name, "password": PASSWORD, "device_id": device})["access_token"]

    def call(self, path, **body):
        return server.call(path, body, self.token)

    def say(self, to, text, **more):
        return self.call("/v1/chat/send", client_msg_id=uuid.uuid4().hex, body=base64.b64encode(text.encode()).decode(), **to, **more)

    def history(self, room_id):
        page = self.call("/v1/chat/history", room_id=room_id, limit=200)
        return [base64.b64decode(m["body"]).decode() for m in reversed(page.get("messages", []))]

    def stream(self):
        """The messages that have reached his own stream; an acknowledgement does not wait for that."""
        events = self.call("/v1/chat/sync", limit=100).get("events", [])
        return [base64.b64decode(event["message"]["body"]).decode() for event in events if "message" in event]

    def room(self, *others):
        return self.call("/v1/room/create", name="room", member_ids=[p.id for p in others])["room"]["room_id"]


def delayed(seconds):
    properties = Properties(PacketTypes.WILLMESSAGE)
    properties.WillDelayInterval = seconds
    return properties


def mosquitto(tool, *arguments):
    return subprocess.run([f"mosquitto_{tool}", "-p", server.port, "-V", "mqttv5", "-P", PASSWORD, *arguments], check=False,
                          capture_output=True, text=True, timeout=DEADLINE_S)


def pub(*arguments):
    done = mosquitto("pub", *arguments)
    assert done.returncode == 0, done.stderr


def sub_retained(person, room):
    """What is retained of the room, or None. -E: it ends after SUBACK, behind which nothing retained can come."""
    done = mosquitto("sub", "-u", person.name, "-t", f"r/{room}", "-E", "-F", "%p")
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n") or None


class Device:
    """A paho client with what it received, in order."""

    def __init__(self, person, device, version=paho.MQTTv5, clean=True, expiry=0, password=PASSWORD, transport="tcp", connect=True,
                 receive_maximum=None, maximum_packet_size=None, will=None, keepalive=60):
        self.person, self.version, self.clean, self.expiry = person, version, clean, expiry
        self.receive_maximum, self.maximum_packet_size, self.keepalive = receive_maximum, maximum_packet_size, keepalive
        arguments = {} if version == paho.MQTTv5 else {"clean_session": clean}
        self.client = paho.Client(device, protocol=version, transport=transport, **arguments)
        self.client.username_pw_set(person.name, password)
        if transport == "websockets":
            self.client.ws_set_options(path="/mqtt")
        if will:
            self.client.will_set(*will)
        self.messages, self.events = queue.Queue(), queue.Queue()
        self.connack = self.granted = self.ended = None
        self.client.on_connect = self.on_connect
        self.client.on_message = lambda client, data, message: self.messages.put(message)
        self.client.on_subscribe = lambda client, data, mid, granted, *rest: setattr(self, "granted", granted)
        self.client.on_disconnect = lambda client, data, code, *rest: setattr(self, "ended", self.ended or (code, *rest))
        self.published = set()
        self.client.on_publish = lambda client, data, mid, *rest: self.published.add(mid)
        if connect:
            self.connect()

    def on_connect(self, client, data, flags, code, properties=None):
        self.connack = (flags, code, properties)

    def connect(self):
        self.connack = self.ended = None
        arguments = {}
        if self.version == paho.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)
            if self.expiry:
                properties.SessionExpiryInterval = self.expiry
            if self.receive_maximum:
                properties.ReceiveMaximum = self.receive_maximum
            if self.maximum_packet_size:
                properties.MaximumPacketSize = self.maximum_packet_size
            arguments = {"clean_start": self.clean, "properties": properties}
        self.client.connect("127.0.0.1", int(server.port), self.keepalive, **arguments)
        self.client.loop_start()
        wait_for("CONNACK", lambda: self.connack or self.ended)

    def present(self):
        flags = self.connack[0]
        return bool(flags["session present"])

    def subscribe(self, topic, qos=1, **options):
        self.granted = None
        if self.version == paho.MQTTv5:
            self.client.subscribe(topic, options=SubscribeOptions(qos=qos, **options))
        else:
            self.client.subscribe(topic, qos)
        wait_for("SUBACK", lambda: self.granted is not None)
        first = self.granted[0]
        return first if isinstance(first, int) else first.value

    def publish(self, topic, payload, qos=1, properties=None, retain=False):
        info = self.client.publish(topic, payload, qos, retain, **({"properties": properties} if properties else {}))
        if qos > 0:
            wait_for("the acknowledgement", lambda: info.mid in self.published or self.ended)
        return info

    def take(self, count=1):
        return [self.messages.get(timeout=DEADLINE_S) for _ in range(count)]

    def texts(self, count=1):
        return [m.payload.decode() for m in self.take(count)]

    def leave(self):
        self.client.disconnect()
        self.client.loop_stop()

    def drop(self):
        """The connection breaks: no DISCONNECT."""
        self.client.loop_stop()
        self.client._sock_close()


def user_properties(message):
    return dict(message.properties.UserProperty)


class Connecting(unittest.TestCase):
    def test_password_token_and_refusals(self):
        alice = Person("alice")
        for version in (paho.MQTTv311, paho.MQTTv5):
            Device(alice, "phone", version).leave()
            Device(alice, "http", version, password=alice.token).leave()
            wrong = Device(alice, "phone", version, password="wrong")
            code = wrong.connack[1]
            self.assertEqual(code if version == paho.MQTTv311 else code.value, 4 if version == paho.MQTTv311 else 0x86)
            wrong.drop()
            other = Device(alice, "not-the-device", version, password=alice.token)
            self.assertEqual(other.connack[1] if version == paho.MQTTv311 else other.connack[1].value,
                             2 if version == paho.MQTTv311 else 0x85)
            other.drop()

    def test_clients_whose_session_is_not_kept_take_no_place(self):
        """Any number of random client ids, one after another; and one that comes to stay still has a place."""
        alice = Person("alice")
        for version in (paho.MQTTv311, paho.MQTTv5):
            for i in range(15):
                device = Device(alice, f"random-{version}-{uuid.uuid4().hex}", version)
                self.assertEqual(device.connack[1] if version == paho.MQTTv311 else device.connack[1].value, 0)
                names = [d["device_id"] for d in alice.call("/v1/account/devices")["devices"]]
                self.assertEqual(len([name for name in names if name.startswith("random")]), 1, "listed while it is here")
                device.leave()
                wait_for("it to be gone", lambda: len(alice.call("/v1/account/devices")["devices"]) == 1)
        stays = Device(alice, "stays", clean=False, expiry=NEVER)
        stays.leave()
        self.assertIn("stays", [d["device_id"] for d in alice.call("/v1/account/devices")["devices"]])
        again = Device(alice, "stays")  # without a session: it has its place all the same
        again.leave()
        self.assertIn("stays", [d["device_id"] for d in alice.call("/v1/account/devices")["devices"]])

    def test_client_id_given_by_the_server(self):
        alice = Person("alice")
        device = Device(alice, "")
        self.assertTrue(device.connack[2].AssignedClientIdentifier.startswith("mqtt-"))
        second = Device(alice, "")
        device.publish(f"u/{alice.name}", "nobody is taken over")
        self.assertIsNone(device.ended)
        device.leave()
        second.leave()

    def test_server_keep_alive(self):
        device = Device(Person("alice"), "phone", keepalive=1000)
        self.assertEqual(device.connack[2].ServerKeepAlive, 300)
        device.leave()


class Messages(unittest.TestCase):
    def test_every_version_and_qos(self):
        alice, bob = Person("alice"), Person("bob")
        want = []
        for version in (paho.MQTTv311, paho.MQTTv5):
            for transport in ("tcp", "websockets"):
                for qos in (0, 1, 2):
                    receiver = Device(bob, "bob", version, transport=transport)
                    sender = Device(alice, "alice", version, transport=transport)
                    self.assertEqual(receiver.subscribe(f"u/{bob.id}", qos), qos)
                    text = f"{version} {transport} {qos} ✓"
                    want.append(text)
                    sender.publish(f"u/{bob.name}", text, qos)
                    message, = receiver.take()
                    self.assertEqual((message.topic, message.payload.decode(), message.qos), (f"u/{bob.id}", text, qos))
                    sender.leave()
                    receiver.leave()
        room_id = bob.call("/v1/chat/conversations")["conversations"][0]["room"]["room_id"]
        self.assertEqual(bob.history(room_id), want)

    def test_properties(self):
        alice, bob = Person("alice"), Person("bob")
        sender, receiver = Device(alice, "phone"), Device(bob, "phone")
        receiver.subscribe(f"u/{bob.name}")
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = [("client_msg_id", "mine"), ("kind", "image")]
        sender.publish(f"u/{bob.id}", b"\xff\x00", 1, properties)
        sender.publish(f"u/{bob.id}", b"\xff\x00", 1, properties)  # a repeat
        sender.publish(f"u/{bob.id}", "text", 1)
        image, text = receiver.take(2)
        self.assertEqual(image.payload, b"\xff\x00")
        got = user_properties(image)
        self.assertEqual((got["client_msg_id"], got["kind"], got["from"], got["from_name"], got["seq"]),
                         ("mine", "image", alice.id, alice.name, "1"))
        self.assertEqual(text.properties.ResponseTopic, f"u/{alice.id}")
        self.assertEqual((text.properties.ContentType, text.properties.PayloadFormatIndicator), ("text/plain", 1))
        self.assertEqual(user_properties(text)["seq"], "2")
        alice.call("/v1/account/set_display_name", display_name="Alice Liddell")
        sender.publish(f"u/{bob.id}", "by another name", 1)
        self.assertEqual(user_properties(receiver.take(1)[0])["from_name"], "Alice Liddell")
        sender.leave()
        receiver.leave()

    def test_the_publishers_properties(self):
        """They reach the subscriber, who missed them too, the history, and a client of another door; and come from one."""
        alice, bob = Person("alice"), Person("bob")
        receiver = Device(bob, "phone", clean=False, expiry=NEVER)
        receiver.subscribe(f"u/{bob.name}")
        sender = Device(alice, "phone")
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = [("colour", "blue"), ("colour", "grün"), ("from", "somebody else")]
        properties.ContentType = "application/json"
        properties.ResponseTopic = f"u/{alice.name}"
        properties.CorrelationData = b"\0\1"

        def same(message):
            given = message.properties
            self.assertEqual([v for k, v in given.UserProperty if k == "colour"], ["blue", "grün"])
            self.assertEqual([v for k, v in given.UserProperty if k == "from"], [alice.id])
            self.assertEqual((given.ContentType, given.ResponseTopic, given.CorrelationData),
                             ("application/json", f"u/{alice.name}", b"\0\1"))
        sender.publish(f"u/{bob.id}", "{}", 1, properties)
        same(*receiver.take())
        receiver.leave()
        sender.publish(f"u/{bob.id}", "{}", 1, properties)
        receiver = Device(bob, "phone", clean=False, expiry=NEVER)
        same(*receiver.take())
        room = bob.call("/v1/chat/conversations")["conversations"][0]["room"]["room_id"]
        kept = bob.call("/v1/chat/history", room_id=room)["messages"][0]["properties"]
        self.assertEqual(kept, {"user": [{"name": "colour", "value": "blue"}, {"name": "colour", "value": "grün"}],
                                "content_type": "application/json", "response_topic": f"u/{alice.name}", "correlation_data": "AAE=",
                                "message_expiry_s": 0})
        alice.say({"to_user_id": bob.id}, "from http", properties={"user": [{"name": "msg_id", "value": "1"}, {"name": "a", "value": "b"}]})
        message, = receiver.take()
        names = [k for k, v in message.properties.UserProperty]
        self.assertEqual((names.count("msg_id"), names.count("a"), message.properties.ResponseTopic), (1, 1, f"u/{alice.id}"))
        with self.assertRaises(urllib.error.HTTPError):
            alice.say({"to_user_id": bob.id}, "x", properties={"user": [{"name": "a", "value": "b" * 4096}]})
        sender.leave()
        receiver.leave()

    def test_message_expiry(self):
        """By paho and by mosquitto's own tools: who is away for longer than the interval goes without, retained or not."""
        alice, bob = Person("alice"), Person("bob")
        room = alice.room(bob)
        receiver = Device(bob, "phone", clean=False, expiry=NEVER)
        receiver.subscribe(f"r/{room}")
        sender = Device(alice, "phone")
        expiring = Properties(PacketTypes.PUBLISH)
        expiring.MessageExpiryInterval = 60
        sender.publish(f"r/{room}", "now", 1, expiring)
        message, = receiver.take()
        self.assertIn(message.properties.MessageExpiryInterval, (59, 60))
        receiver.leave()
        before = metric('"expired"')
        pub("-u", alice.name, "-t", f"r/{room}", "-q", "1", "-m", "gone by then", "-D", "publish", "message-expiry-interval", "1")
        wait_for("the message to expire for a newcomer", lambda: sub_retained(bob, room) is None)
        self.assertGreater(metric('"expired"'), before)
        pub("-u", alice.name, "-t", f"r/{room}", "-q", "1", "-m", "still there", "-D", "publish", "message-expiry-interval", "3600")
        self.assertEqual(sub_retained(bob, room), "still there")
        alice.say({"room_id": room}, "from http", properties={"message_expiry_s": 3600})
        receiver = Device(bob, "phone", clean=False, expiry=NEVER)
        self.assertTrue(receiver.present())
        there, http = receiver.take(2)
        self.assertEqual([there.payload, http.payload], [b"still there", b"from http"])
        self.assertTrue(0 < there.properties.MessageExpiryInterval <= 3600 and 0 < http.properties.MessageExpiryInterval <= 3600)
        self.assertEqual(bob.history(room), ["now", "gone by then", "still there", "from http"])
        sender.leave()
        receiver.leave()

    def test_subscription_identifiers(self):
        alice, bob = Person("alice"), Person("bob")
        room = alice.room(bob)
        device = Device(bob, "phone", clean=False, expiry=NEVER)

        def subscribe(topic, identifier):
            properties = Properties(PacketTypes.SUBSCRIBE)
            properties.SubscriptionIdentifier = identifier
            device.granted = None
            device.client.subscribe(topic, options=SubscribeOptions(1), properties=properties)
            wait_for("SUBACK", lambda: device.granted is not None)
        subscribe(f"r/{room}", 7)
        subscribe("r/+", 300)
        subscribe(f"u/{bob.name}", 2)
        for _ in range(2):
            alice.say({"room_id": room}, "to the room")
            alice.say({"to_user_id": bob.id}, "to him")
            one, two = device.take(2)
            self.assertEqual(sorted(one.properties.SubscriptionIdentifier), [7, 300])
            self.assertEqual(two.properties.SubscriptionIdentifier, [2])
            device.leave()
            device = Device(bob, "phone", clean=False, expiry=NEVER)
        device.leave()

    def test_topic_aliases(self):
        alice, bob = Person("alice"), Person("bob")
        room = alice.room(bob)
        receiver, sender = Device(bob, "phone"), Device(alice, "phone")
        self.assertEqual(sender.connack[2].TopicAliasMaximum, 16)
        receiver.subscribe(f"u/{bob.name}")
        receiver.subscribe(f"r/{room}")
        properties = Properties(PacketTypes.PUBLISH)
        properties.TopicAlias = 16
        for topic, text in ((f"u/{bob.name}", "named"), ("", "again"), (f"r/{room}", "for another"), ("", "again")):
            sender.publish(topic, text, 1, properties)
        self.assertEqual([(m.topic, m.payload) for m in receiver.take(4)],
                         [(f"u/{bob.name}", b"named"), (f"u/{bob.name}", b"again"), (f"r/{room}", b"for another"), (f"r/{room}", b"again")])
        sender.leave()
        receiver.leave()

    def test_rooms_and_other_doors(self):
        alice, bob, carol = Person("alice"), Person("bob"), Person("carol")
        room = alice.room(bob)
        one, all_rooms, outsider = Device(bob, "one"), Device(bob, "all"), Device(carol, "phone")
        self.assertEqual(one.subscribe(f"r/{room}"), 1)
        self.assertEqual(all_rooms.subscribe("r/+"), 1)
        self.assertEqual(outsider.subscribe(f"r/{room}"), 0x87)
        alice.say({"room_id": room}, "from http")
        for device in (one, all_rooms):
            message, = device.take()
            self.assertEqual((message.topic, message.payload), (f"r/{room}", b"from http"))
        sender = Device(alice, "phone", paho.MQTTv311)
        sender.publish(f"r/{room}", "from mqtt", 2)
        self.assertEqual(bob.history(room), ["from http", "from mqtt"])
        wait_for("both in his stream", lambda: bob.stream() == ["from http", "from mqtt"])
        self.assertEqual(one.texts(), ["from mqtt"])
        one.client.unsubscribe(f"r/{room}")
        alice.say({"room_id": room}, "who hears")
        self.assertEqual(all_rooms.texts(2), ["from mqtt", "who hears"])
        for device in (one, all_rooms, outsider, sender):
            device.leave()

    def test_what_may_not_be_listened_to(self):
        alice, bob = Person("alice"), Person("bob")
        device = Device(alice, "phone")
        for topic, want in (("#", 0x8F), ("u/+", 0x8F), ("$SYS/#", 0x8F), (f"u/{bob.id}", 0x87), (f"u/{bob.name}", 0x87),
                            ("$share/g/r/+", 0x9E), ("r/1", 0x8F), ("x", 0x8F)):
            self.assertEqual(device.subscribe(topic), want, topic)
        device.leave()
        old = Device(alice, "phone", paho.MQTTv311)
        self.assertEqual(old.subscribe("#"), 0x80)
        old.leave()

    def test_refused_publishes(self):
        alice, bob, carol = Person("alice"), Person("bob"), Person("carol")
        room = bob.room(carol)
        for topic, payload, want in ((f"r/{room}", "x", 0x87), ("u/nobody", "x", 0x90), ("elsewhere", "x", 0x90),
                                     (f"u/{alice.name}", "x", 0x90)):
            done = subprocess.run(
                ["mosquitto_pub", "-p", server.port, "-u", alice.name, "-P", PASSWORD, "-i", "cli", "-V", "mqttv5", "-q", "1", "-d",
                 "-t", topic, "-m", payload], capture_output=True, text=True, timeout=DEADLINE_S)
            self.assertIn(f"RC:{want}", done.stdout, topic)
        old = Device(alice, "phone", paho.MQTTv311)
        old.client.reconnect_delay_set(DEADLINE_S, DEADLINE_S)
        old.publish("u/nobody", "an acknowledgement would be a lie")
        wait_for("the connection to end", lambda: old.ended)
        old.drop()

    def test_retained_is_the_last_message(self):
        alice, bob = Person("alice"), Person("bob")
        room = alice.room(bob)
        device = Device(bob, "phone")
        device.subscribe(f"r/{room}")
        alice.say({"room_id": room}, "first")
        alice.say({"room_id": room}, "second")
        live = device.take(2)
        self.assertEqual([m.retain for m in live], [False, False])
        late = Device(bob, "late", paho.MQTTv311)
        late.subscribe(f"r/{room}")
        kept, = late.take()
        self.assertEqual((kept.payload, kept.retain), (b"second", True))
        device.subscribe(f"r/{room}", retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        device.subscribe(f"r/{room}", retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
        alice.say({"room_id": room}, "third")
        self.assertEqual(device.texts(), ["third"])
        device.leave()
        late.leave()

    def test_retained_of_a_room_that_hides_its_past(self):
        alice, bob, carol = Person("alice"), Person("bob"), Person("carol")
        room = alice.call("/v1/room/create", name="quiet", member_ids=[carol.id], history="SINCE_JOIN")["room"]["room_id"]
        alice.say({"room_id": room}, "before bob")
        alice.call("/v1/room/invite", room_id=room, user_ids=[bob.id])
        phone, other = Device(bob, "phone", paho.MQTTv311), Device(carol, "other", paho.MQTTv311)
        other.subscribe(f"r/{room}")
        self.assertEqual(other.texts(), ["before bob"])
        phone.subscribe(f"r/{room}")
        alice.say({"room_id": room}, "hello bob")
        message, = phone.take()
        self.assertEqual((message.payload, message.retain), (b"hello bob", False), "nothing of before")
        late = Device(bob, "late", paho.MQTTv311)
        late.subscribe(f"r/{room}")
        message, = late.take()
        self.assertEqual((message.payload, message.retain), (b"hello bob", True))
        for device in (phone, other, late):
            device.leave()

    def test_retained_is_cleared(self):
        """By mosquitto's null message, over a restart, and by nothing that is stored."""
        global server
        common, server = server, Server()
        try:
            alice, bob = Person("alice"), Person("bob")
            room = alice.room(bob)
            pub = ["mosquitto_pub", "-p", server.port, "-u", alice.name, "-P", PASSWORD, "-t", f"r/{room}", "-r", "-q", "1"]
            sub = ["mosquitto_sub", "-p", server.port, "-u", bob.name, "-P", PASSWORD, "-t", f"r/{room}", "-F", "%r %p"]
            subprocess.run([*pub, "-m", "state"], check=True, timeout=DEADLINE_S)
            done = subprocess.run([*sub, "-C", "1"], capture_output=True, text=True, timeout=DEADLINE_S)
            self.assertEqual(done.stdout, "1 state\n")
            subprocess.run([*pub, "-n"], check=True, timeout=DEADLINE_S)
            self.assertEqual(bob.history(room), ["state"])
            for stop in (server.kill, server.stop):
                stop()
                server.start()
                device = Device(bob, "phone")
                device.subscribe(f"r/{room}")
                alice.say({"to_user_id": bob.id}, "marker")
                wait_for("it to be in his stream", lambda: bob.stream()[-1:] == ["marker"])
                device.subscribe(f"u/{bob.name}")
                alice.say({"to_user_id": bob.id}, "end")
                message, = device.take()
                self.assertEqual((message.payload, message.retain), (b"end", False))
                device.leave()
        finally:
            own, server = server, common
            own.remove()

    def test_no_local(self):
        alice, bob = Person("alice"), Person("bob")
        room = alice.room(bob)
        quiet, echo = Device(alice, "quiet"), Device(alice, "echo")
        quiet.subscribe(f"r/{room}", noLocal=True)
        echo.subscribe(f"r/{room}")
        quiet.publish(f"r/{room}", "mine")
        echo.publish(f"r/{room}", "from my other device")
        self.assertEqual(echo.texts(2), ["mine", "from my other device"])
        self.assertEqual(quiet.texts(), ["from my other device"])
        quiet.leave()
        echo.leave()

    def test_no_local_hears_who_copies_its_properties(self):
        """A responder that sends back the user properties it got, client_msg_id among them."""
        alice, bob = Person("alice"), Person("bob")
        room = alice.room(bob)
        asks, answers = Device(alice, "asks"), Device(bob, "answers")
        asks.subscribe(f"r/{room}", noLocal=True)
        answers.subscribe(f"r/{room}", noLocal=True)
        asks.publish(f"r/{room}", "question")
        question, = answers.take()
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = question.properties.UserProperty
        answers.publish(question.properties.ResponseTopic, "answer", 1, properties)
        self.assertEqual(asks.texts(), ["answer"])
        asks.leave()
        answers.leave()

    def test_will(self):
        alice, bob = Person("alice"), Person("bob")
        watcher = Device(bob, "phone")
        watcher.subscribe(f"u/{bob.name}")
        for topic in (f"u/{bob.name}", f"u/{bob.id}"):
            Device(alice, "sensor", will=(topic, "gone", 1)).drop()
            self.assertEqual(watcher.texts(), ["gone"])
        Device(alice, "sensor", will=(f"u/{bob.id}", "never said", 1)).leave()
        bob_room = bob.say({"to_user_id": alice.id}, "marker")["room_id"]
        self.assertEqual(bob.history(bob_room), ["gone", "gone", "marker"])
        for version in (paho.MQTTv311, paho.MQTTv5):
            for topic in ("homeassistant/status", "tele/x/LWT", "$SYS/broker/connection/x/state"):
                before = metric('"will"')
                stranger = Device(alice, "sensor", version, will=(topic, "gone", 1, True))
                self.assertEqual(metric('"will"'), before + 1)
                self.assertEqual(stranger.connack[1] if version == paho.MQTTv311 else stranger.connack[1].value, 0)
                stranger.publish("$SYS/x", "for nobody", 1)
                self.assertIsNone(stranger.ended)
                stranger.drop()
        self.assertEqual(bob.history(bob_room), ["gone", "gone", "marker"])
        before = metric('"will"')
        revoked = Device(alice, "sensor", will=(f"u/{bob.id}", "the last word of a device that was revoked", 1))
        revoked.client.reconnect_delay_set(DEADLINE_S, DEADLINE_S)
        alice.call("/v1/account/revoke_device", device_id="sensor")
        wait_for("the device to be ended", lambda: revoked.ended)
        revoked.drop()
        self.assertEqual(metric('"will"'), before + 1)
        bob.say({"to_user_id": alice.id}, "after it")
        self.assertEqual(bob.history(bob_room), ["gone", "gone", "marker", "after it"])
        nobody = Device(alice, "sensor", will=("u/nobody", "x", 1))
        self.assertEqual(nobody.connack[1].value, 0x90)
        nobody.drop()
        watcher.leave()

    def test_will_delay(self):
        """Sent when the delay has passed or the session is over, not when the client is back in time; by paho and mosquitto's own tool."""
        alice, bob = Person("alice"), Person("bob")
        watcher = Device(bob, "phone")
        watcher.subscribe(f"u/{bob.name}")

        def sensor(text, delay, clean=False, expiry=NEVER):
            return Device(alice, "sensor", clean=clean, expiry=expiry, will=(f"u/{bob.id}", text, 1, False, delayed(delay)))
        sensor("after a second", 1).drop()
        self.assertEqual(watcher.texts(), ["after a second"])
        sensor("back in time", 3600).drop()
        sensor("with the session", 3600).drop()
        sensor("said good-bye", 3600, clean=True).leave()
        self.assertEqual(watcher.texts(), ["with the session"])
        sensor("no session at all", 3600, clean=True, expiry=0).drop()
        self.assertEqual(watcher.texts(), ["no session at all"])
        sensor("the session is short", 3600, expiry=1).drop()
        self.assertEqual(watcher.texts(), ["the session is short"])
        tool = subprocess.Popen(["stdbuf", "-oL", "mosquitto_sub", "-p", server.port, "-V", "mqttv5", "-u", alice.name, "-P", PASSWORD, "-i", "tool", "-c", "-x", "3600",
                                 "-t", f"u/{alice.name}", "--will-topic", f"u/{bob.id}", "--will-payload", "the tool was killed",
                                 "-D", "will", "will-delay-interval", "1", "-d"], stdout=subprocess.PIPE, text=True)
        self.assertTrue(any("received SUBACK" in line for line in tool.stdout))
        tool.kill()
        tool.wait()
        tool.stdout.close()
        self.assertEqual(watcher.texts(), ["the tool was killed"])
        room = bob.say({"to_user_id": alice.id}, "marker")["room_id"]
        self.assertEqual(bob.history(room), ["after a second", "with the session", "no session at all", "the session is short", "the tool was killed", "marker"])
        watcher.leave()

    def test_many_in_order(self):
        alice, bob = Person("alice"), Person("bob")
        receiver = Device(bob, "phone", receive_maximum=3)
        receiver.subscribe(f"u/{bob.name}", 2)
        sender = Device(alice, "phone")
        want = [f"message {i}" for i in range(500)]
        for qos, text in enumerate(want):
            sender.client.publish(f"u/{bob.name}", text, qos % 2 + 1)
        got = [(message.qos, message.payload.decode()) for message in receiver.take(len(want))]
        for qos in (1, 2):  # a client has a message of QoS 2 when it is released, so the two are not in one order
            self.assertEqual([text for its, text in got if its == qos], want[qos - 1::2])
        sender.leave()
        receiver.leave()

    def test_a_client_that_takes_small_packets(self):
        """Our own properties are left out first; what is still too large is counted, and the next message comes."""
        alice, bob = Person("alice"), Person("bob")
        room = alice.room(bob)
        small, large = Device(bob, "small", maximum_packet_size=100), Device(bob, "large")
        self.assertIsNone(small.ended)
        for device in (small, large):
            device.subscribe(f"u/{bob.name}")
            device.subscribe(f"r/{room}", 2)
        sender = Device(alice, "sender")
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = [("colour", "blue")]
        properties.ContentType = "text/css"
        dropped = metric('"packet_size"')
        for topic in (f"u/{bob.name}", f"r/{room}"):
            sender.publish(topic, "hi", 1, properties)
            sender.publish(topic, "x" * 200, 1)
            sender.publish(topic, "bye", 1)
        for _ in range(2):
            hi, bye = small.take(2)
            self.assertEqual((hi.payload, bye.payload), (b"hi", b"bye"))
            self.assertEqual((hi.properties.UserProperty, hi.properties.ContentType), ([("colour", "blue")], "text/css"))
            hi, _, bye = large.take(3)
            self.assertEqual((hi.payload, bye.payload), (b"hi", b"bye"))
            self.assertIn(("from", alice.id), hi.properties.UserProperty)
        self.assertEqual(metric('"packet_size"'), dropped + 2)
        with open(os.path.join(server.directory, "serve.log"), encoding="utf-8") as log:
            self.assertEqual(len([line for line in log if f"user_id={bob.id} " in line and "why=maximum_packet_size" in line]), 1, "said once")
        tiny = Device(bob, "tiny", maximum_packet_size=20)
        self.assertIsNone(tiny.ended)
        for device in (small, large, sender, tiny):
            device.leave()

    def test_large_payloads(self):
        alice, bob = Person("alice"), Person("bob")
        receiver, sender = Device(bob, "phone"), Device(alice, "phone")
        receiver.subscribe(f"u/{bob.name}")
        body = os.urandom(15000)
        sender.publish(f"u/{bob.name}", body)
        self.assertEqual(receiver.take()[0].payload, body)
        sender.client.reconnect_delay_set(DEADLINE_S, DEADLINE_S)
        sender.client.publish(f"u/{bob.name}", os.urandom(100000), 0)
        wait_for("the connection to end", lambda: sender.ended)
        sender.drop()
        receiver.leave()


class Sessions(unittest.TestCase):
    def resume(self, version, qos, break_off, between):
        """A device goes away, misses messages, comes back and gets each of them once."""
        alice, bob = Person("alice"), Person("bob")
        room = alice.room(bob)
        kept = {"version": version, "clean": False, "expiry": NEVER}
        phone = Device(bob, "phone", **kept)
        self.assertFalse(phone.present())
        phone.subscribe(f"u/{bob.name}", qos)
        phone.subscribe(f"r/{room}", qos)
        alice.say({"to_user_id": bob.id}, "there")
        self.assertEqual(phone.texts(), ["there"])
        break_off(phone)
        want = [f"missed {i}" for i in range(70)]
        for i, text in enumerate(want):
            alice.say({"to_user_id": bob.id} if i % 2 else {"room_id": room}, text)
        between()
        phone = Device(bob, "phone", **kept)
        self.assertTrue(phone.present())
        got = phone.texts(len(want))
        while got and got[0] == "there" and qos == 1:  # unsaved acknowledgement: QoS 1 may say it again
            got = got[1:] + phone.texts()
        self.assertEqual(got, want)
        alice.say({"to_user_id": bob.id}, "end")
        self.assertEqual(phone.texts(), ["end"])
        phone.leave()

    def test_resume_after_disconnect(self):
        for version in (paho.MQTTv311, paho.MQTTv5):
            for qos in (1, 2):
                with self.subTest(version=version, qos=qos):
                    self.resume(version, qos, Device.leave, lambda: None)

    def test_resume_after_a_broken_connection(self):
        self.resume(paho.MQTTv5, 2, Device.drop, lambda: None)

    def test_resume_after_a_crash_of_the_server(self):
        def crash():
            server.kill()
            server.start()
        for qos in (1, 2):
            self.resume(paho.MQTTv5, qos, Device.leave, crash)

    def test_crash_while_connected(self):
        """QoS 2 to a connected client over a crash: exactly once, in order."""
        alice, bob = Person("alice"), Person("bob")
        phone = Device(bob, "phone", clean=False, expiry=NEVER)
        phone.subscribe(f"u/{bob.name}", 2)
        phone.client.reconnect_delay_set(1, 1)
        want = [f"message {i}" for i in range(300)]
        for text in want[:200]:
            alice.say({"to_user_id": bob.id}, text)
        server.kill()
        server.start()
        for text in want[200:]:
            alice.say({"to_user_id": bob.id}, text)
        self.assertEqual(phone.texts(len(want)), want)
        alice.say({"to_user_id": bob.id}, "end")
        self.assertEqual(phone.texts(), ["end"])
        phone.leave()

    def test_wills_outlive_the_server(self):
        """It dies, and every connection with it: what was to be said then is said when it is back, once, whatever the session."""
        alice, bob = Person("alice"), Person("bob")
        sensors = [Device(alice, name, clean=clean, expiry=expiry, will=(f"u/{bob.id}", name, 1, False, delayed(delay)))
                   for name, clean, expiry, delay in (("kept", False, NEVER, 0), ("delayed", False, NEVER, 2), ("clean", True, 0, 5),
                                                      ("waiting", False, NEVER, 2), ("back", False, NEVER, 3600))]
        sensors[3].drop()
        for sensor in sensors:
            sensor.client.loop_stop()
        server.kill()
        server.start()
        back = Device(alice, "back", clean=False, expiry=NEVER)
        self.assertTrue(back.present())
        watcher = Device(bob, "phone")
        watcher.subscribe(f"u/{bob.name}")
        room = bob.say({"to_user_id": alice.id}, "marker")["room_id"]

        def said():
            return sorted(text for text in bob.history(room) if text != "marker")
        wait_for("the wills", lambda: len(said()) >= 4)
        self.assertEqual(said(), ["clean", "delayed", "kept", "waiting"])
        server.kill()
        server.start()
        bob.say({"to_user_id": alice.id}, "marker")
        self.assertEqual(said(), ["clean", "delayed", "kept", "waiting"])
        for device in [back, watcher]:
            device.drop()

    def test_publishing_over_a_crash(self):
        """QoS 1 and 2 from a client that reconnects by itself: everything once in the history."""
        alice, bob = Person("alice"), Person("bob")
        for qos in (1, 2):
            room = alice.room(bob)
            sender = Device(alice, f"phone{qos}", clean=False, expiry=NEVER)
            sender.client.reconnect_delay_set(1, 1)
            want = [f"message {i}" for i in range(200)]
            for text in want[:100]:
                sender.client.publish(f"r/{room}", text, qos)
            server.kill()
            server.start()
            for text in want[100:]:
                sender.client.publish(f"r/{room}", text, qos)
            wait_for("every acknowledgement", lambda: len(sender.published) == len(want))
            self.assertEqual(sorted(bob.history(room)), sorted(want))
            sender.leave()

    def test_a_clean_start_forgets(self):
        alice, bob = Person("alice"), Person("bob")
        phone = Device(bob, "phone", clean=False, expiry=NEVER)
        phone.subscribe(f"u/{bob.name}")
        phone.leave()
        alice.say({"to_user_id": bob.id}, "missed")
        wait_for("it to be in his stream", lambda: bob.stream() == ["missed"])
        self.assertFalse(Device(bob, "phone", clean=True).present())
        phone = Device(bob, "phone", clean=False, expiry=NEVER)
        self.assertFalse(phone.present())
        phone.subscribe(f"u/{bob.name}")
        alice.say({"to_user_id": bob.id}, "new")
        self.assertEqual(phone.texts(), ["new"])
        phone.leave()

    def test_a_session_ended_by_disconnect(self):
        bob = Person("bob")
        phone = Device(bob, "phone", clean=False, expiry=NEVER)
        properties = Properties(PacketTypes.DISCONNECT)
        properties.SessionExpiryInterval = 0
        phone.client.disconnect(properties=properties)
        phone.client.loop_stop()
        again = Device(bob, "phone", clean=False, expiry=NEVER)
        self.assertFalse(again.present())
        again.leave()


class Lagging(unittest.TestCase):
    """Whoever reads more slowly than the stream is kept."""

    def setUp(self):
        global server
        self.common, server = server, Server("--inbox-events-max", "1000", "--write-timeout", "10m")

    def tearDown(self):
        global server
        lagging, server = server, self.common
        lagging.remove()

    def test_beyond_the_stream_it_hears_why(self):
        alice, bob = Person("alice"), Person("bob")
        for version, fell_out in ((paho.MQTTv311, 1), (paho.MQTTv5, 2)):
            # Not paho: it drops what it has not read yet when an acknowledgement can no longer be sent.
            phone = Raw(server.port, bob.name, PASSWORD, "phone", version)
            self.assertFalse(phone.present)
            phone.subscribe(f"u/{bob.name}", 1)
            witness, sender = Device(bob, "witness"), Device(alice, "phone")
            witness.subscribe(f"u/{bob.name}")
            want = [f"{version} message {i}" for i in range(1000 + 1024 + 10)]
            for text in want:
                sender.client.publish(f"u/{bob.name}", text, 1)
            self.assertEqual(witness.texts(len(want)), want)
            witness.leave()
            sender.leave()
            wait_for("it to fall out", lambda: metric("fell_out") == fell_out)
            last = phone.read_to_the_end()[-1]
            if version == paho.MQTTv5:
                self.assertEqual((last.type, last.body[0]), (DISCONNECT, 0x97))
                self.assertIn(b"behind", last.body)
            phone.drop()
            again = Device(bob, "phone", version, clean=False, expiry=NEVER)
            self.assertFalse(again.present())
            again.subscribe(f"u/{bob.name}")
            alice.say({"to_user_id": bob.id}, "end")
            self.assertEqual(again.texts(), ["end"])
            again.leave()
            Device(bob, "phone", version).leave()  # the session ends

    def test_within_the_stream_nothing_is_lost(self):
        alice, bob = Person("alice"), Person("bob")
        phone = Device(bob, "phone", receive_maximum=20)
        phone.subscribe(f"u/{bob.name}", 2)
        phone.client.loop_stop()
        sender = Device(alice, "phone")
        want = [f"message {i}" for i in range(1000)]
        infos = [sender.client.publish(f"u/{bob.name}", text, 2) for text in want]
        wait_for("the acknowledgements", lambda: len(sender.published) == len(infos))
        phone.client.loop_start()
        self.assertEqual(phone.texts(len(want)), want)
        sender.leave()
        phone.leave()

    def test_a_listener_of_qos_0_goes_on(self):
        alice, bob = Person("alice"), Person("bob")
        phone, sender = Device(bob, "phone"), Device(alice, "phone")
        phone.subscribe(f"u/{bob.name}", 0)
        phone.client.loop_stop()
        sent = 0
        while metric('"behind"') == 0:
            for _ in range(500):
                sent += 1
                sender.client.publish(f"u/{bob.name}", f"{sent} " + "x" * 8000, 1)
            wait_for("the acknowledgements", lambda: len(sender.published) == sent)
        sender.publish(f"u/{bob.name}", "end", 1)
        phone.client.loop_start()
        got = []
        while not got or got[-1] != "end":
            got.append(phone.texts()[0].split(" ")[0])
        numbers = [int(number) for number in got[:-1]]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertGreaterEqual(len(numbers) + metric('"behind"'), sent)
        self.assertIsNone(phone.ended)
        sender.leave()
        phone.leave()


class Rates(unittest.TestCase):
    """A client that writes faster than its user may is read from more slowly."""

    def setUp(self):
        global server
        self.common, server = server, Server(rate=100, burst=50)

    def tearDown(self):
        global server
        own, server = server, self.common
        own.remove()

    def lines(self, *arguments):
        alice, bob = Person("alice"), Person("bob")
        room = alice.room(bob)
        want = [f"line {i}" for i in range(200)]
        subprocess.run(["mosquitto_pub", "-p", server.port, "-u", alice.name, "-P", PASSWORD, "-i", "cli", "-t", f"r/{room}", "-l", *arguments],
                       input="\n".join(want) + "\n", text=True, check=True, timeout=DEADLINE_S)
        wait_for("every line", lambda: len(bob.history(room)) >= len(want))
        self.assertEqual(bob.history(room), want)
        self.assertGreater(metric("slowed"), 0)

    def test_lines_of_every_qos_arrive_whole(self):
        self.lines("-q", "0")
        self.lines("-q", "0", "-V", "mqttv5")
        self.lines("-q", "1")
        self.lines("-q", "2", "-V", "mqttv5")

    def test_what_is_dropped_is_counted(self):
        alice, bob, carol = Person("alice"), Person("bob"), Person("carol")
        room = bob.room(carol)
        sender = Device(alice, "sender", paho.MQTTv311)
        for topic, payload, reason in (("u/nobody-of-that-name", "x", "topic"), ("elsewhere", "x", "topic"), (f"u/{alice.name}", "x", "topic"),
                                       (f"r/{room}", "x", "forbidden"), (f"u/{bob.name}", os.urandom(40000), "payload")):
            before = metric(f'"{reason}"')
            sender.client.publish(topic, payload, 0)
            wait_for(f"{topic} to be counted as {reason}", lambda: metric(f'"{reason}"') == before + 1)
        self.assertIsNone(sender.ended)
        with open(os.path.join(server.directory, "serve.log"), encoding="utf-8") as log:
            self.assertIn("reason=mqtt_message address=127.0.0.1", log.read())
        sender.leave()


class LargeRooms(unittest.TestCase):
    """Rooms above fanout_threshold are not in the stream: their messages come from the room itself."""

    def large_room(self, *members):
        owner = Person("owner")
        others = [Person("other") for _ in range(LARGE)]
        room = owner.room(*members, *others)
        self.assertTrue(owner.call("/v1/room/get", room_id=room)["room"]["large"])
        return owner, room

    def test_every_version_and_qos(self):
        bob = Person("bob")
        owner, room = self.large_room(bob)
        for version in (paho.MQTTv311, paho.MQTTv5):
            for qos in (0, 1, 2):
                for topic in (f"r/{room}", "r/+"):
                    device = Device(bob, "phone", version)
                    self.assertEqual(device.subscribe(topic, qos), qos)
                    if topic == f"r/{room}" and device.granted and owner.history(room):
                        device.take()  # retained
                    owner.say({"room_id": room}, "live")
                    message, = device.take()
                    self.assertEqual((message.topic, message.payload, message.qos, message.retain), (f"r/{room}", b"live", qos, False))
                    device.leave()

    def test_a_narrow_window(self):
        """Faster than the client takes them: in order, without gaps or repeats."""
        alice, bob = Person("alice"), Person("bob")
        owner, room = self.large_room(alice, bob)
        for qos in (1, 2):
            phone = Device(bob, f"phone{qos}", receive_maximum=2)
            phone.subscribe(f"r/{room}", qos, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
            phone.subscribe(f"u/{bob.name}", qos)
            sender = Device(alice, "phone")
            want = [f"{qos} message {i}" for i in range(300)]
            for i, text in enumerate(want):
                sender.client.publish(f"r/{room}", text, 1)
                if i % 10 == 0:
                    sender.client.publish(f"u/{bob.name}", f"{qos} direct {i}", 1)
            got = phone.texts(330)
            self.assertEqual([text for text in got if "message" in text], want)
            self.assertEqual([text for text in got if "direct" in text], [f"{qos} direct {i}" for i in range(0, 300, 10)])
            sender.leave()
            phone.leave()

    def resume(self, version, qos, topic, between):
        bob = Person("bob")
        owner, room = self.large_room(bob)
        kept = {"version": version, "clean": False, "expiry": NEVER}
        phone = Device(bob, "phone", **kept)
        phone.subscribe(f"r/{room}" if topic == "room" else "r/+", qos)
        owner.say({"room_id": room}, "there")
        self.assertEqual(phone.texts(), ["there"])
        phone.leave()
        want = [f"missed {i}" for i in range(250)]
        for text in want:
            owner.say({"room_id": room}, text)
        between()
        phone = Device(bob, "phone", **kept)
        self.assertTrue(phone.present())
        owner.say({"room_id": room}, "end")
        self.assertEqual(phone.texts(len(want) + 1), want + ["end"])
        phone.leave()

    def test_resume(self):
        for version in (paho.MQTTv311, paho.MQTTv5):
            for qos in (1, 2):
                for topic in ("room", "all"):
                    with self.subTest(version=version, qos=qos, topic=topic):
                        self.resume(version, qos, topic, lambda: None)

    def test_resume_after_a_crash_of_the_server(self):
        def crash():
            server.kill()
            server.start()
        self.resume(paho.MQTTv5, 2, "room", crash)

    def test_crash_while_connected(self):
        bob = Person("bob")
        owner, room = self.large_room(bob)
        phone = Device(bob, "phone", clean=False, expiry=NEVER)
        phone.subscribe(f"r/{room}", 2)
        phone.client.reconnect_delay_set(1, 1)
        want = [f"message {i}" for i in range(200)]
        for text in want[:100]:
            owner.say({"room_id": room}, text)
        server.kill()
        server.start()
        for text in want[100:]:
            owner.say({"room_id": room}, text)
        self.assertEqual(phone.texts(len(want)), want)
        owner.say({"room_id": room}, "end")
        self.assertEqual(phone.texts(), ["end"])
        phone.leave()

    def test_a_room_that_grows(self):
        """From the stream to the room itself, while one listens and while one is away."""
        bob = Person("bob")
        for away in (False, True):
            owner = Person("owner")
            room = owner.room(bob)
            phone = Device(bob, f"phone{away}", clean=False, expiry=NEVER)
            phone.subscribe("r/+", 1)
            owner.say({"room_id": room}, "small")
            self.assertEqual(phone.texts(), ["small"])
            if away:
                phone.leave()
            owner.say({"room_id": room}, "still small")
            owner.call("/v1/room/invite", room_id=room, user_ids=[Person("other").id for _ in range(LARGE)])
            self.assertTrue(owner.call("/v1/room/get", room_id=room)["room"]["large"])
            owner.say({"room_id": room}, "large")
            if away:
                phone = Device(bob, f"phone{away}", clean=False, expiry=NEVER)
                self.assertTrue(phone.present())
            self.assertEqual(phone.texts(2), ["still small", "large"])
            phone.leave()


class Bytes(unittest.TestCase):
    """What no well-made client sends."""

    def talk(self, data):
        with socket.create_connection(("127.0.0.1", int(server.port)), DEADLINE_S) as peer:
            peer.sendall(data)
            received = b""
            while True:
                try:
                    part = peer.recv(65536)
                except ConnectionResetError:
                    return received
                if not part:
                    return received
                received += part

    def connect(self, person, version=5):
        def text(value):
            return len(value).to_bytes(2, "big") + value
        body = text(b"MQTT") + bytes([version, 0xC2, 0, 60]) + (b"\0" if version == 5 else b"") + text(b"raw")
        body += text(person.name.encode()) + text(PASSWORD.encode())
        return bytes([0x10, len(body)]) + body

    def connect_named(self, at):
        name = "dora-" + uuid.uuid4().hex[:8]
        at.call("/v1/account/register", {"name": name, "password": PASSWORD})
        person = type("Named", (), {"name": name})
        return self.connect(person)

    def test_malformed(self):
        alice = Person("alice")
        hello = self.connect(alice)
        for name, packet, want in (
                ("publish of QoS 3", b"\x36\x02\0\1", 0x81), ("reserved type", b"\x00\0", 0x81),
                ("subscribe without filters", b"\x82\x03\0\1\0", 0x82), ("packet id 0", b"\x82\x07\0\0\0\0\1a\0", 0x81),
                ("a second CONNECT", hello, 0x82), ("not UTF-8", b"\x30\x04\0\1\xff\0", 0x81),
                ("a topic alias too many", b"\x30\x09\0\3u/x\3\x23\0\x11", 0x94),
                ("a topic alias without a topic", b"\x30\x06\0\0\3\x23\0\1", 0x82), ("AUTH", b"\xf0\0", 0x82),
                ("subscription id 0", b"\x82\x0b\0\1\2\x0b\0\0\3r/+\0", 0x82), ("CONNACK from a client", b"\x20\3\0\0\0", 0x82)):
            received = self.talk(hello + packet)
            self.assertEqual(received[:1] + received[3:4], b"\x20\0", name)
            self.assertEqual(received[-3:], bytes([0xE0, 1, want]), name)

    def test_takeover(self):
        hello = self.connect(Person("alice"))
        with socket.create_connection(("127.0.0.1", int(server.port)), DEADLINE_S) as first:
            first.sendall(hello)
            self.assertEqual(first.recv(100)[:4], b"\x20\x0d\0\0")
            self.assertEqual(self.talk(hello + b"\xc0\0\xe0\0")[-2:], b"\xd0\0")  # the later one is served
            self.assertEqual(first.recv(100), b"\xe0\x01\x8e")
            self.assertEqual(first.recv(100), b"")

    def test_takeover_keeps_what_was_done(self):
        """A client that comes back before its old connection is given up: nothing twice, in either direction."""
        alice, bob = Person("alice"), Person("bob")
        def text(value):
            return len(value).to_bytes(2, "big") + value
        def hello(person):
            body = text(b"MQTT") + bytes([4, 0xC0, 0, 60]) + text(b"raw") + text(person.name.encode()) + text(PASSWORD.encode())
            return bytes([0x10, len(body)]) + body
        def packet(peer):
            head = peer.recv(2, socket.MSG_WAITALL)
            return head + peer.recv(head[1], socket.MSG_WAITALL)
        def publish(first, payload, to):
            body = text(b"u/" + to.name.encode()) + b"\0\5" + payload
            return bytes([first, len(body)]) + body
        filters = text(b"u/" + bob.name.encode()) + b"\1"
        for turn in range(3):
            peer = socket.create_connection(("127.0.0.1", int(server.port)), DEADLINE_S)
            peer.sendall(hello(bob))
            self.assertEqual(packet(peer), b"\x20\2" + bytes([turn > 0]) + b"\0")
            if turn == 0:
                peer.sendall(bytes([0x82, len(filters) + 2]) + b"\0\1" + filters)
                self.assertEqual(packet(peer)[0], 0x90)
            peer.sendall(publish(0x34 if turn == 0 else 0x3C, b"mine", alice))  # QoS 2, then again with DUP
            self.assertEqual(packet(peer), b"\x50\2\0\5")
            alice.say({"to_user_id": bob.id}, f"turn {turn}")
            received = packet(peer)
            self.assertEqual((received[0], received[-6:]), (0x32, f"turn {turn}".encode()))
            packet_id = received[4 + received[3]:][:2]
            peer.sendall(b"\x40\2" + packet_id + b"\xc0\0")
            self.assertEqual(packet(peer), b"\xd0\0")
        room = bob.call("/v1/chat/conversations")["conversations"][0]["room"]["room_id"]
        self.assertEqual(bob.history(room), ["mine", "turn 0", "turn 1", "turn 2"])
        peer.close()

    def test_a_packet_id_used_again(self):
        """A client that takes the lowest free packet id, whose second message is lost on its way: sent again it says DUP all the same."""
        def text(value):
            return len(value).to_bytes(2, "big") + value
        def packet(peer):
            head = peer.recv(2, socket.MSG_WAITALL)
            return head + (peer.recv(head[1], socket.MSG_WAITALL) if head else b"")
        for version, qos, second in ((4, 1, b"other"), (5, 1, b"other"), (4, 2, b"other"), (4, 2, b"first")):
            alice, bob = Person("alice"), Person("bob")
            properties = b"\0" if version == 5 else b""
            expiry = b"\5\x11" + NEVER.to_bytes(4, "big") if version == 5 else b""
            body = text(b"MQTT") + bytes([version, 0xC0, 0, 60]) + expiry + text(b"raw") + text(bob.name.encode()) + text(PASSWORD.encode())
            hello = bytes([0x10, len(body)]) + body
            def publish(first, payload):
                body = text(b"u/" + alice.name.encode()) + b"\0\1" + properties + payload
                return bytes([first | qos << 1, len(body)]) + body
            answer = bytes([0x40 if qos == 1 else 0x50]) + b"\2\0\1"
            with socket.create_connection(("127.0.0.1", int(server.port)), DEADLINE_S) as peer:
                peer.sendall(hello)
                self.assertEqual(packet(peer)[0], 0x20)
                peer.sendall(publish(0x30, b"first"))
                self.assertEqual(packet(peer), answer)
                if qos == 2:
                    peer.sendall(b"\x62\2\0\1")
                    self.assertEqual(packet(peer), b"\x70\2\0\1")
            received = b""
            for _ in range(2 if qos == 1 else 1):  # with QoS 1 the server finds out only by the body
                with socket.create_connection(("127.0.0.1", int(server.port)), DEADLINE_S) as peer:
                    peer.sendall(hello)
                    self.assertEqual(packet(peer)[2], 1, "the session is kept")
                    peer.sendall(publish(0x38, second))
                    received = packet(peer)
            self.assertEqual(received, answer, (version, qos, second))
            room = bob.call("/v1/chat/conversations")["conversations"][0]["room"]["room_id"]
            self.assertEqual(bob.history(room), ["first", second.decode()])

    def test_shutdown_says_so(self):
        other = Server()
        try:
            hello = self.connect_named(other)
            with socket.create_connection(("127.0.0.1", int(other.port)), DEADLINE_S) as peer:
                peer.sendall(hello)
                self.assertEqual(peer.recv(100)[:1], b"\x20")
                other.process.terminate()
                self.assertEqual(peer.recv(100), b"\xe0\x01\x8b")
                self.assertEqual(peer.recv(100), b"")
        finally:
            other.stop()
            other.remove_directory()

    def test_before_connect(self):
        self.assertEqual(self.talk(b"\x10\x0c\0\4MQTT\x63\2\0\0\0\0"), b"\x20\x02\0\x01")  # version 99
        self.assertEqual(self.talk(b"\x10\xff\xff\xff\xff\x01"), b"")
        self.assertEqual(self.talk(b"\x10\x02\0\4"), b"")
        self.assertEqual(self.talk(b"\x10\x0c\0\4MQTT\4\2\0\0\0\0"), b"\x20\x02\0\x05")  # no password

    def test_byte_by_byte(self):
        alice = Person("alice")
        data = self.connect(alice, 4) + b"\xc0\0\xc0\0\xe0\0"
        with socket.create_connection(("127.0.0.1", int(server.port)), DEADLINE_S) as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(len(data)):
                peer.sendall(data[i:i + 1])
            received = b""
            while part := peer.recv(100):
                received += part
        self.assertEqual(received, b"\x20\2\0\0\xd0\0\xd0\0")


class Mosquitto(unittest.TestCase):
    def test_both_tools(self):
        alice, bob = Person("alice"), Person("bob")
        for version in ("mqttv311", "mqttv5"):
            listener = subprocess.Popen(
                ["stdbuf", "-oL", "mosquitto_sub", "-p", server.port, "-u", bob.name, "-P", PASSWORD, "-i", "sub", "-V", version, "-q", "2", "-C", "2",
                 "-d", "-t", f"u/{bob.name}", "-F", "%t|%p"], stdout=subprocess.PIPE, text=True)
            lines = iter(listener.stdout.readline, "")
            self.assertTrue(any("received SUBACK" in line for line in lines))
            for text in ("one", "two"):
                subprocess.run(["mosquitto_pub", "-p", server.port, "-u", alice.name, "-P", PASSWORD, "-V", version, "-q", "2", "-t",
                                f"u/{bob.name}", "-m", text], check=True, timeout=DEADLINE_S)
            got = [line.strip() for line in lines if line.startswith("u/")]
            listener.wait(DEADLINE_S)
            listener.stdout.close()
            self.assertEqual(got, [f"u/{bob.name}|one", f"u/{bob.name}|two"])


BROKER = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


@unittest.skipUnless(BROKER, "there is no mosquitto")
class Bridge(unittest.TestCase):
    """Another broker with its defaults: try_private, notifications with a will at $SYS, a session that is kept."""

    def bridge(self, alice, room, *more):
        self.place = tempfile.TemporaryDirectory(prefix="ringpost-bridge-")
        self.addCleanup(self.place.cleanup)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        path = os.path.join(self.place.name, "mosquitto.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join((f"listener {port} 127.0.0.1", "allow_anonymous true", "log_type all", "connection ringpost",
                                  f"address 127.0.0.1:{server.port}", f"remote_username {alice.name}", f"remote_password {PASSWORD}",
                                  "remote_clientid bridge", f"topic r/{room} both 1", "restart_timeout 1", *more, "")))
        self.log = os.path.join(self.place.name, "log")
        with open(self.log, "w", encoding="utf-8") as log:
            broker = subprocess.Popen([BROKER, "-c", path], stdout=log, stderr=subprocess.STDOUT)
        self.addCleanup(lambda: (broker.terminate(), broker.wait(DEADLINE_S)))
        return port

    def read_log(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def both_ways(self, *more):
        alice, bob = Person("alice"), Person("bob")
        room = alice.room(bob)
        wills, reserved = metric('"will"'), metric('"reserved_topic"')
        port = self.bridge(alice, room, *more)
        wait_for("the bridge to listen", lambda: "Received SUBACK" in self.read_log())
        inside = paho.Client("inside", protocol=paho.MQTTv311)
        heard = queue.Queue()
        inside.on_message = lambda client, data, message: heard.put(message.payload.decode())
        subscribed = queue.Queue()
        inside.on_subscribe = lambda *rest: subscribed.put(True)
        inside.connect("127.0.0.1", int(port))
        inside.loop_start()
        inside.subscribe(f"r/{room}", 1)
        subscribed.get(timeout=DEADLINE_S)
        for i in range(3):
            inside.publish(f"r/{room}", f"from the bridge {i}", 1)
            self.assertEqual(heard.get(timeout=DEADLINE_S), f"from the bridge {i}")
            wait_for("it to arrive", lambda: f"from the bridge {i}" in bob.history(room))
            bob.say({"room_id": room}, f"from here {i}")
            self.assertEqual(heard.get(timeout=DEADLINE_S), f"from here {i}", "and no echo of what it sent")
        inside.disconnect()
        inside.loop_stop()
        self.assertEqual(bob.history(room), [f"from {where} {i}" for i in range(3) for where in ("the bridge", "here")])
        self.assertGreater(metric('"will"'), wills)
        self.assertGreater(metric('"reserved_topic"'), reserved)
        self.assertEqual(self.read_log().count("Received SUBACK"), 1, "it connected once")

    def test_a_bridge_with_defaults(self):
        self.both_ways()

    def test_a_bridge_of_mqtt_5(self):
        self.both_ways("bridge_protocol_version mqttv50")


if __name__ == "__main__":
    test_lines.main()
