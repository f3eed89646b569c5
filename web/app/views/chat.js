// app/views/chat.js - the logged-in page: which conversation is on screen (the address says it), its header, and what each change redraws.
// Addresses: #/r/ROOM, #/r/ROOM/members, #/u/USER (somebody without a conversation yet); none: the list.
import { $, setText } from "../dom.js";
import { count, lastSeen, listNames, paintAvatar, previewOf } from "../format.js";
import { createComposer } from "./composer.js";
import { createNewDialog, createSettings } from "./dialogs.js";
import { createList } from "./list.js";
import { createMembers } from "./members.js";
import { createTimeline } from "./timeline.js";

const TYPING_NAMES_MAX = 3;

export function showChat(client, onLoggedOut) {
  const { store } = client;
  document.body.dataset.view = "chat";
  const list = createList(client, open);
  const timeline = createTimeline(client);
  const composer = createComposer(client, timeline);
  const members = createMembers(client, { open, close: () => { if (client.active) open(client.active); } });
  const newDialog = createNewDialog(client, open);
  const settings = createSettings(client, onLoggedOut);

  // ---- addresses -----------------------------------------------------------------------------------------------------------
  function open(target) {
    const direct = target.room_id ? null : store.directWith(target.peer_id);
    location.hash = target.room_id || direct ? `#/r/${target.room_id ?? direct.room_id}` : `#/u/${target.peer_id}`;
  }

  function parse() {
    const [, kind, id, part] = /^#\/([ru])\/([1-9][0-9]*)(?:\/(members))?$/.exec(location.hash) ?? [];
    if (!kind) return { target: null };
    if (kind === "r") return { target: { room_id: id }, panel: part === "members" };
    const direct = store.directWith(id);
    return { target: direct ? { room_id: direct.room_id } : { peer_id: id } };
  }

  function route() {
    const { target, panel } = parse();
    const grown = client.active?.peer_id && target?.room_id && store.conversations.get(target.room_id)?.peer_id === client.active.peer_id;
    const same = JSON.stringify(client.active) === JSON.stringify(target);
    document.body.dataset.pane = !target ? "list" : panel ? "members" : "chat";
    $("chat").hidden = !target;
    $("chat-empty").hidden = Boolean(target);
    if (!same) {
      client.show(target);
      composer.show(target, { grown });
    }
    renderHeader();
    if (!same) timeline.render({ grown });
    list.render();
    const group = target?.room_id && store.conversations.get(target.room_id)?.type !== "DIRECT";
    members.show(panel && group ? target.room_id : null);
    if (!same && target && !matchMedia("(max-width: 719px)").matches) composer.focus();
  }

  // The first message made a conversation of the draft on screen: the address follows.
  function follow() {
    if (!client.active?.peer_id) return;
    const direct = store.directWith(client.active.peer_id);
    if (!direct) return;
    history.replaceState(null, "", `#/r/${direct.room_id}`);
    route();
  }

  // A room of the address that does not exist for this person; known once the list is.
  function checkActive() {
    const roomId = client.active?.room_id;
    if (roomId && client.settled && !store.conversations.has(roomId)) location.hash = "";
  }

  // ---- the header of the conversation ------------------------------------------------------------------------------------------
  function renderHeader() {
    const target = client.active;
    if (!target) return;
    const conversation = store.conversations.get(target.room_id);
    const peerId = conversation ? conversation.peer_id : target.peer_id;
    const title = conversation ? store.titleOf(conversation) : peerId ? store.nameOf(peerId) : "…";
    const group = Boolean(conversation && conversation.type !== "DIRECT");
    setText($("chat-title"), title);
    paintAvatar($("chat-avatar"), peerId ?? target.room_id, title, group);
    const presence = peerId ? store.presence.get(peerId) : null;
    setText($("chat-subtitle"), group ? count(conversation.member_count, "member", "members") : lastSeen(presence));
    $("chat-subtitle").classList.toggle("online", Boolean(presence?.online));
    $("members-button").hidden = !group;
    renderClosed(conversation);
    renderTyping();
  }

  function renderClosed(conversation) {
    const text = conversation?.left ? "You are no longer a member of this group."
      : conversation?.dismissed ? "This group was closed. You can still read it." : "";
    $("composer-closed").hidden = text === "";
    setText($("composer-closed"), text);
    $("composer").hidden = text !== "";
  }

  function renderTyping() {
    const people = client.active?.room_id ? store.typingIn(client.active.room_id) : [];
    const names = people.slice(0, TYPING_NAMES_MAX).map((id) => store.nameOf(id));
    if (people.length > TYPING_NAMES_MAX) names.push("others");
    setText($("typing-line"), people.length === 0 ? "" : `${listNames(names)} ${people.length === 1 ? "is" : "are"} typing…`);
  }

  // ---- the connection ----------------------------------------------------------------------------------------------------------
  function renderConnection() {
    const state = client.connection;
    document.body.dataset.connection = state;
    const offline = state === "offline" || (state === "connecting" && !$("offline-banner").hidden);
    $("offline-banner").hidden = !offline;
    if (!offline) return;
    const seconds = Math.max(0, Math.ceil((client.retryAtMs - Date.now()) / 1000));
    setText($("offline-detail"), state === "connecting" || seconds === 0 ? "Connecting…" : `Next try in ${seconds} s.`);
  }

  function announce(message) {
    if (message.room_id !== client.active?.room_id || message.sender_id === store.me.user_id) return;
    setText($("announcer"), `${message.sender_name}: ${previewOf(message)}`);
  }

  // ---- wiring ------------------------------------------------------------------------------------------------------------------
  store.addEventListener("change", ({ detail: topics }) => {
    follow();
    if (topics.has("conversations") || topics.has("presence") || topics.has("timeline")) {
      list.render();
      renderHeader();
    }
    if (topics.has("timeline") || topics.has("conversations")) timeline.render();
    if (topics.has("me")) list.renderMe();
    if (topics.has("typing")) renderTyping();
    if (topics.has("members")) members.refresh();
    if (topics.has("presence") || topics.has("conversations")) members.render();
    checkActive();
  });
  store.addEventListener("message", (event) => announce(event.detail));
  window.addEventListener("hashchange", route);
  $("chat-back").addEventListener("click", () => { location.hash = ""; });
  $("members-button").addEventListener("click", () => {
    const shown = document.body.dataset.pane === "members";
    location.hash = `#/r/${client.active.room_id}${shown ? "" : "/members"}`;
  });
  for (const id of ["new-button", "list-empty-new"]) $(id).addEventListener("click", () => newDialog.open());
  $("settings-button").addEventListener("click", () => settings.open());
  $("offline-retry").addEventListener("click", () => client.connectNow());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) goBack();
    if (event.key === "k" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      $("search").focus();
    }
  });
  setInterval(() => { renderConnection(); renderHeader(); }, 1000);

  function goBack() {
    if (document.body.dataset.pane === "members") open(client.active);
    else if (document.body.dataset.pane === "chat" && matchMedia("(max-width: 719px)").matches) location.hash = "";
  }

  renderConnection();
  route();
  return { connectionChanged() { renderConnection(); if (client.connection === "online") members.refresh(); } };
}
