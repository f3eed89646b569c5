#!/usr/bin/python3
"""tests/e2e/proxies_test.py - Ringpost behind nginx and HAProxy, with the very configurations of tools/deploy.

Only addresses and files are replaced in them. Each client connects from an address of its own on the loopback, so that what the server
counts and logs shows whether it sees the client or the proxy. Skipped where a proxy is not installed.
"""
import asyncio
import http.client
import itertools
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess

import paho.mqtt.client as paho
import websockets

from harness import (DEADLINE_SECONDS, LOCALHOST, PASSWORD, TOP, Checks, Http, Person, Server, Tcp, WebSocketBinary,
                     WebSocketJson, PR_SET_PDEATHSIG, _libc, clean_environment, new_directory, wait_for)

checks = Checks()
OPERATOR, FORGED = "127.0.0.9", "203.0.113.99"
CONNECTIONS_MAX = 3  # from one address
NGINX_MODULE = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")
os.environ["PATH"] += ":/usr/sbin"  # where Debian has both

if not (shutil.which("nginx") and shutil.which("haproxy") and NGINX_MODULE.exists()):
    checks.skip_suite("nginx, its stream module or haproxy is not installed")

numbers = itertools.count(20)


def new_address():
    """Of somebody who has no connection yet."""
    return f"127.0.0.{next(numbers)}"


def free_port():
    with socket.socket() as chosen:
        chosen.bind((LOCALHOST, 0))
        return chosen.getsockname()[1]


directory = new_directory("proxies")
directory.mkdir()
certificate, key, both = (directory / name for name in ("tls.crt", "tls.key", "both.pem"))
subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", certificate, "-keyout", key],
               check=True, capture_output=True)
both.write_bytes(certificate.read_bytes() + key.read_bytes())
context = ssl.create_default_context(cafile=certificate)


def stop_with_parent():
    """As die_with_parent(), but with a signal that a proxy's workers hear of as well."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Behind(Server):
    """One worker, because each counts addresses on its own; asked by the test itself from an address that is no proxy's."""

    def __init__(self, **options):
        super().__init__(workers=1, shards=1, connections_per_ip_max=CONNECTIONS_MAX, **options)

    def exchange(self, path, headers=None, method="GET", body=None):
        connection = http.client.HTTPConnection(LOCALHOST, self.port, timeout=DEADLINE_SECONDS, source_address=(OPERATOR, 0))
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response, response.read().decode()
        finally:
            connection.close()

    def wait_for_line(self, *words):
        wait_for(f"a log line with {words}", lambda: any(all(word in line for word in words) for line in self.log_lines()))


class Proxy:
    """One of the examples, running in front of a server: `ports` says what its ports became here."""

    def __init__(self, server, example, command, ports, replaced):
        self.server, self.name = server, example
        self.ports = {port: free_port() for port in ports}
        text = (TOP / "tools/deploy" / example).read_text()
        for old, new in ({"127.0.0.1:7800": f"{LOCALHOST}:{server.port}"} | replaced).items():
            assert old in text, f"{example} has no {old!r}"
            text = text.replace(old, new)
        for port, now in self.ports.items():
            text, count = re.subn(rf"^( *)(listen|bind) :?{port}\b", rf"\1\2 {LOCALHOST}:{now}", text, flags=re.MULTILINE)
            assert count == 1, f"{example} has no port {port}"
        own = new_directory(example)
        own.mkdir()
        (own / example).write_text(text)
        self.log = own / "log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([*command, str(own / example)], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=own,
                                            env=clean_environment(), preexec_fn=stop_with_parent)
        for port in self.ports.values():
            wait_for(f"{example} at {port}", lambda port=port: self.answers(port))

    def answers(self, port):
        assert self.process.poll() is None, self.log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex((LOCALHOST, port)) == 0

    def stop(self):
        self.process.terminate()
        self.process.wait(DEADLINE_SECONDS)


def nginx():
    server = Behind(trusted_proxies="127.0.0.1", proxy_protocol_from="127.0.0.2").start()
    places = "".join(f"    {kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root; " if os.getuid() == 0 else ""
    return Proxy(server, "nginx.conf", ["nginx", "-e", "stderr", "-g", f"{user}daemon off; pid {directory}/nginx.pid;", "-c"], (443, 8883), {
        "http {\n": f"http {{\n    access_log off;\n{places}", "/etc/ssl/chat.example.com/fullchain.pem": str(certificate),
        "/etc/ssl/chat.example.com/privkey.pem": str(key)})


def haproxy():
    server = Behind(proxy_protocol_from="127.0.0.1", tls_certificate_file=certificate, tls_key_file=key).start()
    return Proxy(server, "haproxy.cfg", ["haproxy", "-db", "-f"], (443, 8883, 8443), {"/etc/haproxy/chat.example.com.pem": str(both)})


_proxies = {}


def proxy(start):
    if start not in _proxies:
        _proxies[start] = start()
    return _proxies[start]


# ---- clients ---------------------------------------------------------------------------------------------------------------

class Way:
    """From one address to one port of a proxy."""

    def __init__(self, start, port, address=None):
        self.proxy, self.port = proxy(start), proxy(start).ports[port]
        self.address = address or new_address()
        self.origin = f"https://{LOCALHOST}:{self.port}"


class SecureWebSocketJson(WebSocketJson):
    async def connect(self, server, **options):
        options = {"max_queue": None, "ping_interval": None, "compression": None, "close_timeout": 1, "origin": server.origin} | options
        self.websocket = await websockets.connect(f"wss://{LOCALHOST}:{server.port}/v1/socket", subprotocols=[self.subprotocol], ssl=context,
                                                  local_addr=(server.address, 0), **options)


class SecureWebSocketBinary(WebSocketBinary):
    connect = SecureWebSocketJson.connect


class SecureTcp(Tcp):
    async def connect(self, server):
        self.reader, self.writer = await asyncio.open_connection(LOCALHOST, server.port, ssl=context, local_addr=(server.address, 0))
        self.heartbeats = 0
        self.writer.write(b"RPT1")


class SecureHttp(Http):
    @classmethod
    async def open(cls, server):
        self = await super().open(server)
        self.connection = http.client.HTTPSConnection(LOCALHOST, server.port, timeout=DEADLINE_SECONDS, context=context,
                                                      source_address=(server.address, 0))
        return self


def mqtt_client(person, way, transport):
    client = paho.Client(client_id="second", protocol=paho.MQTTv5, transport=transport)
    client.username_pw_set(person.name, PASSWORD)
    client.tls_set(ca_certs=str(certificate))
    if transport == "websockets":
        client.ws_set_options(path="/mqtt")
    client.got, client.granted = [], []
    client.on_message = lambda client, data, message: client.got.append(message.payload.decode())
    client.on_subscribe = lambda client, *arguments: client.granted.append(True)
    client.connect(LOCALHOST, way.port, bind_address=way.address)
    client.loop_start()
    wait_for("the connection", client.is_connected)
    return client


# ---- the tests -------------------------------------------------------------------------------------------------------------

async def chat(start, doors):
    people = [await Person.register(Way(start, port), door) for door, port in doors]
    for sender, receiver in zip(people, people[1:] + people[:1]):
        sent = await sender.send("through a proxy", to_user_id=receiver.user_id)
        if not isinstance(receiver.door, Http):
            await receiver.door.event("message", lambda message, sent=sent: message.msg_id == sent.msg_id)
    for person in people:
        await person.door.close()


@checks
async def people_chat_through_nginx():
    await chat(nginx, [(SecureWebSocketJson, 443), (SecureHttp, 443), (SecureWebSocketBinary, 443), (SecureTcp, 8883)])


@checks
async def people_chat_through_haproxy():
    await chat(haproxy, [(SecureWebSocketJson, 443), (SecureHttp, 443), (SecureTcp, 8883), (SecureWebSocketBinary, 8443), (SecureTcp, 8443)])


async def mqtt(start):
    ways = {"websockets": Way(start, 443), "tcp": Way(start, 8883)}
    for transport, way in ways.items():
        person = await Person.register(Way(start, 443), SecureHttp)
        client = mqtt_client(person, way, transport)
        client.subscribe(f"u/{person.user_id}", 1)
        wait_for("the subscription", lambda: client.granted)
        other = await Person.register(Way(start, 443), SecureHttp)
        await other.send(transport, to_user_id=person.user_id)
        wait_for("the message", lambda: transport in client.got)
        client.disconnect()
        client.loop_stop()


@checks
async def mqtt_clients_listen_through_nginx():
    await asyncio.wait_for(mqtt(nginx), 3 * DEADLINE_SECONDS)


@checks
async def mqtt_clients_listen_through_haproxy():
    await asyncio.wait_for(mqtt(haproxy), 3 * DEADLINE_SECONDS)


async def foreign_page(start):
    """Is refused, and the log names the client, whatever it says about itself."""
    way = Way(start, 443)
    try:
        await SecureWebSocketJson.open(way, origin="https://evil.example", extra_headers={"X-Forwarded-For": FORGED})
        raise AssertionError("it was let in")
    except websockets.InvalidStatusCode as refusal:
        assert refusal.status_code == 403, refusal
    way.proxy.server.wait_for_line("reason=origin", f"address={way.address} ", "origin=https://evil.example", f"host={LOCALHOST}:{way.port}")
    assert not [line for line in way.proxy.server.log_lines() if FORGED in line]


@checks
async def nginx_does_not_hide_who_was_refused():
    await foreign_page(nginx)


@checks
async def haproxy_does_not_hide_who_was_refused():
    await foreign_page(haproxy)


async def hears_hello(door, way):
    """Whether the server says its first word; however the proxy tells that it does not."""
    try:
        if door is not SecureTcp:
            await door.open(way)
            return True
        reader, writer = await asyncio.open_connection(LOCALHOST, way.port, ssl=context, local_addr=(way.address, 0))
        writer.write(b"RPT1")
        return await asyncio.wait_for(reader.read(100), DEADLINE_SECONDS) != b""
    except (websockets.InvalidStatusCode, ConnectionError, ssl.SSLError):
        return False


async def crowd(start, door, port):
    """One address has all the connections it may have; the others behind the same proxy do not feel it."""
    way = Way(start, port)
    held = [await door.open(way) for _ in range(CONNECTIONS_MAX)]
    assert not await hears_hello(door, way), "one more was let in"
    way.proxy.server.wait_for_line("reason=connections_of_address", f"address={way.address} ")
    held.append(await door.open(Way(start, port)))
    for connection in held:
        await connection.close()


@checks
async def nginx_does_not_hide_a_crowd_of_websockets():
    await crowd(nginx, SecureWebSocketJson, 443)


@checks
async def nginx_does_not_hide_a_crowd_of_connections():
    await crowd(nginx, SecureTcp, 8883)


@checks
async def haproxy_does_not_hide_a_crowd_of_websockets():
    await crowd(haproxy, SecureWebSocketJson, 443)


@checks
async def haproxy_does_not_hide_a_crowd_of_connections():
    for port in (8883, 8443):
        await crowd(haproxy, SecureTcp, port)


@checks
def the_proxies_keep_the_metrics_to_themselves():
    for start in (nginx, haproxy):
        way = Way(start, 443)
        for path, status in (("/metrics", 404), ("/", 200), ("/readyz", 200)):
            connection = http.client.HTTPSConnection(LOCALHOST, way.port, timeout=DEADLINE_SECONDS, context=context)
            connection.request("GET", path)
            assert connection.getresponse().status == status, (way.proxy.name, path)
            connection.close()


@checks
def a_connection_of_a_proxy_without_its_header_is_closed():
    server = proxy(haproxy).server
    with socket.create_connection((LOCALHOST, server.port), timeout=DEADLINE_SECONDS) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(100) == b""
    server.wait_for_line("reason=proxy_header", "address=127.0.0.1")


@checks
def all_stop_in_order():
    for running in _proxies.values():
        running.stop()
        running.server.stop()
        bad = [line for line in running.server.log_lines() if "level=error" in line or "level=fatal" in line]
        assert not bad, (running.name, bad[:3])


# An orderly end even when only some tests ran: nginx's workers outlive a master that is killed.
checks.run(lambda: [running.stop() for running in _proxies.values() if running.process.poll() is None])
