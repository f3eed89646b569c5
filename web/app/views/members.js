// app/views/members.js - the panel of a group: who is in it and in what role, inviting, renaming, leaving, closing.
// Buttons appear only where the role allows; the server decides all the same and its refusal is shown.
import { $, confirmed, h, onSubmit, reconcile, setText, showError } from "../dom.js";
import { avatar, count, lastSeen } from "../format.js";

const RANK = { MEMBER: 0, ADMIN: 1, OWNER: 2 };
const ROLE_LABEL = { ADMIN: "Admin", OWNER: "Owner" };
const PAGE_SIZE = 100;

// `open(target)` shows a conversation, `close()` hides the panel.
export function createMembers(client, { open, close }) {
  const { store } = client;
  let roomId = null;
  let members = [];
  let nextCursor = null;
  let expanded = null;  // user id of the row whose actions are shown
  let loadNumber = 0;   // answers of an earlier load are thrown away

  $("members-close").addEventListener("click", close);
  $("members-more").addEventListener("click", () => attempt(() => loadPage(nextCursor)));
  $("leave-button").addEventListener("click", leave);
  $("dismiss-button").addEventListener("click", dismiss);
  onSubmit($("invite-form"), $("members-error"), invite);
  onSubmit($("rename-form"), $("members-error"), rename);

  const conversation = () => store.conversations.get(roomId);
  const myRank = () => RANK[conversation()?.role ?? "MEMBER"];

  async function attempt(action) {
    showError($("members-error"), null);
    try {
      await action();
    } catch (error) {
      showError($("members-error"), error);
    }
  }

  // ---- what the server knows ----------------------------------------------------------------------------------------------
  async function load() {
    const number = ++loadNumber;
    const { role, room } = await client.request("get_room", { room_id: roomId });
    if (number !== loadNumber || !conversation()) return;
    conversation().role = role ?? "MEMBER";
    conversation().member_count = room.member_count;
    await loadPage("0", number);
  }

  async function loadPage(cursor, number = loadNumber) {
    const answer = await client.request("members", { room_id: roomId, cursor, limit: PAGE_SIZE });
    if (number !== loadNumber) return;
    const page = (answer.members ?? []).map((raw) => ({ user_id: String(raw.user_id), name: raw.name, role: raw.role ?? "MEMBER" }));
    members = cursor === "0" ? page : [...members, ...page];
    nextCursor = answer.has_more ? answer.next_cursor : null;
    for (const member of page) store.names.set(member.user_id, member.name);
    client.watchMembers(members.map((member) => member.user_id));
    render();
  }

  // ---- what the person does -----------------------------------------------------------------------------------------------
  async function invite() {
    const names = $("invite-input").value.split(/[\s,;]+/).filter(Boolean);
    if (names.length === 0) return;
    await client.request("invite", { room_id: roomId, user_ids: await client.findUsers(names) });
    $("invite-input").value = "";
    await load();
  }

  async function rename() {
    const options = { joinable: $("joinable-input").checked, history: $("history-input").checked ? "ALL" : "SINCE_JOIN" };
    const { room } = await client.request("update_room", { room_id: roomId, name: $("rename-input").value.trim(), ...options });
    store.putRoom(room);
    $("rename-input").blur();
  }

  async function leave() {
    if (!await confirmed(`Leave “${store.titleOf(conversation())}”? Only an invitation brings you back.`, "Leave")) return;
    await attempt(async () => {
      await client.request("leave_room", { room_id: roomId });
      close();
    });
  }

  async function dismiss() {
    if (!await confirmed(`Close “${store.titleOf(conversation())}” for everyone? Nobody can write in it any more.`, "Close the group")) return;
    await attempt(() => client.request("dismiss_room", { room_id: roomId }));
  }

  async function setRole(member, role) {
    if (role === "OWNER" && !await confirmed(`Hand the group over to ${member.name}? You stay as an admin.`, "Hand over")) return;
    await attempt(async () => {
      await client.request("set_role", { room_id: roomId, user_id: member.user_id, role });
      await load();
    });
  }

  async function remove(member) {
    if (!await confirmed(`Remove ${member.name} from the group?`, "Remove")) return;
    await attempt(async () => {
      await client.request("remove_members", { room_id: roomId, user_ids: [member.user_id] });
      await load();
    });
  }

  // ---- showing ------------------------------------------------------------------------------------------------------------
  function actions(member) {
    const button = (testid, text, onclick, kind = "secondary") => h("button", { class: `${kind} compact`, type: "button", "data-testid": testid, onclick }, text);
    const result = [button("member-write", "Write", () => open({ peer_id: member.user_id, name: member.name }))];
    const rank = RANK[member.role];
    if (myRank() === RANK.OWNER) {
      result.push(member.role === "ADMIN" ? button("member-demote", "Take admin role", () => setRole(member, "MEMBER"))
        : button("member-promote", "Make admin", () => setRole(member, "ADMIN")));
      result.push(button("member-owner", "Hand over the group", () => setRole(member, "OWNER")));
    }
    if (myRank() > rank && myRank() >= RANK.ADMIN) result.push(button("member-remove", "Remove", () => remove(member), "danger"));
    return h("div", { class: "member-actions" }, result);
  }

  function row(member) {
    const self = member.user_id === store.me.user_id;
    const presence = self ? { online: client.connection === "online", last_seen_ms: 0 } : store.presence.get(member.user_id);
    const online = presence?.online ?? false;
    const open = expanded === member.user_id && !self;
    const seen = lastSeen(presence);
    const content = () => [
      h("span", { class: "avatar-frame" }, avatar(member.user_id, member.name, { extra: "small" }),
        h("span", { class: `dot${online ? " online" : ""}`, "data-testid": "presence-dot", "data-online": String(online) })),
      h("span", { class: "member-text" }, h("span", { class: "member-name" }, member.name, self ? " (you)" : ""), h("span", { class: "member-seen" }, seen)),
      ROLE_LABEL[member.role] ? h("span", { class: "role", "data-testid": "member-role" }, ROLE_LABEL[member.role]) : null,
    ];
    return {
      key: member.user_id,
      signature: JSON.stringify([member, online, seen, open, myRank()]),
      build: () => h("li", { class: "member", "data-testid": "member", "data-user-id": member.user_id, "data-name": member.name, "data-role": member.role },
        self ? h("div", { class: "member-row" }, content())
          : h("button", { class: "member-row", type: "button", "aria-expanded": String(open), onclick: () => { expanded = open ? null : member.user_id; render(); focusRow(member.user_id); } }, content()),
        open ? actions(member) : null),
    };
  }

  function focusRow(userId) {
    $("member-list").querySelector(`[data-user-id="${userId}"] .member-row`)?.focus();
  }

  // A field shows what the group is, also when somebody else changed it; what was entered here stays until then.
  function fill(input, property, value) {
    const filled = `${roomId} ${value}`;
    if (input.dataset.filled === filled) return;
    input.dataset.filled = filled;
    input[property] = value;
  }

  function render() {
    const group = conversation();
    if (!group) return;
    const open = !group.left && !group.dismissed;
    const mayManage = open && myRank() >= RANK.ADMIN;
    $("invite-form").hidden = !mayManage;
    $("rename-form").hidden = !mayManage;
    $("leave-button").hidden = !open || (myRank() === RANK.OWNER && group.member_count > 1);
    $("dismiss-button").hidden = !open || myRank() !== RANK.OWNER;
    $("members-more").hidden = nextCursor === null;
    setText($("group-number"), `Group number ${group.room_id}${group.joinable ? " · open to anyone who knows it" : ""}${group.history === "SINCE_JOIN" ? " · new members see no earlier messages" : ""}`);
    setText($("members-count"), `${count(group.member_count, "member", "members")}${group.member_max ? ` of at most ${group.member_max}` : ""}`);
    if (document.activeElement !== $("rename-input")) fill($("rename-input"), "value", group.name);
    fill($("joinable-input"), "checked", group.joinable);
    fill($("history-input"), "checked", group.history !== "SINCE_JOIN");
    reconcile($("member-list"), members.map(row));
  }

  // null: the panel is closed.
  function show(nextRoomId) {
    $("members-pane").hidden = nextRoomId === null;
    $("members-button").setAttribute("aria-expanded", String(nextRoomId !== null));
    if (nextRoomId === roomId) return;
    roomId = nextRoomId;
    loadNumber++;
    members = [];
    nextCursor = null;
    expanded = null;
    showError($("members-error"), null);
    if (roomId === null) return client.watchMembers([]);
    render();
    attempt(load);
  }

  // The group changed under us, or the line came back.
  function refresh() {
    if (roomId !== null && client.connection === "online" && !conversation()?.left) attempt(load);
  }

  return { show, render: () => { if (roomId !== null) render(); }, refresh };
}
