#!/usr/bin/python3
"""tests/e2e/refusal_test.py - start-ups that have to be refused, and what the server says then: what is wrong, where, and the remedy.

Options, data directories that are taken, foreign, of the future or damaged, ports that are taken, and machines that do not let the server
work: no io_uring (a seccomp filter, as containers have), too little locked memory, too few open files.
"""
import asyncio
import ctypes
import json
import os
import pathlib
import pwd
import re
import resource
import shutil
import socket
import struct
import subprocess

from harness import BINARY, LOCALHOST, Checks, Http, Person, Server, clean_environment, die_with_parent, new_directory, texts, wait_for

checks = Checks()
OPERATIONS = pathlib.Path(__file__).parents[2] / "docs" / "operations.md"
EXIT_FAILED, EXIT_USAGE, EXIT_CORRUPT = 1, 2, 6
BLOCK = 4096  # of a log


def refusal(server, expected, *patterns, **launching):
    """Starts it; it has to end with that code, and the last line of stderr to match every pattern."""
    options = launching.pop("options", {})
    run = subprocess.run(server.command(**options), capture_output=True, text=True, timeout=60,
                         env=clean_environment() | launching.pop("environment", {}), check=False,
                         preexec_fn=launching.pop("before", die_with_parent))
    last = (run.stderr.splitlines() or [""])[-1]
    assert run.returncode == expected, f"ended with {run.returncode}, not {expected}: {last}"
    assert "is serving" not in run.stdout, run.stdout
    assert last.startswith("ringpost serve: "), run.stderr[-500:]
    for pattern in patterns:
        assert re.search(pattern, last), f"{pattern} is not in: {last}"
    return last


def contents(directory):
    """Every file in it and what it holds."""
    return {str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None for path in directory.rglob("*")}


def verify(server, expected, *patterns):
    """`log verify` of its directory: it has to end with that code, to say what the patterns ask for, and to change nothing."""
    before = contents(server.data_dir)
    run = subprocess.run([BINARY, "log", "verify", server.data_dir], capture_output=True, text=True, timeout=60, env=clean_environment(), check=False)
    assert run.returncode == expected, f"ended with {run.returncode}, not {expected}: {run.stdout}{run.stderr}"
    for pattern in patterns:
        assert re.search(pattern, run.stdout + run.stderr), f"{pattern} is not in: {run.stdout}{run.stderr}"
    after = contents(server.data_dir)
    changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    assert not changed, f"it changed {changed}"
    return run.stdout + run.stderr


async def talk(server, count=30):
    """Two people and some messages; who to ask for them, and what was said."""
    ann, ben = [await Person.register(server, Http) for _ in range(2)]
    for number in range(count):
        sent = await ann.send(f"message {number}", to_user_id=ben.user_id)
    return ann.name, sent.room_id, [f"message {number}" for number in range(count)]


async def said(server, name, room_id):
    person = await Person.enter(await Http.open(server), name, "first")
    return texts(await person.timeline(room_id))


# ---- options ---------------------------------------------------------------------------------------------------------------

def with_file(content):
    path = new_directory("config")
    path.write_text(content)
    return path


@checks
def a_bad_configuration_file_is_refused_with_line_and_reason():
    cases = [
        ("listen = 127.0.0.1:0\nfanout_threshold = many\n", ":2: fanout_threshold", "not a number", "0 .. 1M"),
        ("# a comment\n\nnothing = 1\n", ":3: nothing", "no such option"),
        ("workers = 1\nworkers = 2\n", ":2: workers", "line 1|twice|already|said"),
        ("frame_size_max = 1\n", ":1: frame_size_max", "1KiB"),
        ("heartbeat_interval = 25\n", ":1: heartbeat_interval", "unit|25s"),
        ("[section]\nworkers = 1\n", ":1", "section"),
        ("log_level = loud\n", ":1: log_level", "info"),
        ("no equals sign\n", ":1"),
    ]
    for content, *patterns in cases:
        path = with_file(content)
        refusal(Server(config=path), EXIT_USAGE, re.escape(str(path)), *patterns)
        check = subprocess.run([BINARY, "config", "check", "--config", path], capture_output=True, text=True, env=clean_environment(), check=False)
        assert check.returncode == EXIT_USAGE and re.search(patterns[0], check.stderr), (content, check.stderr)
    refusal(Server(config="/nowhere/ringpost.conf"), EXIT_FAILED, "/nowhere/ringpost.conf", "No such file")


@checks
def unknown_and_bad_flags_and_variables_are_refused():
    refusal(Server(nothing=1), EXIT_USAGE, "--nothing", "no such option")
    refusal(Server(workers=-1), EXIT_USAGE, "--workers", "0 .. 256")
    refusal(Server(), EXIT_USAGE, "RINGPOST_NOTHING", "no such option", environment={"RINGPOST_NOTHING": "1"})
    refusal(Server(), EXIT_USAGE, "RINGPOST_SHARDS", "1024", environment={"RINGPOST_SHARDS": "9999"})
    refusal(Server(outbound_soft="1MiB", outbound_hard="512KiB"), EXIT_USAGE, "outbound_soft", "outbound_hard")
    large = {"body_size_max": "1MiB", "frame_size_max": "2MiB", "http_body_size_max": "2MiB", "outbound_hard": "4MiB",
             "log_pending_max": "2MiB"}
    refusal(Server(**large), EXIT_USAGE, "log_pending_max", "segment_size")
    large["log_pending_max"] = str(2**20)
    large["body_size_max"] = str(2**20 - 1)
    refusal(Server(**large), EXIT_USAGE, "body_size_max", "raise segment_size")
    check = subprocess.run([BINARY, "config", "check", "--segment-size=1MiB", *(f"--{name}={value}" for name, value in large.items())],
                           capture_output=True, text=True, env=clean_environment(), check=False)
    assert check.returncode == EXIT_USAGE and "segment_size" in check.stderr, check.stderr


# ---- the address -------------------------------------------------------------------------------------------------------------

@checks
def an_address_that_cannot_be_had_is_refused_with_the_remedy():
    with socket.create_server((LOCALHOST, 0)) as taken:
        port = taken.getsockname()[1]
        server = Server()
        refusal(server, EXIT_FAILED, rf"{LOCALHOST}:{port} is in use", "Remedy", options={"listen": f"{LOCALHOST}:{port}"})
        assert not server.data_dir.exists(), "a start that cannot be makes no data directory"
    running = Server(shards=1).start()
    refusal(Server(), EXIT_FAILED, "is in use", "Remedy", options={"listen": f"{LOCALHOST}:{running.port}"})
    assert running.get("/healthz")[0] == 200, "the one that runs did not notice"
    running.stop()
    refusal(Server(listen="nonsense"), EXIT_USAGE, 'listen: "nonsense" is not host:port', "Remedy")
    elsewhere = Server(listen="192.0.2.1:7800")
    refusal(elsewhere, EXIT_FAILED, "not an address of this machine", "Remedy")
    assert not elsewhere.data_dir.exists()


# ---- the data directory --------------------------------------------------------------------------------------------------------

@checks
async def a_second_server_on_the_same_data_is_refused():
    first = Server(shards=2).start()
    name, room_id, messages = await talk(first, 3)
    await asyncio.to_thread(refusal, Server(data_dir=first.data_dir), EXIT_FAILED, re.escape(str(first.data_dir)),
                            f"another process \\(pid {first.process.pid}\\)")
    assert await said(first, name, room_id) == messages, "the first one did not notice"
    first.stop()


@checks
def another_number_of_shards_is_refused():
    server = Server(shards=2).start()
    server.stop()
    refusal(Server(data_dir=server.data_dir, shards=4), EXIT_FAILED, "made with 2 shards, 4 were asked", "ask for 2 or for none")
    assert Server(data_dir=server.data_dir).start(workers=1).stop() is None, "none asked: as it is"


@checks
def a_directory_that_is_not_ours_is_refused_and_left_alone():
    server = Server()
    server.data_dir.mkdir()
    (server.data_dir / "thesis.txt").write_text("precious")
    refusal(server, EXIT_FAILED, "not a Ringpost directory", "thesis.txt")
    assert os.listdir(server.data_dir) == ["thesis.txt"]
    a_file = Server(data_dir=server.data_dir / "thesis.txt")
    refusal(a_file, EXIT_FAILED, "Not a directory")


@checks
def another_format_or_a_damaged_one_is_refused():
    server = Server(shards=1).start()
    server.stop()
    path, copy = server.data_dir / "FORMAT", server.data_dir / "FORMAT.copy"
    good = path.read_text()
    assert copy.read_text() == good
    ours = int(re.match(r"format=(\d+)\n", good).group(1))
    path.write_text(re.sub("mark=.*\nsum=.*\n", "", good.replace(f"format={ours}", "format=1")))  # which had no sum
    says = f"has format 1, this version reads formats 3 to {ours}; go on with the older version that wrote it"
    refusal(server, EXIT_FAILED, re.escape(str(server.data_dir)), says)
    assert says in OPERATIONS.read_text(), "docs/operations.md quotes the refusal"
    assert f"which is {ours}" in OPERATIONS.read_text(), "docs/operations.md names the format"
    for file in path, copy:
        file.write_text("rubbish\n")
    refusal(server, EXIT_CORRUPT, "FORMAT is damaged", "restore it from a backup")
    copy.write_text(good)
    server.start()
    server.stop()
    assert path.read_text() == copy.read_text() and "run=2" in path.read_text(), "one that is damaged is made again from the other"


# ---- the log -------------------------------------------------------------------------------------------------------------------

async def crashed_server():
    """Dead by kill -9 with everything in its log, nothing of it flushed to the store."""
    server = Server(shards=1, flush_interval="1h").start()
    name, room_id, messages = await talk(server)
    server.kill()
    return server, name, room_id, messages


def records(server):
    """Segment file and offset of each record of the one shard."""
    listing = subprocess.run([BINARY, "log", "inspect", "--json", server.data_dir], capture_output=True, text=True, check=True).stdout
    found = [json.loads(line) for line in listing.splitlines()]
    log = server.data_dir / "shard-0000" / "log"
    return [(log / f"{int(record['segment']):016x}.log", int(record["offset"])) for record in found if "offset" in record]


def flip(path, offset):
    with open(path, "r+b") as segment:
        segment.seek(offset)
        byte = segment.read(1)[0]
        segment.seek(offset)
        segment.write(bytes([byte ^ 0xFF]))


@checks
async def damage_in_the_middle_of_the_log_is_refused_with_its_position():
    server, name, room_id, messages = await crashed_server()
    places = records(server)
    for damaged in (2, len(places) // 2):
        segment, offset = places[damaged]
        flip(segment, offset + 33)  # in the record's body
        line = await asyncio.to_thread(refusal, server, EXIT_CORRUPT, re.escape(segment.name))
        position = int(re.search(r"offset (\d+)", line).group(1))
        assert position == offset, f"it is at {offset}: {line}"
        verify(server, EXIT_CORRUPT, str(offset))
        flip(segment, offset + 33)
    server.start()
    assert await said(server, name, room_id) == messages, "put right, it is all there"
    server.stop()


@checks
async def a_missing_segment_is_refused():
    server, *_ = await crashed_server()
    segment = records(server)[0][0]
    segment.rename(new_directory("segment"))
    await asyncio.to_thread(refusal, server, EXIT_CORRUPT, "index|segment")


@checks
async def newest_segments_that_are_missing_are_noticed_although_no_other_shard_knows_of_their_records():
    server = Server(shards=1, flush_interval="1h", rate_messages_per_second=0).start()
    name, room_id, _ = await talk(server, 5)
    ann, ben = [await Person.register(server, Http) for _ in range(2)]
    segments, note = server.data_dir / "shard-0000" / "log", server.data_dir / "shard-0000" / "SEGMENTS"
    while len(list(segments.glob("*.log"))) < 4:
        sent = await ann.send("x" * 30000, to_user_id=ben.user_id)
    wait_for("the newest segment to be noted", lambda: f"newest={len(list(segments.glob('*.log')))}\n" in note.read_text())
    server.kill()
    *older, newest = sorted(segments.glob("*.log"))
    kept = new_directory("kept")
    kept.mkdir()
    for segment in newest, older[-1], older[-2]:  # one more each time
        shutil.move(segment, kept)
        reason = f"segment {newest.name} is missing: it was made, and the log ends with segment "
        verify(server, EXIT_CORRUPT, reason)
        await asyncio.to_thread(refusal, server, EXIT_CORRUPT, "shard 0: " + reason, "put back what is missing", "restore the whole directory from a backup")
    for segment in list(kept.iterdir()):
        shutil.move(segment, segments)
    verify(server, 0, "directory: good")
    note.unlink()
    server.start()
    assert await said(server, ben.name, sent.room_id) is not None
    assert any("a loss of the newest segments would not be noticed" in line for line in server.log_lines()), "the start says so"
    assert note.exists(), "and notes it again"
    server.stop()


@checks
async def a_torn_tail_is_cut_and_everything_before_it_is_kept():
    server, name, room_id, messages = await crashed_server()
    segment, last = records(server)[-1]
    with open(segment, "r+b") as file:  # a seal, should the kill have come late
        file.seek((last // BLOCK + 1) * BLOCK)
        file.write(bytes(BLOCK))
    flip(segment, last + 33)  # as if the last batch had only half arrived on the disk
    verify(server, 0, "torn")
    server.start()
    assert await said(server, name, room_id) == messages[:-1]
    assert any("the tail is cut" in line and segment.name in line for line in server.log_lines()), "the start says so"
    server.stop()
    assert "torn" not in verify(server, 0), "cut for good"
    segment, last = records(server)[-1]
    flip(segment, last + 33)  # behind it stands the seal of the stop
    refusal(server, EXIT_CORRUPT, re.escape(segment.name), "written after it")
    verify(server, EXIT_CORRUPT)


@checks
async def a_missing_store_whose_log_is_whole_is_made_again():
    server, name, room_id, messages = await crashed_server()
    shutil.rmtree(server.data_dir / "shard-0000" / "store")
    verify(server, 0, "directory: good")
    server.start()
    assert await said(server, name, room_id) == messages, "the log alone is enough"
    server.stop()


# ---- the shards' directories -----------------------------------------------------------------------------------------------------

SHARDS = 4


async def crowd(server):
    """Two people at home on every shard."""
    homes = {number: [] for number in range(SHARDS)}
    while any(len(people) < 2 for people in homes.values()):
        person = await Person.register(server, Http)
        homes[person.user_id >> 48].append(person)
    return [person for people in homes.values() for person in people[:2]]


async def chatter(server, people):
    """A room of all of them, in which they speak, and conversations: streams between all shards. They come back if they were away."""
    people = [await Person.enter(await Http.open(server), person.name, "first") for person in people]
    for owner in people[::2]:
        room = (await owner.call("create_room", name="all", member_ids=[person.user_id for person in people if person != owner])).room
        for person in people:
            await owner.send("hello", to_user_id=person.user_id) if person != owner else await owner.send("hello", room_id=room.room_id)


def swap(one, other):
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


@checks
async def a_shard_that_is_missing_stale_foreign_or_copied_is_refused():
    server, other = Server(shards=SHARDS).start(), Server(shards=SHARDS).start()
    people = await crowd(server)
    await chatter(server, people)
    server.stop()
    other.stop()
    shard, sister = server.data_dir / "shard-0002", server.data_dir / "shard-0001"
    stale, kept = new_directory("stale"), new_directory("kept")
    shutil.copytree(shard, stale)
    verify(server, 0, "directory: good")
    server.start()
    await chatter(server, people)
    await asyncio.to_thread(verify, server, EXIT_FAILED, "directory: in use", "open in another process")
    server.kill()
    verify(server, 0, "directory: good")
    shard.rename(kept)

    def refused_then_back(*patterns):
        verify(server, EXIT_CORRUPT, "directory: corrupt", *patterns, "restore the whole directory from a backup")
        refusal(server, EXIT_CORRUPT, *patterns, "restore the whole directory from a backup")
        if shard.exists():
            shutil.rmtree(shard)

    refused_then_back("shard-0002 is missing")
    assert not shard.exists(), "nothing is made in its place"
    shutil.copytree(stale, shard)
    refused_then_back(r"shard-0002 is a copy from run 1 of the server, the last was run 2")
    shutil.copytree(other.data_dir / "shard-0002", shard)
    refused_then_back("shard-0002 belongs to another installation")
    shutil.copytree(sister, shard)
    refused_then_back("shard-0002 is the directory of shard 1, or a copy of it")
    shard.mkdir()
    refused_then_back("shard-0002 has no IDENTITY")
    kept.rename(shard)
    swap(shard, sister)
    refusal(server, EXIT_CORRUPT, "shard-0001 is the directory of shard 2")
    swap(shard, sister)
    server.start()
    await chatter(server, people)
    server.stop()


@checks
async def a_shard_whose_newest_part_is_missing_is_noticed_by_the_others():
    server = Server(shards=SHARDS).start()
    people = await crowd(server)
    await chatter(server, people)
    server.stop()
    older, newer = new_directory("older"), new_directory("newer")
    shutil.copytree(server.data_dir, older)
    server.start()
    await chatter(server, people)
    server.stop()
    shutil.copytree(server.data_dir, newer)
    for number in range(SHARDS):
        name = f"shard-{number:04}"
        for part in "log", "store":  # under the IDENTITY of today
            shutil.rmtree(server.data_dir / name / part)
            shutil.copytree(older / name / part, server.data_dir / name / part)
        reason = f"the newest part of {name} is missing: shard-000[^{number}] "
        verify(server, EXIT_CORRUPT, "directory: corrupt", reason, "restore the whole directory from a backup")
        refusal(server, EXIT_CORRUPT, reason, "restore the whole directory from a backup")
        shutil.rmtree(server.data_dir / name)
        shutil.copytree(newer / name, server.data_dir / name)
    shutil.rmtree(server.data_dir / "shard-0001" / "log")
    shutil.rmtree(server.data_dir / "shard-0001" / "store")
    verify(server, EXIT_CORRUPT, "shard 1: the log is missing")
    refusal(server, EXIT_CORRUPT, "shard 1: the log is missing")
    shutil.rmtree(server.data_dir)
    newer.rename(server.data_dir)
    server.start()
    await chatter(server, people)
    server.stop()


def make_older(directory):
    """As format 3 stood: no identities, no sums, nothing noted of segments."""
    lines = (directory / "FORMAT").read_text().splitlines()
    kept = [line for line in lines if line.startswith(("shards=", "id="))]
    (directory / "FORMAT").write_text("\n".join(["format=3", *kept]) + "\n")
    (directory / "FORMAT.copy").unlink()
    for path in [*directory.glob("shard-*/IDENTITY*"), *directory.glob("shard-*/SEGMENTS")]:
        path.unlink()


@checks
async def an_upgrade_that_is_refused_has_changed_nothing():
    server = Server(shards=SHARDS).start()
    people = await crowd(server)
    await chatter(server, people)
    server.stop()
    older = new_directory("older")
    shutil.copytree(server.data_dir / "shard-0001", older)
    server.start()
    await chatter(server, people)
    server.stop()
    make_older(server.data_dir)
    whole = new_directory("whole")
    shutil.copytree(server.data_dir, whole)
    for part in "log", "store":
        shutil.rmtree(server.data_dir / "shard-0001" / part)
        shutil.copytree(older / part, server.data_dir / "shard-0001" / part)
    before = contents(server.data_dir)
    refusal(server, EXIT_CORRUPT, "the newest part of shard-0001 is missing", "restore the whole directory from a backup")
    after = contents(server.data_dir)
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} <= {"LOCK"}, "LOCK names who had it open last"
    shutil.rmtree(server.data_dir)
    whole.rename(server.data_dir)
    server.start()
    assert (server.data_dir / "FORMAT").read_text().startswith("format=5\n")
    await chatter(server, people)
    server.stop()


# ---- the machine ---------------------------------------------------------------------------------------------------------------

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
IO_URING_SETUP, IO_URING_REGISTER = 425, 427
EPERM, ENOSYS = 1, 38


class Filter(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("code", ctypes.c_void_p)]


def forbid(system_call, errno):
    """For the child: from now on that system call fails. Load its number; if it is ours, an error, else allow."""
    program = b"".join(struct.pack("<HBBI", *instruction) for instruction in (
        (0x20, 0, 0, 0), (0x15, 0, 1, system_call), (0x06, 0, 0, 0x00050000 | errno), (0x06, 0, 0, 0x7FFF0000)))
    buffer = ctypes.create_string_buffer(program)
    libc = ctypes.CDLL(None)

    def install():
        die_with_parent()
        code = Filter(len(program) // 8, ctypes.addressof(buffer))
        if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(code), 0, 0):
            os._exit(99)
    return install


@checks
def forbidden_io_uring_is_refused_with_the_remedy():
    refusal(Server(shards=1), EXIT_FAILED, "io_uring is not permitted", "Remedy", "seccomp", before=forbid(IO_URING_SETUP, EPERM))
    refusal(Server(shards=1), EXIT_FAILED, "io_uring", "Remedy", "Linux 6.1", before=forbid(IO_URING_SETUP, ENOSYS))
    refusal(Server(shards=1), EXIT_FAILED, "io_uring_register", "Remedy", before=forbid(IO_URING_REGISTER, EPERM))
    check = subprocess.run([BINARY, "config", "check"], capture_output=True, text=True, env=clean_environment(), check=False,
                           preexec_fn=forbid(IO_URING_SETUP, EPERM))
    assert check.returncode == EXIT_FAILED and "Remedy" in check.stderr, check.stderr


def as_nobody(*limits):
    """For the child: an ordinary user with these limits, which it cannot raise."""
    user = pwd.getpwnam("nobody")

    def become():
        for limit, value in limits:
            resource.setrlimit(limit, (value, value))
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        die_with_parent()
    return become


def server_of_nobody(**options):
    server = Server(shards=1, **options)
    for directory in (server.directory.parent, server.directory):
        directory.chmod(0o755)
    home = server.directory / "home"
    home.mkdir()
    os.chown(home, pwd.getpwnam("nobody").pw_uid, -1)
    server.data_dir = home / "data"
    return server


def binary_is_open_to_all():
    """Whether `nobody` may run it where it stands."""
    return all(directory.stat().st_mode & 0o001 for directory in [BINARY, *BINARY.parents])


@checks
def too_low_limits_are_refused_with_the_remedy():
    if os.geteuid() != 0 or not binary_is_open_to_all():
        print("# not root, or the binary is not open to others: left out")
        return
    refusal(server_of_nobody(), EXIT_FAILED, "locked-memory limit of 64 KiB", "LimitMEMLOCK=", "ulimit -l",
            before=as_nobody((resource.RLIMIT_MEMLOCK, 64 << 10)))
    refusal(server_of_nobody(connections_max=5000, direct_descriptors="false"), EXIT_FAILED, "open-file limit of 1024 is too small",
            "LimitNOFILE=6024", "ulimit -n 6024", "or a smaller connections_max", before=as_nobody((resource.RLIMIT_NOFILE, 1024)))
    few = server_of_nobody()
    few.small = {name: value for name, value in Server.small.items() if name != "connections_max"}
    refusal(few, EXIT_FAILED, "open-file limit of 64 is too small", "LimitNOFILE=", "ulimit -n", before=as_nobody((resource.RLIMIT_NOFILE, 64)))


@checks
def a_directory_without_permission_is_refused():
    if os.geteuid() != 0 or not binary_is_open_to_all():
        print("# not root, or the binary is not open to others: left out")
        return
    server = Server(shards=1).start()
    server.stop()
    for directory in (server.directory.parent, server.directory):
        directory.chmod(0o755)
    refusal(server, EXIT_FAILED, re.escape(str(server.data_dir)), "Permission denied", before=as_nobody())
    assert pathlib.Path(server.data_dir / "keys").stat().st_mode & 0o077 == 0, "keys are for their owner only"


@checks
def a_token_key_that_is_none_is_refused_at_start_and_by_the_check():
    server = Server(shards=1).start()
    server.stop()
    key = server.data_dir / "keys" / "default"
    drawn = key.read_bytes()
    for content, mode, code, what in ((drawn, 0o644, EXIT_FAILED, "chmod 600"), (bytes(32), 0o600, EXIT_CORRUPT, "is no key"),
                                      (drawn[:31], 0o600, EXIT_CORRUPT, "fewer than 32 bytes")):
        key.write_bytes(content)
        key.chmod(mode)
        said_at_start = refusal(server, code, re.escape(str(key)), what).removeprefix("ringpost serve: ")
        check = subprocess.run([BINARY, "config", "check", f"--data-dir={server.data_dir}", "--connections-max=100"], capture_output=True,
                               text=True, env=clean_environment(), check=False)
        assert check.returncode == code and check.stderr == f"ringpost: {said_at_start}\n", (check.returncode, check.stderr)
        verify(server, *(EXIT_CORRUPT, what) if code == EXIT_CORRUPT else (0, "directory: good"))
    key.unlink()
    verify(server, 0, "directory: good")


checks.run()
