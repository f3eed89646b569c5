#!/usr/bin/env -S node --test-reporter=tap
// tests/e2e/openapi_test.mjs - /openapi.json as others' tools see it: a linter finds nothing, and what the server answers is what it promises.
// RINGPOST_BIN=path: the binary (default build/ringpost). Starts a server of its own.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import readline from "node:readline";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";

const here = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const packages = createRequire(path.join(here, "openapi", "package.json"));
const { createConfig, lint } = await import(pathToFileURL(packages.resolve("@redocly/openapi-core")));
const Ajv = packages("ajv").default;
const BINARY = process.env.RINGPOST_BIN ?? path.join(here, "..", "..", "build", "ringpost");

let server;
let directory;
let host;
let contract;

before(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "ringpost-openapi-"));
  const options = ["--data-dir", path.join(directory, "data"), "--listen", "127.0.0.1:0", "--shards", "1"];
  server = spawn(BINARY, ["serve", ...options, "--password-memory", "1MiB", "--connections-max", "1000"], {
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
  contract = await (await fetch(`http://${host}/openapi.json`)).json();
});

after(async () => {
  server.kill();
  const [code] = await once(server, "exit");
  await rm(directory, { recursive: true });
  assert.equal(code, 0);
});

test("a linter with the recommended rules has nothing to say", async () => {
  const file = path.join(directory, "openapi.json");
  await writeFile(file, JSON.stringify(contract));
  const problems = await lint({ ref: file, config: await createConfig({ extends: ["recommended"] }) });
  assert.deepEqual(problems.map((problem) => `${problem.severity} ${problem.ruleId}: ${problem.message}`), []);
});

// Every answer of a short evening, held against the schema of its route.
test("answers have every field that the document requires", async () => {
  const ajv = new Ajv({ strict: false, validateFormats: false });
  ajv.addSchema({ $id: "contract", components: contract.components });
  let token;
  const call = async (route, body) => {
    const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
    const response = await fetch(`http://${host}${route}`, { method: "POST", headers, body: JSON.stringify(body) });
    const answer = await response.json();
    const name = response.ok ? contract.paths[route].post.responses["200"].content["application/json"].schema.$ref : "#/components/schemas/ErrorBody";
    const validate = ajv.compile({ $ref: `contract${name}` });
    assert.ok(validate(answer), `${route}: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(answer)}`);
    return { answer, ok: response.ok };
  };
  const password = "correct horse battery";
  const bob = (await call("/v1/account/register", { name: "bob", password })).answer;
  await call("/v1/account/register", { name: "alice", password });
  token = (await call("/v1/account/login", { name: "alice", password, device_id: "one", platform: "web" })).answer.access_token;
  const room = (await call("/v1/room/create", { name: "Kitchen", member_ids: [bob.user_id] })).answer.room;
  await call("/v1/chat/send", { room_id: room.room_id, client_msg_id: "a", body: "aGk=", properties: { user: [{ name: "n", value: "v" }] } });
  await call("/v1/chat/send", { to_user_id: bob.user_id, client_msg_id: "b", body: "aGk=" });
  const refused = await call("/v1/room/get", { room_id: "1" });
  assert.equal(refused.ok, false);
  const reads = {
    "/v1/chat/history": { room_id: room.room_id }, "/v1/chat/sync": { sync_key: "0" }, "/v1/chat/conversations": {}, "/v1/account/devices": {},
    "/v1/account/user": { name: "bob" }, "/v1/room/get": { room_id: room.room_id }, "/v1/room/members": { room_id: room.room_id },
    "/v1/presence/get": { user_ids: [bob.user_id] },
  };
  for (const [route, body] of Object.entries(reads)) assert.ok((await call(route, body)).ok, route);
});
