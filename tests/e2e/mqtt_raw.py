"""tests/e2e/mqtt_raw.py - an MQTT client of a few lines that does nothing by itself: a test says each packet, and may leave any unsaid."""
import socket

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, DISCONNECT = 2, 3, 4, 5, 6, 7, 9, 14
NEVER = b"\x05\x11\xff\xff\xff\xff"  # properties of CONNECT: the session does not expire


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return len(value).to_bytes(2, "big") + value


def number(value):
    out = b""
    while True:
        out += bytes([value & 127 | (128 if value > 127 else 0)])
        value >>= 7
        if not value:
            return out


class Packet:
    def __init__(self, first, body, version):
        self.type, self.flags, self.body = first >> 4, first & 15, body
        self.qos, self.duplicate = self.flags >> 1 & 3, bool(self.flags & 8)
        self.topic = self.payload = None
        self.packet_id = int.from_bytes(body[:2], "big")
        if self.type != PUBLISH:
            return
        size = int.from_bytes(body[:2], "big")
        self.topic, at = body[2:2 + size].decode(), 2 + size
        self.packet_id = int.from_bytes(body[at:at + 2], "big") if self.qos else 0
        at += 2 if self.qos else 0
        if version == 5:  # its properties are looked over
            shift = length = 0
            while True:
                length |= (body[at] & 127) << shift
                shift, at = shift + 7, at + 1
                if body[at - 1] < 128:
                    break
            at += length
        self.payload = body[at:].decode()

    def __repr__(self):
        return f"<type {self.type} flags {self.flags} id {self.packet_id} {self.topic or ''} {self.payload or ''}>"


class Ended(Exception):
    pass


class Raw:
    """One connection of a session that is kept."""

    def __init__(self, port, user, password, client_id, version=4, deadline_s=30):
        self.version = version
        self.peer = socket.create_connection(("127.0.0.1", int(port)), deadline_s)
        self.peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = text(b"MQTT") + bytes([version, 0xC0, 0, 0]) + (NEVER if version == 5 else b"")
        self.send(0x10, head + text(client_id) + text(user) + text(password))
        answer = self.read()
        assert (answer.type, answer.body[1]) == (CONNACK, 0), answer.body
        self.present = bool(answer.body[0])

    def send(self, first, body):
        self.peer.sendall(bytes([first]) + number(len(body)) + body)

    def receive(self, count):
        out = b""
        while len(out) < count:
            part = self.peer.recv(count - len(out))
            if not part:
                raise Ended("the server ended the connection")
            out += part
        return out

    def read(self):
        first, size, shift = self.receive(1)[0], 0, 0
        while True:
            byte = self.receive(1)[0]
            size, shift = size | (byte & 127) << shift, shift + 7
            if byte < 128:
                return Packet(first, self.receive(size), self.version)

    def read_to_the_end(self):
        packets = []
        try:
            while True:
                packets.append(self.read())
        except Ended:
            return packets

    def subscribe(self, filter_, qos):
        self.send(0x82, b"\0\1" + (b"\0" if self.version == 5 else b"") + text(filter_) + bytes([qos]))
        while (answer := self.read()).type != SUBACK:
            pass  # retained
        assert answer.body[-1] == qos, answer.body

    def publish(self, topic, payload, qos, packet_id, duplicate=False):
        body = text(topic) + packet_id.to_bytes(2, "big") + (b"\0" if self.version == 5 else b"") + payload.encode()
        self.send(0x30 | qos << 1 | (8 if duplicate else 0), body)

    def answer(self, kind, packet_id):
        self.send(kind << 4 | (2 if kind == PUBREL else 0), packet_id.to_bytes(2, "big"))

    def expect(self, kind, packet_id=None):
        packet = self.read()
        assert packet.type == kind and packet_id in (None, packet.packet_id), f"{packet}, not type {kind} id {packet_id}"
        return packet

    def drop(self):
        self.peer.close()
