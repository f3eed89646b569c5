#!/usr/bin/python3
"""tests/e2e/clock_test.py - the machine's wall clock steps while the server runs and between its runs, and is set right again.

wall_clock.c gives the server another wall clock, which a file says; its monotonic clocks are the machine's.
"""
import asyncio
import pathlib
import subprocess
import time

from harness import Checks, Http, Person, Server, WebSocketJson, new_directory, refused, wait_for

SOURCE = pathlib.Path(__file__).with_name("wall_clock.c")
LIBRARY = new_directory("library") / "wall_clock.so"
HOLD_SECONDS = 2  # clock_step_hold, so that the test need not wait a minute
SKEW_SECONDS = 5
DAY = 86400

checks = Checks()


class Clock:
    """A server's wall clock: the machine's and so many seconds."""

    def __init__(self, server):
        self.server = server
        self.file = server.directory / "wall_clock"
        self.set(0)

    def set(self, seconds):
        other = self.file.with_suffix(".new")
        other.write_text(str(seconds))
        other.rename(self.file)  # never half a file

    def environment(self):
        return {"LD_PRELOAD": str(LIBRARY), "WALL_CLOCK_FILE": str(self.file)}

    def start(self, seconds=0):
        self.set(seconds)
        return self.server.start(environment=self.environment())

    def step(self, seconds, words):
        """Returns when the server has logged it so."""
        before = len(self.lines(words))
        self.set(seconds)
        wait_for(f"'{words}' in the log", lambda: len(self.lines(words)) > before)

    def lines(self, words):
        return [line for line in self.server.log_lines() if "module=clock" in line and words in line]


def metric(server, name):
    _, text = server.get("/metrics")
    text = text.decode() if isinstance(text, bytes) else text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + "{"))


def is_now(time_ms, ahead=0):
    return abs(time_ms / 1000 - time.time() - ahead) < SKEW_SECONDS + 5


@checks
async def a_month_ahead_for_a_moment_changes_nothing():
    server = Server(shards=2, workers=1, clock_step_hold=f"{10 * HOLD_SECONDS}s")
    clock = Clock(server)
    clock.start()
    ann, ben = [await Person.register(server, WebSocketJson) for _ in range(2)]
    clock.step(32 * DAY, "has stepped")
    assert is_now((await ann.send("during", to_user_id=ben.user_id)).time_ms)
    refreshed = await ann.call("refresh", refresh_token=ann.refresh_token)
    clock.step(0, "is back")
    assert metric(server, "ringpost_clock_steps_total") == 1 and metric(server, "ringpost_clock_steps_adopted_total") == 0
    assert is_now((await ann.send("after", to_user_id=ben.user_id)).time_ms)
    assert await ann.call("devices"), "the socket lives"
    refreshed = await ann.call("refresh", refresh_token=refreshed.refresh_token)

    await asyncio.to_thread(server.stop)
    clock.start(32 * DAY)  # and once more over a restart: there is nothing to compare the clock with
    web = await Http.open(server)
    await refused("token_expired", web.call("refresh", refresh_token=refreshed.refresh_token))
    await asyncio.to_thread(server.stop)
    clock.start()
    assert await (await Http.open(server)).call("refresh", refresh_token=refreshed.refresh_token), "judged by the right clock it is good"
    await asyncio.to_thread(server.stop)


@checks
async def a_clock_that_was_ahead_is_set_right():
    server = Server(shards=2, workers=1, clock_step_hold=f"{HOLD_SECONDS}s")
    clock = Clock(server)
    clock.start(DAY)
    ann, ben = [await Person.register(server, Http) for _ in range(2)]
    assert is_now((await ann.send("tomorrow", to_user_id=ben.user_id)).time_ms, ahead=DAY)
    old_token = ann.token
    await ann.call("logout")
    clock.step(0, "has held and is followed")
    assert metric(server, "ringpost_clock_steps_adopted_total") == 1

    web = await Http.open(server)
    web.token = old_token
    await refused("token_invalid", web.call("devices"))  # from the future now
    back = await Person.enter(web, ann.name, "first")
    assert await back.call("devices"), "logged out tomorrow, logged in today"
    sent = await back.send("today", to_user_id=ben.user_id)
    assert is_now(sent.time_ms), "the room's time does not stand still"
    assert metric(server, "ringpost_log_time_set_back_total") >= 1
    assert [message.seq for message in await back.timeline(sent.room_id)] == [1, 2], "the order is that of seq"
    socket = await WebSocketJson.open(server)
    assert await socket.call("auth", access_token=back.token)
    await socket.close()
    await asyncio.to_thread(server.stop)


LIBRARY.parent.mkdir()
subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", LIBRARY, SOURCE], check=True)
checks.run()
