#!/usr/bin/env -S node --test-reporter=tap
// tests/e2e/tlsnpm_test.mjs - TLS as npm's `ws` and `mqtt` and Node's own https see it, between each other and beside plain connections.
// RINGPOST_BIN=path: the binary (default build/ringpost). Starts a server of its own; waits for events, never for a time.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import https from "node:https";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import readline from "node:readline";
import { after, before, test } from "node:test";

const { WebSocket } = createRequire(new URL("./node/package.json", import.meta.url))("ws");
const mqtt = createRequire(new URL("./mqtt/package.json", import.meta.url))("mqtt");
const BINARY = process.env.RINGPOST_BIN ?? new URL("../../build/ringpost", import.meta.url).pathname;
const PASSWORD = "correct horse battery";
const LARGE = "x".repeat(30000);

let server;
let directory;
let port;
let ca;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "ringpost-tls-npm-"));
  const [certificate, key] = ["tls.crt", "tls.key"].map((name) => join(directory, name));
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=localhost",
    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", certificate, "-keyout", key], { stdio: "ignore" });
  ca = readFileSync(certificate);
  server = spawn(BINARY, ["serve", `--data-dir=${directory}/data`, "--listen=127.0.0.1:0", "--shards=2", "--workers=2", "--segment-size=1MiB",
    "--log-pending-max=512KiB", "--password-ops=1", "--password-memory=1MiB", "--connections-max=2000", "--rate-logins-per-second=0",
    "--log-level=warn", `--tls-certificate-file=${certificate}`, `--tls-key-file=${key}`], {
    stdio: ["ignore", "pipe", "inherit"],
    env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("RINGPOST_"))),
  });
  port = await new Promise((resolve, reject) => {
    server.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    readline.createInterface(server.stdout).on("line", (line) => {
      const found = /https:\/\/127\.0\.0\.1:(\d+)\//.exec(line)?.[1];
      if (found) resolve(Number(found));
    });
  });
});

after(async () => {
  server.removeAllListeners("exit");
  server.kill();
  const [code] = await once(server, "exit");
  rmSync(directory, { recursive: true });
  assert.equal(code, 0);
});

async function post(path, body, token) {
  const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
  const request = https.request({ host: "localhost", port, path, method: "POST", headers, ca });
  request.end(JSON.stringify(body));
  const [response] = await once(request, "response");
  let text = "";
  for await (const chunk of response) text += chunk;
  assert.equal(response.statusCode, 200, text);
  return JSON.parse(text);
}

async function person(name) {
  const { user_id: id } = await post("/v1/account/register", { name, password: PASSWORD });
  const { access_token: token } = await post("/v1/account/login", { name, password: PASSWORD, device_id: "node" });
  return { name, id, token };
}

async function open(who, url) {
  const socket = new WebSocket(url, "ringpost.v1.json", { ca });
  const came = [];
  socket.on("message", (data) => came.push(JSON.parse(data)));
  const until = async (condition) => {
    for (;;) {
      const found = came.find(condition);
      if (found) return found;
      await once(socket, "message");
    }
  };
  await once(socket, "open");
  await until((envelope) => envelope.hello);
  socket.send(JSON.stringify({ request: { id: "1", auth: { access_token: who.token } } }));
  assert.ok((await until((envelope) => envelope.response?.id === "1")).response.auth);
  return { socket, until };
}

for (const scheme of ["wss", "ws"]) {
  test(`ws hears over ${scheme} what came over https`, async () => {
    const [anna, ben] = [await person(`anna-${scheme}`), await person(`ben-${scheme}`)];
    const { socket, until } = await open(ben, `${scheme}://localhost:${port}/v1/socket`);
    for (const text of ["short", LARGE]) {
      const body = Buffer.from(text).toString("base64");
      const sent = await post("/v1/chat/send", { to_user_id: ben.id, client_msg_id: `m${text.length}`, body }, anna.token);
      const heard = await until((envelope) => envelope.push?.event?.message?.msg_id === sent.msg_id);
      assert.equal(heard.push.event.message.body, body);
    }
    socket.close(1000);
    const [code] = await once(socket, "close");
    assert.equal(code, 1000);
  });
}

for (const scheme of ["mqtts", "wss"]) {
  test(`mqtt over ${scheme}`, async () => {
    const [anna, ben] = [await person(`carla-${scheme}`), await person(`dan-${scheme}`)];
    const url = scheme === "wss" ? `wss://localhost:${port}/mqtt` : `mqtts://localhost:${port}`;
    const enter = (who) => mqtt.connectAsync(url, { username: who.name, password: PASSWORD, reconnectPeriod: 0, clientId: "first", ca });
    const [sender, receiver] = [await enter(anna), await enter(ben)];
    await receiver.subscribeAsync(`u/${ben.id}`, { qos: 1 });
    for (const text of ["short", LARGE]) {
      const arrives = once(receiver, "message");
      await sender.publishAsync(`u/${ben.id}`, text, { qos: 1 });
      assert.equal((await arrives)[1].toString(), text);
    }
    await sender.endAsync();
    await receiver.endAsync();
  });
}

test("a client that does not trust the certificate is not let on", async () => {
  const socket = new WebSocket(`wss://localhost:${port}/v1/socket`, "ringpost.v1.json");
  const [error] = await once(socket, "error");
  assert.match(error.code, /SELF_SIGNED/);
});
