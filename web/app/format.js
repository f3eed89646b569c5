// app/format.js - times, names and avatars as people read them.
import { h } from "./dom.js";

const HUES = 12;
const timeFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const weekdayFormat = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const dayFormat = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const dayOfYearFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const shortDateFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "medium" });

const startOfDay = (ms) => new Date(ms).setHours(0, 0, 0, 0);
const daysAgo = (ms) => Math.round((startOfDay(Date.now()) - startOfDay(ms)) / 86400000);

export const timeOfDay = (ms) => timeFormat.format(ms);
export const fullTime = (ms) => fullFormat.format(ms);
export const sameDay = (a, b) => startOfDay(a) === startOfDay(b);

export function dayLabel(ms) {
  const days = daysAgo(ms);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return days < 300 ? dayFormat.format(ms) : dayOfYearFormat.format(ms);
}

export function listTime(ms) {
  const days = daysAgo(ms);
  if (days <= 0) return timeOfDay(ms);
  return days < 7 ? weekdayFormat.format(ms) : shortDateFormat.format(ms);
}

export function lastSeen(presence) {
  if (!presence) return "";
  if (presence.online) return "online";
  if (!presence.last_seen_ms) return "offline";
  const minutes = Math.floor((Date.now() - presence.last_seen_ms) / 60000);
  if (minutes < 1) return "last seen just now";
  if (minutes < 60) return `last seen ${minutes} min ago`;
  const days = daysAgo(presence.last_seen_ms);
  if (days === 0) return `last seen today at ${timeOfDay(presence.last_seen_ms)}`;
  return days === 1 ? `last seen yesterday at ${timeOfDay(presence.last_seen_ms)}` : `last seen on ${shortDateFormat.format(presence.last_seen_ms)}`;
}

export function sizeText(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  return bytes < 1048576 ? `${(bytes / 1024).toFixed(0)} KB` : `${(bytes / 1048576).toFixed(1)} MB`;
}

const KIND_LABELS = { IMAGE: "Image", VIDEO: "Video", AUDIO: "Audio", FILE: "File", CUSTOM: "Custom message" };
export const kindLabel = (kind) => KIND_LABELS[kind] ?? "Message";

// One line for the list.
export const previewOf = (message) => (message.kind === "TEXT" || message.kind === "EMOJI" ? message.text.slice(0, 160) : kindLabel(message.kind));

export function initials(name) {
  const words = name.split(/[\s_.-]+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)].map((word) => [...word][0]) : [...(words[0] ?? "?")].slice(0, 2);
  return letters.join("").toUpperCase();
}

// The same id has the same colour everywhere; the colours are classes of style.css.
export function hueOf(id) {
  let hash = 0x811c9dc5;
  for (const letter of id) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193);
  return ((hash ^ (hash >>> 15)) >>> 0) % HUES;
}

export function avatar(id, name, { group = false, extra = "" } = {}) {
  return h("span", { class: `avatar hue-${hueOf(id)}${group ? " group" : ""} ${extra}`, "aria-hidden": "true" }, initials(name));
}

export function paintAvatar(element, id, name, group = false) {
  element.className = `avatar hue-${hueOf(id)}${group ? " group" : ""}${element.classList.contains("large") ? " large" : ""}`;
  element.textContent = initials(name);
}

export const count = (number, one, many) => `${number} ${number === 1 ? one : many}`;

export function listNames(names) {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}
