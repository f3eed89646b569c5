#!/usr/bin/env -S node --test-reporter=tap
// tests/e2e/ws_test.mjs - the WebSocket door as npm's `ws` sees it: subprotocols, fragments, pings, close codes, violations of RFC 6455.
// Each test opens sockets of its own on one server, started here on a free port and killed by its process id at the end.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

const { WebSocket } = createRequire(new URL("./node/package.json", import.meta.url))("ws");
const BINARY = process.env.RINGPOST_BIN ?? new URL("../../build/plain/ringpost", import.meta.url).pathname;
const JSON_PROTOCOL = "ringpost.v1.json";
const PROTO_PROTOCOL = "ringpost.v1.proto";
const PASSWORD = "correct horse battery";
const DEADLINE_MS = 20000;
const TWO_HUNDRED = 200;

let server;
let address;
let directory;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "ringpost-ws-"));
  const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("RINGPOST_")));
  server = spawn(BINARY, ["serve", `--data-dir=${directory}/data`, "--listen=127.0.0.1:0", "--shards=2", "--workers=2", "--segment-size=1MiB",
    "--log-pending-max=512KiB", "--password-ops=1", "--password-memory=1MiB", "--connections-max=2000", "--rate-messages-per-second=0",
    "--rate-logins-per-second=0", "--heartbeat-interval=1s", "--heartbeat-timeout=5s", "--log-level=warn"],
  { env: environment, stdio: ["ignore", "pipe", "inherit"] });
  let printed = "";
  for await (const chunk of server.stdout) {
    printed += chunk;
    const found = /http:\/\/(127\.0\.0\.1:\d+)\//.exec(printed);
    if (found) {
      address = found[1];
      return;
    }
  }
  throw new Error(`the server did not start: ${printed}`);
});

after(async () => {
  if (server?.exitCode === null) {
    server.kill("SIGTERM");
    const [code] = await once(server, "exit");
    assert.equal(code, 0);
  }
  rmSync(directory, { recursive: true, force: true });
});

// ---- a client ---------------------------------------------------------------------------------------------------------------

const within = (promise, what) => Promise.race([promise, new Promise((_, reject) => {
  setTimeout(() => reject(new Error(`waited in vain for ${what}`)), DEADLINE_MS).unref();
})]);

// A socket whose messages can be awaited one by one; `socket.next(condition)` skips what does not meet it.
function open(protocols = [JSON_PROTOCOL], options = {}) {
  const socket = new WebSocket(`ws://${address}/v1/socket`, protocols, options);
  const messages = [];
  let wake = () => {};
  socket.on("message", (data, isBinary) => {
    messages.push(isBinary ? data : JSON.parse(data));
    wake();
  });
  socket.closed = new Promise((resolve) => {
    socket.on("close", (code, reason) => resolve({ code, reason: String(reason) }));
  });
  socket.on("error", () => {});
  socket.next = (condition = () => true) => within((async () => {
    for (let i = 0; ; i++) {
      while (messages.length <= i) await new Promise((resolve) => { wake = resolve; });
      if (condition(messages[i])) return messages.splice(0, i + 1)[i];
    }
  })(), "a message");
  socket.call = async (id, method, fields = {}) => {
    socket.send(JSON.stringify({ request: { id: String(id), [method]: fields } }));
    const { response } = await socket.next((message) => message.response?.id === String(id));
    if (response.error) throw Object.assign(new Error(response.error.message), response.error);
    return response[method];
  };
  return socket;
}

let people = 0;
async function person(protocols, options) {
  const socket = open(protocols, options);
  await within(once(socket, "open"), "the socket to open");
  socket.name = `ws-${++people}`;
  socket.user = (await socket.call(1, "register", { name: socket.name, password: PASSWORD })).user_id;
  const login = await socket.call(2, "login", { name: socket.name, password: PASSWORD, device_id: "node", platform: "test" });
  await socket.call(3, "auth", { access_token: login.access_token });
  return socket;
}

async function closes(socket, code) {
  const end = await within(socket.closed, `a close with ${code}`);
  assert.equal(end.code, code, `closed with ${end.code} ${end.reason}`);
}

// A client's frame as raw bytes, masked with zeros.
function frame(first, payload = Buffer.alloc(0)) {
  const head = payload.length < 126 ? [first, 0x80 | payload.length] : [first, 0x80 | 126, payload.length >> 8, payload.length & 255];
  return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), payload]);
}

// ---- the handshake ----------------------------------------------------------------------------------------------------------

test("the subprotocol is chosen among those offered", async () => {
  for (const [offered, chosen] of [[[JSON_PROTOCOL], JSON_PROTOCOL], [[PROTO_PROTOCOL], PROTO_PROTOCOL],
    [["other.protocol", JSON_PROTOCOL], JSON_PROTOCOL], [[JSON_PROTOCOL, PROTO_PROTOCOL], PROTO_PROTOCOL], [[], ""]]) {
    const socket = open(offered);
    const hello = await socket.next();
    assert.equal(socket.protocol, chosen, offered.join());
    if (chosen === PROTO_PROTOCOL) assert.ok(Buffer.isBuffer(hello) && hello[0] === 0x22, "Envelope.hello in binary");
    else assert.equal(hello.hello.protocol, 1);
    socket.close();
    await socket.closed;
  }
});

test("compression is offered and not negotiated", async () => {
  const socket = open([JSON_PROTOCOL], { perMessageDeflate: true });
  await socket.next((message) => message.hello);
  assert.equal(socket.extensions, "");
  socket.close();
  await closes(socket, 1005);
});

test("handshakes that are not good are answered with a status and words", async () => {
  const request = (path, headers) => `GET ${path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${headers}\r\n`;
  const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  for (const [path, headers, status] of [["/v1/other", `${key}Sec-WebSocket-Version: 13\r\n`, 404],
    ["/v1/socket", `${key}Sec-WebSocket-Version: 12\r\n`, 426], ["/v1/socket", "Sec-WebSocket-Version: 13\r\n", 400],
    ["/v1/socket", `Sec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n`, 400],
    ["/v1/socket", `${key}Sec-WebSocket-Version: 13\r\nOrigin: https://evil.example\r\n`, 403]]) {
    const [host, port] = address.split(":");
    const raw = connect(port, host);
    raw.write(request(path, `${headers}`));
    const [answer] = await within(once(raw, "data"), "an answer");
    const text = String(answer);
    assert.ok(text.startsWith(`HTTP/1.1 ${status} `), text.slice(0, 200));
    assert.ok(JSON.parse(text.slice(text.indexOf("\r\n\r\n") + 4)).error.reason);
    raw.destroy();
  }
});

// ---- frames -----------------------------------------------------------------------------------------------------------------

test("a message in fragments, with a ping in between, is one message", async () => {
  const socket = await person();
  const text = JSON.stringify({ request: { id: "77", devices: {} } });
  const ponged = once(socket, "pong");
  socket.send(text.slice(0, 5), { fin: false });
  socket.ping("between");
  for (const letter of text.slice(5, -1)) socket.send(letter, { fin: false });
  socket.send("", { fin: false });
  socket.send(text.slice(-1), { fin: true });
  const { response } = await socket.next((message) => message.response?.id === "77");
  assert.equal(response.devices.devices[0].device_id, "node");
  const [payload] = await within(ponged, "the pong");
  assert.equal(String(payload), "between");
  socket.close();
});

test("binary envelopes, whole and in fragments, are answered in binary", async () => {
  const socket = open([PROTO_PROTOCOL]);
  await socket.next(Buffer.isBuffer);
  const refresh = Buffer.from([0x0a, 0x04, 0x08, 0x05, 0x62, 0x00]); // Envelope{request{id: 5, refresh{}}}
  const answerToFive = Buffer.from([0x08, 0x05]); // Envelope{response{id: 5, ...}}
  const refused = (message) => Buffer.isBuffer(message) && message[0] === 0x12 && message.subarray(2, 4).equals(answerToFive)
    && message.includes("token_invalid");
  socket.send(refresh);
  await socket.next(refused);
  for (const byte of refresh.subarray(0, -1)) socket.send(Buffer.from([byte]), { binary: true, fin: false });
  socket.send(refresh.subarray(-1), { binary: true, fin: true });
  await socket.next(refused);
  socket.close();
  await closes(socket, 1005);
});

test("a text frame on a binary socket is JSON and answered as JSON", async () => {
  const socket = await person([PROTO_PROTOCOL]);
  assert.equal((await socket.call(9, "user", { name: socket.name })).user.user_id, socket.user);
  socket.close();
});

test("two people talk, many messages at once, in order", async () => {
  const [ann, ben] = [await person(), await person()];
  for (let i = 0; i < TWO_HUNDRED; i++) {
    const send = { to_user_id: ben.user, client_msg_id: `m${i}`, body: Buffer.from(`${i}`).toString("base64") };
    ann.send(JSON.stringify({ request: { id: String(100 + i), send } }));
  }
  for (let i = 0; i < TWO_HUNDRED; i++) {
    const { push } = await ben.next((message) => message.push?.event?.message);
    assert.equal(push.event.message.seq, String(i + 1));
    assert.equal(Buffer.from(push.event.message.body, "base64").toString(), `${i}`);
  }
  ann.close();
  ben.close();
});

test("many sockets at once", async () => {
  const sockets = Array.from({ length: TWO_HUNDRED }, () => open());
  const hellos = await Promise.all(sockets.map((socket) => socket.next()));
  assert.ok(hellos.every((message) => message.hello.protocol === 1));
  for (const socket of sockets) socket.close();
  await Promise.all(sockets.map((socket) => closes(socket, 1005)));
});

// ---- pings ------------------------------------------------------------------------------------------------------------------

test("pings are answered with their payload", async () => {
  const socket = open();
  await socket.next();
  for (const payload of ["", "x", "y".repeat(125)]) {
    const ponged = once(socket, "pong");
    socket.ping(payload);
    assert.equal(String((await within(ponged, "a pong"))[0]), payload);
  }
  socket.close();
});

test("an idle socket is pinged and stays", async () => {
  const socket = await person();
  await within(once(socket, "ping"), "the server's ping");
  await within(once(socket, "ping"), "another one");
  assert.equal(socket.readyState, WebSocket.OPEN);
  socket.close();
});

test("a flood of pings is not answered for ever", async () => {
  const socket = open();
  await socket.next();
  for (let i = 0; i < 5000; i++) socket.ping("x");
  await closes(socket, 1008);
});

// ---- closing ----------------------------------------------------------------------------------------------------------------

test("the server answers a close with its code", async () => {
  for (const code of [1000, 1001, 3000, 4999]) {
    const socket = open();
    await socket.next();
    socket.close(code, "a reason");
    await closes(socket, code);
  }
});

test("violations are closed with the code the RFC names", async () => {
  const violations = [
    ["invalid UTF-8", frame(0x81, Buffer.from([0xc3, 0x28])), 1007],
    ["half a character", frame(0x81, Buffer.from([0xe2, 0x82])), 1007],
    ["a reserved bit", frame(0xc1, Buffer.from("{}")), 1002],
    ["a reserved opcode", frame(0x83), 1002],
    ["a long ping", frame(0x89, Buffer.alloc(126)), 1002],
    ["a ping in fragments", frame(0x09), 1002],
    ["a continuation of nothing", frame(0x80, Buffer.from("x")), 1002],
    ["a new message inside another", Buffer.concat([frame(0x01, Buffer.from("a")), frame(0x81, Buffer.from("b"))]), 1002],
    ["a frame without a mask", Buffer.from([0x81, 0x02, 0x7b, 0x7d]), 1002],
    ["a close with a forbidden code", frame(0x88, Buffer.from([0x03, 0xed])), 1002],
    ["a close of one byte", frame(0x88, Buffer.from([0x03])), 1002],
  ];
  for (const [what, bytes, code] of violations) {
    const socket = open();
    await socket.next();
    socket._socket.write(bytes);
    const end = await within(socket.closed, what);
    assert.equal(end.code, code, `${what}: ${end.code} ${end.reason}`);
  }
});

test("a message above the limit is refused from its head", async () => {
  const socket = open();
  const { hello } = await socket.next();
  const head = Buffer.alloc(14);
  head.writeUInt16BE(0x82ff);
  head.writeBigUInt64BE(BigInt(hello.frame_size_max) + 1n, 2);
  socket._socket.write(head);
  await closes(socket, 1009);
});
