#!/usr/bin/env python3
"""tests/documents_test.py - what the documents say in figures and names is what the binary and the sources say. `make docs-check` runs it.

  every file that is linked is there, and every heading of a link within the documents
  every `make` target that is named is one
  every name in backticks that looks like an option, a metric or a reason is one
  every "`option` (value" gives the option's default
  formats of the data directory, exit codes
"""
import os
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[1]
BINARY = pathlib.Path(os.environ.get("RINGPOST_BIN", TOP / "build/plain/ringpost")).absolute()
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
OPTION_ENDINGS = ("_max", "_timeout", "_interval", "_size", "_ttl", "_file", "_per_second", "_burst", "_origins", "_threads", "_entries", "_dir", "_level")


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=TOP).stdout


def defaults():
    table = run(BINARY, "config", "options")
    return {name: value for name, value in re.findall(r"^\| `(\w+)` \| (.*?) \| ", table, re.MULTILINE)}


def sources():
    return "\n".join(path.read_text() for path in (TOP / "src").rglob("*.[ch]")) + (TOP / "schemas/ringpost/v1/ringpost.proto").read_text()


def plain(value):
    """"256 KiB" and "256KiB", "10,000" and "10k" are the same."""
    value = value.strip().replace(" ", "").replace(",", "")
    number = re.fullmatch(r"(\d+)([kM]?)", value)
    if number:
        return str(int(number.group(1)) * {"": 1, "k": 1000, "M": 1000000}[number.group(2)])
    words = {"minutes": "m", "minute": "m", "seconds": "s", "days": "d", "hours": "h", "hour": "h"}
    return re.sub("|".join(words), lambda match: words[match.group()], value)


def anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def check_links(page, text):
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, part = target.partition("#")
        path = (page.parent / name) if name else page
        if not path.exists():
            yield f"the link {target} leads nowhere"
        elif part and path.suffix == ".md" and part not in {anchor(heading) for heading in re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)}:
            yield f"the link {target} has no such heading"


def check_targets(page, text):
    known = set(re.findall(r"^([\w-]+):", makefiles(), re.MULTILINE))
    for target in set(re.findall(r"`make ([a-z][\w-]*)(?![\w.-])", text)):
        if target not in known and not re.fullmatch(r"test-\w+", target):
            yield f"there is no target {target}"


def makefiles():
    text = "\n".join(path.read_text() for path in [TOP / "Makefile", *(TOP / "mk").glob("*.mk")])
    phony = " ".join(re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)).split()
    return "\n".join(f"{name}:" for name in phony)


def check_names(page, text, options, source):
    for name in set(re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)(?:`| = )", text)):
        if name in options or re.search(rf"\b{name}\b", source):
            continue
        if name.startswith("ringpost_"):
            bare = re.sub(r"_(total|seconds|bytes)$", "", name.removeprefix("ringpost_"))
            if re.search(rf"\b{bare}\w*\b", source):
                continue
        if name.endswith(OPTION_ENDINGS) or name.startswith("ringpost_"):
            yield f"`{name}` is neither an option nor anything in the sources"


def check_defaults(page, text, options):
    if page.name == "options.md":
        return
    for name, value in re.findall(r"`(\w+)` \((?:default )?(\d[\d,]*(?: ?[kM]\b| ?[KMG]iB| ?(?:ms|us|s|m|h|d|minutes?|seconds|hours?|days)\b)?)", text):
        if name in options and plain(value) != plain(options[name]):
            yield f"`{name}` ({value}): its default is {options[name]}"


def check_formats(page, text):
    header = (TOP / "src/storage/datadir.h").read_text()
    newest, oldest = (int(re.search(rf"#define {name} (\d+)", header).group(1)) for name in ("DATADIR_FORMAT", "DATADIR_FORMAT_OLDEST"))
    for said in re.findall(r"reads formats (\d+ to \d+)", text):
        if said != f"{oldest} to {newest}":
            yield f"it reads formats {oldest} to {newest}, not {said}"
    for said in re.findall(r"version of the directory's format, which is (\d+)", text):
        if int(said) != newest:
            yield f"the format is {newest}, not {said}"


def check_exit_codes(page, text):
    known = dict(re.findall(r"^  (\d+)  (.+)$", run(BINARY, "--help").split("Exit codes:")[1], re.MULTILINE))
    table = re.search(r"\| Exit code \| Means \|\n\| --- \| --- \|\n((?:\|.*\n)+)", text)
    for code in re.findall(r"^\| (\d+) \|", table.group(1), re.MULTILINE) if table else []:
        if code not in known:
            yield f"there is no exit code {code}"


def main():
    options, source, faults = defaults(), sources(), []
    for page in PAGES:
        text = page.read_text()
        found = [*check_links(page, text), *check_targets(page, text), *check_names(page, text, options, source),
                 *check_defaults(page, text, options), *check_formats(page, text), *check_exit_codes(page, text)]
        faults += [f"{page.relative_to(TOP)}: {fault}" for fault in found]
    for fault in faults:
        print(f"not ok docs: {fault}")
    if not faults:
        print(f"ok docs: names, figures and links of {len(PAGES)} pages are those of the binary")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
