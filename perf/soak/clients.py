"""perf/soak/clients.py - clients of the soak, with the standard library alone: a WebSocket that speaks JSON, HTTP for accounts, and
three kinds of people: slow readers who never read, writers who keep their room busy, bystanders who ask how they fare.
"""
import base64
import contextlib
import http.client
import json
import os
import socket
import struct
import threading
import time

HOST = "127.0.0.1"
PASSWORD = "correct horse battery"
TIMEOUT_SECONDS = 30
SLOW_RECEIVE_BUFFER = 4096
SOCKETS_OF_A_PERSON = 10  # devices_per_user_max


def post(port, path, message, token=None):
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_SECONDS)
    try:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        connection.request("POST", path, json.dumps(message), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
    finally:
        connection.close()
    if response.status != 200:
        raise OSError(f"{path}: {answer}")
    return answer


class Account:
    def __init__(self, port, name):
        self.port, self.name = port, name
        post(port, "/v1/account/register", {"name": name, "password": PASSWORD, "display_name": name})
        login = post(port, "/v1/account/login", {"name": name, "password": PASSWORD, "device_id": "soak", "platform": "test", "device_name": "soak"})
        self.user_id, self.token = login["user_id"], login["access_token"]

    def create_room(self, member_ids):
        return self.call("/v1/room/create", name="soak", member_ids=member_ids[:100])["room"]["room_id"]

    def call(self, path, **fields):
        return post(self.port, path, fields, self.token)


class Socket:
    """A WebSocket of JSON frames, logged in. `slow`: with the smallest receive buffer, and after its login nobody reads from it."""

    def __init__(self, account, slow=False):
        self.socket = socket.socket()
        if slow:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_RECEIVE_BUFFER)
        self.socket.settimeout(TIMEOUT_SECONDS)
        self.socket.connect((HOST, account.port))
        self.received = b""
        self.number = 0
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f"GET /v1/socket HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: ringpost.v1.json\r\n\r\n".encode())
        while b"\r\n\r\n" not in self.received:
            self.receive()
        head, self.received = self.received.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise OSError(head.split(b"\r\n")[0].decode())
        self.call("auth", access_token=account.token)

    def receive(self):
        data = self.socket.recv(65536)
        if not data:
            raise OSError("closed")
        self.received += data

    def take(self, size):
        while len(self.received) < size:
            self.receive()
        taken, self.received = self.received[:size], self.received[size:]
        return taken

    def frame(self):
        """The next frame: opcode and payload."""
        opcode, size = self.take(2)
        if size == 126:
            size, = struct.unpack(">H", self.take(2))
        elif size == 127:
            size, = struct.unpack(">Q", self.take(8))
        return opcode & 15, self.take(size)

    def send(self, opcode, payload):
        head = bytes([0x80 | opcode])
        size = len(payload)
        head += bytes([0x80 | size]) if size < 126 else struct.pack(">BH", 0x80 | 126, size) if size < 65536 else struct.pack(">BQ", 0x80 | 127, size)
        self.socket.sendall(head + bytes(4) + payload)  # a mask of zeros leaves the payload as it is

    def call(self, method, **fields):
        self.number += 1
        self.send(1, json.dumps({"request": {"id": str(self.number), method: fields}}).encode())
        while True:
            opcode, payload = self.frame()
            if opcode == 9:
                self.send(10, payload)
            elif opcode == 8:
                raise OSError(f"closed: {payload[:2].hex()} {payload[2:].decode()}")
            elif opcode in (1, 2):
                response = json.loads(payload).get("response")
                if response and response["id"] == str(self.number):
                    return response

    def close(self):
        self.socket.close()


class Crowd:
    """`size` slow readers, ten sockets a person, in rooms in which writers speak as long as they are here."""

    def __init__(self, port, size, body, rate):
        self.size, self.body, self.rate = size, base64.b64encode(os.urandom(body * 3 // 4)).decode(), rate
        self.people = [Account(port, f"slow{number}") for number in range((size + SOCKETS_OF_A_PERSON - 1) // SOCKETS_OF_A_PERSON)]
        self.writer = Account(port, "crowdwriter")
        self.rooms = [self.writer.create_room([person.user_id for person in self.people[first:first + 100]])
                      for first in range(0, len(self.people), 100)]
        self.sockets, self.failed, self.written, self.here = [], 0, 0, threading.Event()
        threading.Thread(target=self.write, daemon=True).start()

    def come(self):
        for number in range(self.size):
            try:
                self.sockets.append(Socket(self.people[number // SOCKETS_OF_A_PERSON], slow=True))
            except OSError:
                self.failed += 1
        self.here.set()

    def go(self):
        self.here.clear()
        for one in self.sockets:
            one.close()
        self.sockets = []

    def write(self):
        """In its own time: a refusal or a closed socket is answered by the next try."""
        one = None
        while True:
            self.here.wait()
            with contextlib.suppress(OSError):
                one = one or Socket(self.writer)
                while self.here.is_set():
                    begun = time.monotonic()
                    for room in self.rooms:
                        one.call("send", room_id=room, client_msg_id=f"c{self.written}", kind="CUSTOM", body=self.body)
                        self.written += 1
                    time.sleep(max(0.0, len(self.rooms) / self.rate - (time.monotonic() - begun)))
                continue
            one = None


class Bystander:
    """Writes a small message to a room of its own kind ten times a second: how long each acknowledgement took, how often it was closed."""

    PAUSE_SECONDS = 0.1

    def __init__(self, account, room):
        self.account, self.room = account, room
        self.latencies, self.closed, self.why = [], 0, ""
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        one, number = None, 0
        while True:
            try:
                one = one or Socket(self.account)
                begun = time.monotonic()
                answer = one.call("send", room_id=self.room, client_msg_id=f"{self.account.name}-{number}", kind="CUSTOM", body="aGVsbG8=")
                if "error" in answer:
                    raise OSError(answer["error"]["reason"])
                self.latencies.append((begun, time.monotonic() - begun))
                number += 1
                time.sleep(self.PAUSE_SECONDS)
            except OSError as error:
                self.closed, self.why, one = self.closed + 1, str(error), None
                time.sleep(self.PAUSE_SECONDS)


def bystanders(port, count):
    accounts = [Account(port, f"bystander{number}") for number in range(count)]
    rooms = [accounts[first].create_room([one.user_id for one in accounts[first + 1:first + 5]]) for first in range(0, count, 5)]
    return [Bystander(account, rooms[number // 5]) for number, account in enumerate(accounts)]
