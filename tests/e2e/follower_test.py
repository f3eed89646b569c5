#!/usr/bin/python3
"""tests/e2e/follower_test.py - `ringpost tail --all` and `ringpost follower` against the real server: what happens comes out once, in order and
without a hole, whichever side is killed; an unnamed tail leaves nothing behind; who falls too far behind is lost and rebuilt.
"""
import asyncio
import json
import os
import resource
import signal
import socket
import stat
import subprocess

from harness import BINARY, Checks, Person, Server, Tcp, clean_environment, die_with_parent, new_directory, operator_pb, wait_for

checks = Checks()

EXIT_OK, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_REFUSED = 0, 2, 4, 5
FAST = {"shards": 2, "workers": 2, "rate_messages_per_second": 0, "rate_requests_per_second": 0}


def ringpost(server, *arguments):
    return subprocess.run([BINARY, *arguments, "--data-dir", server.data_dir], capture_output=True, text=True, check=False,
                          env=clean_environment(), timeout=60)


def followers(server):
    """{name: {shard: state}}, and all that the status says."""
    run = ringpost(server, "follower", "status", "--json")
    assert run.returncode == EXIT_OK, run.stderr
    return {f["name"]: f for f in map(json.loads, run.stdout.splitlines())}


class Tail:
    """A child that prints what happens into a file, which several lives may go on with."""

    def __init__(self, server, *arguments, path=None):
        self.server = server
        self.path = path or new_directory("tail")
        self.arguments = arguments
        self.process = None

    def start(self):
        self.out = open(self.path, "a")
        self.err = open(f"{self.path}.err", "a")
        self.process = subprocess.Popen([BINARY, "tail", "--all", "--data-dir", self.server.data_dir, *self.arguments], stdout=self.out,
                                        stderr=self.err, stdin=subprocess.DEVNULL, env=clean_environment(), preexec_fn=die_with_parent)
        return self

    def follows(self):
        """Waits until the server knows it."""
        name = self.arguments[self.arguments.index("--name") + 1] if "--name" in self.arguments else None

        def known():
            return any(f["connected"] and (name is None or f["name"] == name) for f in followers(self.server).values())
        wait_for("the follower to be known", known)
        return self

    def entries(self):
        """Of whole lines; one that a kill cut off is printed again by the next life."""
        found = []
        with open(self.path) as file:
            for line in file.read().split("\n"):
                begin = line.rfind('{"id":')  # what the life before was in the middle of stands before it
                try:
                    found.append(json.loads(line[begin:] if begin > 0 else line))
                except ValueError:
                    continue
        return found

    def kill(self):
        self.process.kill()
        self.finish()

    def finish(self, seconds=60):
        code = self.process.wait(seconds)
        self.out.close()
        self.err.close()
        return code

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        return self.finish()

    def complaints(self):
        with open(f"{self.path}.err") as file:
            return file.read()


def once(entries):
    """Each entry once, in the order of its first time; a repeat says the same, and of a room what it is now."""
    seen = {}
    for entry in entries:
        told = {key: {name: field for name, field in value.items() if name != "room"} if isinstance(value, dict) else value
                for key, value in entry.items() if key != "position"}
        assert seen.setdefault(entry["id"], told) == told, (seen[entry["id"]], told)
    return list(seen.values())


def messages(entries):
    return [entry["message"] for entry in once(entries) if "message" in entry]


def in_order(entries):
    """The numbers of each shard ascend without a hole."""
    last = {}
    for entry in once(entries):
        if entry["rebuilt"]:
            continue
        shard, number = entry["id"].split("-")
        assert int(number) == last.get(shard, int(number) - 1) + 1, f"{entry['id']} comes behind {last.get(shard)}"
        last[shard] = int(number)


async def two_people(server):
    alice = await Person.register(server, Tcp)
    bob = await Person.register(server, Tcp)
    return alice, bob


async def say(person, to, words):
    await asyncio.gather(*(person.send(word, to_user_id=to.user_id) for word in words))


# ---- what comes out ----------------------------------------------------------------------------------------------------------

@checks
async def everything_that_happens_is_told():
    server = Server(**FAST).start()
    tail = Tail(server).start().follows()
    alice, bob = await two_people(server)
    room = (await alice.call("create_room", name="team", client_room_id="r", member_ids=[bob.user_id])).room
    await alice.send("hello", room_id=room.room_id)
    await alice.call("set_role", room_id=room.room_id, user_id=bob.user_id, role="ADMIN")
    await alice.call("update_room", room_id=room.room_id, name="crew")
    await bob.call("leave_room", room_id=room.room_id)
    await alice.call("dismiss_room", room_id=room.room_id)

    def kinds():
        return {kind for entry in tail.entries() for kind in entry}
    wanted = {"user_created", "device_added", "room_created", "member_joined", "message", "role_changed", "room_updated", "member_left",
              "room_dismissed"}
    wait_for("every kind of entry", lambda: wanted <= kinds())
    entries = tail.entries()
    in_order(entries)
    message = messages(entries)[0]
    assert message["text"] == "hello" and message["room_id"] == str(room.room_id), message
    users = {e["user_created"]["user"]["user_id"] for e in entries if "user_created" in e}
    assert {str(alice.user_id), str(bob.user_id)} <= users
    created = next(e["room_created"] for e in entries if "room_created" in e)
    assert created["actor_id"] == str(alice.user_id) and created["room_id"] == str(room.room_id)
    assert tail.stop() == EXIT_OK
    wait_for("nothing to be left behind", lambda: followers(server) == {})
    server.stop()


@checks
async def kinds_bodies_and_positions():
    server = Server(**FAST).start()
    keeper = Tail(server, "--name", "keeper").start().follows()
    alice, bob = await two_people(server)
    await say(alice, bob, ["one", "two", "three"])
    wait_for("three messages", lambda: len(messages(keeper.entries())) == 3)
    assert keeper.stop() == EXIT_OK
    begin = ",".join(f"{shard}:0" for shard in range(2))
    lost = ringpost(server, "tail", "--all", "--from", begin, "--no-follow")
    assert lost.returncode == EXIT_REFUSED and "position_not_kept" in lost.stderr, "all is acknowledged: nothing is kept"
    await say(alice, bob, ["four", "five"])
    position = keeper.entries()[-1]["position"]
    run = ringpost(server, "tail", "--all", "--from", position, "--no-follow", "--kind", "message", "--no-bodies")
    assert run.returncode == EXIT_OK, run.stderr
    told = [json.loads(line) for line in run.stdout.splitlines()]
    assert [int(entry["message"]["seq"]) for entry in told] == [4, 5] and all(entry["message"]["body"] == "" for entry in told), told
    for wrong in (["--kind", "massage"], ["--from", "0:1"], ["--from", "yesterday"], ["--name", "A b"]):
        run = ringpost(server, "tail", "--all", *wrong)
        assert run.returncode == EXIT_REFUSED and "bad_request" in run.stderr, (wrong, run.stderr)
    server.stop()


@checks
async def all_that_is_stored_is_told_from_the_start():
    server = Server(**FAST).start()
    alice, bob = await two_people(server)
    words = [f"word {i}" for i in range(40)]
    await say(alice, bob, words)
    run = ringpost(server, "tail", "--all", "--from", "start", "--no-follow")
    assert run.returncode == EXIT_OK, run.stderr
    told = [json.loads(line) for line in run.stdout.splitlines()]
    assert sorted(m["text"] for m in messages(told)) == sorted(words)
    assert [int(m["seq"]) for m in messages(told)] == list(range(1, 41))
    assert len({e["user_created"]["user"]["user_id"] for e in told if "user_created" in e}) == 2
    assert sum("member_joined" in e for e in told) == 2 and all(e["rebuilt"] for e in told)
    again = ringpost(server, "tail", "--all", "--from", "start", "--no-follow")
    assert {json.loads(line)["id"] for line in again.stdout.splitlines()} == {e["id"] for e in told}, "ids stay"
    wait_for("nothing to be left behind", lambda: followers(server) == {})
    server.stop()


# ---- crashes -----------------------------------------------------------------------------------------------------------------

@checks
async def whichever_side_is_killed_nothing_is_missing():
    server = Server(**FAST).start()
    tail = Tail(server, "--name", "export").start().follows()
    acknowledged = []
    for life in range(4):
        alice, bob = await two_people(server)
        for batch in range(6):
            words = [f"{life}.{batch}.{i}" for i in range(25)]
            await say(alice, bob, words)
            acknowledged += words
            if batch == 2 + life % 2:
                tail.kill()
                wait_for("the end to be known", lambda: not followers(server)["export"]["connected"])
                tail.start().follows()  # one that finds no server ends
        server.kill()
        server.start()

    def missing():
        return set(acknowledged) - {m["text"] for m in messages(tail.entries())}
    try:
        wait_for("every acknowledged message", lambda: not missing())
    except AssertionError as error:
        raise AssertionError(f"{error}; {len(missing())} are missing; the tail said: {tail.complaints()[-600:]}") from None
    entries = tail.entries()
    in_order(entries)
    told = [m["text"] for m in messages(entries)]
    assert sorted(told) == sorted(acknowledged), "each under one id"
    seqs = {}
    for m in messages(entries):
        assert int(m["seq"]) == seqs.get(m["room_id"], 0) + 1, m
        seqs[m["room_id"]] = int(m["seq"])
    tail.follows()  # the last server, too: else it would say that there was none
    assert tail.stop() == EXIT_OK
    wait_for("all to be acknowledged", lambda: all(s["backlog"] == "0" for s in followers(server)["export"]["shards"]))
    server.stop()


@checks
async def an_unnamed_one_ends_with_its_server_and_says_where_it_was():
    server = Server(**FAST).start()
    tail = Tail(server).start().follows()
    alice, bob = await two_people(server)
    await say(alice, bob, ["one"])
    wait_for("the message", lambda: messages(tail.entries()))
    server.kill()
    assert tail.finish() == EXIT_UNREACHABLE
    assert tail.entries()[-1]["position"] in tail.complaints()
    assert Tail(server).start().finish() == EXIT_UNREACHABLE
    server.start()
    wait_for("the start to forget it", lambda: followers(server) == {})
    server.stop()


# ---- lost and rebuilt --------------------------------------------------------------------------------------------------------

@checks
async def who_falls_too_far_behind_is_lost_and_can_be_rebuilt():
    server = Server(**FAST, follower_backlog_max=1000).start()
    tail = Tail(server, "--name", "slow").start().follows()
    alice, bob = await two_people(server)
    await say(alice, bob, ["told"])
    wait_for("the first message", lambda: messages(tail.entries()))
    tail.kill()
    words = [f"unheard {i}" for i in range(1200)]
    for at in range(0, len(words), 100):
        await say(alice, bob, words[at:at + 100])
    wait_for("it to be lost", lambda: any(s["state"] == "lost" for s in followers(server)["slow"]["shards"]))
    wait_for("the metric", lambda: server.metric("ringpost_followers_lost") >= 1)
    assert any("follower" in line and "name=slow" in line and "rebuild" in line for line in server.log_lines())
    tail.start()
    assert tail.finish() == EXIT_REFUSED and "follower_lost" in tail.complaints()
    await say(alice, bob, ["nobody is hindered"])
    assert ringpost(server, "follower", "rebuild", "nobody").returncode == EXIT_REFUSED
    assert ringpost(server, "follower", "rebuild", "slow").returncode == EXIT_OK
    tail.start().follows()
    refused = ringpost(server, "follower", "rebuild", "slow")
    assert refused.returncode == EXIT_REFUSED and "follower_in_use" in refused.stderr
    wanted = {"told", "nobody is hindered", *words}
    wait_for("everything", lambda: wanted <= {m["text"] for m in messages(tail.entries())})
    await say(alice, bob, ["and on"])
    wait_for("what comes behind it", lambda: "and on" in {m["text"] for m in messages(tail.entries())})
    assert tail.stop() == EXIT_OK
    wait_for("it to be free", lambda: not followers(server)["slow"]["connected"])
    assert ringpost(server, "follower", "remove", "slow").returncode == EXIT_OK
    assert followers(server) == {}
    server.stop()


# ---- the socket --------------------------------------------------------------------------------------------------------------

class Operator:
    """The operator's socket, frame by frame, for what `ringpost tail` never does."""

    def __init__(self, server):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(os.path.join(server.data_dir, "operator.sock"))
        self.socket.settimeout(30)
        self.taken = 0

    @staticmethod
    def frame(request):
        packed = request.SerializeToString()
        return len(packed).to_bytes(4, "big") + packed

    def put(self, *requests):
        self.socket.sendall(b"".join(map(self.frame, requests)))

    def take(self, size):
        """So many bytes, fewer at the end."""
        parts = []
        while size > 0 and (part := self.socket.recv(min(size, 1 << 16))):
            parts.append(part)
            size -= len(part)
            self.taken += len(part)
        return b"".join(parts)

    def answer(self):
        head = self.take(4)
        return operator_pb.OperatorResponse.FromString(self.take(int.from_bytes(head, "big"))) if head else None


def tail_request(**fields):
    return operator_pb.OperatorRequest(tail=operator_pb.TailRequest(**fields))


@checks
async def who_takes_slowly_costs_no_memory():
    server = Server(**FAST).start()
    alice, bob = await two_people(server)
    for _ in range(25):
        await say(alice, bob, ["x" * 32000] * 70)

    def resident():
        with open(f"/proc/{server.process.pid}/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    slow = Operator(server)
    slow.put(tail_request(**{"from": "start"}))
    slow.take(4 << 20)
    before = resident()
    while slow.taken < 50 << 20:
        slow.take(64 << 10)
        await asyncio.sleep(0.005)  # slower than pages come: there is always something queued
    assert resident() - before < 20 << 20, (before, resident())
    slow.socket.close()
    server.stop()


@checks
def a_second_request_ends_the_connection_and_leaves_nothing():
    server = Server(**FAST).start()
    for _ in range(20):  # more than there may be followers
        hasty = Operator(server)
        hasty.put(tail_request(), tail_request())
        refusal = hasty.answer()
        assert refusal.error.reason == "bad_request" and "one request at a time" in refusal.error.message, refusal
        assert hasty.answer() is None, "the connection is over"
        wait_for("nothing to be left behind", lambda: followers(server) == {})
    unknown = ringpost(server, "follower", "remove", ".3")
    assert unknown.returncode == EXIT_REFUSED and "unknown_follower" in unknown.stderr, unknown.stderr
    server.stop()


@checks
def only_its_owner_may_use_the_socket():
    server = Server(**FAST).start()
    path = server.data_dir / "operator.sock"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    server.stop()
    assert not path.exists()
    run = ringpost(server, "follower", "status")
    assert run.returncode == EXIT_UNREACHABLE and "no server" in run.stderr, run.stderr
    server.start()
    server.kill()
    assert path.exists(), "a kill leaves it behind"
    server.start()
    assert followers(server) == {}
    server.stop()


@checks
async def a_long_path_is_no_hindrance():
    directory = new_directory("a" * 120)
    directory.mkdir()
    server = Server(data_dir=directory / "data", **FAST)
    if len(str(directory / "data")) >= 160:
        print("# this machine's temporary directory is too long for an option: left out")
        return
    server.start()
    assert followers(server) == {}
    server.stop()


@checks
async def two_cannot_read_one_follower():
    server = Server(**FAST).start()
    first = Tail(server, "--name", "export").start().follows()
    second = Tail(server, "--name", "export").start()
    assert second.finish() == EXIT_REFUSED and "follower_in_use" in second.complaints()
    assert first.stop() == EXIT_OK
    wait_for("it to be free", lambda: not followers(server)["export"]["connected"])
    server.stop()


checks.run()
