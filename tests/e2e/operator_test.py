#!/usr/bin/python3
"""tests/e2e/operator_test.py - what somebody who runs the server is told: its version, what of the environment, the file and the machine
it takes, changes or refuses, that `config check` says the same as `serve`, and that what it names as a remedy helps.
"""
import asyncio
import json
import os
import pathlib
import pwd
import re
import resource
import shutil
import subprocess

from harness import (BINARY, LOCALHOST, TOP, Checks, Closed, Person, Refused, Server, WebSocketBinary, clean_environment, die_with_parent, eventually, new_directory,
                     pb, wait_for)

checks = Checks()


# ---- the version -------------------------------------------------------------------------------------------------------------

def git(tree, *arguments):
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@example.com", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, "-C", tree, *arguments], check=True, capture_output=True)


def version_of(tree):
    return subprocess.run([TOP / "tools/version.sh"], cwd=tree, capture_output=True, text=True, check=True).stdout.strip()


@checks
def the_version_is_told_by_git_and_without_it_by_a_file():
    if shutil.which("git") is None:
        print("# no git here: left out")
        return
    tree = new_directory("tree")
    tree.mkdir()
    (tree / "VERSION").write_text("0.1.0\n")
    assert version_of(tree) == "0.1.0", "an archive"
    git(tree, "init")
    git(tree, "add", "VERSION")
    git(tree, "commit", "-m", "one")
    assert re.fullmatch(r"0\.1\.0\+g[0-9a-f]{7,}", version_of(tree)), version_of(tree)
    git(tree, "tag", "v0.2.0")
    assert version_of(tree) == "0.2.0", "a release, whatever the file says"
    (tree / "VERSION").write_text("0.2.0\n")
    assert version_of(tree) == "0.2.0+dirty"
    git(tree, "commit", "-a", "-m", "two")
    assert re.fullmatch(r"0\.2\.0\+1\.g[0-9a-f]{7,}", version_of(tree)), version_of(tree)
    (tree / "VERSION").write_text("0.3.0\n")
    assert re.fullmatch(r"0\.2\.0\+1\.g[0-9a-f]{7,}\.dirty", version_of(tree)), version_of(tree)
    below = tree / "below"
    below.mkdir()
    (below / "VERSION").write_text("0.1.0\n")
    assert version_of(below) == "0.1.0", "an archive below another repository is none of its commits"


@checks
def the_binary_and_its_pages_say_the_same_version():
    said = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.fullmatch(r"ringpost (\S+)\n", said).group(1)
    server = Server(shards=1).start()
    assert json.loads(server.get("/version")[1])["version"] == version
    assert json.loads(server.get("/openapi.json")[1])["info"]["version"] == version
    assert f"Ringpost {version} is serving" in server.output()
    server.stop()


# ---- what is taken and what is refused ----------------------------------------------------------------------------------------

def check(*arguments, environment=None, before=None):
    """`config check`: its exit code and what it says on stderr."""
    run = subprocess.run([BINARY, "config", "check", *arguments], capture_output=True, text=True, check=False, preexec_fn=before,
                         env=clean_environment() | (environment or {}))
    return run.returncode, run.stderr


def with_file(content):
    path = new_directory("config")
    path.write_text(content)
    return path


@checks
def what_an_orchestrator_injects_is_ignored_with_one_warning_and_a_mistyped_option_refuses():
    injected = {"RINGPOST_SERVICE_HOST": "10.0.0.11", "RINGPOST_SERVICE_PORT": "7800", "RINGPOST_PORT": "tcp://10.0.0.11:7800",
                "RINGPOST_PORT_7800_TCP": "tcp://10.0.0.11:7800", "RINGPOST_PORT_7800_TCP_PROTO": "tcp",
                "RINGPOST_PORT_7800_TCP_PORT": "7800", "RINGPOST_PORT_7800_TCP_ADDR": "10.0.0.11"}
    code, said = check(environment=injected)
    assert code == 0 and said.count("RINGPOST_") == 1 and "7 environment variables" in said, (code, said)
    server = Server(shards=1)
    server.start(environment=injected)
    warned = [line for line in server.log_lines() if "level=warn" in line and "module=config" in line]
    assert len(warned) == 1 and "7 environment variables" in warned[0], server.log_lines()
    server.stop()
    code, said = check(environment=injected | {"RINGPOST_PORT": "7800"})
    assert code == 2 and "RINGPOST_PORT: there is no such option" in said, (code, said)


@checks
def a_flag_is_no_other_flags_value_and_nothing_is_given_twice():
    for arguments, says in ((["--data-dir", "--listen", "127.0.0.1:0"], "--data-dir needs a value"), (["--workers"], "--workers needs a value"),
                            (["--config", "a", "--config", "b"], "--config was given already"), (["--workers", "1", "--workers=2"], "already")):
        serve = subprocess.run([BINARY, "serve", *arguments], capture_output=True, text=True, check=False, env=clean_environment())
        assert serve.returncode == 2 and says in serve.stderr, serve
        code, said = check(*arguments)
        assert code == 2 and says in said, (code, said)


@checks
def a_comment_behind_a_value_is_none_of_it_and_what_a_shell_would_replace_is_refused():
    path = with_file("data_dir = /srv/rp # the fast disk\nlisten = 127.0.0.1:7801 ; another port\nworkers = 3\t# cores\n")
    shown = subprocess.run([BINARY, "config", "show", "--config", path], capture_output=True, text=True, check=True, env=clean_environment()).stdout
    for line in ("data_dir = /srv/rp ; file, line 1", "listen = 127.0.0.1:7801 ; file, line 2", "workers = 3 ; file, line 3"):
        assert f"\n{line}\n" in shown, line
    for content, says in (("data_dir = ${STATE_DIRECTORY}/rp\n", "not replaced"), ("data_dir = ~/rp\n", "whole path"),
                          ('data_dir = "/srv/rp"\n', "quotes"), ("listen = 127.0.0.1:99999\n", "no port from 0 to 65535"),
                          ("allowed_origins = https://a.example\n  log_level = debug\n", "begin it without a blank to set log_level")):
        code, said = check("--config", with_file(content))
        assert code == 2 and says in said, (content, said)
        serve = subprocess.run([BINARY, "serve", "--config", with_file(content)], capture_output=True, text=True, check=False,
                               env=clean_environment())
        assert serve.returncode == 2 and says in serve.stderr, serve


# ---- hints ---------------------------------------------------------------------------------------------------------------------

@checks
def the_first_line_names_the_server_that_it_is_about():
    for listen, environment in ((f"{LOCALHOST}:0", {}), ("0.0.0.0:0", {}), ("[::1]:0", {})):
        server = Server(shards=1)
        server.launch(listen=listen)
        line = wait_for("the first line", server.output)
        hint = re.search(r"run `(\S+) chat --server (\S+)`", line)
        assert hint and hint.group(1) == str(BINARY), line
        assert f"http://{hint.group(2)}/" in line and not hint.group(2).startswith("0.0.0.0"), line
        answer = subprocess.run([BINARY, "tail", "--server", hint.group(2)], capture_output=True, text=True, check=False,
                                env=clean_environment() | {"HOME": str(server.directory)})
        assert answer.returncode == 3 and f"ringpost user login NAME --server {hint.group(2)}" in answer.stderr, answer
        server.kill()


@checks
def the_tour_of_the_readme_works_as_it_stands():
    server = Server(shards=2).start()
    text = (TOP / "README.md").read_text()
    steps = [re.search(rf"\*\*With {name}\*\*[\s\S]*?\n\n((?:    .*\n|\n)+)", text).group(1) for name in ("curl", "MQTT")]
    script = "\n".join(line.strip() for line in "".join(steps).splitlines()).replace("7800", str(server.port)).replace("curl ", "curl -sS ")
    tour = subprocess.run(["bash", "-eu", "-c", script + "\nwait\n"], capture_output=True, text=True, timeout=60, check=False, cwd=server.directory)
    assert tour.returncode == 0 and "error" not in tour.stdout, tour
    assert tour.stdout.rstrip().endswith("hello"), tour.stdout
    token = json.loads((server.directory / "login.json").read_text())["access_token"]
    wait_for("the message in carol's stream, which may be another shard's",
             lambda: '"body":"SGVsbG8="' in server.get("/v1/chat/sync?sync_key=0", {"Authorization": f"Bearer {token}"})[1])
    server.stop()


# ---- the machine ------------------------------------------------------------------------------------------------------------

NOBODY = pwd.getpwnam("nobody")
KIB, MIB = 1 << 10, 1 << 20
LOCKED, FILES, SPACE, FILE_SIZE = resource.RLIMIT_MEMLOCK, resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_FSIZE


def nobody_may_run_it():
    may = os.geteuid() == 0 and all(directory.stat().st_mode & 0o001 for directory in [BINARY, *BINARY.parents])
    if not may:
        print("# not root, or the binary is not open to others: left out")
    return may


def kernel_is_new_enough():
    """Sockets in tables, and rings that count as locked memory: what the cases below are about."""
    new = tuple(int(part) for part in re.match(r"(\d+)\.(\d+)", os.uname().release).groups()) >= (6, 13)
    new = new and check("--shards=1", before=as_nobody(LOCKED=64 * KIB, FILES=20000))[0] != 0
    if not new:
        print("# this kernel counts sockets as files or rings as nothing: left out")
    return new


def as_nobody(**limits):
    """For the child: an ordinary user with these limits, which it cannot raise."""
    def become():
        for name, value in limits.items():
            resource.setrlimit(globals()[name], (value, value))
        os.setgroups([])
        os.setgid(NOBODY.pw_gid)
        os.setuid(NOBODY.pw_uid)
        die_with_parent()
    return become


def of_nobody(**options):
    """A server in a directory that belongs to nobody; as small as it goes, but for what a test asks for."""
    server = Server(**options)
    server.small = {"segment_size": "1MiB", "log_pending_max": "512KiB", "dedup_entries": 1024}
    for directory in (server.directory.parent, server.directory):
        directory.chmod(0o755)
    home = server.directory / "home"
    home.mkdir()
    os.chown(home, NOBODY.pw_uid, -1)
    server.data_dir = home / "data"
    return server


def starts(server, before):
    """Whether it serves; what it warned of, or its last line."""
    server.launch(before=before)
    wait_for("an outcome", lambda: "is serving" in server.output() or server.process.poll() is not None)
    warned = [line for line in server.log_lines() if "level=warn" in line and "module=host" in line]
    if "is serving" not in server.output():
        server.ended()
        return False, [*warned, server.log_lines()[-1].removeprefix("ringpost serve: ")]
    server.port = int(re.search(r":(\d+)/", server.output()).group(1))
    assert server.get("/readyz")[0] == 200
    server.stop()
    server.port = 0
    return True, warned


def agree(server, **limits):
    """`serve` and `config check` under the same limits; what they say. It is the same."""
    before = as_nobody(**limits)
    code, said = check(*server.command()[2:], before=before)
    served, lines = starts(server, before)
    assert served == (code == 0), (code, said, lines)
    told = said.splitlines()
    assert len(told) == len(lines), (told, lines)
    for one, other in zip(told, lines):
        words = one.removeprefix("ringpost: ")
        assert words[:150].replace('"', "") in other.replace("\\", "").replace('"', ""), f"{words}\n{other}"
    return served, said


@checks
def check_and_serve_judge_the_machine_alike():
    if not nobody_may_run_it() or not kernel_is_new_enough():
        return
    cases = [  # options, limits, does it serve, what is said
        ({"shards": 2}, {"LOCKED": 8 * MIB, "FILES": 20000}, True, ""),
        ({"shards": 1}, {"LOCKED": 8 * MIB, "FILES": 256}, False, "open-file limit of 256 is too small: 1024 are needed"),
        ({"shards": 1, "direct_descriptors": "false"}, {"LOCKED": 8 * MIB, "FILES": 4096}, True, "connections_max is 3072: the open-file limit"),
        ({"shards": 1, "direct_descriptors": "false", "connections_max": 5000}, {"LOCKED": 8 * MIB, "FILES": 1024}, False, "6024 are needed"),
        ({"shards": 1}, {"LOCKED": 64 * KIB, "FILES": 20000}, False, "the locked-memory limit of 64 KiB"),
        ({"shards": 1, "connections_max": 1000}, {"LOCKED": 450 * KIB, "FILES": 20000}, True, "ring_entries is 2048 instead of 4096"),
        ({"shards": 1, "workers": 1}, {"LOCKED": 1024 * KIB, "FILES": 20000}, True, "connections_max is 56864: the locked-memory limit of 1024 KiB"),
        ({"shards": 1, "connections_max": 200000}, {"LOCKED": 1024 * KIB, "FILES": 20000}, False, "holds the tables of 56864 connections"),
        ({"shards": 1, "ring_entries": 4096}, {"LOCKED": 512 * KIB, "FILES": 20000}, False, "is too small for the rings of 1 workers"),
        ({"shards": 2, "workers": 8}, {"LOCKED": 8 * MIB, "FILES": 20000}, True, "2 workers are run instead of 8"),
        ({"shards": 1}, {"LOCKED": 8 * MIB, "FILES": 20000, "SPACE": 256 * MIB}, False, "the address space is limited to 256 MiB"),
        ({"shards": 1}, {"LOCKED": 8 * MIB, "FILES": 20000, "SPACE": 1000 * MIB}, True, "the address space is limited to 1000 MiB"),
        ({"shards": 1}, {"LOCKED": 8 * MIB, "FILES": 20000, "FILE_SIZE": 512 * KIB}, False, "a segment of the log has 1024 KiB"),
        ({"shards": 1}, {"LOCKED": 8 * MIB, "FILES": 20000, "FILE_SIZE": 64 * MIB}, True, "files of the store may become larger"),
    ]
    for options, limits, serves, says in cases:
        served, said = agree(of_nobody(**options), **limits)
        assert served == serves and says in said and (says or not said), (options, limits, said)


@checks
def many_workers_of_an_ordinary_user_share_eight_mebibytes():
    if not nobody_may_run_it() or not kernel_is_new_enough():
        return
    server = of_nobody(shards=15, workers=15)
    served, said = agree(server, LOCKED=8 * MIB, FILES=20000)
    assert served and "ring_entries is 2048 instead of 4096" in said, said
    served, said = agree(of_nobody(shards=15, workers=15, ring_entries=4096), LOCKED=8 * MIB, FILES=20000)
    advised = re.search(r"or --workers (\d+)", said)
    assert not served and advised, said
    served, said = agree(of_nobody(shards=15, workers=advised.group(1), ring_entries=4096), LOCKED=8 * MIB, FILES=20000)
    assert served and "ring_entries" not in said, "the remedy helps"


def limit(server, **limits):
    for name, value in limits.items():
        subprocess.run(["prlimit", "--pid", str(server.process.pid), f"--{name}={value}:unlimited"], check=True)


@checks
async def a_file_size_that_is_limited_while_it_runs_is_a_full_disk():
    """SIGXFSZ ends nobody: what was under way waits, what comes is refused, reads go on, and all goes on when the limit is gone."""
    server = Server(shards=1, segment_size="1MiB", rate_messages_per_second=0, rate_requests_per_second=0).start()
    ann = await Person.register(server, WebSocketBinary)
    room = (await ann.call("create_room", name="Much")).room.room_id
    limit(server, fsize=64 * KIB)
    futures = []
    while not any(future.done() and future.result().HasField("error") for future in futures):
        futures.append(await ann.door.submit("send", room_id=room, client_msg_id=f"m{len(futures)}", kind=pb.CUSTOM, body=bytes(30000)))
        assert len(futures) < 200, "nothing was refused"
        await asyncio.wait(futures, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
    refused = [future.result().error.reason for future in futures if future.done() and future.result().HasField("error")]
    assert set(refused) <= {"disk_full", "server_busy"}, refused
    assert (await ann.call("user", user_id=ann.user_id)).user.user_id == ann.user_id, "reads go on"
    limit(server, fsize="unlimited")
    answers = [await asyncio.wait_for(future, 30) for future in futures]
    stored = [answer for answer in answers if not answer.HasField("error")]
    assert len(await ann.timeline(room)) == len(stored)
    await eventually("room for a message", lambda: taken(ann, room))
    server.stop()


async def taken(person, room):
    try:
        return await person.call("send", room_id=room, client_msg_id="after", body=b"x")
    except Refused:
        return None


@checks
async def an_address_space_that_is_exhausted_refuses_or_ends_in_a_sentence():
    server = Server(shards=1, memtable_size="64MiB", rate_messages_per_second=0, rate_requests_per_second=0).start()
    ann = await Person.register(server, WebSocketBinary)
    room = (await ann.call("create_room", name="Much")).room.room_id
    size = int(re.search(r"VmSize:\s+(\d+) kB", (pathlib.Path("/proc") / str(server.process.pid) / "status").read_text()).group(1))
    limit(server, **{"as": size * KIB + 8 * MIB})
    for number in range(2000):
        try:
            await ann.call("send", room_id=room, client_msg_id=f"m{number}", kind=pb.CUSTOM, body=os.urandom(30000))
        except Refused as refusal:
            assert refusal.reason == "server_busy", refusal
        except Closed:
            break
    if server.process.poll() is None and server.get("/healthz")[0] == 200:
        limit(server, **{"as": "unlimited"})
        server.stop()
        return
    code = await asyncio.to_thread(server.ended)
    last = pathlib.Path(server.err.name).read_text().splitlines()[-1]
    assert code == 1 and "out of memory" in last, (code, last)


checks.run()
