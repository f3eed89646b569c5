"""tests/e2e/harness.py - what the end-to-end suites share: a server in a directory of its own, clients of every door, the count of tests.

Read in this order:
  wait_for, Checks     waiting for conditions; `ok NAME` / `not ok NAME` lines and the exit code
  Server               starts, stops and kills the real binary by its process id
  the contract         schemas/ringpost/v1/ringpost.proto, compiled by protoc when a suite starts
  Doors                WebSocketJson, WebSocketBinary, Tcp, Http, HttpGet: one way to call a method over each door
  Person               somebody with an account and a connection

Nothing here sleeps for a fixed time in place of a condition: a wait polls and has a deadline. JSON is read and written by Google's own
implementation of the Protobuf JSON mapping, so an answer with an unknown field or a wrong form fails the test that got it.
"""
import asyncio
import ctypes
import http.client
import importlib
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.parse

import websockets
from google.protobuf import json_format

TOP = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("RINGPOST_BIN", TOP / "build/plain/ringpost")).absolute()
SCHEMA = TOP / "schemas/ringpost/v1/ringpost.proto"
DEADLINE_SECONDS = 30
SKIP_EXIT_CODE = 77
PASSWORD = "correct horse battery"
LOCALHOST = "127.0.0.1"
SHOWN_LOG_LINES = 20
SHOWN_ERROR_CHARACTERS = 1000
SLOW_SECONDS = 2
PR_SET_PDEATHSIG = 1


# ---- waiting and counting -----------------------------------------------------------------------------------------------

def wait_for(what, condition, seconds=DEADLINE_SECONDS):
    """Polls until `condition` gives something true; returns it."""
    give_up = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < give_up, f"waited {seconds} s in vain for {what}"
        time.sleep(0.01)


async def eventually(what, condition, seconds=DEADLINE_SECONDS):
    """wait_for() inside a loop of asyncio; `condition` is a coroutine function."""
    give_up = time.monotonic() + seconds
    while True:
        value = await condition()
        if value:
            return value
        assert time.monotonic() < give_up, f"waited {seconds} s in vain for {what}"
        await asyncio.sleep(0.01)


class Checks:
    """The tests of one suite, in the order of their definition: `@checks` above each, checks.run() at the end of the file."""

    def __init__(self):
        self.tests = []

    def __call__(self, test):
        self.tests.append((test.__name__.replace("_", " "), test))
        return test

    def add(self, name, test):
        self.tests.append((name, test))

    def skip_suite(self, why):
        print(f"skip {pathlib.Path(sys.argv[0]).name}: {why}")
        sys.exit(SKIP_EXIT_CODE)

    def run(self, clean=lambda: None):
        """Runs all, or those whose names hold one of the command line's words; then `clean`."""
        words = sys.argv[1:]
        chosen = [(name, test) for name, test in self.tests if not words or any(word in name for word in words)]
        failed = 0
        try:
            for name, test in chosen:
                failed += not self.run_one(name, test)
        finally:
            Server.end_all()
            clean()
            shutil.rmtree(TEMPORARY, ignore_errors=True)
        print(f"# {len(chosen) - failed} passed, {failed} failed")
        sys.exit(1 if failed or not chosen else 0)

    @staticmethod
    def run_one(name, test):
        started = time.monotonic()
        try:
            if asyncio.iscoroutinefunction(test):
                asyncio.run(test())
            else:
                test()
        except Exception as error:
            ours = [frame for frame in traceback.extract_tb(error.__traceback__) if str(TOP) in frame.filename]
            what = f"{type(error).__name__}: {str(error)[:SHOWN_ERROR_CHARACTERS]}"
            where = [f"{pathlib.Path(frame.filename).name}:{frame.lineno} {frame.line}" for frame in ours]
            print(f"not ok {name}", *(f"    {line}" for line in [*where, what]), sep="\n")
            for server in Server.running:
                print(*(f"    server: {line}" for line in server.log_lines()[-SHOWN_LOG_LINES:]), sep="\n")
            sys.stdout.flush()
            return False
        took = time.monotonic() - started
        print(f"ok {name}", *([f"# that took {took:.1f} s"] if took > SLOW_SECONDS else []), sep="\n", flush=True)
        return True


TEMPORARY = pathlib.Path(tempfile.mkdtemp(prefix="ringpost-e2e-"))


def new_directory(name):
    """A path that is not there yet, below the suite's temporary directory."""
    return TEMPORARY / f"{name}-{next(_numbers)}"


_numbers = itertools.count(1)
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent():
    """Run in the child: the server ends with the suite, however that ends."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def clean_environment():
    return {name: value for name, value in os.environ.items() if not name.startswith("RINGPOST_")}


# ---- the server ------------------------------------------------------------------------------------------------------------

class Server:
    """One data directory and the process that serves it now, if any. Options are those of the configuration: workers=2."""

    running = []
    small = {"segment_size": "1MiB", "log_pending_max": "512KiB", "memtable_size": "4MiB", "block_cache": "16MiB", "password_ops": "1",
             "password_memory": "1MiB", "rate_logins_per_second": 0, "connections_max": "2000"}

    def __init__(self, data_dir=None, **options):
        self.directory = new_directory("server")
        self.directory.mkdir()
        self.data_dir = pathlib.Path(data_dir or self.directory / "data")
        self.options = options
        self.port = 0
        self.process = None
        self.starts = 0

    def command(self, **options):
        merged = self.small | {"data_dir": self.data_dir, "listen": f"{LOCALHOST}:{self.port}"} | self.options | options
        return [str(BINARY), "serve", *(f"--{name.replace('_', '-')}={value}" for name, value in merged.items())]

    def start(self, **options):
        """Starts and returns when the server is ready; the port of the first start is kept."""
        self.launch(**options)
        self.wait_ready()
        return self

    def launch(self, environment=None, before=die_with_parent, **options):
        """`before` runs in the child, in place of die_with_parent() and calling it."""
        assert self.process is None, "it runs already"
        self.starts += 1
        self.out, self.err = (open(self.directory / f"{self.starts}.{kind}", "w") for kind in ("out", "err"))
        self.process = subprocess.Popen(self.command(**options), stdout=self.out, stderr=self.err, stdin=subprocess.DEVNULL,
                                        env=clean_environment() | (environment or {}), preexec_fn=before)
        Server.running.append(self)

    def wait_ready(self):
        def printed():
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.ended()}: {self.log_lines()[-3:]}")
            return re.search(r"https?://127\.0\.0\.1:(\d+)/", self.output())
        self.port = int(wait_for("the server's address on its stdout", printed).group(1))
        status, answer = self.get("/readyz")
        assert status == 200 and json.loads(answer) == {"ready": True}, (status, answer)

    def output(self):
        return pathlib.Path(self.out.name).read_text()

    def log_lines(self):
        return pathlib.Path(self.err.name).read_text(errors="replace").splitlines()

    def kill(self):
        """kill -9; returns when the process is gone."""
        self.process.kill()
        self.ended()

    def stop(self):
        """An orderly end; it has to be a clean one."""
        self.process.terminate()
        code = self.ended()
        assert code == 0, f"the server stopped with {code}: {self.log_lines()[-3:]}"

    def ended(self, seconds=DEADLINE_SECONDS):
        """Waits for the process to end by itself; its exit code."""
        process = self.process
        code = process.wait(seconds)
        self.process = None
        Server.running.remove(self)
        self.out.close()
        self.err.close()
        return code

    def get(self, path, headers=None, method="GET", body=None):
        """One request on a connection of its own: status and body."""
        response, text = self.exchange(path, headers, method, body)
        return response.status, text

    def exchange(self, path, headers=None, method="GET", body=None):
        connection = http.client.HTTPConnection(LOCALHOST, self.port, timeout=DEADLINE_SECONDS)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response, response.read().decode()
        finally:
            connection.close()

    def metric(self, name):
        """The sum of one metric over all workers."""
        values = re.findall(rf"^{name}(?:\{{[^}}]*\}})? ([0-9.e+]+)$", self.get("/metrics")[1], re.MULTILINE)
        assert values, f"no metric {name}"
        return sum(float(value) for value in values)

    @staticmethod
    def end_all():
        for server in list(Server.running):
            server.kill()


# ---- the contract ------------------------------------------------------------------------------------------------------------

def compile_schemas():
    directory = new_directory("schemas")
    directory.mkdir()
    names = [f"ringpost/v1/{name}.proto" for name in ("ringpost", "operator")]
    subprocess.run(["protoc", f"-I{SCHEMA.parents[2]}", f"--python_out={directory}", *names], check=True)
    sys.path.insert(0, str(directory))
    return importlib.import_module("ringpost.v1.ringpost_pb2"), importlib.import_module("ringpost.v1.operator_pb2")


pb, operator_pb = compile_schemas()

# {"send": ("POST", "/v1/chat/send")}: what the comments of the contract promise about HTTP. Sockets only: no entry.
HTTP_PATHS = {}
REQUEST_TYPES = {field.name: field.message_type for field in pb.Request.DESCRIPTOR.oneofs_by_name["method"].fields}
METHODS = list(REQUEST_TYPES)


def read_paths():
    names = {message.name: name for name, message in REQUEST_TYPES.items()}
    pattern = re.compile(r"^// (GET|POST) (/v1/\S+):.*(?:\n//.*)*\nmessage (\w+)", re.MULTILINE)
    for verb, path, message in pattern.findall(SCHEMA.read_text()):
        HTTP_PATHS[names[message]] = (verb, path)


read_paths()


# ---- the doors ---------------------------------------------------------------------------------------------------------------

class Refused(Exception):
    """The server refused a request. `status` is 0 on a socket."""

    def __init__(self, error, status=0):
        super().__init__(f"{error.reason}: {error.message}")
        self.error, self.reason, self.status = error, error.reason, status


class Closed(Exception):
    """The connection ended while an answer was awaited."""


class Socket:
    """A connection that carries envelopes; subclasses say how. A reader task sorts what arrives into answers and pushes."""

    def __init__(self):
        self.hello = None
        self.pushes = []
        self.waiting = {}
        self.numbers = itertools.count(1)
        self.news = asyncio.Event()
        self.closed = asyncio.get_running_loop().create_future()
        self.on_push = self.pushes.append

    @classmethod
    async def open(cls, server, **options):
        self = cls()
        await self.connect(server, **options)
        self.task = asyncio.create_task(self.read())
        await self.wait(lambda: self.hello, "hello")
        return self

    async def read(self):
        try:
            while True:
                self.take(await self.receive())
        except (websockets.ConnectionClosed, asyncio.IncompleteReadError, ConnectionError) as error:
            self.finish(Closed(str(error)))
        except Exception as error:  # the server sent what nobody can read: whoever waits shall know
            self.finish(error)

    def take(self, envelope):
        kind = envelope.WhichOneof("body")
        if kind == "response":
            self.waiting.pop(envelope.response.id).set_result(envelope.response)
        elif kind == "push":
            self.on_push(envelope.push)
        else:
            assert kind == "hello" and self.hello is None, envelope
            self.hello = envelope.hello
        self.news.set()

    def finish(self, error):
        self.closed.set_result(self.close_code())
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(error)
                future.exception()
        self.news.set()

    def close_code(self):
        return None

    async def submit(self, method, **fields):
        """Sends the request; the future gives the Response."""
        envelope = pb.Envelope(request=pb.Request(id=next(self.numbers), **{method: fields}))
        if not fields:
            getattr(envelope.request, method).SetInParent()
        if self.closed.done():
            raise Closed("closed before")
        future = self.waiting[envelope.request.id] = asyncio.get_running_loop().create_future()
        try:
            await self.send(envelope)
        except (websockets.ConnectionClosed, ConnectionError) as error:
            raise Closed(str(error)) from error
        return future

    async def call(self, method, **fields):
        response = await asyncio.wait_for(await self.submit(method, **fields), DEADLINE_SECONDS)
        if response.HasField("error"):
            assert response.WhichOneof("result") is None, response
            raise Refused(response.error)
        assert response.WhichOneof("result") == method, response
        return getattr(response, method)

    async def wait(self, condition, what="something"):
        async def poll():
            while not condition():
                self.news.clear()
                await self.news.wait()
            return condition()
        try:
            return await asyncio.wait_for(poll(), DEADLINE_SECONDS)
        except asyncio.TimeoutError:
            raise AssertionError(f"waited in vain for {what}; pushes: {self.pushes[-5:]}") from None

    async def push(self, kind, condition=lambda thing: True):
        """The first push of that kind which meets the condition, arrived or still to come."""
        def find():
            return next((getattr(push, kind) for push in self.pushes if push.WhichOneof("kind") == kind and condition(getattr(push, kind))), None)
        return await self.wait(find, f"a push of {kind}")

    async def event(self, kind, condition=lambda thing: True):
        found = await self.push("event", lambda event: event.WhichOneof("kind") == kind and condition(getattr(event, kind)))
        return getattr(found, kind)

    def count(self, kind):
        return sum(push.WhichOneof("kind") == kind for push in self.pushes)

    async def end_code(self):
        """Waits until the server has closed; the WebSocket's close code."""
        return await asyncio.wait_for(asyncio.shield(self.closed), DEADLINE_SECONDS)


class DeafProtocol(websockets.WebSocketClientProtocol):
    """Answers no ping."""

    async def pong(self, data=b""):
        pass


class WebSocketDoor(Socket):
    subprotocol = None

    async def connect(self, server, deaf=False, **options):
        # What comes is taken at once; waiting for pushes is the test's business. Control frames are the server's to send.
        options = {"max_queue": None, "max_size": None, "ping_interval": None, "compression": None, "close_timeout": 1} | options
        if deaf:
            options["create_protocol"] = DeafProtocol
        self.websocket = await websockets.connect(f"ws://{LOCALHOST}:{server.port}/v1/socket", subprotocols=[self.subprotocol], **options)
        assert self.websocket.subprotocol == self.subprotocol

    def close_code(self):
        return self.websocket.close_code

    async def close(self):
        await self.websocket.close()
        await self.task


class WebSocketJson(WebSocketDoor):
    name = "WebSocket JSON"
    subprotocol = "ringpost.v1.json"

    async def send(self, envelope):
        await self.websocket.send(json_format.MessageToJson(envelope, preserving_proto_field_name=True, indent=None))

    async def receive(self):
        text = await self.websocket.recv()
        assert isinstance(text, str), "a JSON door sends text"
        return json_format.Parse(text, pb.Envelope())


class WebSocketBinary(WebSocketDoor):
    name = "WebSocket binary"
    subprotocol = "ringpost.v1.proto"

    async def send(self, envelope):
        await self.websocket.send(envelope.SerializeToString())

    async def receive(self):
        data = await self.websocket.recv()
        assert isinstance(data, bytes), "a binary door sends bytes"
        return pb.Envelope.FromString(data)


class Tcp(Socket):
    name = "TCP"

    async def connect(self, server):
        self.reader, self.writer = await asyncio.open_connection(LOCALHOST, server.port)
        self.heartbeats = 0
        self.writer.write(b"RPT1")

    async def send(self, envelope):
        data = envelope.SerializeToString()
        self.writer.write(struct.pack(">I", len(data)) + data)
        await self.writer.drain()

    async def receive(self):
        while True:
            length, = struct.unpack(">I", await self.reader.readexactly(4))
            if length > 0:
                return pb.Envelope.FromString(await self.reader.readexactly(length))
            self.heartbeats += 1

    async def close(self):
        self.writer.close()
        await self.task


class Http:
    """POST with a body of JSON; one connection, kept alive, one request at a time."""

    name = "HTTP"

    @classmethod
    async def open(cls, server):
        self = cls()
        self.connection = http.client.HTTPConnection(LOCALHOST, server.port, timeout=DEADLINE_SECONDS)
        self.turn = asyncio.Lock()
        self.token = None
        return self

    async def call(self, method, **fields):
        message = getattr(pb, REQUEST_TYPES[method].name)(**fields)
        async with self.turn:
            status, headers, text = await asyncio.to_thread(self.exchange, method, message)
        if status != 200:
            body = json.loads(text)
            assert list(body) == ["error"], body
            raise Refused(json_format.ParseDict(body["error"], pb.Error()), status)
        assert headers["Content-Type"] == "application/json", headers
        return json_format.Parse(text, getattr(pb, pb.Response.DESCRIPTOR.fields_by_name[method].message_type.name)())

    def exchange(self, method, message):
        verb, path, body = self.request(method, message)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        self.connection.request(verb, path, body, headers | ({"Content-Type": "application/json"} if body else {}))
        response = self.connection.getresponse()
        return response.status, response.headers, response.read().decode()

    def request(self, method, message):
        body = json_format.MessageToJson(message, preserving_proto_field_name=True, indent=None)
        return "POST", HTTP_PATHS[method][1], body

    async def close(self):
        self.connection.close()


class HttpGet(Http):
    """Reads as GET with the fields in the query."""

    name = "HTTP GET"

    def request(self, method, message):
        verb, path = HTTP_PATHS[method]
        if verb == "POST":
            return super().request(method, message)
        fields = [(field.name, value) for field, value in message.ListFields()]
        return "GET", f"{path}?{urllib.parse.urlencode(fields, doseq=True)}", None


SOCKET_DOORS = [WebSocketJson, WebSocketBinary, Tcp]
DOORS = [*SOCKET_DOORS, Http, HttpGet]


# ---- people ------------------------------------------------------------------------------------------------------------------

class Person:
    """A user on one device: a connection of some door that is logged in."""

    def __init__(self, name, door, login, device_id):
        self.name, self.door, self.device_id = name, door, device_id
        self.user_id, self.token, self.refresh_token = login.user_id, login.access_token, login.refresh_token
        self.call = door.call

    @staticmethod
    async def register(server, door, name=None, **options):
        """A new user, registered and logged in over that door."""
        name = name or f"user{next(_numbers)}-{os.getpid()}"
        connection = await door.open(server, **options)
        await connection.call("register", name=name, password=PASSWORD, display_name=name.capitalize())
        return await Person.enter(connection, name, "first")

    @staticmethod
    async def enter(connection, name, device_id, platform="test"):
        """Logs the user in on that connection."""
        login = await connection.call("login", name=name, password=PASSWORD, device_id=device_id, platform=platform, device_name="A test")
        person = Person(name, connection, login, device_id)
        await person.authenticate(login.access_token)
        return person

    async def authenticate(self, token):
        if isinstance(self.door, Http):
            self.door.token = token
        else:
            self.bound = await self.call("auth", access_token=token)
            assert self.bound.user_id == self.user_id

    async def again(self, server, door, device_id):
        """The same user on another device."""
        return await Person.enter(await door.open(server), self.name, device_id)

    async def send(self, text, client_msg_id=None, **where):
        return await self.call("send", client_msg_id=client_msg_id or f"m{next(_numbers)}", body=text.encode(), **where)

    async def stream(self, sync_key=0, limit=500):
        """Everything in the user's stream after sync_key; checked to be without holes."""
        events = []
        while True:
            page = await self.call("sync", sync_key=sync_key, limit=limit)
            assert not page.reset
            assert [event.sync_key for event in page.events] == list(range(sync_key + 1, sync_key + 1 + len(page.events)))
            events += page.events
            sync_key = page.sync_key
            if not page.has_more:
                return events

    async def timeline(self, room_id):
        """Every message of a room that this person may read, in order; checked to be without holes."""
        messages, before = [], 0
        while True:
            page = await self.call("history", room_id=room_id, before_seq=before, limit=200)
            messages += page.messages
            if not page.has_more:
                break
            before = page.next_seq
        messages.reverse()
        assert [message.seq for message in messages] == list(range(page.hidden_seq + 1, page.head_seq + 1))
        return messages


class SlowReader:
    """Logs in over raw TCP with a small receive buffer, and reads nothing more."""

    def __init__(self, server, person):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect((LOCALHOST, server.port))
        auth = pb.Envelope(request=pb.Request(id=1, auth=pb.AuthRequest(access_token=person.token))).SerializeToString()
        self.socket.sendall(b"RPT1" + struct.pack(">I", len(auth)) + auth)

    def close(self):
        self.socket.close()


def texts(messages):
    return [message.body.decode() for message in messages]


async def refused(reason, call, status=None):
    """Awaits the call and checks that it is refused for that reason; an HTTP status only where the door has one."""
    try:
        answer = await call
    except Refused as refusal:
        assert refusal.reason == reason, f"refused as {refusal.reason}, not {reason}"
        assert status is None or refusal.status in (0, status), f"{reason}: HTTP status {refusal.status}, not {status}"
        return refusal.error
    raise AssertionError(f"not refused ({reason}): {answer}")
