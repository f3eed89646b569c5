// app/http.js - the HTTP door, used for what happens before a socket is authenticated; and the one shape of an error.

const TIMEOUT_MS = 15000;

// Why a request failed. `reason` is the server's, or "offline" when nothing arrived at all.
export class ApiError extends Error {
  constructor({ code, reason, message, retryable, retry_after_ms }) {
    super(message || "The request failed.");
    this.code = code ?? "INTERNAL";
    this.reason = reason ?? "internal";
    this.retryable = retryable ?? false;
    this.retryAfterMs = retry_after_ms ?? 0;
  }

  get text() {
    const message = this.message[0].toUpperCase() + this.message.slice(1);
    return /[.!?]$/.test(message) ? message : `${message}.`;
  }
}

export const offlineError = () =>
  new ApiError({ code: "UNAVAILABLE", reason: "offline", message: "The server cannot be reached right now.", retryable: true });

// POST /v1/<method>; gives the response message or throws an ApiError.
export async function post(method, body, accessToken) {
  const headers = { "Content-Type": "application/json" };
  if (accessToken) headers.Authorization = `Bearer ${accessToken}`;
  let response;
  let answer;
  try {
    response = await fetch(`/v1/${method}`, {
      method: "POST", headers, body: JSON.stringify(body), signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store",
    });
    answer = await response.json();
  } catch {
    throw offlineError();
  }
  if (!response.ok) throw new ApiError(answer?.error ?? { retryable: response.status >= 500 });
  return answer;
}
