// app/views/timeline.js - the messages of one conversation: day separators, system lines, send states, history on scroll up.
// Whoever reads at the bottom stays at the bottom; whoever reads further up keeps the place, whatever arrives above or below.
import { $, h, icon, reconcile, setText } from "../dom.js";
import { avatar, count, dayLabel, fullTime, kindLabel, sameDay, sizeText, timeOfDay } from "../format.js";

const GROUP_WITHIN_MS = 5 * 60000;  // messages of one person closer than this stand together
const BOTTOM_SLACK_PX = 48;
const LOAD_OLDER_WITHIN_PX = 400;
const LINK = /\bhttps?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]}]/g;

export function createTimeline(client) {
  const { store } = client;
  const frame = $("timeline");
  const items = $("timeline-items");
  let shown = null;      // key of the target on screen
  let unreadAfter = 0;   // the "new" line stands after this seq; 0: none
  let atBottom = true;
  let seenSeq = 0;       // newest message that was on screen at the bottom
  let placed = false;    // the first place was chosen, once there was something to show

  frame.addEventListener("scroll", () => { measure(); afterScroll(); }, { passive: true });
  new ResizeObserver(() => { if (atBottom) toBottom(); afterScroll(); }).observe(frame);
  document.addEventListener("visibilitychange", afterScroll);
  $("jump-down").addEventListener("click", () => { toBottom(); measure(); afterScroll(); });

  const measure = () => { atBottom = frame.scrollHeight - frame.scrollTop - frame.clientHeight < BOTTOM_SLACK_PX; };
  const toBottom = () => { frame.scrollTop = frame.scrollHeight; };
  const keyOf = (target) => (target.room_id ? `r${target.room_id}` : `u${target.peer_id}`);

  // ---- building ----------------------------------------------------------------------------------------------------------
  function textNodes(text) {
    const nodes = [];
    let at = 0;
    for (const match of text.matchAll(LINK)) {
      nodes.push(text.slice(at, match.index), h("a", { href: match[0], target: "_blank", rel: "noopener noreferrer" }, match[0]));
      at = match.index + match[0].length;
    }
    nodes.push(text.slice(at));
    return nodes.filter((node) => node !== "");
  }

  function body(message) {
    if (message.kind === "EMOJI") return h("span", { class: "body emoji", "data-testid": "message-body" }, message.text);
    if (message.kind === "TEXT") return h("span", { class: "body", "data-testid": "message-body" }, textNodes(message.text));
    return h("span", { class: "body chip", "data-testid": "message-body" }, icon("attachment"), `${kindLabel(message.kind)} · ${sizeText(message.size)}`);
  }

  const STATES = { sent: ["check", "Sent"], sending: ["clock", "Sending"], waiting: ["clock", "Waiting to be sent"], failed: ["alert", "Not sent"] };

  function meta(message, own) {
    const [name, label] = STATES[message.state];
    return h("span", { class: "meta" }, h("time", { datetime: new Date(message.time_ms).toISOString(), title: fullTime(message.time_ms) }, timeOfDay(message.time_ms)),
      own && h("span", { class: `state ${message.state}`, title: label }, icon(name), h("span", { class: "visually-hidden" }, label)));
  }

  function failure(message) {
    return h("div", { class: "failure" }, h("span", {}, message.error || "Not sent."),
      h("button", { class: "link", type: "button", "data-testid": "message-retry", onclick: () => client.retry(message.client_msg_id) }, "Try again"),
      h("button", { class: "link", type: "button", "data-testid": "message-discard", onclick: () => client.discard(message.client_msg_id) }, "Discard"));
  }

  function messageItem(message, first, last, group) {
    const own = message.sender_id === store.me.user_id;
    return {
      key: `${message.sender_id}:${message.client_msg_id || message.seq}`,
      signature: `${message.seq}|${message.state}|${message.time_ms}|${first}|${last}|${group}|${message.error ?? ""}`,
      build: () => h("article", {
        class: `message ${own ? "own" : "other"}${first ? " first" : ""}${last ? " last" : ""}${group && !own ? " with-avatar" : ""}`,
        "data-testid": "message", "data-seq": message.seq || null, "data-state": message.state, "data-kind": message.kind,
        "data-own": String(own), "aria-label": `${own ? "You" : message.sender_name}, ${timeOfDay(message.time_ms)}`,
      },
        group && !own && last ? avatar(message.sender_id, message.sender_name, { extra: "small" }) : null,
        h("div", { class: "bubble" },
          group && !own && first ? h("span", { class: "sender" }, message.sender_name) : null,
          body(message), meta(message, own)),
        message.state === "failed" ? failure(message) : null),
    };
  }

  const line = (key, className, text, testid) => ({
    key, signature: text, build: () => h("p", { class: className, "data-testid": testid }, h("span", {}, text)),
  });

  // ---- the words of a system line ------------------------------------------------------------------------------------------
  function noteText(note) {
    const me = store.me.user_id;
    const actor = note.actor_id === me ? "You" : store.nameOf(note.actor_id);
    const self = note.actor_id === note.target_id;
    const target = note.target_id === me ? "you" : note.target_id === "0" ? "" : store.nameOf(note.target_id);
    switch (note.change) {
      case "ROOM_JOINED": return self ? (note.founded ? "You created this group" : "You joined") : `${actor} added you`;
      case "ROOM_LEFT": return self ? "You left this group" : `${actor} removed you from this group`;
      case "MEMBER_JOINED": return self ? `${actor} joined` : `${actor} added ${target}`;
      case "MEMBER_LEFT": return self ? `${actor} left` : `${actor} removed ${target}`;
      case "MEMBER_ROLE": return `${actor} made ${target} ${{ OWNER: "the owner", ADMIN: "an admin" }[note.role] ?? "a member"}`;
      case "ROOM_UPDATED": return note.renamed ? `${actor} named the group “${note.room_name}”` : `${actor} changed the settings of the group`;
      default: return `${actor} closed this group`;
    }
  }

  // ---- everything in its order ---------------------------------------------------------------------------------------------
  function entries(target) {
    const timeline = target.room_id ? store.timelines.get(target.room_id) : null;
    const conversation = target.room_id ? store.conversations.get(target.room_id) : null;
    const messages = (timeline?.messages ?? []).map((message) => ({ ...message, state: "sent" }));
    const acknowledged = new Set(messages.filter((m) => m.sender_id === store.me.user_id).map((m) => m.client_msg_id));
    const unsent = client.unsentIn(target).filter((item) => !acknowledged.has(item.client_msg_id))
      .map((item) => ({ ...item, seq: 0, sender_id: store.me.user_id, sender_name: store.me.display_name, size: 0 }));
    const oldest = timeline?.hasOlder ? (messages[0]?.seq ?? 0) : 0;
    const notes = timeline?.loaded ? (conversation?.notes ?? []).filter((note) => note.after_seq >= oldest) : [];
    return { all: [...messages, ...unsent], notes, group: conversation !== null && conversation?.type !== "DIRECT" };
  }

  function itemsOf({ all, notes, group }) {
    const result = [];
    let noteIndex = 0;
    let day = null;
    let before = null; // the message right above, if nothing stands between
    const separate = (timeMs) => {
      if (day !== null && sameDay(day, timeMs)) return;
      day = timeMs;
      before = null;
      result.push(line(`day ${new Date(timeMs).toDateString()}`, "separator", dayLabel(timeMs), "day-separator"));
    };
    const notesUpTo = (seq) => {
      for (; noteIndex < notes.length && notes[noteIndex].after_seq <= seq; noteIndex++) {
        const note = notes[noteIndex];
        separate(note.time_ms);
        before = null;
        result.push(line(`note ${note.key}`, "note", noteText(note), "system-line"));
      }
    };
    const close = (a, b) => a && b && a.sender_id === b.sender_id && b.time_ms - a.time_ms < GROUP_WITHIN_MS && sameDay(a.time_ms, b.time_ms);
    all.forEach((message, index) => {
      notesUpTo(message.seq ? message.seq - 1 : Infinity);
      separate(message.time_ms);
      if (unreadAfter && message.seq === unreadAfter + 1) {
        before = null;
        result.push(line("unread", "separator new", "New messages", "unread-separator"));
      }
      const next = all[index + 1];
      const parted = next && ((notes[noteIndex] && (!next.seq || notes[noteIndex].after_seq < next.seq)) || (unreadAfter && next.seq === unreadAfter + 1));
      result.push(messageItem(message, !close(before, message), parted || !close(message, next), group));
      before = message;
    });
    notesUpTo(Infinity);
    return result;
  }

  // ---- top of the timeline: loading, the beginning, what is hidden, an error ------------------------------------------------------------------
  function renderTop(target) {
    const timeline = target.room_id ? store.timelines.get(target.room_id) : null;
    const error = timeline?.error && timeline.error.reason !== "offline" ? timeline.error : null;
    const beginning = timeline?.hidden_seq ? "hidden" : "beginning";
    const state = !target.room_id ? "draft" : error ? "error" : timeline?.loaded && !timeline.hasOlder ? beginning : timeline?.loaded ? (timeline.loading ? "older" : "more") : "loading";
    const retry = () => (timeline.loaded ? client.loadOlder(target.room_id) : client.loadNewest(target.room_id));
    const build = {
      draft: () => h("p", { class: "beginning" }, "Nothing has been said here yet. Say hello."),
      beginning: () => h("p", { class: "beginning", "data-testid": "timeline-beginning" }, timeline?.messages.length ? "The beginning of this conversation" : "Nothing has been said here yet. Say hello."),
      hidden: () => h("p", { class: "beginning", "data-testid": "timeline-hidden" }, "You joined here. Earlier messages are hidden."),
      error: () => h("p", { class: "beginning" }, error.text, " ", h("button", { class: "link", type: "button", onclick: retry }, "Try again")),
      older: () => h("p", { class: "spinner", role: "status" }, h("span", { class: "visually-hidden" }, "Loading older messages")),
      more: () => h("p", { class: "spinner idle" }),
      loading: () => h("p", { class: "spinner", role: "status" }, h("span", { class: "visually-hidden" }, "Loading messages")),
    }[state];
    reconcile($("timeline-top"), [{ key: "top", signature: `${state}${timeline?.messages.length ? 1 : 0}`, build }]);
  }

  // ---- scrolling ---------------------------------------------------------------------------------------------------------------
  function afterScroll() {
    const roomId = client.active?.room_id;
    if (!roomId || shown !== keyOf(client.active) || !placed || frame.clientHeight === 0) return;
    const timeline = store.timelines.get(roomId);
    if (!timeline?.loaded) return;
    if (frame.scrollTop < LOAD_OLDER_WITHIN_PX && timeline.hasOlder && !timeline.loading && !timeline.error) client.loadOlder(roomId);
    const newest = timeline.messages.at(-1)?.seq ?? 0;
    if (atBottom && document.visibilityState === "visible") {
      seenSeq = newest;
      if (newest) client.markRead(roomId, newest);
    }
    const below = Math.max(0, newest - seenSeq);
    $("jump-down").hidden = atBottom;
    $("jump-count").hidden = below === 0;
    setText($("jump-count"), String(below));
    $("jump-down").setAttribute("aria-label", below ? `To the newest message, ${count(below, "new one", "new ones")}` : "To the newest message");
  }

  // The first message on screen and how far below the upper edge it stands.
  function anchor() {
    const top = frame.getBoundingClientRect().top;
    for (const element of items.children) {
      const box = element.getBoundingClientRect();
      if (box.bottom > top && element.dataset.seq) return { element, offset: box.top - top, seq: element.dataset.seq };
    }
    return null;
  }

  function restore({ element, offset, seq }) {
    const still = element.isConnected ? element : items.querySelector(`[data-seq="${seq}"]`);
    if (still) frame.scrollTop += still.getBoundingClientRect().top - frame.getBoundingClientRect().top - offset;
  }

  // The messages of a conversation come on screen: where reading stopped last time gets a line.
  function begin(target) {
    const conversation = store.conversations.get(target.room_id);
    unreadAfter = conversation && conversation.head_seq > conversation.read_seq ? conversation.read_seq : 0;
    seenSeq = conversation?.head_seq ?? 0;
  }

  function place() {
    const line = items.querySelector("[data-testid=unread-separator]");
    toBottom();
    if (line) frame.scrollTop = Math.min(frame.scrollTop, line.offsetTop - frame.clientHeight / 4);
    measure();
  }

  // `grown`: the draft on screen became this conversation.
  function render({ grown = false } = {}) {
    const target = client.active;
    if (!target) {
      shown = null;
      return;
    }
    if (shown !== keyOf(target)) {
      shown = keyOf(target);
      placed = grown;
      if (!grown) stick();
    }
    const loaded = !target.room_id || store.timelines.get(target.room_id)?.loaded;
    const keep = placed && !atBottom ? anchor() : null;
    if (!placed && loaded) begin(target);
    renderTop(target);
    reconcile(items, itemsOf(entries(target)));
    if (keep) restore(keep);
    else if (placed || !loaded) toBottom();
    else {
      placed = true;
      place();
    }
    afterScroll();
  }

  function stick() {
    atBottom = true;
    unreadAfter = 0;
  }

  return { render, stick };
}
