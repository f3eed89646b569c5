#!/usr/bin/python3
"""tests/e2e/tls_test.py - TLS as clients nobody here wrote see it: OpenSSL, Python, curl, mosquitto, paho; and our own command line.

The certificates are made by the commands that docs/operations.md names. Every server has two workers, so that connections move
between them with their sessions.
"""
import asyncio
import http.client
import os
import re
import signal
import socket
import ssl
import subprocess

import paho.mqtt.client as paho
import websockets

from harness import (BINARY, DEADLINE_SECONDS, LOCALHOST, PASSWORD, SOCKET_DOORS, Checks, Http, Person, Server, Tcp, WebSocketBinary,
                     WebSocketJson, clean_environment, new_directory, wait_for)

checks = Checks()
LARGE_BODY = "x" * 30000
BURST = 12  # of them, which still fit what may wait for the disk
SESSIONS, SESSION_BYTES_MIN, SESSION_BYTES_MAX = 30, 2 << 10, 128 << 10
CONTROL_RECORDS_MAX = 1000  # of key updates: far more than a second allows


def make_certificate(name):
    """A certificate of localhost, signed by itself: the paths of it and of its key."""
    directory = new_directory(name)
    directory.mkdir()
    certificate, key = directory / "tls.crt", directory / "tls.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", certificate, "-keyout", key],
                   check=True, capture_output=True)
    return certificate, key


def context_of(certificate, **changes):
    context = ssl.create_default_context(cafile=certificate)
    for name, value in changes.items():
        setattr(context, name, value)
    return context


class TlsServer(Server):
    def __init__(self, **options):
        self.certificate, self.key = make_certificate("certificate")
        self.context = context_of(self.certificate)
        super().__init__(**{"tls_certificate_file": self.certificate, "tls_key_file": self.key, "workers": 2, "shards": 2} | options)

    def exchange(self, path, headers=None, method="GET", body=None):
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=DEADLINE_SECONDS, context=self.context)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response, response.read().decode()
        finally:
            connection.close()

    def handshake(self, context=None, session=None):
        """A connection whose handshake is done, as Python's ssl makes it."""
        plain = socket.create_connection(("localhost", self.port), timeout=DEADLINE_SECONDS)
        return (context or self.context).wrap_socket(plain, server_hostname="localhost", session=session)


def ask(connection, request=b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"):
    connection.sendall(request)
    answer = connection.recv(65536)
    while b"}" not in answer:
        answer += connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return answer


class SecureWebSocketJson(WebSocketJson):
    async def connect(self, server, **options):
        options = {"max_queue": None, "ping_interval": None, "compression": None, "close_timeout": 1} | options
        self.websocket = await websockets.connect(f"wss://localhost:{server.port}/v1/socket", subprotocols=[self.subprotocol],
                                                  ssl=server.context, **options)


class SecureWebSocketBinary(WebSocketBinary):
    connect = SecureWebSocketJson.connect


class SecureTcp(Tcp):
    async def connect(self, server):
        self.reader, self.writer = await asyncio.open_connection(LOCALHOST, server.port, ssl=server.context, server_hostname="localhost")
        self.heartbeats = 0
        self.writer.write(b"RPT1")


class SecureHttp(Http):
    @classmethod
    async def open(cls, server):
        self = await super().open(server)
        self.connection = http.client.HTTPSConnection("localhost", server.port, timeout=DEADLINE_SECONDS, context=server.context)
        return self


SECURE_DOORS = [SecureWebSocketJson, SecureWebSocketBinary, SecureTcp]
server = TlsServer().start()


def wait_for_end_of_all():
    """But of the connection that asks."""
    wait_for("the end of all connections", lambda: server.metric("ringpost_tls_connections_open") == 1)


# ---- the doors ----------------------------------------------------------------------------------------------------------------

@checks
async def every_door_talks_to_every_other_with_and_without_tls():
    people = [await Person.register(server, door) for door in [*SECURE_DOORS, *SOCKET_DOORS]]
    writer = await Person.register(server, SecureHttp)
    for sender in [*people, writer]:
        for receiver in people:
            if sender is not receiver:
                sent = await sender.send(f"from {sender.name}", to_user_id=receiver.user_id)
                await receiver.door.event("message", lambda message: message.msg_id == sent.msg_id)
    for person in people:
        await person.door.close()
    await writer.door.close()


@checks
async def sessions_move_between_workers():
    before = server.metric("ringpost_connections_migrated_total")
    people = [await Person.register(server, SECURE_DOORS[i % 3]) for i in range(24)]
    assert server.metric("ringpost_connections_migrated_total") > before, "half of them were accepted by the other worker"
    assert server.metric("ringpost_tls_connections_open") >= len(people)
    for left, right in zip(people, people[1:]):
        sent = await left.send(LARGE_BODY, to_user_id=right.user_id)
        got = await right.door.event("message", lambda message: message.msg_id == sent.msg_id)
        assert got.body.decode() == LARGE_BODY
    for person in people:
        await person.door.close()


@checks
async def many_requests_at_once_come_back_in_full():
    person = await Person.register(server, SecureTcp)
    peer = await Person.register(server, SecureWebSocketBinary)
    futures = [await person.door.submit("send", client_msg_id=f"burst{i}", to_user_id=peer.user_id, body=LARGE_BODY.encode()) for i in range(BURST)]
    answers = [await asyncio.wait_for(future, DEADLINE_SECONDS) for future in futures]
    stored = [answer.send.seq for answer in answers if answer.WhichOneof("result") == "send"]
    assert len(stored) == BURST and stored == sorted(stored), answers[-1]
    await peer.door.wait(lambda: peer.door.count("event") >= BURST, "all of them")
    await person.door.close()
    await peer.door.close()


@checks
def records_of_one_byte_and_of_many():
    request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = []
    for size in (1, 7, 16384):
        with server.handshake() as connection:
            for at in range(0, len(request), size):
                connection.sendall(request[at:at + size])
            answer = b""
            while part := connection.recv(65536):
                answer += part
            answers.append(answer.split(b"\r\n\r\n", 1)[1])
    assert len(answers[0]) > 16384, "more than one record"
    assert answers[0] == answers[1] == answers[2]


@checks
def what_is_served_is_the_same_with_and_without():
    for path in ("/", "/openapi.json"):
        plain = http.client.HTTPConnection(LOCALHOST, server.port, timeout=DEADLINE_SECONDS)
        plain.request("GET", path)
        answer = plain.getresponse()
        assert (answer.status, answer.read().decode()) == server.get(path), path
        plain.close()


# ---- versions, ciphers, extensions --------------------------------------------------------------------------------------------

def s_client(*arguments, stdin=b"", port=None):
    done = subprocess.run(["openssl", "s_client", "-connect", f"localhost:{port or server.port}", "-CAfile", server.certificate, *arguments],
                          input=stdin, capture_output=True, timeout=DEADLINE_SECONDS)
    return (done.stdout + done.stderr).decode(errors="replace")


@checks
def versions_before_1_2_are_refused_with_an_alert():
    for version in ("-tls1", "-tls1_1"):
        said = s_client(version, "-cipher", "ALL:@SECLEVEL=0")
        assert "alert protocol version" in said, said
    for version, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
        said = s_client(version)
        assert f"New, {name}, Cipher is" in said and "Verification: OK" in said, said
        assert "X25519" in said, said


@checks
def clients_that_know_only_p_256_are_served():
    for version in ("-tls1_2", "-tls1_3"):
        said = s_client(version, "-groups", "P-256")
        assert "prime256v1" in said and "Verification: OK" in said, said


@checks
def weak_ciphers_are_refused():
    for cipher in ("AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "eNULL", "aNULL"):
        said = s_client("-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
        assert "Cipher is (NONE)" in said, said


@checks
def alpn_chooses_what_is_spoken_here():
    for offered, chosen in ((["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"), (["mqtt"], "mqtt"), (None, None)):
        context = context_of(server.certificate)
        if offered:
            context.set_alpn_protocols(offered)
        with server.handshake(context) as connection:
            assert connection.selected_alpn_protocol() == chosen, offered
    context = context_of(server.certificate)
    context.set_alpn_protocols(["h2"])
    try:
        server.handshake(context)
        raise AssertionError("HTTP/2 is not spoken here")
    except ssl.SSLError as error:
        assert "no application protocol" in str(error), error


@checks
def sessions_are_resumed_on_every_worker():
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = context_of(server.certificate, minimum_version=version, maximum_version=version)
        with server.handshake(context) as connection:
            ask(connection)
            assert not connection.session_reused
            session = connection.session
        assert session.has_ticket
        before = server.metric("ringpost_tls_handshakes_resumed_total")
        for _ in range(12):
            with server.handshake(context, session) as connection:
                assert connection.session_reused, version
                ask(connection)
                session = connection.session
        assert server.metric("ringpost_tls_handshakes_resumed_total") == before + 12
    both = [float(value) for value in re.findall(r'tls_handshakes_resumed_total\{worker="\d"\} (\d+)', server.get("/metrics")[1])]
    assert len(both) == 2 and all(both), both


def memory_of(part):
    return sum(int(value) for value in re.findall(rf'^ringpost_memory_bytes\{{[^}}]*part="{part}"\}} (\d+)$', server.get("/metrics")[1], re.MULTILINE))


@checks
async def what_sessions_take_is_told_apart_and_goes_when_they_move_and_end():
    """Each connection moves to its user's worker; the account is a worker's, told once a second."""
    wait_for("earlier sessions to be gone", lambda: memory_of("tls") < SESSION_BYTES_MAX * 2)
    people = [await Person.register(server, SecureTcp) for _ in range(SESSIONS)]

    def counted():
        each = memory_of("tls") / SESSIONS
        return SESSION_BYTES_MIN <= each <= SESSION_BYTES_MAX and memory_of("sessions") >= SESSIONS * 100
    await asyncio.to_thread(wait_for, "the sessions to be counted", counted)
    for person in people:
        await person.door.close()
    await asyncio.to_thread(wait_for, "them to be counted back", lambda: memory_of("tls") < SESSION_BYTES_MAX * 2)
    assert memory_of("stacks") > 0 and memory_of("rings") > 0 and memory_of("users_rooms") > 0


# ---- those who do not play by the rules ---------------------------------------------------------------------------------------

class Interactive:
    """openssl s_client at a keyboard: lines that are commands of its own."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(["openssl", "s_client", "-connect", f"localhost:{server.port}", "-CAfile", server.certificate,
                                         *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.said = ""
        self.wait_said("---\n", 4)

    def wait_said(self, text, count=1):
        def has():
            self.said += (self.process.stdout.read() or b"").decode(errors="replace")
            return self.said.count(text) >= count or self.process.poll() is not None
        wait_for(f"openssl saying {text!r}: {self.said[-300:]}", has)

    def type(self, text):
        try:
            self.process.stdin.write(text.encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def end(self):
        self.process.kill()
        self.process.wait()
        self.said += (self.process.stdout.read() or b"").decode(errors="replace")
        self.process.stdin.close()
        self.process.stdout.close()


@checks
def renegotiation_is_refused():
    client = Interactive("-tls1_2", "-legacy_renegotiation")
    client.type("R\n")
    wait_for("the end of the connection", lambda: client.process.poll() is not None)
    client.end()
    assert "RENEGOTIATING" in client.said and "Verify return code: 0 (ok)" in client.said
    assert server.get("/healthz")[0] == 200


@checks
def key_updates_are_answered_and_floods_of_them_end_the_connection():
    client = Interactive("-tls1_3")
    client.type("K\n")
    client.wait_said("KEYUPDATE")
    client.type("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    client.wait_said('"healthy":true')
    for count in range(2, CONTROL_RECORDS_MAX):
        client.type("K\n")
        client.wait_said("KEYUPDATE", count)
        if client.process.poll() is not None:
            break
    assert client.process.poll() is not None, "it goes on for ever"
    client.end()


@checks
def garbage_and_broken_handshakes_hurt_nobody():
    hello = client_hello()
    cases = [b"\x16", b"\x16\x03\x01\x00\x05hello", b"\x16" + bytes(100), hello[:50], hello[:-1] + b"\xff" + hello,
             hello + hello, hello + b"\x17\x03\x03\x00\x05hello", hello[:200] + bytes(200) + hello[400:]]
    cases += [hello[:at] + bytes([hello[at] ^ 0xff]) + hello[at + 1:] for at in range(0, len(hello), 13)]
    for case in cases:
        with socket.create_connection((LOCALHOST, server.port), timeout=DEADLINE_SECONDS) as connection:
            connection.sendall(case)
    wait_for_end_of_all()
    with server.handshake() as connection:
        ask(connection)


def client_hello():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    half = server.context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        half.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()


@checks
def a_handshake_byte_by_byte_succeeds_and_one_that_stops_is_ended():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = server.context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection((LOCALHOST, server.port), timeout=DEADLINE_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        done = False
        while not done:
            try:
                session.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            for byte in outgoing.read():
                connection.sendall(bytes([byte]))
            if not done:
                incoming.write(connection.recv(65536))
        session.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.sendall(outgoing.read())
        assert connection.recv(10)
    impatient = TlsServer(header_timeout="300ms").start()
    with socket.create_connection((LOCALHOST, impatient.port), timeout=DEADLINE_SECONDS) as connection:
        connection.sendall(client_hello()[:100])
        assert connection.recv(1) == b""
    impatient.stop()


@checks
async def peers_that_are_gone_leave_nothing_behind():
    people = [await Person.register(server, SecureTcp) for _ in range(6)]
    for person in people:
        await person.send("a last word", to_user_id=(people[0] if person is not people[0] else people[1]).user_id)
    for person in people:
        person.door.writer.transport.abort()
    await asyncio.to_thread(wait_for_end_of_all)


# ---- other people's programs --------------------------------------------------------------------------------------------------

@checks
def curl_uploads_and_downloads():
    def curl(*arguments, url=f"https://localhost:{server.port}"):
        done = subprocess.run(["curl", "-sS", "--fail", "--cacert", server.certificate, *arguments[:-1], url + arguments[-1]],
                              capture_output=True, timeout=DEADLINE_SECONDS)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()
    json_type = ("-H", "Content-Type: application/json")
    name = f"curl{os.getpid()}"
    assert "user_id" in curl(*json_type, "-d", f'{{"name": "{name}", "password": "{PASSWORD}"}}', "/v1/account/register")
    login = curl(*json_type, "-d", f'{{"name": "{name}", "password": "{PASSWORD}", "device_id": "curl"}}', "/v1/account/login")
    token = re.search(r'"access_token":"([^"]+)"', login).group(1)
    file = new_directory("upload")
    body = "QUJD" * 7000
    other = curl(*json_type, "-d", f'{{"name": "{name}b", "password": "{PASSWORD}"}}', "/v1/account/register")
    peer = re.search(r'"user_id":"(\d+)"', other).group(1)
    file.write_text(f'{{"to_user_id": "{peer}", "client_msg_id": "big", "body": "{body}"}}')
    sent = curl("-H", f"Authorization: Bearer {token}", *json_type, "--data-binary", f"@{file}", "/v1/chat/send")
    room = re.search(r'"room_id":"(\d+)"', sent).group(1)
    assert body in curl("-H", f"Authorization: Bearer {token}", f"/v1/chat/history?room_id={room}")


@checks
def mosquitto_and_paho_speak_mqtt_inside():
    asyncio.run(mqtt_exchange())


async def mqtt_exchange():
    alice, bob = [await Person.register(server, SecureHttp) for _ in range(2)]
    got = []
    receiver = paho.Client(client_id="first", protocol=paho.MQTTv5)
    receiver.username_pw_set(bob.name, PASSWORD)
    receiver.tls_set(ca_certs=str(server.certificate))
    receiver.on_message = lambda client, data, message: got.append(message.payload.decode())
    granted = []
    receiver.on_subscribe = lambda *arguments: granted.append(True)
    receiver.connect("localhost", server.port)
    receiver.loop_start()
    wait_for("the connection", receiver.is_connected)
    receiver.subscribe(f"u/{bob.user_id}", 1)
    wait_for("the subscription", lambda: granted)
    for text in ("short", LARGE_BODY):
        done = subprocess.run(["mosquitto_pub", "-h", "localhost", "-p", str(server.port), "--cafile", server.certificate, "-u", alice.name,
                               "-P", PASSWORD, "-i", "first", "-V", "mqttv5", "-q", "1", "-t", f"u/{bob.user_id}", "-m", text],
                              capture_output=True, timeout=DEADLINE_SECONDS)
        assert done.returncode == 0, done
        wait_for("the message", lambda: text in got)
    receiver.disconnect()
    receiver.loop_stop()


# ---- the certificate's files --------------------------------------------------------------------------------------------------

@checks
async def a_reload_changes_new_connections_only():
    reloaded = TlsServer().start()
    old_context = reloaded.context
    alice, bob = [await Person.register(reloaded, SecureWebSocketBinary) for _ in range(2)]
    with reloaded.handshake() as connection:
        ask(connection)
        session = connection.session
    certificate, key = make_certificate("renewed")
    reloaded.certificate.write_bytes(certificate.read_bytes())
    reloaded.key.write_bytes(key.read_bytes())
    reloaded.process.send_signal(signal.SIGHUP)
    wait_for("the reload", lambda: any("reloaded" in line for line in reloaded.log_lines()))
    sent = await alice.send("still here", to_user_id=bob.user_id)
    await bob.door.event("message", lambda message: message.msg_id == sent.msg_id)
    reloaded.context = context_of(certificate)
    assert reloaded.get("/healthz")[0] == 200
    try:
        reloaded.handshake(old_context)
        raise AssertionError("the former certificate is gone")
    except ssl.SSLCertVerificationError:
        pass
    with reloaded.handshake(old_context, session) as connection:
        assert connection.session_reused, "a ticket outlives the certificate"
    reloaded.key.write_text("no key")
    reloaded.process.send_signal(signal.SIGHUP)
    wait_for("the complaint", lambda: any("there is no key that can be used" in line for line in reloaded.log_lines()))
    assert reloaded.get("/healthz")[0] == 200
    reloaded.stop()


def signal_that_ended(server):
    return [re.search(r"stopping signal=(\d+)", line).group(1) for line in server.log_lines() if "stopping signal=" in line]


def started_with_hangups(handling):
    """A child inherits what is ignored: here it is `handling`, whatever these tests were started with."""
    former = signal.signal(signal.SIGHUP, handling)
    try:
        return Server().start()
    finally:
        signal.signal(signal.SIGHUP, former)


@checks
def a_hangup_without_a_certificate_ends_the_server():
    server = started_with_hangups(signal.SIG_DFL)
    server.process.send_signal(signal.SIGHUP)
    assert server.ended() == 0
    assert signal_that_ended(server) == [str(int(signal.SIGHUP))], server.log_lines()[-3:]


@checks
def a_hangup_that_nohup_ignores_is_ignored():
    server = started_with_hangups(signal.SIG_IGN)
    server.process.send_signal(signal.SIGHUP)  # taken before the other one, whose number is higher
    server.stop()
    assert signal_that_ended(server) == [str(int(signal.SIGTERM))], server.log_lines()[-3:]


@checks
def tickets_of_an_earlier_life_cost_a_whole_handshake():
    mortal = TlsServer().start()
    with mortal.handshake() as connection:
        ask(connection)
        session = connection.session
    mortal.kill()
    mortal.start()
    with mortal.handshake(session=session) as connection:
        assert not connection.session_reused
        ask(connection)
    mortal.stop()


def ringpost(*arguments, stdin="", **environment):
    return subprocess.run([BINARY, *arguments], input=stdin, text=True, capture_output=True, timeout=DEADLINE_SECONDS,
                          env=clean_environment() | environment)


@checks
def the_check_says_what_is_wrong():
    certificate, key = make_certificate("other")
    good = (f"--tls_certificate_file={server.certificate}", f"--tls_key_file={server.key}")
    cases = [(good, 0, ""),
             ((good[0], f"--tls_key_file={key}"), 2, "does not belong to the certificate"),
             ((good[0],), 2, "go together"),
             (("--tls_required=true",), 2, "needs a certificate"),
             ((good[0], "--tls_key_file=/nowhere/tls.key"), 1, "cannot open /nowhere/tls.key: No such file"),
             ((f"--tls_certificate_file={key}", good[1]), 2, "there is no certificate in")]
    for options, code, text in cases:
        done = ringpost("config", "check", "--connections_max=1000", *options)
        assert done.returncode == code and text in done.stderr, (options, done)
        if code == 0 or options == cases[2][0] or options == cases[3][0]:
            continue
        started = ringpost("serve", "--data_dir", str(new_directory("never")), "--listen=127.0.0.1:0", *options)
        assert started.returncode == code and text in started.stderr, (options, started)


@checks
def plain_connections_are_refused_where_tls_is_required():
    strict = TlsServer(tls_required="true").start()
    plain = http.client.HTTPConnection(LOCALHOST, strict.port, timeout=DEADLINE_SECONDS)
    plain.request("GET", "/healthz")
    answer = plain.getresponse()
    assert answer.status == 403 and b"tls_required" in answer.read()
    plain.close()
    for magic in (b"RPT1", b"\x10\x20"):
        with socket.create_connection((LOCALHOST, strict.port), timeout=DEADLINE_SECONDS) as connection:
            connection.sendall(magic)
            assert connection.recv(1) == b""
    assert strict.get("/healthz")[0] == 200
    said = ringpost("user", "register", "nobody", "--password-stdin", "--server", f"localhost:{strict.port}", stdin=PASSWORD)
    assert said.returncode != 0 and "tls://HOST:PORT" in said.stderr, said
    strict.stop()


@checks
def the_command_line_speaks_tls_and_checks_the_server():
    home = new_directory("home")
    address = f"tls://localhost:{server.port}"
    names = [f"{name}{os.getpid()}" for name in ("anna", "berta")]
    for name in names:
        done = ringpost("user", "register", name, "--password-stdin", "--profile", name, "--server", address, "--ca-file",
                        str(server.certificate), stdin=PASSWORD, XDG_STATE_HOME=str(home))
        assert done.returncode == 0 and address in done.stdout + done.stderr, done
    settings = {"XDG_STATE_HOME": str(home), "RINGPOST_CLI_SERVER": address, "RINGPOST_CLI_CA_FILE": str(server.certificate)}
    done = ringpost("send", "--profile", names[0], "--to", names[1], LARGE_BODY, **settings)
    assert done.returncode == 0, done
    done = ringpost("tail", "--profile", names[1], "--count", "2", **settings)
    assert LARGE_BODY in done.stdout, done
    done = ringpost("tail", "--profile", names[1], "--count", "2", **settings | {"RINGPOST_CLI_CA_FILE": ""})
    assert done.returncode != 0 and "signed by nobody we trust" in done.stderr, done
    plain = ringpost("tail", "--profile", names[1], **settings | {"RINGPOST_CLI_SERVER": f"localhost:{server.port}"})
    assert "nobody is logged in" in plain.stderr, "its tokens are for TLS only"
    refused = ringpost("user", "login", names[0], "--password-stdin", "--server", f"tls://{LOCALHOST}.nip:{server.port}", stdin=PASSWORD, **settings)
    assert refused.returncode != 0, refused


checks.run()
