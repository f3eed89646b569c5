// app/session.js - who is logged in here: tokens, where they are kept, and refreshing them.
// A session lives in sessionStorage, so two tabs may be two people; "remember me" puts it into localStorage, where tabs share
// it. A refresh token works once: tabs that share one take turns, and one that comes second adopts what the first one got.
import { counter, randomId } from "./codec.js";
import { ApiError, post } from "./http.js";

const SESSION_KEY = "ringpost.session";
const DEVICE_KEY = "ringpost.device";
const FRESH_MARGIN_MS = 20000;

// The name of this browser in the list of devices, the same for ever.
function deviceId() {
  const id = localStorage.getItem(DEVICE_KEY) ?? `web-${randomId()}`;
  localStorage.setItem(DEVICE_KEY, id);
  return id;
}

function deviceName() {
  const agent = navigator.userAgent;
  const browser = /Edg\//.test(agent) ? "Edge" : /Firefox\//.test(agent) ? "Firefox" : /Chrom(e|ium)\//.test(agent) ? "Chrome"
    : /Safari\//.test(agent) ? "Safari" : "Browser";
  const system = /Android/.test(agent) ? "Android" : /iPhone|iPad/.test(agent) ? "iOS" : /Mac OS/.test(agent) ? "macOS"
    : /Windows/.test(agent) ? "Windows" : /Linux/.test(agent) ? "Linux" : "";
  return system ? `${browser} on ${system}` : browser;
}

function read(storage) {
  try {
    return JSON.parse(storage.getItem(SESSION_KEY));
  } catch {
    return null;
  }
}

// Thrown when only a new login helps.
export class SessionEnded extends Error {}

export class Session {
  #refreshing = null;

  constructor(data, storage) {
    this.data = data;
    this.storage = storage;
  }

  static load() {
    for (const storage of [sessionStorage, localStorage]) {
      const data = read(storage);
      if (data?.refresh_token) return new Session(data, storage);
    }
    return null;
  }

  static async login(name, password, remember) {
    const device_id = deviceId();
    const answer = await post("account/login", { name, password, device_id, platform: "web", device_name: deviceName() });
    const user = {
      user_id: String(answer.user_id), name: answer.user?.name || name, display_name: answer.user?.display_name || answer.user?.name || name,
    };
    const session = new Session({ device_id, user }, remember ? localStorage : sessionStorage);
    session.#adopt(answer);
    return session;
  }

  get me() { return this.data.user; }
  get deviceId() { return this.data.device_id; }
  get expiresMs() { return this.data.access_expires_ms; }

  // A token that is good for a while yet; refreshed first when it is not, or when the server refused the last one.
  async accessToken({ refused = false } = {}) {
    if (refused || this.expiresMs - FRESH_MARGIN_MS < Date.now()) await this.refresh();
    return this.data.access_token;
  }

  refresh() {
    this.#refreshing ??= this.#takeTurn(() => this.#refreshNow()).finally(() => { this.#refreshing = null; });
    return this.#refreshing;
  }

  // Ends the session on the server if it can be reached, and here in any case.
  async logout() {
    await post("account/logout", {}, this.data.access_token).catch(() => {});
    this.forget();
  }

  forget() {
    this.storage.removeItem(SESSION_KEY);
  }

  #takeTurn(action) {
    return navigator.locks ? navigator.locks.request("ringpost.refresh", action) : action();
  }

  async #refreshNow() {
    if (this.#adoptFromOtherTab()) return;
    const refresh_token = this.data.refresh_token;
    try {
      this.#adopt(await post("account/refresh", { refresh_token }));
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== "UNAUTHENTICATED") throw error;
      if (!this.#adoptFromOtherTab()) throw new SessionEnded("expired");
    }
  }

  #adoptFromOtherTab() {
    const stored = read(this.storage);
    if (stored === null || stored.user?.user_id !== this.me.user_id) throw new SessionEnded("logged_out");
    if (stored.refresh_token === this.data.refresh_token) return false;
    this.data = stored;
    return this.expiresMs - FRESH_MARGIN_MS > Date.now();
  }

  #adopt(answer) {
    Object.assign(this.data, {
      access_token: answer.access_token, access_expires_ms: counter(answer.access_expires_ms),
      refresh_token: answer.refresh_token, refresh_expires_ms: counter(answer.refresh_expires_ms),
    });
    this.storage.setItem(SESSION_KEY, JSON.stringify(this.data));
  }
}
