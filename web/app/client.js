// app/client.js - keeps the store like the server: first load, live pushes, catching up after a gap, sending what waits.
// The rule: a push is only a hint. Whatever is missed, late or doubled, `sync` from the last key puts it right.
import { counter, encodeText, messageOf, randomId } from "./codec.js";
import { Outbox } from "./outbox.js";
import { Socket } from "./socket.js";
import { newestSeq, Store } from "./store.js";

const PAGE_SIZE = 50;
const CATCH_UP_PAGE_SIZE = 200;
const CATCH_UP_PAGES_MAX = 5;       // further behind than this: the newest page instead
const CONVERSATION_PAGES_MAX = 100;
const PEERS_WATCHED_MAX = 100;
const USERS_WATCHED_MAX = 128;
const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 30000;
const PROBE_AFTER_MS = 60000;       // silence after which the line is tried
const HEAD_PREVIEWS_MAX = 20;

const EMOJI_ONLY = /^(\p{Extended_Pictographic}|\p{Emoji_Component}|\s){1,24}$/u;
const HAS_EMOJI = /\p{Extended_Pictographic}/u;

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Client {
  #session;
  #socket;
  #catchingUp = null;
  #catchUpAgain = false;
  #inStep = false;           // the store has been synced over this connection: what is pushed follows it
  #lanes = new Set();        // targets whose messages are being sent now
  #pendingReads = new Map(); // room_id -> seq the server does not know yet
  #readTimer = 0;
  #watchTimer = 0;
  #watched = "";
  #membersInView = [];
  #order = 0;
  #namesAsked = new Set();
  #snapshotTimer = 0;
  #ended = false;

  // onState() when the connection changes, onEnd(reason) when only a login helps.
  constructor(session, { onState, onEnd }) {
    this.#session = session;
    this.store = new Store(session.me);
    this.outbox = new Outbox(session.me.user_id);
    this.active = null; // { room_id } or { peer_id, name }: what is on the screen
    this.onState = onState;
    this.onEnd = onEnd;
    this.#socket = new Socket(session, {
      onState: () => { if (this.#socket?.state !== "online") this.store.forgetPresence(); onState(); },
      onReady: () => this.#ready(),
      onPush: (push) => this.#push(push),
      onEnd: (reason) => this.#end(reason),
    });
    this.store.addEventListener("nameless", (event) => this.#askName(event.detail));
    this.store.addEventListener("stale", (event) => this.#loadAnew(event.detail));
    this.store.addEventListener("change", (event) => this.#storeChanged(event.detail));
  }

  start() {
    this.store.restore(this.#readSnapshot());
    this.#socket.connectNow();
    window.addEventListener("pagehide", () => this.#saveSnapshot());
    document.addEventListener("visibilitychange", () => this.#probe());
    setInterval(() => this.#probe(), PROBE_AFTER_MS / 2);
  }

  // True when the store is as the server is: nothing is missing from the list.
  get settled() { return this.connection === "online" && this.#catchingUp === null && this.store.syncKey !== null; }
  get connection() { return this.#socket.state; }
  get retryAtMs() { return this.#socket.retryAtMs; }
  get deviceId() { return this.#session.deviceId; }
  connectNow() { this.#socket.connectNow(); }
  request(method, body) { return this.#socket.request(method, body); }

  // ---- keeping up -------------------------------------------------------------------------------------------------------
  async #ready() {
    this.#watched = "";
    this.#inStep = false;
    await this.catchUp();
    this.#watchLater();
    this.#flushReads();
    this.sendWaiting();
  }

  // A sync after a long silence tells a dead line from a quiet one: unanswered, the socket gives up and comes back.
  #probe() {
    if (document.visibilityState !== "visible") return;
    if (this.connection === "offline") this.connectNow();
    else if (this.connection === "online" && Date.now() - this.#socket.heardAtMs > PROBE_AFTER_MS) this.catchUp();
  }

  #push(push) {
    if (push.event) {
      const key = counter(push.event.sync_key);
      if (!this.#inStep || this.store.syncKey === null || key > this.store.syncKey + 1) this.catchUp();
      else this.#look(this.store.applyEvent(push.event));
      this.#settleOwn(push.event.message);
    } else if (push.room_message) {
      this.#look(this.store.applyMessage(messageOf(push.room_message)));
      this.#settleOwn(push.room_message);
    } else if (push.typing) this.store.applyTyping(push.typing);
    else if (push.presence) this.store.applyPresence(push.presence);
    else if (push.behind) this.catchUp();
  }

  #settleOwn(raw) {
    if (raw && String(raw.sender_id) === this.store.me.user_id && this.outbox.get(raw.client_msg_id)) {
      this.outbox.remove(raw.client_msg_id);
      this.store.touch("timeline");
    }
  }

  #look({ gap, unknown }) {
    if (gap) this.#fillGap(gap);
    if (unknown) this.#reload();
  }

  // One catch-up at a time; what is asked for meanwhile is done by one more round.
  catchUp() {
    if (this.#catchingUp) {
      this.#catchUpAgain = true;
      return this.#catchingUp;
    }
    this.#catchingUp = this.#catchUpRounds().finally(() => { this.#catchingUp = null; });
    return this.#catchingUp;
  }

  async #catchUpRounds() {
    for (let tries = 0; this.connection === "online";) {
      this.#catchUpAgain = false;
      try {
        if (this.store.syncKey === null) await this.#loadConversations();
        await this.#sync();
        if (!this.#catchUpAgain) return this.#refreshActive();
      } catch (error) {
        if (error.reason === "offline") return;
        await wait(Math.max(error.retryAfterMs ?? 0, Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** tries++)));
      }
    }
  }

  async #sync() {
    for (;;) {
      const from = { sync_key: String(this.store.syncKey), stream_epoch: this.store.streamEpoch };
      const answer = await this.request("sync", { ...from, limit: CATCH_UP_PAGE_SIZE });
      if (answer.reset) {
        if (answer.reset_reason === "OTHER_STREAM") this.#forgetAll();
        await this.#loadConversations();
        continue;
      }
      this.store.streamEpoch = answer.stream_epoch ?? "";
      for (const event of answer.events ?? []) {
        this.#look(this.store.applyEvent(event));
        this.#settleOwn(event.message);
      }
      this.store.syncKey = Math.max(this.store.syncKey, counter(answer.sync_key));
      if (answer.has_more) continue;
      this.#inStep = true;
      this.#applyHeads(answer.heads ?? []);
      this.store.touch("snapshot");
      return;
    }
  }

  async #loadConversations() {
    const list = [];
    let syncKey = null;
    let streamEpoch = "";
    let cursor = "0";
    for (let page = 0; page < CONVERSATION_PAGES_MAX; page++) {
      const answer = await this.request("conversations", { cursor, limit: CATCH_UP_PAGE_SIZE });
      list.push(...(answer.conversations ?? []));
      if (syncKey === null) { // the first page's: what changed while the others were read comes again
        syncKey = counter(answer.sync_key);
        streamEpoch = answer.stream_epoch ?? "";
      }
      if (!answer.has_more) break;
      cursor = answer.next_cursor;
    }
    this.store.replaceConversations(list, syncKey, streamEpoch);
  }

  #forgetAll() {
    this.store.forgetAll();
    this.#pendingReads.clear();
  }

  #reload() {
    this.store.syncKey = null;
    this.catchUp();
  }

  #applyHeads(heads) {
    heads.forEach((head, index) => {
      const conversation = this.store.applyHead(head);
      if (!conversation) return;
      const timeline = this.store.timelines.get(conversation.room_id);
      if (timeline?.loaded) this.#fillGap(conversation.room_id);
      else if (index < HEAD_PREVIEWS_MAX && (conversation.last?.seq ?? 0) < conversation.head_seq) this.#preview(conversation);
    });
  }

  // The last message of a room whose head moved unseen.
  async #preview(conversation) {
    const answer = await this.request("history", { room_id: conversation.room_id, limit: 1 }).catch(() => null);
    for (const raw of answer?.messages ?? []) this.#look(this.store.applyMessage(messageOf(raw)));
  }

  async #fillGap(roomId) {
    const timeline = this.store.timelines.get(roomId);
    if (!timeline?.loaded || timeline.filling) return;
    timeline.filling = true;
    try {
      for (let page = 0; newestSeq(timeline) < (this.store.conversations.get(roomId)?.head_seq ?? 0); page++) {
        if (page === CATCH_UP_PAGES_MAX || newestSeq(timeline) === 0) return await this.#loadAnew(roomId);
        const answer = await this.request("history", { room_id: roomId, after_seq: String(newestSeq(timeline)), limit: CATCH_UP_PAGE_SIZE });
        const messages = (answer.messages ?? []).map(messageOf);
        this.store.mergePage(roomId, messages, { hiddenSeq: counter(answer.hidden_seq) });
        if (messages.length === 0) return;
      }
    } catch {
      // Offline or refused: catching up after the reconnect, or the next message, comes here again.
    } finally {
      timeline.filling = false;
    }
  }

  // ---- the conversation on the screen -----------------------------------------------------------------------------------
  show(target) {
    if (this.active?.room_id) this.store.trimTimeline(this.active.room_id);
    const left = this.active?.room_id && this.store.conversations.get(this.active.room_id);
    if (left?.left && left.room_id !== target?.room_id) this.store.forget(left.room_id);
    this.active = target;
    this.#watchLater();
    if (target?.room_id) this.#refreshActive();
  }

  #refreshActive() {
    const roomId = this.active?.room_id;
    if (!roomId || this.connection !== "online" || !this.store.conversations.has(roomId)) return;
    if (this.store.timeline(roomId).loaded) this.#fillGap(roomId);
    else this.loadNewest(roomId);
  }

  async loadNewest(roomId) {
    const conversation = this.store.conversations.get(roomId);
    const unread = conversation ? conversation.head_seq - conversation.read_seq : 0;
    const limit = Math.min(CATCH_UP_PAGE_SIZE, Math.max(PAGE_SIZE, unread + 20));
    await this.#loadPage(roomId, { room_id: roomId, limit });
    if (this.store.timelines.get(roomId)?.loaded) this.#fillGap(roomId);
  }

  async #loadAnew(roomId) {
    this.store.dropTimeline(roomId);
    if (this.active?.room_id === roomId) await this.loadNewest(roomId);
  }

  loadOlder(roomId) {
    const oldest = this.store.timeline(roomId).messages[0];
    if (!oldest) return Promise.resolve();
    return this.#loadPage(roomId, { room_id: roomId, before_seq: String(oldest.seq), limit: PAGE_SIZE });
  }

  async #loadPage(roomId, query) {
    const timeline = this.store.timeline(roomId);
    if (timeline.loading) return;
    timeline.loading = true;
    timeline.error = null;
    this.store.touch("timeline");
    try {
      const answer = await this.request("history", query);
      this.store.mergePage(roomId, (answer.messages ?? []).map(messageOf).reverse(),
        { hasOlder: answer.has_more ?? false, hiddenSeq: counter(answer.hidden_seq) });
    } catch (error) {
      timeline.error = error;
    } finally {
      timeline.loading = false;
      this.store.touch("timeline");
    }
  }

  // Everything up to `seq` was seen. Told to the server soon, and again after a reconnect if need be.
  markRead(roomId, seq) {
    if (!this.store.markRead(roomId, seq)) return;
    this.#pendingReads.set(roomId, seq);
    clearTimeout(this.#readTimer);
    this.#readTimer = setTimeout(() => this.#flushReads(), 250);
  }

  async #flushReads() {
    for (const [roomId, seq] of this.#pendingReads) {
      try {
        await this.request("mark_read", { room_id: roomId, seq: String(seq) });
      } catch (error) {
        if (error.reason === "offline") return;
        if (error.retryable) {
          clearTimeout(this.#readTimer);
          this.#readTimer = setTimeout(() => this.#flushReads(), Math.max(error.retryAfterMs, RETRY_MIN_MS));
          return;
        }
      }
      if (this.#pendingReads.get(roomId) === seq) this.#pendingReads.delete(roomId);
    }
  }

  // ---- sending ----------------------------------------------------------------------------------------------------------
  // Keeps the message, then sends it as soon as it may go. False: too much waits already.
  send(target, text) {
    const kind = EMOJI_ONLY.test(text) && HAS_EMOJI.test(text) ? "EMOJI" : "TEXT";
    const added = this.outbox.add({
      client_msg_id: randomId(), room_id: target.room_id ?? null, to_user_id: target.room_id ? null : target.peer_id,
      kind, text, time_ms: Date.now(), order: this.#order++, state: "waiting", error: "",
    });
    this.store.touch("timeline");
    this.sendWaiting();
    return added;
  }

  retry(clientMsgId) {
    const item = this.outbox.get(clientMsgId);
    if (!item) return;
    this.outbox.update(item, { state: "waiting", error: "" });
    this.store.touch("timeline");
    this.sendWaiting();
  }

  discard(clientMsgId) {
    this.outbox.remove(clientMsgId);
    this.store.touch("timeline");
  }

  // Messages written here that stand below the timeline of this target.
  unsentIn(target) {
    const peerId = target.room_id ? this.store.conversations.get(target.room_id)?.peer_id : target.peer_id;
    return this.outbox.all().filter((item) => (target.room_id && item.room_id === target.room_id) || (peerId && item.to_user_id === peerId));
  }

  sendWaiting() {
    for (const item of this.outbox.all()) if (item.state === "waiting") this.#runLane(laneOf(item));
  }

  // One message of a conversation at a time, so they arrive in the order they were written.
  async #runLane(lane) {
    if (this.#lanes.has(lane)) return;
    this.#lanes.add(lane);
    let tries = 0;
    while (this.connection === "online") {
      const item = this.outbox.all().find((candidate) => candidate.state === "waiting" && laneOf(candidate) === lane);
      if (!item) break;
      const outcome = await this.#sendOne(item);
      if (outcome === "offline") break;
      tries = outcome.waitMs === undefined ? 0 : tries + 1;
      if (outcome.waitMs !== undefined) await wait(Math.max(outcome.waitMs, Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** (tries - 1))));
    }
    this.#lanes.delete(lane);
  }

  async #sendOne(item) {
    this.outbox.update(item, { state: "sending" });
    this.store.touch("timeline");
    const target = item.room_id ? { room_id: item.room_id } : { to_user_id: item.to_user_id };
    try {
      const answer = await this.request("send", { ...target, client_msg_id: item.client_msg_id, kind: item.kind, body: encodeText(item.text) });
      this.#acknowledged(item, answer);
      return {};
    } catch (error) {
      if (error.retryable) {
        this.outbox.update(item, { state: "waiting" });
        return error.reason === "offline" ? "offline" : { waitMs: error.retryAfterMs };
      }
      this.outbox.update(item, { state: "failed", error: error.text ?? String(error) });
      return {};
    } finally {
      this.store.touch("timeline");
    }
  }

  #acknowledged(item, answer) {
    const roomId = String(answer.room_id);
    this.outbox.remove(item.client_msg_id);
    if (item.to_user_id && !this.store.conversations.has(roomId)) {
      this.store.putDirect(roomId, item.to_user_id, this.store.names.get(item.to_user_id) ?? "");
    }
    const { user_id, display_name } = this.store.me;
    this.#look(this.store.applyMessage({
      msg_id: String(answer.msg_id), room_id: roomId, seq: counter(answer.seq), sender_id: user_id, sender_name: display_name,
      time_ms: counter(answer.time_ms), kind: item.kind, text: item.text, size: 0, client_msg_id: item.client_msg_id,
    }));
  }

  typing(roomId, stopped) {
    this.request("typing", { room_id: roomId, stopped }).catch(() => {});
  }

  // ---- people and rooms ---------------------------------------------------------------------------------------------------
  async findUser(name) {
    const { user } = await this.request("user", { name: name.trim().replace(/^@/, "").toLowerCase() });
    const found = { user_id: String(user.user_id), name: user.name, display_name: user.display_name || user.name };
    this.store.setName(found.user_id, found.display_name);
    return found;
  }

  // The ids of these user names; the error names the one that is not there.
  async findUsers(names) {
    const ids = [];
    for (const name of names) {
      try {
        ids.push((await this.findUser(name)).user_id);
      } catch (error) {
        if (error.reason === "user_not_found") error.message = `Nobody is called “${name}”`;
        throw error;
      }
    }
    return ids;
  }

  async setDisplayName(name) {
    const { user } = await this.request("set_display_name", { display_name: name });
    this.store.setName(String(user.user_id), user.display_name);
  }

  async #askName(userId) {
    if (this.#namesAsked.has(userId) || userId === "0" || this.connection !== "online") return;
    this.#namesAsked.add(userId);
    try {
      const { user } = await this.request("user", { user_id: userId });
      this.store.setName(userId, user.display_name || user.name);
    } catch (error) {
      if (error.retryable) this.#namesAsked.delete(userId);
    }
  }

  // `options`: joinable, history.
  async createGroup(name, memberIds, options, clientRoomId) {
    const { room } = await this.request("create_room", { name, member_ids: memberIds, ...options, client_room_id: clientRoomId });
    return this.store.putRoom(room);
  }

  async join(roomId) {
    const { room } = await this.request("join_room", { room_id: roomId });
    return this.store.putRoom(room);
  }

  // ---- who is watched: presence of oneself (another device may change the name), peers and members in view, typing in the conversation on the screen --------------------
  watchMembers(userIds) {
    this.#membersInView = userIds;
    this.#watchLater();
  }

  #watchLater() {
    clearTimeout(this.#watchTimer);
    this.#watchTimer = setTimeout(() => this.#watch(), 100);
  }

  async #watch() {
    if (this.connection !== "online") return;
    const peers = this.store.sorted().filter((conversation) => conversation.peer_id).slice(0, PEERS_WATCHED_MAX).map((c) => c.peer_id);
    const front = this.active?.peer_id ? [this.active.peer_id] : [];
    const userIds = [...new Set([this.store.me.user_id, ...front, ...this.#membersInView, ...peers])].slice(0, USERS_WATCHED_MAX);
    const active = this.store.conversations.get(this.active?.room_id);
    const body = { user_ids: userIds, room_ids: active && !active.left ? [active.room_id] : [] };
    const key = JSON.stringify(body);
    if (key === this.#watched) return;
    this.#watched = key;
    try {
      const answer = await this.request("subscribe", body);
      for (const presence of answer.presence ?? []) this.store.applyPresence(presence);
    } catch (error) {
      this.#watched = "";
      if (error.reason !== "offline" && error.retryable) setTimeout(() => this.#watchLater(), Math.max(error.retryAfterMs, RETRY_MIN_MS));
    }
  }

  #storeChanged(topics) {
    if (topics.has("conversations")) this.#watchLater();
    if (topics.has("conversations") || topics.has("snapshot")) {
      clearTimeout(this.#snapshotTimer);
      this.#snapshotTimer = setTimeout(() => this.#saveSnapshot(), 500);
    }
  }

  // ---- across reloads -----------------------------------------------------------------------------------------------------
  get #snapshotKey() { return `ringpost.state.${this.store.me.user_id}`; }

  #readSnapshot() {
    try {
      return JSON.parse(this.#session.storage.getItem(this.#snapshotKey));
    } catch {
      return null;
    }
  }

  #saveSnapshot() {
    if (this.#ended) return;
    const storage = this.#session.storage;
    const snapshot = this.store.snapshot();
    try {
      if (snapshot) storage.setItem(this.#snapshotKey, JSON.stringify(snapshot));
      else storage.removeItem(this.#snapshotKey);
    } catch {
      storage.removeItem(this.#snapshotKey); // no room for it: the next start loads everything
    }
  }

  async logout() {
    this.#ended = true;
    this.#socket.stop();
    this.outbox.clear();
    this.#session.storage.removeItem(this.#snapshotKey);
    await this.#session.logout();
  }

  #end(reason) {
    this.#ended = true;
    this.#session.storage.removeItem(this.#snapshotKey);
    this.#session.forget();
    this.onEnd(reason);
  }
}

const laneOf = (item) => item.room_id ?? `user ${item.to_user_id}`;
