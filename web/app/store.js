// app/store.js - what this page knows: conversations, timelines, people. It applies what the server says and asks for nothing.
// A timeline is a stretch of messages without holes, so its last seq tells what is missing; applyMessage() answers "gap" and
// client.js fetches. Everything applied twice is the same as applied once, so pushes, sync and history may overlap.
import { compareIds, counter, isId, messageOf, presenceOf, roomOf } from "./codec.js";

const NOTES_MAX = 30;           // system lines kept per conversation
const TIMELINE_KEPT_MAX = 200;  // messages kept of a conversation nobody looks at
const SNAPSHOT_MAX = 300;       // conversations; more are loaded from the server at each start
const SNAPSHOT_VERSION = 1;
const TYPING_MS = 6000;

export class Store extends EventTarget {
  #changed = new Set();
  #told = new Set(); // people whose name of now is known

  constructor(me) {
    super();
    this.me = me;
    this.syncKey = null; // null: nothing loaded yet
    this.streamEpoch = ""; // that came with it
    this.conversations = new Map();
    this.timelines = new Map();
    this.names = new Map([[me.user_id, me.display_name]]);
    this.presence = new Map();
    this.typing = new Map(); // room_id -> Map(user_id -> until when)
  }

  // ---- telling the views: one "change" for everything that happened in about one frame; `detail` is the set of topics -----
  touch(topic) {
    if (this.#changed.size === 0) setTimeout(() => this.#tell(), 16);
    this.#changed.add(topic);
  }

  #tell() {
    const topics = this.#changed;
    this.#changed = new Set();
    this.dispatchEvent(new CustomEvent("change", { detail: topics }));
  }

  // ---- conversations ----------------------------------------------------------------------------------------------------
  sorted() {
    return [...this.conversations.values()].sort((a, b) => recency(b) - recency(a) || compareIds(b.room_id, a.room_id));
  }

  directWith(peerId) {
    for (const conversation of this.conversations.values()) if (conversation.peer_id === peerId) return conversation;
    return null;
  }

  titleOf(conversation) {
    if (conversation.type !== "DIRECT") return conversation.name || "Group";
    return conversation.peer_name || this.names.get(conversation.peer_id) || "…";
  }

  unreadTotal() {
    let total = 0;
    for (const conversation of this.conversations.values()) total += unreadOf(conversation);
    return total;
  }

  // The whole list anew, after a first start or a reset. System lines survive; timelines are fetched again.
  replaceConversations(list, syncKey, streamEpoch) {
    const before = this.conversations;
    this.conversations = new Map();
    this.timelines.clear();
    for (const raw of list) {
      const conversation = this.#put(raw.room, raw.peer_id, raw.peer_name, raw.read_seq, before.get(String(raw.room.room_id)));
      conversation.head_seq = counter(raw.head_seq);
      if (raw.last_message) conversation.last = messageOf(raw.last_message);
      this.#ownIsRead(conversation);
    }
    this.syncKey = syncKey;
    this.streamEpoch = streamEpoch;
    this.touch("conversations");
    this.touch("timeline");
  }

  // The server was restored from a backup: numbers mean other things than they did, so nothing that is known here is worth keeping.
  forgetAll() {
    this.syncKey = null;
    this.streamEpoch = "";
    this.conversations.clear();
    this.timelines.clear();
    this.touch("conversations");
    this.touch("timeline");
  }

  #put(rawRoom, peerId, peerName, readSeq, before) {
    const room = roomOf(rawRoom);
    const stale = before?.history !== undefined && before.history !== room.history;
    const conversation = Object.assign(before ?? { notes: [], last: null, head_seq: 0, read_seq: 0, role: null }, room, { left: false });
    conversation.peer_id = isId(peerId) ? String(peerId) : (conversation.peer_id ?? null);
    conversation.peer_name = peerName || conversation.peer_name || "";
    conversation.head_seq = Math.max(conversation.head_seq, counter(rawRoom.head_seq));
    conversation.read_seq = Math.max(conversation.read_seq, counter(readSeq));
    if (conversation.peer_id && peerName) this.names.set(conversation.peer_id, peerName);
    this.conversations.set(room.room_id, conversation);
    this.touch("conversations");
    if (stale) this.dispatchEvent(new CustomEvent("stale", { detail: room.room_id })); // what may be read of it is not what it was
    return conversation;
  }

  // A room this user entered by a request of this page; its event follows and says the same.
  putRoom(rawRoom) {
    return this.#put(rawRoom, null, "", 0, this.conversations.get(String(rawRoom.room_id)));
  }

  // A conversation of two that the first message just made.
  putDirect(roomId, peerId, peerName) {
    return this.#put({ room_id: roomId, type: "DIRECT", member_count: 2 }, peerId, peerName, 0, this.conversations.get(roomId));
  }

  forget(roomId) {
    this.conversations.delete(roomId);
    this.timelines.delete(roomId);
    this.touch("conversations");
  }

  markRead(roomId, seq) {
    const conversation = this.conversations.get(roomId);
    if (!conversation || conversation.read_seq >= seq) return false;
    conversation.read_seq = seq;
    this.touch("conversations");
    return true;
  }

  // A large room moved without an entry in the stream.
  applyHead(raw) {
    const conversation = this.conversations.get(String(raw.room_id));
    if (!conversation) return null;
    conversation.head_seq = Math.max(conversation.head_seq, counter(raw.head_seq));
    this.markRead(conversation.room_id, counter(raw.read_seq));
    this.touch("conversations");
    return conversation;
  }

  // ---- the stream -------------------------------------------------------------------------------------------------------
  // Gives what the caller must look into: { gap: room_id } or { unknown: room_id } or {}.
  applyEvent(raw) {
    const key = counter(raw.sync_key);
    if (key <= this.syncKey) return {};
    this.syncKey = key;
    this.touch("snapshot");
    if (raw.message) return this.applyMessage(messageOf(raw.message));
    if (raw.read) this.markRead(String(raw.read.room_id), counter(raw.read.read_seq));
    if (raw.room) this.#applyRoomChange(raw.room, key);
    return {};
  }

  applyMessage(message) {
    const conversation = this.conversations.get(message.room_id);
    if (!conversation) return { unknown: message.room_id };
    this.#learnName(message.sender_id, message.sender_name);
    if (message.seq > (conversation.last?.seq ?? 0)) conversation.last = message;
    conversation.head_seq = Math.max(conversation.head_seq, message.seq);
    this.#ownIsRead(conversation);
    this.typing.get(message.room_id)?.delete(message.sender_id);
    this.touch("conversations");
    return this.#appendToTimeline(message) ? {} : { gap: message.room_id };
  }

  // Who wrote the newest message and had read all before it has read it too, on every device.
  #ownIsRead(conversation) {
    const { last, read_seq, head_seq } = conversation;
    if (last?.sender_id === this.me.user_id && last.seq === head_seq && read_seq === head_seq - 1) conversation.read_seq = head_seq;
  }

  #appendToTimeline(message) {
    const timeline = this.timelines.get(message.room_id);
    if (!timeline?.loaded) return true;
    const newest = newestSeq(timeline);
    if (message.seq > newest + 1) return false;
    if (message.seq === newest + 1) {
      timeline.messages.push(message);
      this.touch("timeline");
      this.dispatchEvent(new CustomEvent("message", { detail: message }));
    }
    return true;
  }

  #applyRoomChange(raw, key) {
    const change = raw.change ?? "ROOM_JOINED";
    const roomId = String(raw.room.room_id);
    const before = this.conversations.get(roomId);
    if (change === "ROOM_LEFT" && !before) return;
    const nameBefore = before?.name;
    const conversation = this.#put(raw.room, raw.peer_id, raw.peer_name, change === "ROOM_JOINED" ? raw.read_seq : 0, before);
    conversation.left = change === "ROOM_LEFT";
    if (change === "ROOM_DISMISSED") conversation.dismissed = true;
    if (isId(raw.target_id)) this.#learnName(String(raw.target_id), raw.target_name);
    if (change === "MEMBER_ROLE" && String(raw.target_id) === this.me.user_id) conversation.role = raw.role ?? "MEMBER";
    if (conversation.type !== "DIRECT") this.#addNote(conversation, noteOf(raw, change, key, nameBefore !== raw.room.name));
    this.touch("members");
    this.touch("timeline");
  }

  #addNote(conversation, note) {
    if (conversation.notes.some((known) => known.key === note.key)) return;
    conversation.notes.push(note);
    if (conversation.notes.length > NOTES_MAX) conversation.notes.shift();
  }

  // ---- timelines ---------------------------------------------------------------------------------------------------------
  timeline(roomId) {
    let timeline = this.timelines.get(roomId);
    if (!timeline) {
      timeline = { messages: [], hidden_seq: 0, hasOlder: true, loaded: false, loading: false, error: null };
      this.timelines.set(roomId, timeline);
    }
    return timeline;
  }

  // `page` is ascending. Only what continues the timeline at one of its ends is taken. What is up to `hiddenSeq` is of a time before this
  // user came in: the timeline begins behind it.
  mergePage(roomId, page, { hasOlder, hiddenSeq = 0 } = {}) {
    const timeline = this.timeline(roomId);
    timeline.hidden_seq = hiddenSeq;
    timeline.messages = timeline.messages.filter((message) => message.seq > hiddenSeq);
    for (const message of page) this.#learnName(message.sender_id, message.sender_name);
    if (!timeline.loaded) {
      timeline.messages = page;
    } else {
      const newest = newestSeq(timeline);
      const oldest = timeline.messages[0]?.seq ?? newest;
      timeline.messages.unshift(...page.filter((message) => message.seq < oldest));
      timeline.messages.push(...page.filter((message) => message.seq > newest));
    }
    timeline.loaded = true;
    if (hasOlder !== undefined) timeline.hasOlder = hasOlder;
    if (hiddenSeq > 0 && (timeline.messages[0]?.seq ?? hiddenSeq + 1) === hiddenSeq + 1) timeline.hasOlder = false;
    this.#noteNewest(roomId, timeline);
    this.touch("timeline");
  }

  #noteNewest(roomId, timeline) {
    const conversation = this.conversations.get(roomId);
    const newest = timeline.messages.at(-1);
    if (conversation?.last?.seq <= timeline.hidden_seq) conversation.last = null;
    if (!conversation || !newest) return;
    conversation.head_seq = Math.max(conversation.head_seq, newest.seq);
    if (newest.seq > (conversation.last?.seq ?? 0)) conversation.last = newest;
    this.touch("conversations");
  }

  dropTimeline(roomId) {
    this.timelines.delete(roomId);
    this.touch("timeline");
  }

  // A conversation was closed: old pages can be fetched again.
  trimTimeline(roomId) {
    const timeline = this.timelines.get(roomId);
    if (!timeline || timeline.messages.length <= TIMELINE_KEPT_MAX) return;
    timeline.messages.splice(0, timeline.messages.length - TIMELINE_KEPT_MAX);
    timeline.hasOlder = true;
  }

  // ---- people ------------------------------------------------------------------------------------------------------------
  // As it was when something happened: what is known of now goes before it.
  #learnName(userId, name) {
    if (name && !this.#told.has(userId)) this.names.set(userId, name);
  }

  // As it is now.
  setName(userId, name) {
    this.#told.add(userId);
    if (this.names.get(userId) === name) return;
    this.names.set(userId, name);
    const direct = this.directWith(userId);
    if (direct) direct.peer_name = name;
    if (userId === this.me.user_id) {
      this.me.display_name = name;
      this.touch("me");
    }
    this.touch("members");
    this.touch("timeline");
    this.touch("conversations");
  }

  nameOf(userId) {
    const name = this.names.get(userId);
    if (name === undefined) this.dispatchEvent(new CustomEvent("nameless", { detail: userId }));
    return name ?? "…";
  }

  applyPresence(raw) {
    this.presence.set(String(raw.user_id), presenceOf(raw));
    this.touch("presence");
    if (raw.display_name) this.setName(String(raw.user_id), raw.display_name);
  }

  // Nobody tells while the line is down.
  forgetPresence() {
    this.presence.clear();
    this.typing.clear();
    this.touch("presence");
    this.touch("typing");
  }

  applyTyping(raw) {
    const roomId = String(raw.room_id);
    const userId = String(raw.user_id);
    if (userId === this.me.user_id) return;
    if (!this.typing.has(roomId)) this.typing.set(roomId, new Map());
    const people = this.typing.get(roomId);
    if (raw.stopped) people.delete(userId);
    else people.set(userId, Date.now() + TYPING_MS);
    this.touch("typing");
    if (!raw.stopped) setTimeout(() => this.touch("typing"), TYPING_MS + 50);
  }

  typingIn(roomId) {
    const now = Date.now();
    return [...(this.typing.get(roomId) ?? [])].filter(([, until]) => until > now).map(([userId]) => userId);
  }

  // ---- a start without the server: the list as it was, and the sync key to go on from ------------------------------------
  snapshot() {
    const list = this.sorted().filter((conversation) => !conversation.left);
    if (this.syncKey === null || list.length > SNAPSHOT_MAX) return null;
    const names = Object.fromEntries(list.flatMap((c) => c.notes.flatMap((note) => [note.actor_id, note.target_id]))
      .filter((id) => this.names.has(id)).map((id) => [id, this.names.get(id)]));
    return { version: SNAPSHOT_VERSION, user_id: this.me.user_id, sync_key: this.syncKey, stream_epoch: this.streamEpoch, conversations: list, names };
  }

  restore(snapshot) {
    if (snapshot?.version !== SNAPSHOT_VERSION || snapshot.user_id !== this.me.user_id) return;
    this.syncKey = snapshot.sync_key;
    this.streamEpoch = snapshot.stream_epoch ?? ""; // of before there were epochs
    for (const [id, name] of Object.entries(snapshot.names)) this.names.set(id, name);
    for (const conversation of snapshot.conversations) {
      this.conversations.set(conversation.room_id, conversation);
      if (conversation.peer_id) this.#learnName(conversation.peer_id, conversation.peer_name);
    }
    this.touch("conversations");
  }
}

export const unreadOf = (conversation) => (conversation.left ? 0 : Math.max(0, conversation.head_seq - conversation.read_seq));
export const newestSeq = (timeline) => timeline.messages.at(-1)?.seq ?? timeline.hidden_seq; // up to there nothing is missing

function recency(conversation) {
  return Math.max(conversation.last?.time_ms ?? 0, conversation.created_ms ?? 0, conversation.notes.at(-1)?.time_ms ?? 0);
}

// A system line: ids and values only, the words are chosen when it is shown. It stands after the message `after_seq`.
function noteOf(raw, change, key, renamed) {
  return {
    key, change, renamed, room_name: raw.room.name ?? "", actor_id: String(raw.actor_id ?? "0"), target_id: String(raw.target_id ?? "0"),
    role: raw.role ?? "MEMBER", time_ms: counter(raw.time_ms), after_seq: counter(raw.room.head_seq),
    founded: counter(raw.room.head_seq) === 0 && raw.room.owner_id === raw.actor_id,
  };
}
