// app/codec.js - the JSON of the wire and the values of this page.
// Ids are 64 bits wide and stay strings. Counters (seq, sync keys, times, sizes) start at zero or one and stay far below
// 2^53, so they become numbers once, here, and strings again when they are sent.

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8");

export const counter = (value) => Number(value ?? 0);
export const isId = (value) => value !== undefined && value !== null && value !== "" && value !== "0" && value !== 0;

// Orders decimal ids without leading zeros as the numbers they are.
export function compareIds(a, b) {
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}

export function encodeText(text) {
  const bytes = encoder.encode(text);
  let binary = "";
  for (let at = 0; at < bytes.length; at += 0x8000) binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(binary);
}

function decodeBytes(base64) {
  const binary = atob(base64 ?? "");
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

// A name nobody else uses: 128 random bits in hexadecimal.
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Bytes of kinds other than text are never shown or run; only their size is kept.
export function messageOf(raw) {
  const kind = raw.kind ?? "TEXT";
  const bytes = decodeBytes(raw.body);
  const readable = kind === "TEXT" || kind === "EMOJI";
  return {
    msg_id: String(raw.msg_id), room_id: String(raw.room_id), seq: counter(raw.seq),
    sender_id: String(raw.sender_id), sender_name: raw.sender_name ?? "", time_ms: counter(raw.time_ms),
    kind, text: readable ? decoder.decode(bytes) : "", size: bytes.length, client_msg_id: raw.client_msg_id ?? "",
  };
}

// The part of a conversation that stands in the room itself.
export function roomOf(raw) {
  return {
    room_id: String(raw.room_id), type: raw.type ?? "GROUP", name: raw.name ?? "", owner_id: String(raw.owner_id ?? "0"),
    member_count: raw.member_count ?? 0, member_max: raw.member_max ?? 0, dismissed: raw.dismissed ?? false,
    joinable: raw.joinable ?? false, large: raw.large ?? false, created_ms: counter(raw.created_ms),
    history: raw.history ?? "ALL",
  };
}

export function presenceOf(raw) {
  return { online: raw.online ?? false, last_seen_ms: counter(raw.last_seen_ms), platforms: raw.platforms ?? [] };
}
