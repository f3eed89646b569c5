// app/views/list.js - the people and groups: newest first, unread badges, search, and finding somebody by user name.
import { $, h, reconcile, setText, toastError } from "../dom.js";
import { avatar, listTime, paintAvatar, previewOf } from "../format.js";
import { unreadOf } from "../store.js";

const USER_NAME = /^@?[a-z0-9_.-]{1,32}$/;

// `open(target)` shows a conversation.
export function createList(client, open) {
  const { store } = client;
  const list = $("conversation-list");

  renderMe();
  $("me-name").title = `@${store.me.name}`;
  $("search").addEventListener("input", render);
  $("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter") (list.querySelector("a") ?? $("search-actions").querySelector("button"))?.click();
    else if (event.key === "Escape") clearSearch();
    else if (event.key === "ArrowDown") list.querySelector("a")?.focus();
    else return;
    event.preventDefault();
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const links = [...list.querySelectorAll("a")];
    const target = links[links.indexOf(document.activeElement) + step];
    (target ?? (step < 0 ? $("search") : null))?.focus();
    event.preventDefault();
  });

  function clearSearch() {
    $("search").value = "";
    render();
  }

  function lastLine(conversation) {
    if (conversation.left) return "You are no longer a member";
    if (conversation.dismissed) return "This group was closed";
    const { last } = conversation;
    if (!last) return conversation.type === "DIRECT" ? "" : "No messages yet";
    if (last.sender_id === store.me.user_id) return `You: ${previewOf(last)}`;
    return conversation.type === "DIRECT" ? previewOf(last) : `${last.sender_name}: ${previewOf(last)}`;
  }

  function row(conversation) {
    const title = store.titleOf(conversation);
    const unread = unreadOf(conversation);
    const direct = conversation.type === "DIRECT";
    const online = direct && (store.presence.get(conversation.peer_id)?.online ?? false);
    const time = conversation.last?.time_ms || conversation.created_ms;
    const line = lastLine(conversation);
    const active = client.active?.room_id === conversation.room_id;
    return {
      key: conversation.room_id,
      signature: JSON.stringify([title, unread, online, time && listTime(time), line, active]),
      build: () => h("li", {},
        h("a", {
          class: `conversation${unread ? " unread" : ""}`, href: `#/r/${conversation.room_id}`, "data-testid": "conversation",
          "data-room-id": conversation.room_id, "data-title": title, "aria-current": active ? "true" : null,
        },
          h("span", { class: "avatar-frame" }, avatar(direct ? conversation.peer_id : conversation.room_id, title, { group: !direct }),
            direct && h("span", { class: `dot${online ? " online" : ""}`, "data-testid": "presence-dot", "data-online": String(online) },
              h("span", { class: "visually-hidden" }, online ? "online" : "offline"))),
          h("span", { class: "conversation-text" },
            h("span", { class: "conversation-top" },
              h("span", { class: "conversation-title" }, title),
              time ? h("time", { class: "conversation-time", datetime: new Date(time).toISOString() }, listTime(time)) : null),
            h("span", { class: "conversation-bottom" },
              h("span", { class: "conversation-line", "data-testid": "last-message" }, line),
              unread ? h("span", { class: "badge", "data-testid": "unread-badge", "aria-label": `${unread} unread` }, unread > 999 ? "999+" : String(unread)) : null)))),
    };
  }

  function matches(conversation, words) {
    const title = store.titleOf(conversation).toLowerCase();
    return words.every((word) => title.includes(word));
  }

  function searchActions(query) {
    if (!USER_NAME.test(query)) return [];
    const name = query.replace(/^@/, "");
    return [{ key: name, signature: name, build: () => h("button", {
      class: "search-action", type: "button", "data-testid": "search-start", onclick: () => startWith(name),
    }, "Write to ", h("strong", {}, `@${name}`)) }];
  }

  async function startWith(name) {
    try {
      const user = await client.findUser(name);
      clearSearch();
      open({ peer_id: user.user_id, name: user.display_name });
    } catch (error) {
      toastError(error);
    }
  }

  function render() {
    const query = $("search").value.trim().toLowerCase();
    const words = query.replace(/^@/, "").split(/\s+/).filter(Boolean);
    const shown = store.sorted().filter((conversation) => !conversation.left || client.active?.room_id === conversation.room_id)
      .filter((conversation) => matches(conversation, words));
    reconcile(list, shown.map(row));
    reconcile($("search-actions"), query ? searchActions(query) : []);
    $("list-empty").hidden = store.syncKey === null || shown.length > 0 || query !== "";
    const unread = store.unreadTotal();
    document.title = unread ? `(${unread > 999 ? "999+" : unread}) Ringpost` : "Ringpost";
  }

  function renderMe() {
    paintAvatar($("me-avatar"), store.me.user_id, store.me.display_name);
    setText($("me-name"), store.me.display_name);
  }

  return { render, renderMe };
}
