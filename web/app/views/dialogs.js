// app/views/dialogs.js - starting a conversation (a person, a group, joining by number) and the settings with the devices.
import { $, closable, confirmed, h, onSubmit, reconcile, setText, showError } from "../dom.js";
import { randomId } from "../codec.js";
import { count, lastSeen, paintAvatar } from "../format.js";

const TABS = ["person", "group", "join"];

// `open(target)` shows a conversation.
export function createNewDialog(client, open) {
  const dialog = $("new-dialog");
  let clientRoomId = randomId(); // the same until a group was made, so trying again never makes two
  closable(dialog);

  function choose(chosen) {
    for (const name of TABS) {
      const tab = $(`new-tab-${name}`);
      tab.setAttribute("aria-selected", String(name === chosen));
      tab.tabIndex = name === chosen ? 0 : -1;
      $(`new-${name}`).hidden = name !== chosen;
    }
    $(`new-${chosen}`).querySelector("input").focus();
  }

  TABS.forEach((name, index) => {
    $(`new-tab-${name}`).addEventListener("click", () => choose(name));
    $(`new-tab-${name}`).addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: TABS.length - 1 }[event.key];
      if (!step) return;
      const next = TABS[(index + step) % TABS.length];
      choose(next);
      $(`new-tab-${next}`).focus();
    });
  });

  function submit(name, action) {
    const form = $(`new-${name}`);
    onSubmit(form, form.querySelector(".form-error"), async () => {
      const target = await action();
      dialog.close();
      form.reset();
      open(target);
    });
  }

  submit("person", async () => {
    const name = $("new-person-name").value.trim();
    if (!name) throw new Error("Please enter a user name.");
    const user = await client.findUser(name);
    if (user.user_id === client.store.me.user_id) throw new Error("That is you. Choose somebody else.");
    return { peer_id: user.user_id, name: user.display_name };
  });
  submit("group", async () => {
    const name = $("new-group-name").value.trim();
    if (!name) throw new Error("Please give the group a name.");
    const ids = await client.findUsers($("new-group-members").value.split(/[\s,;]+/).filter(Boolean));
    const others = [...new Set(ids)].filter((id) => id !== client.store.me.user_id);
    const options = { joinable: $("new-group-joinable").checked, history: $("new-group-history").checked ? "ALL" : "SINCE_JOIN" };
    const room = await client.createGroup(name, others, options, clientRoomId);
    clientRoomId = randomId();
    return { room_id: room.room_id };
  });
  submit("join", async () => {
    const number = $("new-join-id").value.trim();
    if (!/^[1-9][0-9]{0,19}$/.test(number)) throw new Error("A group number has only digits.");
    return { room_id: (await client.join(number)).room_id };
  });

  return {
    open() {
      dialog.showModal();
      choose("person");
    },
  };
}

export function createSettings(client, onLoggedOut) {
  const { me } = client.store;
  const dialog = $("settings-dialog");
  closable(dialog);
  setText($("settings-name"), `@${me.name}`);
  $("display-name-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    showError($("display-name-error"), null);
    try {
      await client.setDisplayName($("settings-display-name").value.trim());
      renderMe();
    } catch (error) {
      showError($("display-name-error"), error);
    }
  });

  function renderMe() {
    paintAvatar($("settings-avatar"), me.user_id, me.display_name);
    $("settings-display-name").value = me.display_name;
  }

  $("logout-button").addEventListener("click", async () => {
    const unsent = client.outbox.size;
    if (unsent && !await confirmed(`${count(unsent, "message was", "messages were")} not sent yet and would be lost. Log out all the same?`, "Log out")) return;
    await client.logout();
    onLoggedOut();
  });

  async function load() {
    showError($("devices-error"), null);
    try {
      const { devices = [] } = await client.request("devices");
      devices.sort((a, b) => (b.device_id === client.deviceId) - (a.device_id === client.deviceId) || Number(b.last_seen_ms) - Number(a.last_seen_ms));
      reconcile($("device-list"), devices.map(row));
    } catch (error) {
      showError($("devices-error"), error);
    }
  }

  async function revoke(device, label) {
    if (!await confirmed(`Log out “${label}”?`, "Revoke")) return;
    try {
      await client.request("revoke_device", { device_id: device.device_id });
    } catch (error) {
      return showError($("devices-error"), error);
    }
    await load();
  }

  function row(device) {
    const own = device.device_id === client.deviceId;
    const label = device.name || device.platform || "Device";
    const seen = own ? "this device" : lastSeen({ online: device.online, last_seen_ms: Number(device.last_seen_ms ?? 0) });
    return {
      key: device.device_id, signature: JSON.stringify([label, seen, device.online]),
      build: () => h("li", { class: "device", "data-testid": "device", "data-device-id": device.device_id, "data-own": String(own) },
        h("span", { class: `dot${device.online || own ? " online" : ""}` }),
        h("span", { class: "member-text" }, h("span", { class: "member-name" }, label), h("span", { class: "member-seen" }, [device.platform, seen].filter(Boolean).join(" · "))),
        own ? null : h("button", { class: "danger compact", type: "button", "data-testid": "device-revoke", onclick: () => revoke(device, label) }, "Revoke")),
    };
  }

  return {
    open() {
      dialog.showModal();
      renderMe();
      load();
    },
  };
}
