#!/usr/bin/env python3
"""tests/tools/contract_test.py - tools/contract.py: what it makes of a small contract; each way to get one wrong is refused, with its line;
the examples of docs/methods.md are what protobuf reads as these messages."""
import contextlib
import io
import pathlib
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests/perf"), str(TOP / "tools")]
import cases  # noqa: E402
import contract  # noqa: E402

PROTO = TOP / "schemas/ringpost/v1/ringpost.proto"
SMALL = """// A small contract.
syntax = "proto3";
package ringpost.v1;

// A call.
message Request {
  uint64 id = 1;  // chosen by the client
  oneof method {
    LoginRequest login = 11;
    SaySoRequest say_so = 20;
  }
}
message Response {
  oneof result {
    LoginResponse login = 11;
    SaySoResponse say_so = 20;
  }
}
// POST /v1/account/login: lets in
// @owner name(name)
// @access open
message LoginRequest {
  string name = 1;  // who
}
message LoginResponse {}
// GET /v1/room/say_so: says "so"
// twice
// @owner room(room_id)
// @rate message
message SaySoRequest {
  uint64 other = 3;    // not where it goes
  uint64 room_id = 7;  // where it goes
  Mood mood = 8;
}
message SaySoResponse {
  bool has_more = 1;
  repeated string words = 2;
}
// How.
enum Mood {
  GOOD = 0;  // yes
}
"""
HANDLER = "void handle_{}(struct shard *shard, struct request *request)\n{{\n}}\n"


def in_folder(work, text=SMALL, sources=()):
    """What `work` returns of the path of that contract, or what it refused it with, without the folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "small.proto"
        path.write_text(text)
        for name, source in sources:
            (pathlib.Path(folder) / name).write_text(source)
        try:
            return work(path)
        except contract.Refused as refused:
            return str(refused).replace(f"{folder}/", "")


def generated(path):
    contract.generate(path.parent, [path])
    return {file.name: file.read_text() for file in (path.parent / "ringpost/v1").iterdir()}


def made_cases():
    made = in_folder(generated)
    rows = [line.removesuffix(" \\").strip() for line in made["small.methods.h"].splitlines() if line.startswith("    X(")]
    yield "a row for each method", rows, [
        'X(login, 11, "/v1/account/login", name, 1, 0, OPEN, false, false, NONE)',
        'X(say_so, 20, "/v1/room/say_so", room, 7, 0, USER, true, true, MESSAGE)']
    yield "the numbers of fields", "FIELD_SAY_SO_REQUEST_ROOM_ID = 7," in made["small.fields.h"], True
    yield "comments without route and annotations", '{"SaySoRequest", "", "says \\"so\\" twice"},' in made["small.comments.c"], True
    yield "comments of values", '{"Mood", "GOOD", "yes"},' in made["small.comments.c"], True
    quiet = SMALL.replace("// @access open\n", "").replace("// @rate message\n", "").replace("@owner name(name)", "@owner actor")
    yield "what is not said is the stricter", "actor, 0, 0, USER, false, false, REQUEST)" in in_folder(generated, quiet)["small.methods.h"], True
    socket = quiet.replace("POST /v1/account/login", "SOCKET /v1/account/login")
    yield "about the socket itself", "actor, 0, 0, SOCKET, false, false, REQUEST)" in in_folder(generated, socket)["small.methods.h"], True
    before = in_folder(lambda path: [generated(path), (path.parent / "ringpost/v1/small.methods.h").stat().st_mtime_ns,
                                     generated(path), (path.parent / "ringpost/v1/small.methods.h").stat().st_mtime_ns])
    yield "what did not change is left alone", before[1], before[3]


def refused_cases():
    for name, old, new, want in [
            ("no owner", "// @owner room(room_id)\n", "", "small.proto:29: method say_so: @owner is missing: which shard works on it?"),
            ("a rule that is none", "@owner room(", "@owner house(", "small.proto:30: method say_so: there is no rule house"),
            ("a field that is none", "(room_id)", "(rom_id)", "small.proto:30: method say_so: SaySoRequest has no field rom_id"),
            ("a field of another type", "(room_id)", "(mood)", "small.proto:30: method say_so: @owner room reads a uint64, and mood is none"),
            ("a list", "uint64 room_id", "repeated uint64 room_id", "small.proto:30: method say_so: @owner room reads a uint64, and room_id is none"),
            ("too few fields", "room(room_id)", "room", "small.proto:30: method say_so: @owner room reads 1 field, not 0"),
            ("an actor where there is none", "@owner name(name)", "@owner actor", "small.proto:22: method login: @owner actor looks at who asks"),
            ("an unknown annotation", "@rate message", "@rat message", "small.proto:29: method say_so: there is no annotation @rat"),
            ("an unknown value", "@rate message", "@rate much", "small.proto:30: method say_so: @rate can only be message"),
            ("a default", "@rate message", "@rate request", "small.proto:30: method say_so: @rate can only be message; request needs no"),
            ("not an annotation", "@rate message", "@rate: message", "small.proto:29: method say_so: not an annotation: @rate: message"),
            ("twice", "// @rate message\n", "// @rate message\n// @rate message\n", "small.proto:30: method say_so: @rate is there twice"),
            ("a rate of what is open", "// @access open\n", "// @access open\n// @rate message\n", "small.proto:23: method login: @rate contradicts @access open"),
            ("an open socket", "POST /v1/account/login", "SOCKET /v1/account/login", "small.proto:22: method login: @access contradicts SOCKET"),
            ("no route", "GET /v1/room/say_so: says", "says", "small.proto:30: method say_so: its comment does not begin with a route"),
            ("no such verb", "GET /v1", "PUT /v1", "small.proto:30: method say_so: its comment does not begin with a route"),
            ("a path twice", "/v1/room/say_so", "/v1/account/login", "small.proto:30: method say_so: /v1/account/login is the path of login, too"),
            ("no answer", "    SaySoResponse say_so = 20;\n", "", "small.proto:10: method say_so: Response.result has no SaySoResponse say_so = 20"),
            ("an answer with another number", "SaySoResponse say_so = 20", "SaySoResponse say_so = 21", "small.proto:10: method say_so: Response.result has no"),
            ("an answer to nothing", "    SaySoRequest say_so = 20;\n", "", "small.proto:15: Response.say_so answers no method"),
            ("a request of another name", "SaySoRequest say_so", "LoginRequest say_so", "small.proto:10: method say_so: its request is LoginRequest"),
            ("not in order", "say_so = 20", "say_so = 10", "small.proto:30: method say_so: its number 10 comes after 11"),
            ("no such message", "message SaySoResponse", "message SaySoAnswer", "small.proto:16: Response.say_so: there is no type SaySoResponse"),
            ("no such type", "Mood mood", "Temper mood", "small.proto:33: SaySoRequest.mood: there is no type Temper"),
            ("annotations of no method", "message LoginResponse {}", "// @owner actor\nmessage LoginResponse {}", "small.proto:25: LoginResponse is the request of no"),
            ("annotations of no message", "enum Mood", "// @owner actor\nenum Mood", "small.proto:41: an annotation stands right above a message"),
            ("annotations in the air", "message LoginResponse {}", "// @owner actor\n\nmessage LoginResponse {}", "small.proto:26: an annotation stands right"),
            ("text behind annotations", "// @rate message\n", "// @rate message\n// more\n", "small.proto:30: annotations come last in a comment"),
            ("a number twice", "room_id = 7", "room_id = 3", "small.proto:32: SaySoRequest: room_id = 3 is there twice"),
            ("a field that is not understood", "uint64 other = 3;", "map<string, string> other = 3;", "small.proto:31: not a field: map<"),
            ("something else", "// How.", "service Chat {}", "small.proto:39: not understood: service Chat {}"),
            ("no end", "  GOOD = 0;  // yes\n}\n", "  GOOD = 0;  // yes\n", "small.proto:42: the file ends within a message")]:
        text = SMALL.replace(old, new)
        told = in_folder(generated, text)
        yield f"refused: {name}", (text != SMALL, str(told)[:len(want)]), (True, want)


def handler_cases():
    def check(path):
        return contract.handlers(path.parent, path)
    good = HANDLER.format("login") + HANDLER.format("say_so")
    yield "every method has its handler", in_folder(check, sources=[("a.c", good)]), None
    yield "one is missing", in_folder(check, sources=[("a.c", HANDLER.format("login"))]).split(" has its")[0].split(": ", 1)[0], "small.proto:30"
    yield "one is there twice", in_folder(check, sources=[("a.c", good), ("b.c", good)]), "b.c: handle_login() is in a.c, too"
    yield "one of no method", in_folder(check, sources=[("a.c", good + HANDLER.format("shout"))])[:39], "a.c: handle_shout() handles no method o"


def read_as(pool, name, text):
    """Why protobuf cannot read that JSON as that message; None: it can."""
    message = message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName(f"ringpost.v1.{name}"))()
    try:
        json_format.Parse(text, message)
    except json_format.ParseError as error:
        return str(error)
    return None


def example_cases():
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["protoc", f"-I{TOP}/schemas", f"--descriptor_set_out={out.name}", str(PROTO)], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(out.name).read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    page = io.StringIO()
    with contextlib.redirect_stdout(page):
        contract.page(PROTO)
    texts = [line.strip() for line in page.getvalue().splitlines() if line.startswith("    ")]
    methods = contract.methods_of(contract.Contract(PROTO))
    yield "two examples of each method", len(texts), 2 * len(methods)
    for method, request, answer in zip(methods, texts[0::2], texts[1::2]):
        yield f"examples of {method.name}", [read_as(pool, method.request.name, request), read_as(pool, method.response.name, answer)], [None, None]


if __name__ == "__main__":
    sys.exit(cases.check(made_cases, refused_cases, handler_cases, example_cases))
