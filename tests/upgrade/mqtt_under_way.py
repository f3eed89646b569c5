#!/usr/bin/python3
"""tests/upgrade/mqtt_under_way.py - makes a data directory in which MQTT messages of QoS 1 and 2 are under way, in both directions.

  tests/upgrade/mqtt_under_way.py BINARY OUT.tar.xz [SHARDS]     BINARY: a ringpost of an earlier version

The server is stopped once and killed at the end, so the state is partly in the store, partly in the log. In the archive are `data` and
`under_way.json`, which says what the clients know: tests/e2e/upgrade_test.py goes on from there with the version of today.
Those here were made under a clock of the past (a directory may not be of the future): format3.tar.xz with the last version of directory
format 3; format4.tar.xz with a version of format 4 that did not count its state, of two shards, so that the outboxes between them are not empty:

  cc -shared -fPIC -o wall_clock.so tests/e2e/wall_clock.c; echo -60480000 > past
  WALL_CLOCK_FILE=past LD_PRELOAD=./wall_clock.so tests/upgrade/mqtt_under_way.py .../ringpost tests/upgrade/format4.tar.xz 2"""
import base64
import json
import lzma
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from harness import wait_for  # noqa: E402
from mqtt_raw import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Raw  # noqa: E402

PASSWORD = "correct horse battery"
OPTIONS = ["--password-memory", "1MiB", "--rate-logins-per-second", "0", "--fanout-threshold", "3", "--segment-size", "1MiB",
           "--log-pending-max", "512KiB", "--listen", "127.0.0.1:0"]


class Server:
    def __init__(self, binary, directory, shards=1):
        self.binary, self.directory, self.process, self.port = binary, pathlib.Path(directory), None, None
        self.shards = shards  # of a directory that is made

    def start(self):
        log = self.directory / "serve.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RINGPOST_")}
        with open(log, "w") as out:
            self.process = subprocess.Popen([self.binary, "serve", "--data-dir", str(self.directory / "data"), *OPTIONS,
                                             *([] if (self.directory / "data").exists() else ["--shards", str(self.shards)])],
                                            stdout=out, stderr=subprocess.STDOUT, env=environment)

        def port():
            assert self.process.poll() is None, log.read_text()
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", log.read_text())
            return found and found.group(1)
        self.port = wait_for("the server to serve", port)
        return self

    def stop(self):
        self.process.terminate()
        assert self.process.wait(60) == 0, (self.directory / "serve.log").read_text()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def call(self, path, token=None, **body):
        headers = {"Content-Type": "application/json"} | ({"Authorization": "Bearer " + token} if token else {})
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def metric(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as response:
            lines = re.findall(rf"^{name}(?:{{.*}})? (\d+)$", response.read().decode(), re.MULTILINE)
        return sum(int(value) for value in lines)

    def login(self, name):
        return self.call("/v1/account/login", name=name, password=PASSWORD, device_id="http")["access_token"]

    def history(self, token, room_id):
        page = self.call("/v1/chat/history", token, room_id=room_id, limit=100)
        return [base64.b64decode(message["body"]).decode() for message in reversed(page.get("messages", []))]


def session(server, name, client_id, version=4):
    return Raw(server.port, name, PASSWORD, client_id, version)


def take(phone, known):
    """Reads the messages that have come to bob; `known`: text -> packet id."""
    packet = phone.expect(PUBLISH)
    known[packet.payload] = packet.packet_id
    return packet


def first_life(server):
    """Everybody and every session is made, and one message goes all its way."""
    ids = {name: server.call("/v1/account/register", name=name, password=PASSWORD)["user_id"] for name in ("alice", "bob", "carol", "dave")}
    alice = server.login("alice")
    room = server.call("/v1/room/create", alice, name="large", member_ids=[ids[name] for name in ("bob", "carol", "dave")])["room"]["room_id"]
    phone, tablet = session(server, "bob", "phone"), session(server, "bob", "tablet", 5)
    phone.subscribe("u/bob", 2)
    phone.subscribe(f"r/{room}", 2)
    tablet.subscribe("u/bob", 1)
    sender, other = session(server, "alice", "sender"), session(server, "alice", "other")
    sender.publish("u/bob", "done", 2, 1)
    sender.expect(PUBREC, 1)
    sender.answer(PUBREL, 1)
    sender.expect(PUBCOMP, 1)
    packet = phone.expect(PUBLISH)
    phone.answer(PUBREC, packet.packet_id)
    phone.expect(PUBREL)
    phone.answer(PUBCOMP, packet.packet_id)
    tablet.answer(PUBACK, tablet.expect(PUBLISH).packet_id)
    for client in (phone, tablet, sender, other):
        client.send(0xE0, b"")
    wait_for("every session to be over", lambda: server.metric("ringpost_sessions_open") == 0)
    return ids, room


def second_life(server, room):
    """What each client has heard when the server dies."""
    phone, tablet = session(server, "bob", "phone"), session(server, "bob", "tablet", 5)
    sender, other = session(server, "alice", "sender"), session(server, "alice", "other", 5)
    assert all(client.present for client in (phone, tablet, sender, other))
    to_phone, to_tablet = {}, {}
    sender.publish("u/bob", "received", 2, 2)
    sender.publish("u/bob", "unheard", 2, 3)
    sender.publish("u/bob", "once", 1, 4)
    sender.publish(f"r/{room}", "large unheard", 2, 5)
    sender.publish("u/bob", "done", 2, 1)  # says the same again, with a packet id that is free
    other.publish("u/bob", "of a connection that was never closed", 2, 1)
    for kind, packet_id in ((PUBREC, 2), (PUBREC, 3), (PUBACK, 4), (PUBREC, 5), (PUBREC, 1)):
        sender.expect(kind, packet_id)  # all are on disk; the sender goes on as if it had heard of the first alone
    other.expect(PUBREC, 1)
    for _ in range(6):
        take(phone, to_phone)
    for _ in range(5):
        take(tablet, to_tablet)
    phone.answer(PUBREC, to_phone["received"])
    phone.expect(PUBREL, to_phone["received"])
    phone.answer(PUBREC, to_phone["large unheard"])
    phone.expect(PUBREL, to_phone["large unheard"])
    tablet.answer(PUBACK, to_tablet["received"])
    for client in (phone, tablet, sender):
        client.drop()
    wait_for("three sessions to be over", lambda: server.metric("ringpost_sessions_open") == 1)
    server.call("/v1/room/update", server.login("alice"), room_id=room, name="still large")  # on disk, and so is what came before
    return to_phone, to_tablet


def make(binary, directory, shards=1):
    server = Server(binary, directory, shards).start()
    ids, room = first_life(server)
    server.stop()
    server.start()
    to_phone, to_tablet = second_life(server, room)
    server.kill()
    state = {"ids": ids, "room": room, "to_phone": to_phone, "to_tablet": to_tablet}
    (pathlib.Path(directory) / "under_way.json").write_text(json.dumps(state, indent=1) + "\n")


def pack(directory, archive):
    """Without the files that RocksDB writes for people to read."""
    def kept(entry):
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return None if re.fullmatch(r"LOG(\.old\..*)?", os.path.basename(entry.name)) else entry
    with lzma.open(archive, "w", preset=9 | lzma.PRESET_EXTREME) as out, tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("under_way.json", "data"):
            tar.add(pathlib.Path(directory) / name, name, filter=kept)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="ringpost-under-way-") as place:
        make(os.path.abspath(sys.argv[1]), place, int(sys.argv[3]) if len(sys.argv) > 3 else 1)
        pack(place, sys.argv[2])
    print(sys.argv[2], os.path.getsize(sys.argv[2]), "bytes")
