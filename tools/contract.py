#!/usr/bin/env python3
"""tools/contract.py - what C needs of the contract beyond protoc-c's structs, from schemas/ringpost/v1/*.proto and nothing else.

  contract.py generate OUT FILE...   writes into OUT, for each FILE `ringpost/v1/NAME.proto`:
      NAME.fields.h     the number of every field: FIELD_SEND_REQUEST_ROOM_ID
      NAME.comments.c   the comments, for the OpenAPI document (src/api/openapi_internal.h)
      NAME.methods.h    METHODS(X): one X(...) per method, where the file has a `Request` with `oneof method`
  contract.py handlers FOLDER FILE   checks that each method has one handle_NAME() below FOLDER, and that no other is there
  contract.py page FILE              prints docs/methods.md

It reads what our own .proto looks like and refuses everything else with its line: a comment block stands right above what it describes,
or behind it on the same line. A method is a field of Request.method; the comment above its request says the rest of it:

    // POST /v1/chat/typing: tells those who look at the room; never stored
    // @owner room(room_id)
    message TypingRequest {

  first line   POST: it may write.  GET: it only reads; over HTTP also POST.  SOCKET: it is about the socket itself, there is no HTTP.
  @owner       which shard works on it: a rule of OWNERS with the fields it reads (src/shard/domain/routes.h)
  @access      open: without a token.  Without this line: with a token
  @rate        message: counts as a message, not as a request.  Without this line a request; what is open is limited by address instead
"""
import json
import pathlib
import re
import sys

# Rules of routing, with the types of the fields that they read.
OWNERS = {"actor": [], "name": ["string"], "refresh": ["string"], "room": ["uint64"], "send": ["uint64", "uint64"],
          "user": ["string", "uint64"]}
OPEN_OWNERS = {"name", "refresh"}  # the others look at who asks
SCALARS = {"uint32", "uint64", "bool", "string", "bytes"}
ROUTE = re.compile(r"(POST|GET|SOCKET) (/v1/[a-z_]+/[a-z_]+): (?=\S)")
ANNOTATION = re.compile(r"@(\w+) (\w+)(?:\((\w+(?:, \w+)*)\))?$")


class Refused(Exception):
    pass


class Field:
    def __init__(self, line, name, number, type, repeated, oneof, comment):
        self.line, self.name, self.number, self.type = line, name, number, type
        self.repeated, self.oneof, self.comment = repeated, oneof, comment


class Type:
    """A message or an enum; `fields` of an enum are its values. `notes`: the lines of its comment that begin with @."""

    def __init__(self, line, kind, name, comment, notes):
        self.line, self.kind, self.name, self.comment, self.notes = line, kind, name, comment, notes
        self.fields = []

    def field(self, name):
        return next((field for field in self.fields if field.name == name), None)


class Contract:
    def __init__(self, path):
        self.path, self.comment, self.types, self.imports = path, "", {}, {}
        Parser(self).run()
        self.check_types()

    def refuse(self, line, text):
        raise Refused(f"{self.path}:{line}: {text}")

    def type(self, name):
        return self.types.get(name) or self.imports.get(name)

    def check_types(self):
        for type in self.types.values():
            for field in type.fields:
                if type.kind == "message" and field.type not in SCALARS and self.type(field.type) is None:
                    self.refuse(field.line, f"{type.name}.{field.name}: there is no type {field.type}")


class Parser:
    TYPE = re.compile(r"(message|enum) ([A-Z]\w*) \{(\})?$")
    ONEOF = re.compile(r"oneof ([a-z]\w*) \{$")
    FIELD = re.compile(r"(repeated )?(\w+) ([a-z]\w*) = (\d+);(?:\s*// (.*))?$")
    VALUE = re.compile(r"([A-Z]\w*) = (\d+);(?:\s*// (.*))?$")

    def __init__(self, contract):
        self.contract, self.above, self.notes, self.type, self.oneof = contract, [], [], None, None

    def run(self):
        for number, line in enumerate(self.contract.path.read_text().split("\n"), 1):
            self.number = number
            self.read(line.strip())
        if self.type is not None:
            self.refuse("the file ends within a message")

    def refuse(self, text):
        self.contract.refuse(self.number, text)

    def read(self, line):
        if line.startswith("// ----"):
            self.forget()
        elif line.startswith("//"):
            self.remember(line.removeprefix("//").strip())
        elif line == "":
            if self.notes:
                self.refuse("an annotation stands right above a message")
            self.forget()
        else:
            self.read_statement(line)
            self.forget()

    def forget(self):
        self.above, self.notes = [], []

    def remember(self, text):
        if text.startswith("@"):
            self.notes.append((self.number, text))
        elif self.notes:
            self.refuse("annotations come last in a comment")
        else:
            self.above.append(text)

    def read_statement(self, line):
        if self.notes and not line.startswith("message "):
            self.refuse("an annotation stands right above a message")
        if self.type is not None:
            self.read_member(line)
        elif line == 'syntax = "proto3";':
            self.contract.comment = " ".join(self.above)
        elif line.startswith("import "):
            self.read_import(line)
        elif not re.fullmatch(r"package [\w.]+;", line):
            self.read_type(line)

    def read_import(self, line):
        name = re.fullmatch(r'import "ringpost/v1/(\w+\.proto)";', line)
        if name is None:
            self.refuse("only files of ringpost/v1 can be imported")
        self.contract.imports |= Contract(self.contract.path.parent / name[1]).types

    def read_type(self, line):
        match = self.TYPE.fullmatch(line)
        if match is None:
            self.refuse(f"not understood: {line}")
        kind, name, ends = match.groups()
        if self.contract.type(name) is not None:
            self.refuse(f"{name} is there twice")
        self.contract.types[name] = Type(self.number, kind, name, " ".join(self.above), self.notes)
        self.type = None if ends else self.contract.types[name]

    def read_member(self, line):
        if line == "}":
            if self.oneof is not None:
                self.oneof = None
            else:
                self.type = None
        elif self.type.kind == "enum":
            value = self.VALUE.fullmatch(line) or self.refuse(f"not a value: {line}")
            self.add(value[1], int(value[2]), None, False, value[3])
        elif self.ONEOF.fullmatch(line) and self.oneof is None:
            self.oneof = self.ONEOF.fullmatch(line)[1]
        else:
            field = self.FIELD.fullmatch(line) or self.refuse(f"not a field: {line}")
            self.add(field[3], int(field[4]), field[2], field[1] is not None, field[5])

    def add(self, name, number, type, repeated, behind):
        for other in self.type.fields:
            if other.name == name or other.number == number:
                self.refuse(f"{self.type.name}: {name} = {number} is there twice")
        self.type.fields.append(Field(self.number, name, number, type, repeated, self.oneof, behind or " ".join(self.above)))


class Method:
    """A field of Request.method with all that is said of it."""

    def __init__(self, contract, field, answer):
        self.contract, self.name, self.number = contract, field.name, field.number
        stem = "".join(part.capitalize() for part in field.name.split("_"))
        self.line = field.line
        if field.type != stem + "Request":
            self.refuse(f"its request is {field.type}, not {stem}Request")
        if answer is None or answer.type != stem + "Response" or answer.number != field.number:
            self.refuse(f"Response.result has no {stem}Response {field.name} = {field.number}")
        self.request, self.response = contract.type(field.type), contract.type(answer.type)
        self.line = self.request.line
        route = ROUTE.match(self.request.comment)
        if route is None:
            self.refuse("its comment does not begin with a route, such as `// POST /v1/chat/send: what it does`")
        self.verb, self.path = route[1], route[2]
        self.text = self.request.comment[route.end():]
        self.read_notes()
        self.is_page = self.response.field("has_more") is not None

    def refuse(self, text):
        self.contract.refuse(self.line, f"method {self.name}: {text}")

    def read_notes(self):
        said = {}
        for self.line, text in self.request.notes:
            note = ANNOTATION.fullmatch(text) or self.refuse(f"not an annotation: {text}")
            if note[1] not in ("owner", "access", "rate"):
                self.refuse(f"there is no annotation @{note[1]}")
            if note[1] in said:
                self.refuse(f"@{note[1]} is there twice")
            said[note[1]] = (note[2], note[3].split(", ") if note[3] else [])
        self.line = self.request.line
        if "owner" not in said:
            self.refuse("@owner is missing: which shard works on it?")
        self.owner, names = said["owner"]
        self.access = self.choose(said, "access", "socket" if self.verb == "SOCKET" else "user", ["open"])
        self.rate = self.choose(said, "rate", "none" if self.access == "open" else "request", ["message"])
        self.check_owner(names)

    def choose(self, said, name, default, others):
        value, fields = said.get(name, (None, []))
        if value is None:
            return default
        if value not in others or fields:
            self.refuse(f"@{name} can only be {' or '.join(others)}; {default} needs no annotation")
        if self.access_is_fixed(name):
            self.refuse(f"@{name} contradicts {'SOCKET' if self.verb == 'SOCKET' else '@access open'}")
        return value

    def access_is_fixed(self, name):
        return self.verb == "SOCKET" if name == "access" else self.access == "open"

    def check_owner(self, names):
        types = OWNERS.get(self.owner)
        if types is None:
            self.refuse(f"there is no rule {self.owner}, only {', '.join(sorted(OWNERS))}")
        if len(names) != len(types):
            self.refuse(f"@owner {self.owner} reads {len(types)} field{'' if len(types) == 1 else 's'}, not {len(names)}")
        if self.access == "open" and self.owner not in OPEN_OWNERS:
            self.refuse(f"@owner {self.owner} looks at who asks, and nobody does with @access open")
        self.owner_fields = []
        for name, type in zip(names, types):
            field = self.request.field(name) or self.refuse(f"{self.request.name} has no field {name}")
            if field.type != type or field.repeated:
                self.refuse(f"@owner {self.owner} reads a {type}, and {name} is none")
            self.owner_fields.append(field)


def methods_of(contract):
    """The methods in the order of their numbers; none where there is no Request."""
    request, response = contract.types.get("Request"), contract.types.get("Response")
    if request is None or response is None:
        return []
    fields = [field for field in request.fields if field.oneof == "method"]
    answers = {field.name: field for field in response.fields if field.oneof == "result"}
    methods = [Method(contract, field, answers.pop(field.name, None)) for field in fields]
    for answer in answers.values():
        contract.refuse(answer.line, f"Response.{answer.name} answers no method")
    check_together(contract, methods)
    return methods


def check_together(contract, methods):
    for before, method in zip(methods, methods[1:]):
        if before.number >= method.number:
            method.refuse(f"its number {method.number} comes after {before.number}: methods stand in the order of their numbers")
    paths = {}
    for method in methods:
        other = paths.setdefault(method.path, method)
        if other is not method:
            method.refuse(f"{method.path} is the path of {other.name}, too")
    requests = {method.request.name for method in methods}
    for type in contract.types.values():
        if type.notes and type.name not in requests:
            contract.refuse(type.notes[0][0], f"{type.name} is the request of no method, and has an annotation")


# ---- C ------------------------------------------------------------------------------------------------------------------


def head(contract, text):
    return [f"/* Generated by tools/contract.py from {contract.path.name}: {text} */"]


def screaming(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()


def guarded(contract, suffix, lines):
    guard = f"RINGPOST_V1_{contract.path.stem.upper()}_{suffix}_H"
    return [f"#ifndef {guard}", f"#define {guard}", *lines, "", "#endif"]


def fields_h(contract):
    lines = []
    for type in contract.types.values():
        if type.kind == "message" and type.fields:
            lines += ["", "enum {", *(f"    FIELD_{screaming(type.name)}_{field.name.upper()} = {field.number}," for field in type.fields), "};"]
    return head(contract, "the number of every field.") + guarded(contract, "FIELDS", lines)


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def comments_c(contract, methods):
    texts = {method.request.name: method.text for method in methods}
    rows = [("", "", contract.comment)]
    for type in contract.types.values():
        rows.append((type.name, "", texts.get(type.name, type.comment)))
        rows += [(type.name, field.name, field.comment) for field in type.fields]
    return head(contract, "its comments.") + [
        '#include "api/openapi_internal.h"',
        "const struct openapi_comment openapi_comments[] = {",
        *("    {" + ", ".join(quoted(part) for part in row) + "}," for row in rows if row[2] != ""),
        "};",
        "const size_t openapi_comment_count = sizeof openapi_comments / sizeof openapi_comments[0];"]


def methods_h(contract, methods):
    rows = []
    for method in methods:
        numbers = [field.number for field in method.owner_fields] + [0, 0]
        rows.append(f'    X({method.name}, {method.number}, "{method.path}", {method.owner}, {numbers[0]}, {numbers[1]}, {method.access.upper()}, '
                    f"{str(method.verb == 'GET').lower()}, {str(method.is_page).lower()}, {method.rate.upper()})")
    table = ["/* name, number, path, rule that finds the owner, the fields it reads (0: none), access, is a read, is answered by a page, rate */",
             "#define METHODS(X) \\", *(f"{row} \\" for row in rows[:-1]), *rows[-1:]]
    return head(contract, "every method.") + guarded(contract, "METHODS", ["", *table])


def write(path, lines):
    """Only when it changed: what does not use the change is not compiled again."""
    text = "\n".join(lines) + "\n"
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def generate(out, paths):
    folder = pathlib.Path(out) / "ringpost" / "v1"
    folder.mkdir(parents=True, exist_ok=True)
    for path in map(pathlib.Path, paths):
        contract = Contract(path)
        methods = methods_of(contract)
        write(folder / f"{path.stem}.fields.h", fields_h(contract))
        if methods:
            write(folder / f"{path.stem}.comments.c", comments_c(contract, methods))
            write(folder / f"{path.stem}.methods.h", methods_h(contract, methods))


# ---- handlers -----------------------------------------------------------------------------------------------------------


def handlers(folder, path):
    found = {}
    for source in sorted(pathlib.Path(folder).rglob("*.c")):
        for name in re.findall(r"^void handle_(\w+)\(struct shard \*shard, struct request \*request\)$", source.read_text(), re.MULTILINE):
            if name in found:
                raise Refused(f"{source}: handle_{name}() is in {found[name]}, too")
            found[name] = source
    for method in methods_of(Contract(pathlib.Path(path))):
        if found.pop(method.name, None) is None:
            method.refuse(f"no file below {folder} has its handler, `void handle_{method.name}(struct shard *shard, struct request *request)`")
    for name, source in found.items():
        raise Refused(f"{source}: handle_{name}() handles no method of {path}")


# ---- the page -----------------------------------------------------------------------------------------------------------

OWNER_TEXTS = {"actor": "who asks", "name": "the name's owner", "refresh": "the token's owner", "room": "the room",
               "send": "the room, or the smaller of the two ids", "user": "the user"}
ACCESS_TEXTS = {"open": "anybody", "user": "token", "socket": "token, sockets only"}
PAGE_HEAD = """# Methods

Every method of [the contract](../schemas/ringpost/v1/ringpost.proto) with an example of its request and of its answer as JSON. This page is made
from the contract by `make docs`; what each field means stands there and in the server's own `/openapi.json`. On a socket a request is
`{"request":{"id":"7","METHOD":...}}` and its answer `{"response":{"id":"7","METHOD":...}}` ([the protocol](protocol.md)).

Reads are taken by HTTP as GET as well, with their fields in the query. The owner is whose shard works on the request.
"""
EXAMPLES = {"user_id": "274877906945", "room_id": "549755813889", "msg_id": "824633720833", "seq": "12", "limit": 50, "name": "anna", "device_id": "phone-1",
            "platform": "ios", "body": "aGVsbG8=", "client_msg_id": "a1", "client_room_id": "r1", "password": "correct horse", "content_type": "text/plain"}
EXAMPLE_ENDINGS = {"room_id": "549755813889", "_id": "274877906946", "_seq": "12", "_ms": "1760000000000", "_key": "41", "_token": "eyJhbGciOi", "_name": "Anna"}


def example_of_scalar(contract, field):
    name = field.name.removesuffix("s") if field.repeated else field.name
    known = EXAMPLES.get(name) or next((value for ending, value in EXAMPLE_ENDINGS.items() if name.endswith(ending)), None)
    enum = contract.type(field.type)
    if enum is not None:
        return enum.fields[0].name
    if field.type == "bool":
        return False
    if field.type == "uint32":
        return known if isinstance(known, int) else 2
    fallback = {"uint64": "1", "string": name.rsplit("_", 1)[-1], "bytes": "aGVsbG8="}[field.type]
    fits = isinstance(known, str) and (field.type != "uint64" or known.isdigit())
    return known if fits else fallback


def example(contract, type, left_out=(), depth=0):
    """One value of each field; of a oneof its first member."""
    shown, chosen = {}, set()
    for field in type.fields:
        inner = contract.type(field.type)
        is_message = inner is not None and inner.kind == "message"
        if field in left_out or field.oneof in chosen or (is_message and depth == 2):
            continue
        if field.oneof is not None:
            chosen.add(field.oneof)
        value = example(contract, inner, depth=depth + 1) if is_message else example_of_scalar(contract, field)
        shown[field.name] = [value] if field.repeated else value
    return shown


def page(path):
    contract = Contract(pathlib.Path(path))
    methods = methods_of(contract)
    print(PAGE_HEAD)
    print("| number | method | HTTP | owner | who may | counts as |\n|---|---|---|---|---|---|")
    for method in methods:
        http = "" if method.verb == "SOCKET" else f"`{method.verb} {method.path}`"
        counts = "a login by address" if method.access == "open" else f"a {method.rate}"
        print(f"| {method.number} | [{method.name}](#{method.name}) | {http} | {OWNER_TEXTS[method.owner]} | {ACCESS_TEXTS[method.access]} | {counts} |")
    for method in methods:
        print(f"\n## {method.name}\n\n{method.text[0].upper()}{method.text[1:]}\n")
        request = example(contract, method.request, left_out=method.owner_fields[1:])  # exactly one of them is given
        for shown in (request, example(contract, method.response)):
            print("    " + json.dumps(shown, ensure_ascii=False, separators=(",", ":")))


def main(arguments):
    try:
        match arguments:
            case ["generate", out, *paths] if paths:
                generate(out, paths)
            case ["handlers", folder, path]:
                handlers(folder, path)
            case ["page", path]:
                page(path)
            case _:
                sys.exit(__doc__)
    except Refused as refused:
        sys.exit(str(refused))


if __name__ == "__main__":
    main(sys.argv[1:])
