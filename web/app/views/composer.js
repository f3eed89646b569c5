// app/views/composer.js - writing: a field that grows, drafts kept per conversation, typing notices, an emoji panel.
import { $, h, toast } from "../dom.js";

const TYPING_EVERY_MS = 3000;   // said again while writing goes on
const TYPING_STOPS_MS = 5000;   // after so long without a key
const EMOJI = ("😀 😂 🙂 😉 😍 😘 😎 🤔 😅 😢 😭 😡 😱 🥳 😴 🤗 👍 👎 👏 🙏 💪 👋 🤝 ✌️ ❤️ 💔 🔥 ✨ 🎉 🎂 ☕ 🍕 🌞 🌧️ 🌈 🌸 🐶 🐱 🚀 ✅ ❌ ❓").split(" ");

export function createComposer(client, timeline) {
  const input = $("composer-input");
  const panel = $("emoji-panel");
  const drafts = new Map(); // key of target -> text
  let target = null;
  let typingSaidMs = 0;
  let stopTimer = 0;

  const keyOf = (of) => of.room_id ?? `user ${of.peer_id}`;

  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  input.addEventListener("input", () => {
    fit();
    if (input.value.trim()) sayTyping();
    else stopTyping();
  });
  input.addEventListener("blur", stopTyping);
  $("emoji-button").addEventListener("click", () => toggleEmoji(panel.hidden));
  panel.append(...EMOJI.map((emoji) => h("button", { type: "button", class: "emoji-choice", "aria-label": emoji, onclick: () => insert(emoji) }, emoji)));
  document.addEventListener("pointerdown", (event) => {
    if (!panel.hidden && !event.target.closest("#emoji-panel, #emoji-button")) toggleEmoji(false);
  });
  $("composer").addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || panel.hidden) return;
    event.stopPropagation();
    toggleEmoji(false);
    input.focus();
  });

  function toggleEmoji(open) {
    panel.hidden = !open;
    $("emoji-button").setAttribute("aria-expanded", String(open));
  }

  function insert(emoji) {
    input.setRangeText(emoji, input.selectionStart, input.selectionEnd, "end");
    input.dispatchEvent(new Event("input"));
    input.focus();
  }

  function fit() {
    input.style.height = "auto";
    const height = input.scrollHeight; // 0 while the conversation is not on screen
    if (height > 0) input.style.height = `${Math.min(height + 2, 160)}px`;
    $("composer-send").disabled = input.value.trim() === "";
  }

  function sayTyping() {
    clearTimeout(stopTimer);
    stopTimer = setTimeout(stopTyping, TYPING_STOPS_MS);
    if (!target?.room_id || Date.now() - typingSaidMs < TYPING_EVERY_MS) return;
    typingSaidMs = Date.now();
    client.typing(target.room_id, false);
  }

  function stopTyping() {
    clearTimeout(stopTimer);
    if (typingSaidMs && target?.room_id) client.typing(target.room_id, true);
    typingSaidMs = 0;
  }

  function send() {
    const text = input.value.trim();
    if (!text || !target) return;
    if (!client.send(target, text)) {
      toast("Too many messages wait to be sent. Please wait until you are online again.");
      return;
    }
    input.value = "";
    drafts.delete(keyOf(target));
    typingSaidMs = 0; // the message itself ends the typing
    clearTimeout(stopTimer);
    toggleEmoji(false);
    fit();
    timeline.stick();
  }

  // Another conversation is on screen; `grown`: the same one, now with a room.
  function show(next, { grown = false } = {}) {
    if (!grown) {
      stopTyping();
      if (target && input.value) drafts.set(keyOf(target), input.value);
      else if (target) drafts.delete(keyOf(target));
      input.value = next ? (drafts.get(keyOf(next)) ?? "") : "";
    }
    target = next;
    fit();
  }

  return { show, focus: () => input.focus({ preventScroll: true }) };
}
