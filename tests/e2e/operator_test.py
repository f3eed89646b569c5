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


checks.run()
