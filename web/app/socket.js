// app/socket.js - one WebSocket that comes back: envelopes, request ids, authentication, jittered back-off.
// connecting -> online -> offline -> connecting …; `stopped` is the end. A request either gets its answer, the server's error,
// or an "offline" error when the socket went; whoever asked decides whether asking again is right.
import { ApiError, offlineError } from "./http.js";
import { SessionEnded } from "./session.js";

const BACKOFF_MIN_MS = 500;
const BACKOFF_MAX_MS = 20000;
const STABLE_MS = 60000;          // online for so long: the next loss starts at the shortest wait again
const HANDSHAKE_TIMEOUT_MS = 10000;
const REQUEST_TIMEOUT_MS = 15000; // no answer for so long: the line is dead, whatever the browser believes
const REQUESTS_MAX = 256;

const CLOSE_NOT_AUTHENTICATED = 4401;
const CLOSE_REVOKED = 4403;

export class Socket {
  #session;
  #handlers;
  #socket = null;
  #requests = new Map(); // id -> { resolve, reject, timer }
  #nextId = 1;
  #attempt = 0;
  #tokenRefused = false;
  #retryTimer = 0;
  #stableTimer = 0;
  #handshakeTimer = 0;
  #renewTimer = 0;

  // handlers: onState(), onReady(), onPush(push), onEnd(reason)
  constructor(session, handlers) {
    this.#session = session;
    this.#handlers = handlers;
    this.state = "connecting";
    this.retryAtMs = 0;
    this.heardAtMs = 0;
    window.addEventListener("online", () => this.connectNow());
    window.addEventListener("offline", () => this.#lose());
  }

  // Skips what is left of the wait.
  connectNow() {
    if (this.state === "stopped" || this.#socket !== null) return;
    clearTimeout(this.#retryTimer);
    this.#connect();
  }

  stop() {
    this.#enter("stopped");
    this.#drop();
  }

  // Answers with the response message of `method`.
  async request(method, body = {}) {
    if (this.state !== "online") throw offlineError();
    return this.#send(method, body);
  }

  #enter(state) {
    this.state = state;
    this.#handlers.onState();
  }

  async #connect() {
    this.#enter("connecting");
    let token;
    try {
      token = await this.#session.accessToken({ refused: this.#tokenRefused });
    } catch (error) {
      if (error instanceof SessionEnded) return this.#end(error.message);
      return this.#retryLater();
    }
    if (this.state !== "connecting" || this.#socket !== null) return;
    this.#tokenRefused = false;
    this.#open(token);
  }

  #open(token) {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/v1/socket`);
    this.#socket = socket;
    this.#handshakeTimer = setTimeout(() => this.#lose(), HANDSHAKE_TIMEOUT_MS);
    socket.onmessage = (event) => { if (socket === this.#socket) this.#receive(event.data, token); };
    socket.onclose = (event) => { if (socket === this.#socket) this.#closed(event.code); };
  }

  #receive(text, token) {
    this.heardAtMs = Date.now();
    const envelope = JSON.parse(text);
    if (envelope.hello) this.#authenticate(token);
    else if (envelope.response) this.#answer(envelope.response);
    else if (envelope.push?.session_end) this.#sessionEnded(envelope.push.session_end.reason);
    else if (envelope.push) this.#handlers.onPush(envelope.push);
  }

  async #authenticate(token) {
    try {
      this.auth = await this.#send("auth", { access_token: token });
    } catch (error) {
      if (error.reason === "offline") return; // lost meanwhile: the next attempt is on its way
      if (error.reason === "device_revoked") return this.#end("revoked");
      this.#tokenRefused = error.code === "UNAUTHENTICATED";
      return this.#lose();
    }
    clearTimeout(this.#handshakeTimer);
    this.#stableTimer = setTimeout(() => { this.#attempt = 0; }, STABLE_MS);
    this.#renewLater();
    this.#enter("online");
    this.#handlers.onReady();
  }

  // A newer token on the same socket, well before the old one ends.
  #renewLater() {
    const leftMs = Math.max(this.#session.expiresMs - Date.now(), 10000);
    this.#renewTimer = setTimeout(async () => {
      try {
        await this.#session.refresh();
        await this.request("auth", { access_token: await this.#session.accessToken() });
        this.#renewLater();
      } catch (error) {
        if (error instanceof SessionEnded) this.#end(error.message);
        else this.#renewTimer = setTimeout(() => this.#renewLater(), 5000);
      }
    }, Math.min(leftMs * 0.8, 0x7fffffff));
  }

  #send(method, body) {
    if (this.#requests.size >= REQUESTS_MAX) {
      return Promise.reject(new ApiError({ code: "RESOURCE_EXHAUSTED", reason: "busy", message: "Too many requests are under way.", retryable: true }));
    }
    const id = String(this.#nextId++);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#lose(), REQUEST_TIMEOUT_MS);
      this.#requests.set(id, { method, resolve, reject, timer });
      this.#socket.send(JSON.stringify({ request: { id, [method]: body } }));
    });
  }

  #answer(response) {
    const request = this.#requests.get(String(response.id));
    if (request === undefined) return;
    this.#requests.delete(String(response.id));
    clearTimeout(request.timer);
    if (response.error) request.reject(new ApiError(response.error));
    else request.resolve(response[request.method] ?? {});
  }

  #sessionEnded(reason) {
    if (reason !== "expired") return this.#end(reason);
    this.#tokenRefused = true;
    this.#lose();
  }

  #closed(code) {
    if (code === CLOSE_REVOKED) return this.#end("revoked");
    if (code === CLOSE_NOT_AUTHENTICATED) this.#tokenRefused = true;
    this.#lose();
  }

  // The socket is gone or given up: everybody who waits is told, and another one is tried later.
  #lose() {
    if (this.state === "stopped") return;
    this.#drop();
    this.#retryLater();
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    for (const timer of [this.#handshakeTimer, this.#stableTimer, this.#renewTimer, this.#retryTimer]) clearTimeout(timer);
    socket?.close();
    const requests = [...this.#requests.values()];
    this.#requests.clear();
    for (const { reject, timer } of requests) {
      clearTimeout(timer);
      reject(offlineError());
    }
  }

  #retryLater() {
    const ceilingMs = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** this.#attempt++);
    const waitMs = ceilingMs * (0.5 + Math.random() / 2);
    clearTimeout(this.#retryTimer);
    this.retryAtMs = Date.now() + waitMs;
    this.#retryTimer = setTimeout(() => this.connectNow(), waitMs);
    this.#enter("offline");
  }

  #end(reason) {
    if (this.state === "stopped") return;
    this.stop();
    this.#handlers.onEnd(reason);
  }
}
