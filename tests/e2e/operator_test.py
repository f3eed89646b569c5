#!/usr/bin/python3
"""tests/e2e/operator_test.py - what somebody who runs the server is told: its version, what of the environment, the file and the machine
it takes, changes or refuses, that `config check` says the same as `serve`, and that what it names as a remedy helps.
"""
import json
import os
import re
import shutil
import subprocess

from harness import BINARY, LOCALHOST, TOP, Checks, Server, clean_environment, new_directory

checks = Checks()


# ---- the version -------------------------------------------------------------------------------------------------------------

def git(tree, *arguments):
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@example.com", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, "-C", tree, *arguments], check=True, capture_output=True)


def version_of(tree):
    return subprocess.run([TOP / "mk/version.sh"], cwd=tree, capture_output=True, text=True, check=True).stdout.strip()


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


checks.run()
