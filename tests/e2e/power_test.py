#!/usr/bin/python3
"""tests/e2e/power_test.py - true power loss and full disks, on an ext4 image of its own.

Power loss: the file system is shut down under the running server (ioctl EXT4_IOC_SHUTDOWN, without flushing its journal), which is what a
disk sees when the plug is pulled: what was not synced is gone. The server has to end itself, since it cannot know what the disk holds; then
the image is mounted again and everything acknowledged has to be there. Full disk: writes are refused with disk_full, reads go on, and
after room was made writes go on too; also when the server was started on the full disk.
Needs root and loop devices; skipped otherwise. POWER_ROUNDS and POWER_SEED choose how long and which.
"""
import asyncio
import fcntl
import os
import random
import subprocess
import time

from harness import Checks, Http, Refused, Server, eventually, new_directory, refused, wait_for
from ledger import OPTIONS, Ledger

ROUNDS = int(os.environ.get("POWER_ROUNDS", 8))
SEED = int(os.environ.get("POWER_SEED", time.time_ns() % 2**32))
LIFE_SECONDS = (0.2, 1.5)
SHUTDOWN_IOCTL = 0x8004587D  # _IOR('X', 125, __u32)
SHUTDOWN_WITHOUT_FLUSH = 2
SHARDS = 4
FLUSH_INTERVAL_SECONDS = 1

checks = Checks()
choices = random.Random(SEED)


class Image:
    """An ext4 file system in a file."""

    mounted = []

    def __init__(self, size):
        self.path, self.directory = new_directory("image"), new_directory("mount")
        self.directory.mkdir()
        with open(self.path, "wb") as image:
            image.truncate(size)
        self.run("mkfs.ext4", "-q", "-m", "0", self.path)

    @staticmethod
    def run(*command):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{command}: {result.stderr}"

    def mount(self):
        self.run("mount", "-o", "loop", self.path, self.directory)
        Image.mounted.append(self)
        return self

    def unmount(self):
        """The kernel closes a ring's files a moment after its process has ended: until then the image is busy."""
        command = ["umount", self.directory]
        wait_for("the image to be unmounted", lambda: subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0)
        Image.mounted.remove(self)

    def pull_the_plug(self):
        directory = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, SHUTDOWN_IOCTL, SHUTDOWN_WITHOUT_FLUSH.to_bytes(4, "little"))
        finally:
            os.close(directory)

    def fill(self):
        """Leaves no free block."""
        with open(self.directory / "filler", "ab", buffering=0) as filler:
            for step in (1 << 20, 1 << 12):
                try:
                    while True:
                        filler.write(bytes(step))
                except OSError:
                    pass

    def make_room(self):
        (self.directory / "filler").unlink()

    @staticmethod
    def unmount_all():
        for image in list(Image.mounted):
            subprocess.run(["umount", "-l", image.directory], check=False)


def reason_to_skip():
    if os.geteuid() != 0:
        return "root is needed to mount an image"
    try:
        Image(8 << 20).mount().unmount()
    except (AssertionError, OSError) as error:
        return f"no image can be mounted here: {error}"
    return None


why = reason_to_skip()
if why:
    checks.skip_suite(why)


# ---- power loss --------------------------------------------------------------------------------------------------------------

image = Image(256 << 20)
server = Server(data_dir=image.directory / "data", shards=SHARDS, workers=2, **OPTIONS)
ledger = Ledger(choices)


async def one_round():
    image.mount()
    server.start()
    if not ledger.people:
        await ledger.found(server)
        await ledger.connect(server)
    else:
        await ledger.verify(server)
    talk = asyncio.create_task(ledger.load(server))
    await asyncio.sleep(choices.uniform(*LIFE_SECONDS))
    image.pull_the_plug()
    code = await asyncio.to_thread(server.ended)
    assert code != 0, "the server has to notice that its disk is gone"
    await talk
    image.unmount()


@checks
def nothing_acknowledged_is_lost_when_the_power_goes():
    print(f"# POWER_SEED={SEED} POWER_ROUNDS={ROUNDS}", flush=True)
    for _ in range(ROUNDS):
        asyncio.run(one_round())
    print(f"# after {ROUNDS} rounds: {ledger}", flush=True)
    assert len(ledger.acknowledged) > 20 * ROUNDS, "hardly anything was sent"


@checks
async def everything_is_still_there_at_the_end():
    image.mount()
    server.start()
    await ledger.verify(server, whole=True)
    await ledger.disconnect()
    await asyncio.to_thread(server.stop)
    image.unmount()


# ---- full disk -----------------------------------------------------------------------------------------------------------------

class FullDisk:
    """The story of a disk that fills up under a talk and is freed again."""

    def __init__(self):
        self.image = Image(64 << 20).mount()
        self.server = Server(data_dir=self.image.directory / "data", shards=2, workers=2, **OPTIONS).start()
        self.ledger = Ledger(choices)

    async def talk_until(self, condition):
        """Everybody acts until the condition holds, and all that was begun is answered."""
        stopping = asyncio.Event()
        talk = asyncio.create_task(self.ledger.load(self.server, stopping))

        async def reached():
            assert not talk.done(), f"the talk broke off: {await talk}"
            return condition()
        try:
            await eventually("the talk to get that far", reached)
        finally:
            stopping.set()
            await talk

    async def talk_more(self):
        wanted = len(self.ledger.acknowledged) + 200
        await self.talk_until(lambda: len(self.ledger.acknowledged) > wanted)

    async def recover(self):
        """Talks until everybody's own shard has written again: a full one looks for space once a second."""
        before = len(self.ledger.made)
        await self.talk_until(lambda: len({account for account, _ in list(self.ledger.made.values())[before:]}) == len(self.ledger.people))

    async def fill(self):
        """Until writes are refused, and then for long enough that the stores have met the full disk too."""
        self.image.fill()
        await self.talk_until(lambda: self.ledger.refusals > 0)
        flushes = time.monotonic() + 3 * FLUSH_INTERVAL_SECONDS
        await self.talk_until(lambda: time.monotonic() > flushes)

    async def check_refusals(self):
        """Over HTTP, where a refusal has a status."""
        account, room = self.ledger.people[0], self.ledger.small[0]
        web = await Http.open(self.server)
        web.token = account.access_token
        error = await refused("disk_full", web.call("send", room_id=room, client_msg_id="full", body=b"x"), 507)
        assert error.retryable and error.code == "RESOURCE_EXHAUSTED", error
        page = await web.call("history", room_id=room, limit=200)
        assert len(page.messages) == min(page.head_seq, 200) and page.head_seq > 0
        assert (await web.call("conversations")).conversations and (await web.call("sync", limit=10)).events
        assert self.server.get("/healthz")[0] == 200 and self.server.get("/readyz")[0] == 200
        assert self.server.metric("ringpost_log_refused_full_total") > 0
        await web.close()

    async def start_full(self):
        """A start that finds no block. RocksDB gives some back when it opens in vain, which a start may use: they are filled as well."""
        for _ in range(5):
            self.image.fill()
            run = (self.image.directory / "data" / "FORMAT").read_text()
            await asyncio.to_thread(self.server.start)
            if any("reads are served, writes are refused" in line for line in self.server.log_lines()):
                return run
            self.server.kill()
        raise AssertionError("no start found the disk full")

    async def check_start(self):
        """Without a byte to write a start serves what there is, as a server does that was running when the disk became full."""
        run = await self.start_full()
        await self.check_refusals()
        assert (self.image.directory / "data" / "FORMAT").read_text() == run, "the next run waits for room"

    async def check_opening(self):
        """It looks for room once a second; then the run begins and everything may be written."""
        async def opened():
            return any("there is room again: writes are served" in line for line in self.server.log_lines())
        await eventually("the server to take writes", opened)
        for account in self.ledger.people:  # the worker of each hears of it within a second
            await eventually("a login to be written", lambda account=account: self.is_connected(account))

    async def is_connected(self, account):
        try:
            await account.connect(self.server)
        except Refused as refusal:
            assert refusal.reason == "disk_full", refusal
            await account.connection.close()
            return False
        return True


@checks
async def a_full_disk_refuses_writes_while_reads_go_on_and_recovers_with_space():
    disk = FullDisk()
    await disk.ledger.found(disk.server)
    await disk.ledger.connect(disk.server)
    await disk.talk_more()
    await disk.fill()
    await disk.check_refusals()
    disk.image.make_room()
    await disk.recover()
    await disk.talk_more()
    await disk.ledger.disconnect()
    await disk.ledger.verify(disk.server, whole=True)
    await disk.talk_more()
    disk.server.kill()
    disk.server.start()
    await disk.ledger.verify(disk.server, whole=True)
    await disk.fill()
    disk.server.kill()
    await disk.check_start()
    await asyncio.to_thread(disk.server.stop)
    await disk.check_start()
    disk.image.make_room()
    await disk.check_opening()
    await disk.recover()
    await disk.talk_more()
    await disk.ledger.disconnect()
    await disk.ledger.verify(disk.server, whole=True)
    disk.server.kill()
    disk.server.start()
    await disk.ledger.verify(disk.server, whole=True)
    await disk.ledger.disconnect()
    await asyncio.to_thread(disk.server.stop)
    disk.image.unmount()


checks.run(Image.unmount_all)
