// app/outbox.js - what was written here and is not acknowledged yet. Each message is its own localStorage entry until the server has it
// on disk, so a reload, a crash or a lost line loses nothing; it keeps its client_msg_id, so a repeat doubles nothing.
// waiting -> sending -> (gone | waiting | failed); failed -> waiting when the person says so.

const ITEMS_MAX = 500;

export class Outbox {
  #prefix;
  #items = new Map();

  constructor(userId) {
    this.#prefix = `ringpost.outbox.${userId}.`;
    for (const key of Object.keys(localStorage)) {
      if (!key.startsWith(this.#prefix)) continue;
      const item = JSON.parse(localStorage.getItem(key));
      this.#items.set(item.client_msg_id, item.state === "failed" ? item : { ...item, state: "waiting" });
    }
  }

  get size() { return this.#items.size; }
  get(clientMsgId) { return this.#items.get(clientMsgId); }

  // False at the limit: nothing was kept.
  add(item) {
    if (this.#items.size >= ITEMS_MAX) return false;
    this.#items.set(item.client_msg_id, item);
    this.#save(item);
    return true;
  }

  update(item, change) {
    Object.assign(item, change);
    if (this.#items.has(item.client_msg_id)) this.#save(item);
  }

  remove(clientMsgId) {
    this.#items.delete(clientMsgId);
    localStorage.removeItem(this.#prefix + clientMsgId);
  }

  clear() {
    for (const id of [...this.#items.keys()]) this.remove(id);
  }

  // Oldest first.
  all() {
    return [...this.#items.values()].sort((a, b) => a.time_ms - b.time_ms || a.order - b.order);
  }

  #save(item) {
    try {
      localStorage.setItem(this.#prefix + item.client_msg_id, JSON.stringify(item));
    } catch {
      // Storage is full or forbidden: the message still stands in memory and is sent from there.
    }
  }
}
