#!/usr/bin/env python3
"""tests/e2e/cli_test.py - the terminal commands against the real server, as a person and as a script use them.

  python3 tests/e2e/cli_test.py                     starts a server of its own in a temporary directory
  RINGPOST_URL=host:port python3 tests/e2e/...      uses a running one; what needs a restart or its files is skipped
  RINGPOST_BIN=path                                 the binary (default build/ringpost)

Python's standard library and tmux only. Nothing waits for a fixed time: every wait is for a condition, with a deadline."""
import base64
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import unittest
import urllib.request
import uuid

import test_lines
from harness import wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.abspath(os.environ.get("RINGPOST_BIN", os.path.join(ROOT, "build", "ringpost")))
DEADLINE_S = 30
PASSWORD = "correct horse battery"


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


class Server:
    """The one that all tests share: ours, or the one RINGPOST_URL names."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="ringpost-cli-test-")
        self.data = os.path.join(self.directory, "data")
        self.process = None
        self.url = os.environ.get("RINGPOST_URL", "").removeprefix("http://").rstrip("/")
        self.is_own = not self.url
        self.port = "0"
        if self.is_own:
            self.start()

    def start(self):
        log_path = os.path.join(self.directory, "serve.log")
        begin = os.path.getsize(log_path) if os.path.exists(log_path) else 0
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RINGPOST_")}
        with open(log_path, "a") as log:
            self.process = subprocess.Popen(
                [BINARY, "serve", "--data-dir", self.data, "--listen", f"127.0.0.1:{self.port}", "--shards", "2", "--workers", "2",
                 "--rate-messages-per-second", "1000", "--rate-messages-burst", "1000", "--password-memory", "1MiB",
                 "--connections-max", "1000"],
                stdout=log, stderr=subprocess.STDOUT, env=environment)

        def port():
            text = read(log_path)[begin:]
            if self.process.poll() is not None:
                raise AssertionError("the server ended: " + text)
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", text)
            return found and found.group(1)

        self.port = wait_for("the server to serve", port)
        self.url = f"127.0.0.1:{self.port}"

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait(DEADLINE_S)

    def remove(self):
        if self.process and self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.directory)


server = None


def setUpModule():
    global server
    server = Server()


def tearDownModule():
    server.remove()


class Person:
    """Somebody with a terminal of their own: a state directory and an account."""

    def __init__(self, name, register=True):
        self.name = f"{name}-{uuid.uuid4().hex[:8]}"
        self.state = tempfile.mkdtemp(dir=server.directory)
        if register:
            done = self.run("user", "register", self.name, "--password-stdin", stdin=PASSWORD + "\n")
            assert done.returncode == 0, done.stderr

    def environment(self):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RINGPOST_")}
        environment.update(XDG_STATE_HOME=self.state, LC_ALL="C.UTF-8", TZ="UTC")
        return environment

    def arguments(self, *arguments):
        where = () if "--server" in arguments else ("--server", server.url)
        return [BINARY, *arguments, *where]

    def run(self, *arguments, stdin=""):
        return subprocess.run(self.arguments(*arguments), env=self.environment(), input=stdin, text=not isinstance(stdin, bytes),
                              capture_output=True, timeout=DEADLINE_S)

    def start(self, *arguments):
        return subprocess.Popen(self.arguments(*arguments), env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def send(self, to, text):
        """(message id, room id, seq)"""
        done = self.run("send", "--to", to.name, text)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    def call(self, path, token=None, **body):
        """Over HTTP, as another device."""
        if token is None and path != "/v1/account/login":
            token = self.call("/v1/account/login", name=self.name, password=PASSWORD, device_id="script")["access_token"]
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        with urllib.request.urlopen(urllib.request.Request(f"http://{server.url}{path}", json.dumps(body).encode(), headers)) as answer:
            return json.load(answer)

    def tail(self, count, *arguments):
        done = self.run("tail", "--json", "--count", str(count), *arguments)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


class Case(unittest.TestCase):
    def expect(self, done, code, *words):
        """The exit code, and words on stderr that say why."""
        self.assertEqual(done.returncode, code, f"stdout: {done.stdout}\nstderr: {done.stderr}")
        for word in words:
            self.assertIn(word, done.stderr)
        return done


class Help(Case):
    def test_every_command_explains_itself(self):
        commands = [[], ["serve"], ["chat"], ["send"], ["tail"], ["user"], ["log"], ["config"]]
        commands += [["user", action] for action in ("register", "login", "logout", "whoami", "show", "devices", "revoke")]
        commands += [["log", "inspect"], ["log", "verify"], ["config", "check"], ["config", "show"], ["config", "defaults"], ["config", "options"]]
        for command in commands:
            with self.subTest(command=command):
                done = self.expect(subprocess.run([BINARY, *command, "--help"], capture_output=True, text=True), 0)
                self.assertIn("Usage: ringpost" + "".join(" " + word for word in command), done.stdout)

    def test_what_is_not_understood_is_2(self):
        for command in [[], ["dance"], ["user"], ["user", "dance"], ["send"], ["send", "--to", "a"], ["send", "x"], ["send", "--room", "x", "y"],
                        ["send", "--to", "a", "--kind", "smell", "y"], ["send", "--to", "a", "--room", "1", "y"], ["tail", "--count", "0"],
                        ["tail", "--since", "yesterday"], ["tail", "x"], ["log", "verify"], ["user", "login"], ["chat", "x"],
                        ["send", "--server", "host:port:x", "--to", "a", "b"], ["user", "whoami", "--profile", "../x"]]:
            with self.subTest(command=command):
                self.expect(subprocess.run([BINARY, *command], capture_output=True, text=True), 2)


class Accounts(Case):
    def test_register_login_whoami_logout(self):
        alice = Person("alice")
        who = self.expect(alice.run("user", "whoami"), 0)
        self.assertIn(alice.name, who.stdout)
        user = json.loads(self.expect(alice.run("user", "whoami", "--json"), 0).stdout)
        self.assertEqual(user["name"], alice.name)
        shown = json.loads(self.expect(alice.run("user", "show", alice.name, "--json"), 0).stdout)
        self.assertEqual(shown["user_id"], user["user_id"])
        self.assertEqual(shown["online"], True)
        self.expect(alice.run("user", "logout"), 0)
        self.expect(alice.run("user", "whoami"), 3, "nobody is logged in")
        self.expect(alice.run("send", "--to", alice.name, "x"), 3)
        self.expect(alice.run("user", "login", alice.name, "--password-stdin", stdin=PASSWORD + "\n"), 0)
        self.expect(alice.run("user", "whoami"), 0)

    def test_refusals(self):
        alice, stranger = Person("alice"), Person("stranger", register=False)
        self.expect(stranger.run("user", "register", alice.name, "--password-stdin", stdin=PASSWORD), 5, "name_taken")
        self.expect(stranger.run("user", "register", "UPPER", "--password-stdin", stdin=PASSWORD), 5, "bad_field")
        self.expect(stranger.run("user", "register", stranger.name, "--password-stdin", stdin="short"), 5, "bad_field")
        self.expect(stranger.run("user", "login", alice.name, "--password-stdin", stdin="wrong password"), 3, "wrong_password")
        self.expect(stranger.run("user", "login", alice.name, "--password-stdin", stdin=""), 2)
        self.expect(alice.run("user", "show", stranger.name), 5, "user_not_found")

    def test_the_kept_login_is_private_and_per_profile(self):
        alice = Person("alice")
        path = self.identity_path(alice)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertNotIn(PASSWORD, read(path))
        second = Person("second", register=False)
        self.expect(alice.run("user", "whoami", "--profile", "work"), 3)
        self.expect(alice.run("user", "register", second.name, "--profile", "work", "--password-stdin", stdin=PASSWORD), 0)
        self.assertIn(second.name, alice.run("user", "whoami", "--profile", "work").stdout)
        self.assertIn(alice.name, alice.run("user", "whoami").stdout)

    def identity_path(self, person):
        return os.path.join(person.state, "ringpost", server.url + ".json")

    def change_identity(self, person, **values):
        kept = json.loads(read(self.identity_path(person)))
        with open(self.identity_path(person), "w", encoding="utf-8") as file:
            json.dump({**kept, **values}, file)
        return kept

    def test_an_old_token_is_renewed_without_a_word(self):
        alice = Person("alice")
        before = self.change_identity(alice, access_expires_ms="1")  # it is over, as far as we know
        self.expect(alice.run("user", "devices"), 0)
        after = json.loads(read(self.identity_path(alice)))
        self.assertNotEqual(after["refresh_token"], before["refresh_token"])
        self.change_identity(alice, access_token="nonsense")  # it is over, as far as the server knows
        self.expect(alice.run("user", "devices"), 0)
        self.change_identity(alice, access_token="nonsense", refresh_token=before["refresh_token"])  # spent
        self.expect(alice.run("user", "devices"), 3, "log in again")

    def test_no_server_is_4(self):
        alice = Person("alice")
        shutil.copy(self.identity_path(alice), os.path.join(alice.state, "ringpost", "127.0.0.1:1.json"))
        self.expect(alice.run("send", "--server", "127.0.0.1:1", "--to", "x", "y"), 4, "127.0.0.1:1", "Connection refused")
        self.expect(alice.run("tail", "--server", "127.0.0.1:1"), 4, "ringpost serve")
        self.expect(alice.run("user", "login", "x", "--password-stdin", "--server", "127.0.0.1:1", stdin=PASSWORD), 4)

    def test_devices_and_revoke(self):
        alice = Person("alice")
        lost = Person("lost", register=False)
        self.expect(lost.run("user", "login", alice.name, "--password-stdin", stdin=PASSWORD), 0)
        devices = [json.loads(line) for line in self.expect(alice.run("user", "devices", "--json"), 0).stdout.splitlines()]
        self.assertEqual(len(devices), 2)
        kept = json.loads(read(self.identity_path(lost)))
        self.expect(alice.run("user", "revoke", kept["device_id"]), 0)
        self.expect(lost.run("user", "devices"), 3, "log in again")
        self.expect(alice.run("user", "revoke", "no-such-device"), 5, "device_not_found")
        self.assertIn("this one", alice.run("user", "devices").stdout)


class SendAndTail(Case):
    def setUp(self):
        self.alice, self.bob = Person("alice"), Person("bob")

    def test_a_message_arrives(self):
        message, room, seq = self.alice.send(self.bob, "héllo 中文 😀")
        self.assertEqual(seq, "1")
        joined, event = self.bob.tail(2, "--since", "0")
        self.assertEqual(joined["room"]["change"], "ROOM_JOINED")
        self.assertEqual(event["message"]["text"], "héllo 中文 😀")
        self.assertEqual((event["message"]["msg_id"], event["message"]["room_id"], event["message"]["sender_name"]), (message, room, self.alice.name))
        reply = json.loads(self.expect(self.bob.run("send", "--room", room, "--json", "back"), 0).stdout)
        self.assertEqual((reply["room_id"], reply["seq"]), (room, "2"))

    def test_bodies_from_stdin(self):
        self.expect(self.alice.run("send", "--to", self.bob.name, "-", stdin="two\nlines\n"), 0)
        blob = bytes(range(256))
        self.expect(self.alice.run("send", "--to", self.bob.name, "--kind", "image", "-", stdin=blob), 0)
        self.expect(self.alice.run("send", "--to", self.bob.name, "-", stdin="x" * 200000), 5)
        _, text, image = self.bob.tail(3, "--since", "0")
        self.assertEqual(text["message"]["text"], "two\nlines")
        self.assertEqual(image["message"]["kind"], "IMAGE")
        self.assertEqual(base64.b64decode(image["message"]["body"]), blob)

    def test_the_same_client_id_is_the_same_message(self):
        first = self.expect(self.alice.run("send", "--to", self.bob.name, "--client-id", "a", "text"), 0).stdout
        self.assertEqual(self.expect(self.alice.run("send", "--to", self.bob.name, "--client-id", "a", "text"), 0).stdout, first)
        self.expect(self.alice.run("send", "--to", self.bob.name, "--client-id", "a", "other"), 5, "client_id_conflict")

    def test_refusals(self):
        self.expect(self.alice.run("send", "--to", "nobody-of-that-name", "x"), 5, "user_not_found")
        self.expect(self.alice.run("send", "--room", "1", "x"), 5)

    def test_tail_goes_on_where_it_stopped(self):
        for text in ("one", "two", "three"):
            self.alice.send(self.bob, text)
        keys = [event["sync_key"] for event in self.bob.tail(2)]
        self.assertEqual(keys, ["1", "2"])
        self.assertEqual([event["message"]["text"] for event in self.bob.tail(2)], ["two", "three"])
        follower = self.bob.start("tail", "--json", "--count", "1")
        self.alice.send(self.bob, "four")
        out, error = follower.communicate(timeout=DEADLINE_S)
        self.assertEqual(follower.returncode, 0, error)
        self.assertEqual(json.loads(out)["message"]["text"], "four")

    def test_tail_of_one_room_and_from_now(self):
        carol = Person("carol")
        _, room, _ = self.alice.send(self.bob, "first")
        carol.send(self.bob, "other room")
        self.alice.send(self.bob, "second")
        texts = [event["message"]["text"] for event in self.bob.tail(3, "--since", "0", "--room", room) if "message" in event]
        self.assertEqual(texts, ["first", "second"])
        follower = self.bob.start("tail", "--since", "now", "--count", "1")
        wait_for("the follower to be online", self.bob_is_online)
        self.alice.send(self.bob, "only this")
        out, error = follower.communicate(timeout=DEADLINE_S)
        self.assertIn(f"{self.alice.name}: only this", out, error)
        self.assertEqual(len(out.splitlines()), 1)

    def bob_is_online(self):
        return json.loads(self.alice.run("user", "show", "--json", self.bob.name).stdout)["online"]

    def test_a_terminal_cannot_be_attacked(self):
        self.alice.send(self.bob, "\x1b]0;owned\x07\x1b[2Jred\u202eevil\x9b31m")
        done = self.expect(self.bob.run("tail", "--since", "0", "--count", "2"), 0)
        self.assertNotRegex(done.stdout, "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")
        self.assertIn("red", done.stdout)

    def test_tail_stops_at_a_signal_and_keeps_its_position(self):
        self.alice.send(self.bob, "one")
        follower = self.bob.start("tail", "--json")
        self.assertIn("sync_key", follower.stdout.readline())
        self.assertIn("one", follower.stdout.readline())
        follower.send_signal(signal.SIGINT)
        _, error = follower.communicate(timeout=DEADLINE_S)
        self.assertEqual(follower.returncode, 0, error)
        self.alice.send(self.bob, "two")
        self.assertEqual([event["message"]["text"] for event in self.bob.tail(1)], ["two"])


class Restart(Case):
    def setUp(self):
        if not server.is_own:
            self.skipTest("the server is not ours to restart")
        self.alice, self.bob = Person("alice"), Person("bob")

    def test_tail_survives_the_server(self):
        follower = self.bob.start("tail", "--since", "0", "--json", "--count", "3")
        self.alice.send(self.bob, "before")
        self.assertIn("ROOM_JOINED", follower.stdout.readline())
        self.assertIn("before", follower.stdout.readline())
        server.kill()
        server.start()
        self.alice.send(self.bob, "after")
        out, error = follower.communicate(timeout=DEADLINE_S)
        self.assertEqual(json.loads(out)["message"]["text"], "after", error)

    def test_log_inspect_and_verify(self):
        for index in range(20):
            self.alice.send(self.bob, f"message {index}")
        server.stop()
        try:
            self.check_log()
            self.check_damage()
        finally:
            server.start()

    def check_log(self):
        good = self.expect(subprocess.run([BINARY, "log", "verify", server.data], capture_output=True, text=True), 0)
        self.assertEqual(len(re.findall(r"^shard-\d{4}: good", good.stdout, re.M)), 2, good.stdout)
        lines = self.expect(subprocess.run([BINARY, "log", "inspect", "--json", server.data], capture_output=True, text=True), 0).stdout
        records = [json.loads(line) for line in lines.splitlines()]
        self.assertEqual({record["log"] for record in records}, {"shard-0000", "shard-0001"})
        self.assertTrue(any("send" in record["name"].lower() for record in records))
        for shard in ("shard-0000", "shard-0001"):
            indexes = [int(record["index"]) for record in records if record["log"] == shard]
            self.assertEqual(indexes, list(range(indexes[0], indexes[0] + len(indexes))))
        some = subprocess.run([BINARY, "log", "inspect", "--json", "--from", str(indexes[1]), "--to", str(indexes[2]),
                               os.path.join(server.data, "shard-0001")], capture_output=True, text=True).stdout
        self.assertEqual([int(json.loads(line)["index"]) for line in some.splitlines()], indexes[1:3])

    def check_damage(self):
        copy = os.path.join(server.directory, "damaged")
        shutil.copytree(server.data, copy)
        log = os.path.join(copy, "shard-0000", "log")
        segment = sorted(name for name in os.listdir(log) if name.endswith(".log"))[0]
        inspected = subprocess.run([BINARY, "log", "inspect", "--json", log], capture_output=True, text=True).stdout.splitlines()
        victim = json.loads(inspected[len(inspected) // 2])
        with open(os.path.join(log, segment), "r+b") as file:
            file.seek(int(victim["offset"]) + 30)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 0x40]))
        bad = self.expect(subprocess.run([BINARY, "log", "verify", copy], capture_output=True, text=True), 6, "shard-0000", "offset")
        self.assertIn("shard-0000: corrupt", bad.stdout)
        self.assertIn("shard-0001: good", bad.stdout)

    def test_log_of_nothing(self):
        self.expect(subprocess.run([BINARY, "log", "verify", "/nowhere"], capture_output=True, text=True), 1, "/nowhere")
        empty = tempfile.mkdtemp(dir=server.directory)
        self.expect(subprocess.run([BINARY, "log", "inspect", empty], capture_output=True, text=True), 1, "neither")
        self.assertEqual(os.listdir(empty), [], "looking makes nothing")


class Config(Case):
    def config(self, *arguments, **environment):
        base = {k: v for k, v in os.environ.items() if not k.startswith("RINGPOST_")}
        return subprocess.run([BINARY, "config", *arguments], capture_output=True, text=True, env={**base, **environment})

    def file(self, text):
        path = os.path.join(tempfile.mkdtemp(dir=server.directory), "ringpost.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def test_check(self):
        self.expect(self.config("check", "--connections-max=100"), 0)
        done = self.expect(self.config("check", "--json", "--connections-max", "100"), 0)
        self.assertEqual(json.loads(done.stdout)["configuration"], True)
        self.expect(self.config("check", "--config", self.file("workers = 2\nwrokers = 2\n")), 2, "wrokers", "2")
        self.expect(self.config("check", "--config", self.file("workers = many\n")), 2, "workers")
        self.expect(self.config("check", "--workers=many"), 2, "workers")
        self.expect(self.config("check", RINGPOST_WORKERS="-1"), 2, "RINGPOST_WORKERS")
        self.expect(self.config("check", RINGPOST_NONSENSE="1"), 2, "RINGPOST_NONSENSE")
        self.expect(self.config("check", RINGPOST_CLI_SERVER="127.0.0.1:7800"), 0)  # the clients' own
        done = self.config("check", "--json", "--workers=many")
        self.assertEqual(json.loads(done.stdout)["configuration"], False)

    def test_defaults_and_show_are_files(self):
        defaults = self.expect(self.config("defaults"), 0).stdout
        self.expect(self.config("check", "--config", self.file(defaults)), 0)
        shown = self.expect(self.config("show", "--workers=3"), 0).stdout
        self.assertRegex(shown, r"(?m)^workers\s*=\s*3")
        self.assertIn("workers", self.expect(self.config("options"), 0).stdout)


class Terminal:
    """A person's `ringpost chat` in a tmux window that nobody looks at but us."""

    def __init__(self, person, columns=80, rows=24):
        self.socket = f"ringpost-{uuid.uuid4().hex[:8]}"
        environment = person.environment()
        environment.pop("TMUX", None)
        self.environment = environment
        command = f"'{BINARY}' chat --server {server.url}; echo \"exit=$?\"; exec cat"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-s", "chat", "-x", str(columns), "-y", str(rows), command)

    def tmux(self, *arguments):
        done = subprocess.run(["tmux", "-u", "-L", self.socket, *arguments], env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def screen(self):
        return self.tmux("capture-pane", "-p", "-t", "chat")

    def keys(self, *keys):
        self.tmux("send-keys", "-t", "chat", *keys)

    def say(self, text):
        self.tmux("send-keys", "-t", "chat", "-l", text)
        self.keys("Enter")

    def wait(self, pattern):
        try:
            return wait_for(pattern, lambda: re.search(pattern, self.screen(), re.M))
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen is:\n{self.screen()}") from None

    def close(self):
        subprocess.run(["tmux", "-L", self.socket, "kill-server"], env=self.environment, capture_output=True)


@unittest.skipUnless(shutil.which("tmux"), "tmux is not installed")
class Chat(Case):
    def setUp(self):
        self.alice, self.bob = Person("alice"), Person("bob")

    def open(self, person, **size):
        terminal = Terminal(person, **size)
        self.addCleanup(terminal.close)
        return terminal

    def test_needs_a_terminal_and_a_login(self):
        self.expect(self.alice.run("chat"), 2, "terminal", "ringpost tail")
        terminal = self.open(Person("stranger", register=False))
        terminal.wait(r"nobody is logged in")
        terminal.wait(r"exit=3")

    def test_two_people_write_to_each_other(self):
        a, b = self.open(self.alice), self.open(self.bob)
        a.wait(r"● alice")
        b.wait(r"● bob")
        a.say(f"/msg {self.bob.name} hello 中文 😀")
        a.wait(rf"{self.bob.name} · online")
        a.wait(r"alice.*hello 中文 😀")
        b.wait(r"alice.*\s1 │")  # unread, in the list
        b.keys("Tab")
        b.wait(r"│\d\d:\d\d alice.*: hello 中文 😀")
        b.wait(r"^● alice-[0-9a-f]+ +│")  # read: the badge is gone
        b.tmux("send-keys", "-t", "chat", "-l", "thinking")
        a.wait(rf"{self.bob.name} is typing")
        b.keys("Enter")
        a.wait(r"bob.*: thinking")
        self.assertNotIn("typing", a.screen())
        b.keys("C-c")
        b.wait(r"exit=0")
        a.wait(rf"{self.bob.name} · offline")

    def test_a_group(self):
        a, b = self.open(self.alice), self.open(self.bob)
        a.wait(r"● alice")
        b.wait(r"● bob")
        carol = Person("carol")
        a.say(f"/new team {self.bob.name}")
        a.wait(r"team · 2 members")
        b.wait(r"^# team")
        a.say("welcome")
        b.keys("Tab")
        b.wait(r"alice.*: welcome")
        a.say(f"/invite {carol.name}")
        a.wait(r"team · 3 members")
        b.wait(r"team · 3 members")
        b.say("/members")
        b.wait(carol.name)
        b.say(f"/invite {carol.name}")
        b.wait(r"your role in this room does not allow that")
        b.keys("Escape")
        b.say("/leave")
        b.wait(r"you left")
        a.wait(r"team · 2 members")
        b.say("/nonsense")
        b.wait(r"there is no command /nonsense")
        b.say("/help")
        b.wait(r"/invite NAME…")

    def test_another_name(self):
        a, b = self.open(self.alice), self.open(self.bob)
        a.wait(r"● alice")
        b.wait(r"● bob")
        a.say(f"/msg {self.bob.name} hello")
        b.wait(r"alice.*\s1 │")
        a.say("/name Alice Liddell")
        a.wait(r"you are Alice Liddell now")
        b.wait(r"^. Alice Liddell +")  # the title of the conversation, at once
        a.keys("Escape")
        a.say("it is me")
        b.keys("Tab")
        b.wait(r"Alice Liddell: it is me")
        b.wait(r"alice.*: hello")  # was sent under the former name
        a.say("/name")
        b.wait(rf"^. {self.alice.name} +")

    def test_a_group_that_hides_its_past(self):
        room = self.alice.call("/v1/room/create", name="quiet", joinable=True, history="SINCE_JOIN")["room"]["room_id"]
        self.expect(self.alice.run("send", "--room", room, "before bob"), 0)
        terminal = self.open(self.bob)
        terminal.wait(r"● bob")
        terminal.say(f"/join {room}")
        terminal.wait(r"you joined here; earlier messages are hidden")
        self.expect(self.alice.run("send", "--room", room, "hello bob"), 0)
        terminal.wait(r"hello bob")
        self.assertRegex(terminal.screen(), r"earlier messages are hidden")
        self.assertNotIn("before bob", terminal.screen())
        self.alice.call("/v1/room/update", room_id=room, joinable=True, history="ALL")
        terminal.wait(r"before bob")
        self.assertNotIn("hidden", terminal.screen())

    def test_history_by_pages(self):
        for index in range(1, 121):
            self.alice.send(self.bob, f"line number {index}.")
        terminal = self.open(self.bob)
        terminal.wait(r"line number 120\.")
        self.assertNotIn("line number 80.", terminal.screen())

        def up_to_the_first():
            terminal.keys("PageUp")
            return re.search(r"line number 1\.", terminal.screen())

        wait_for("the first message", up_to_the_first)
        self.assertIn("more", terminal.screen())

        def down_to_the_last():
            terminal.keys("PageDown")
            return re.search(r"line number 120\.", terminal.screen())

        wait_for("the last message", down_to_the_last)

    def test_resizing(self):
        self.alice.send(self.bob, "words " * 30)
        terminal = self.open(self.bob)
        terminal.wait(r"words words")
        for columns, rows in ((132, 40), (40, 6), (80, 24)):
            terminal.tmux("resize-window", "-t", "chat", "-x", str(columns), "-y", str(rows))
            terminal.wait(r"words")
            terminal.wait(r"^> *$")
        terminal.tmux("resize-window", "-t", "chat", "-x", "20", "-y", "4")
        terminal.wait(r"^the window is too")
        terminal.tmux("resize-window", "-t", "chat", "-x", "80", "-y", "24")
        terminal.wait(r"words words")

    def test_a_message_cannot_act_on_the_terminal(self):
        terminal = self.open(self.bob)
        terminal.wait(r"● bob")
        title = terminal.tmux("display-message", "-p", "-t", "chat", "#{pane_title}")
        self.alice.send(self.bob, "\x1b]0;owned\x07\x1b[2J\x1b[Hgotcha\x9b2J")
        terminal.wait(r"alice\S*\s+1")  # the conversation is there to go to
        terminal.keys("Tab")
        terminal.wait(r"gotcha")
        terminal.wait(r"● bob")  # the screen was not cleared
        self.assertEqual(terminal.tmux("display-message", "-p", "-t", "chat", "#{pane_title}"), title)

    def test_editing_the_line(self):
        self.alice.send(self.bob, "hi")
        terminal = self.open(self.bob)
        terminal.wait(r"alice.*: hi")
        terminal.tmux("send-keys", "-t", "chat", "-l", "one two 中文x")
        terminal.keys("BSpace", "Left", "Left", "C-w", "Home", "Delete", "O")
        terminal.wait(r"^> One 中文")
        terminal.keys("C-e", "C-u")
        terminal.wait(r"^>\s*$")

    def test_offline_and_back(self):
        if not server.is_own:
            self.skipTest("the server is not ours to restart")
        self.alice.send(self.bob, "before")
        terminal = self.open(self.bob)
        terminal.wait(r"before")
        server.kill()
        terminal.wait(r"○ offline")
        terminal.say("written while offline")
        terminal.wait(r"….*written while offline")
        server.start()
        terminal.wait(r"● bob")
        terminal.wait(r"\d\d:\d\d bob.*written while offline")
        texts = [event["message"]["text"] for event in self.alice.tail(3, "--since", "0") if "message" in event]
        self.assertEqual(texts.count("written while offline"), 1)
        self.alice.send(self.bob, "after")
        terminal.wait(r"after")


if __name__ == "__main__":
    test_lines.main()
