#!/usr/bin/python3
"""tests/e2e/upgrade_test.py - data directories of earlier versions, with traffic under way, are served on by this one.

  RINGPOST_BIN=path            the binary (default build/ringpost)
  PREVIOUS_RINGPOST=path       an earlier one: the directory is then made by it, instead of being taken from tests/upgrade"""
import base64
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import unittest

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "upgrade"))
import mqtt_under_way as under_way  # noqa: E402
import test_lines  # noqa: E402
from harness import wait_for  # noqa: E402
from mqtt_raw import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL  # noqa: E402

BINARY = os.path.abspath(os.environ.get("RINGPOST_BIN", TESTS.parent / "build" / "ringpost"))
PREVIOUS = os.environ.get("PREVIOUS_RINGPOST")


class MqttUnderWay(unittest.TestCase):
    """Messages of QoS 1 and 2 that were on their way when the earlier version died: each once, none lost."""

    def setUp(self):
        self.place = tempfile.TemporaryDirectory(prefix="ringpost-upgrade-test-")
        self.addCleanup(self.place.cleanup)

    def serve(self, source):
        if isinstance(source, pathlib.Path):
            with tarfile.open(source) as archive:
                archive.extractall(self.place.name, filter="tar") if hasattr(tarfile, "tar_filter") else archive.extractall(self.place.name)
        else:
            under_way.make(source, self.place.name)
        state = json.loads((pathlib.Path(self.place.name) / "under_way.json").read_text())
        notes_qos = "format=3\n" not in (pathlib.Path(self.place.name) / "data" / "FORMAT").read_text()
        state["qos_of"] = {"once": 1} if notes_qos else {}  # what was published with less than is granted
        self.server = under_way.Server(BINARY, self.place.name).start()
        self.addCleanup(lambda: self.server.process.poll() is None and self.server.kill())
        return state

    def resend(self, state):
        """The sender had heard of the first message alone; everything else it says again."""
        sender = under_way.session(self.server, "alice", "sender")
        other = under_way.session(self.server, "alice", "other", 5)
        self.assertTrue(sender.present and other.present)
        sender.answer(PUBREL, 2)
        sender.expect(PUBCOMP, 2)
        room = f"r/{state['room']}"
        for topic, text, qos, packet_id in (("u/bob", "unheard", 2, 3), ("u/bob", "once", 1, 4), (room, "large unheard", 2, 5), ("u/bob", "done", 2, 1)):
            sender.publish(topic, text, qos, packet_id, duplicate=True)
            sender.expect(PUBREC if qos == 2 else PUBACK, packet_id)
        other.publish("u/bob", "of a connection that was never closed", 2, 1, duplicate=True)
        other.expect(PUBREC, 1)
        return sender, other

    def release(self, sender, other):
        for client, packet_id in ((sender, 3), (sender, 5), (sender, 1), (other, 1)):
            client.answer(PUBREL, packet_id)
            client.expect(PUBCOMP, packet_id)
        sender.publish("u/bob", "end", 2, 6)
        sender.expect(PUBREC, 6)

    def receive(self, state):
        """What the phone has taken comes no more; what it has not comes with the packet id it had."""
        phone, tablet = under_way.session(self.server, "bob", "phone"), under_way.session(self.server, "bob", "tablet", 5)
        self.assertTrue(phone.present and tablet.present)
        to_phone, to_tablet = state["to_phone"], state["to_tablet"]
        released = {phone.expect(PUBREL).packet_id, phone.expect(PUBREL).packet_id}
        self.assertEqual(released, {to_phone["received"], to_phone["large unheard"]})
        left = ["unheard", "once", "done", "of a connection that was never closed"]
        for client, qos, ids in ((phone, 2, to_phone), (tablet, 1, to_tablet)):
            for text in left:
                packet = client.expect(PUBLISH, ids[text])
                self.assertEqual((packet.payload, packet.qos, packet.duplicate), (text, state["qos_of"].get(text, qos), True))
        return phone, tablet

    def newcomers(self, room):
        """A room of before shows all of it to everybody; once it hides its past, who came before the upgrade reads on."""
        self.server.call("/v1/account/register", name="erin", password=under_way.PASSWORD)
        alice, bob, erin = (self.server.login(name) for name in ("alice", "bob", "erin"))
        erin_id = self.server.call("/v1/account/user", alice, name="erin")["user"]["user_id"]
        self.assertEqual(self.server.call("/v1/room/get", bob, room_id=room)["room"]["history"], "ALL")
        self.server.call("/v1/room/invite", alice, room_id=room, user_ids=[erin_id])
        self.assertEqual(self.server.history(erin, room), ["large unheard"])
        self.server.call("/v1/room/update", alice, room_id=room, history="SINCE_JOIN")
        self.server.kill()
        self.server.start()
        alice, bob, erin = (self.server.login(name) for name in ("alice", "bob", "erin"))
        self.assertEqual(self.server.history(erin, room), [])
        self.assertEqual(self.server.history(bob, room), ["large unheard"])
        self.server.call("/v1/chat/send", alice, room_id=room, client_msg_id="new", body="bmV3")
        self.assertEqual(self.server.history(erin, room), ["new"])
        self.assertEqual(self.server.history(bob, room), ["large unheard", "new"])

    def check(self, source):
        state = self.serve(source)
        phone, tablet = self.receive(state)
        sender, other = self.resend(state)
        for client in (sender, other):
            client.drop()
        self.release(*self.resend(state))
        for client, qos in ((phone, 2), (tablet, 1)):
            packet = client.expect(PUBLISH)
            self.assertEqual((packet.payload, packet.qos, packet.duplicate), ("end", qos, False))
        bob = self.server.login("bob")
        direct = self.server.call("/v1/chat/conversations", bob)["conversations"]
        direct, = (c["room"]["room_id"] for c in direct if c["room"].get("type") == "DIRECT")
        want = ["done", "received", "unheard", "once", "done", "of a connection that was never closed", "end"]
        self.assertEqual(self.server.history(bob, direct), want)
        self.assertEqual(self.server.history(bob, state["room"]), ["large unheard"])
        self.newcomers(state["room"])
        self.server.stop()

    def test_the_check_tells_of_the_upgrade_and_makes_none(self):
        with tarfile.open(TESTS / "upgrade" / "format3.tar.xz") as archive:
            archive.extractall(self.place.name, filter="tar") if hasattr(tarfile, "tar_filter") else archive.extractall(self.place.name)
        directory = pathlib.Path(self.place.name) / "data"
        before = (directory / "FORMAT").read_bytes()
        command = [BINARY, "config", "check", f"--data-dir={directory}", "--listen=127.0.0.1:0", "--connections-max=100"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RINGPOST_")}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, f"{directory}: has format 3, and the first start makes it format 5: .*Remedy: make a backup")
        self.assertEqual((directory / "FORMAT").read_bytes(), before)

    def test_a_directory_that_is_refused_stays_what_it_was(self):
        """What refuses it is found only when its shard is recovered: a record in the middle of the log is damaged."""
        with tarfile.open(TESTS / "upgrade" / "format3.tar.xz") as archive:
            archive.extractall(self.place.name, filter="tar") if hasattr(tarfile, "tar_filter") else archive.extractall(self.place.name)
        directory = pathlib.Path(self.place.name) / "data"
        listing = subprocess.run([BINARY, "log", "inspect", "--json", directory], capture_output=True, text=True, check=True).stdout
        records = [json.loads(line) for line in listing.splitlines()]
        record = records[len(records) // 2]
        with open(directory / record["log"] / "log" / f"{int(record['segment']):016x}.log", "r+b") as file:
            file.seek(int(record["offset"]) + 30)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 0x10]))

        def contents():  # but LOCK, which names who had it open last
            return {path: path.read_bytes() if path.is_file() else None for path in directory.rglob("*") if path.name != "LOCK"}
        before = contents()
        command = [BINARY, "serve", f"--data-dir={directory}", "--listen=127.0.0.1:0", "--connections-max=100"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RINGPOST_")}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
        self.assertEqual(done.returncode, 6, done.stderr)
        self.assertRegex(done.stderr, f"segment {int(record['segment']):016x}.log, offset {record['offset']}")
        self.assertNotIn("message=upgrading", done.stderr)
        after = contents()
        self.assertEqual({path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}, set())

    def test_of_directory_format_3(self):
        self.check(TESTS / "upgrade" / "format3.tar.xz")

    def test_of_directory_format_4_before_the_state_was_counted(self):
        self.check(TESTS / "upgrade" / "format4.tar.xz")

    def test_outboxes_of_before_are_sent_again(self):
        self.serve(TESTS / "upgrade" / "format4.tar.xz")
        wait_for("entries that are known", lambda: self.server.metric("ringpost_stream_redelivered_total") > 0)
        self.server.stop()

    def test_messages_of_other_shards_are_found(self):
        """Each shard had a copy; now they are read on their rooms' shards, by whoever may."""
        self.serve(TESTS / "upgrade" / "format4.tar.xz")
        def text(message):
            return base64.b64decode(message["body"]).decode()
        seen = {}
        for name in ("alice", "bob", "carol", "dave"):
            token = self.server.login(name)
            page = self.server.call("/v1/chat/sync", token, sync_key="0", limit=500)
            self.assertFalse(page["has_more"])
            for event in page["events"]:
                if "message" in event:
                    seen.setdefault(event["message"]["room_id"], set()).add(text(event["message"]))
            for conversation in self.server.call("/v1/chat/conversations", token)["conversations"]:
                room_id = conversation["room"]["room_id"]
                history = self.server.history(token, room_id)
                self.assertEqual(len(history), int(conversation["head_seq"]))
                self.assertLessEqual(seen.get(room_id, set()), set(history))
                if history:
                    self.assertEqual(text(conversation["last_message"]), history[-1])
        self.assertGreater(self.server.metric("ringpost_body_cache_misses_total"), 0)
        self.server.stop()

    @unittest.skipUnless(PREVIOUS, "PREVIOUS_RINGPOST names no earlier version")
    def test_of_an_earlier_binary(self):
        self.check(PREVIOUS)


if __name__ == "__main__":
    test_lines.main()
