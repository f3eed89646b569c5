#!/usr/bin/env -S node --test-reporter=tap
// tests/e2e/mqttnpm_test.mjs - the MQTT door as npm's `mqtt` sees it, over TCP and WebSocket, beside Ringpost's own JSON WebSocket.
// RINGPOST_BIN=path: the binary (default build/ringpost). Starts a server of its own; waits for events, never for a time.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import readline from "node:readline";
import { after, before, test } from "node:test";

const here = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const mqtt = createRequire(path.join(here, "mqtt", "package.json"))("mqtt");
const WebSocket = globalThis.WebSocket ?? createRequire(createRequire(path.join(here, "mqtt", "package.json")).resolve("mqtt"))("ws");
const BINARY = process.env.RINGPOST_BIN ?? path.join(here, "..", "..", "build", "ringpost");
const PASSWORD = "correct horse battery";

let server;
let directory;
let host;

async function post(method, body, token) {
  const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
  const response = await fetch(`http://${host}${method}`, { method: "POST", headers, body: JSON.stringify(body) });
  const answer = await response.json();
  assert.ok(response.ok, JSON.stringify(answer));
  return answer;
}

async function person(name) {
  const { user_id: id } = await post("/v1/account/register", { name, password: PASSWORD });
  const { access_token: token } = await post("/v1/account/login", { name, password: PASSWORD, device_id: "web" });
  return { name, id, token };
}

function connect(who, url, options) {
  return mqtt.connectAsync(url, { username: who.name, password: PASSWORD, reconnectPeriod: 0, ...options });
}

function nextMessage(client) {
  return once(client, "message").then(([topic, payload, packet]) => ({ topic, text: payload.toString(), packet }));
}

before(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "ringpost-mqtt-npm-"));
  const options = ["--data-dir", path.join(directory, "data"), "--listen", "127.0.0.1:0", "--shards", "2", "--workers", "2"];
  server = spawn(BINARY, ["serve", ...options, "--password-memory", "1MiB", "--rate-logins-per-second", "0", "--connections-max", "1000"], {
    stdio: ["ignore", "pipe", "inherit"],
    env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("RINGPOST_"))),
  });
  host = await new Promise((resolve, reject) => {
    server.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    readline.createInterface(server.stdout).on("line", (line) => {
      const address = /http:\/\/(127\.0\.0\.1:\d+)\//.exec(line)?.[1];
      if (address) resolve(address);
    });
  });
});

after(async () => {
  server.kill();
  const [code] = await once(server, "exit");
  await rm(directory, { recursive: true });
  assert.equal(code, 0);
});

for (const protocolVersion of [4, 5]) {
  for (const scheme of ["mqtt", "ws"]) {
    test(`version ${protocolVersion} over ${scheme}, every QoS`, async () => {
      const alice = await person(`alice-${protocolVersion}-${scheme}`);
      const bob = await person(`bob-${protocolVersion}-${scheme}`);
      const url = scheme === "ws" ? `ws://${host}/mqtt` : `mqtt://${host}`;
      const sender = await connect(alice, url, { protocolVersion, clientId: "sender" });
      const receiver = await connect(bob, url, { protocolVersion, clientId: "receiver" });
      for (const qos of [0, 1, 2]) {
        const [granted] = await receiver.subscribeAsync(`u/${bob.id}`, { qos });
        assert.equal(granted.qos, qos);
        const arrives = nextMessage(receiver);
        await sender.publishAsync(`u/${bob.name}`, `message ${qos}`, { qos });
        const { topic, text, packet } = await arrives;
        assert.deepEqual([topic, text, packet.qos], [`u/${bob.id}`, `message ${qos}`, qos]);
      }
      await sender.endAsync();
      await receiver.endAsync();
    });
  }
}

test("a JSON WebSocket and MQTT talk to each other", async () => {
  const [alice, bob] = [await person("alice-json"), await person("bob-json")];
  const device = await connect(bob, `mqtt://${host}`, { protocolVersion: 5, clientId: "device" });
  await device.subscribeAsync(`u/${bob.name}`, { qos: 1 });
  const socket = new WebSocket(`ws://${host}/v1/socket`, "ringpost.v1.json");
  const frames = [];
  const waiting = [];
  socket.onmessage = ({ data }) => {
    frames.push(JSON.parse(data));
    for (const look of waiting) look();
  };
  const frame = (matches) =>
    new Promise((resolve) => {
      const look = () => frames.some(matches) && resolve(frames.find(matches));
      waiting.push(look);
      look();
    });
  await new Promise((resolve) => (socket.onopen = resolve));
  socket.send(JSON.stringify({ request: { id: "1", auth: { access_token: alice.token } } }));
  await frame((f) => f.response?.id === "1");
  const arrives = nextMessage(device);
  const body = Buffer.from("from the browser").toString("base64");
  socket.send(JSON.stringify({ request: { id: "2", send: { to_user_id: bob.id, client_msg_id: "one", body } } }));
  const { text, packet } = await arrives;
  assert.equal(text, "from the browser");
  assert.equal(packet.properties.userProperties.client_msg_id, "one");
  await device.publishAsync(packet.properties.responseTopic, "from the device", { qos: 2 });
  const wanted = Buffer.from("from the device").toString("base64");
  await frame((f) => f.push?.event?.message?.body === wanted);
  socket.close();
  await device.endAsync();
});
