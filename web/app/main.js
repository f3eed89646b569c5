// app/main.js - the start: somebody who is logged in here goes on where they were, everybody else sees the form.
// Logging out reloads the page, so nothing of one person stays in memory for the next; the reason crosses in sessionStorage.
import { Client } from "./client.js";
import { Session } from "./session.js";
import { showChat } from "./views/chat.js";
import { showLogin } from "./views/login.js";

const REASON_KEY = "ringpost.reason";

function leave(reason) {
  sessionStorage.setItem(REASON_KEY, reason);
  location.hash = "";
  location.reload();
}

function enter(session) {
  let view = null;
  const client = new Client(session, { onState: () => view?.connectionChanged(), onEnd: leave });
  client.start();
  view = showChat(client, () => leave("logged_out"));
}

const session = Session.load();
if (session) {
  enter(session);
} else {
  const reason = sessionStorage.getItem(REASON_KEY);
  sessionStorage.removeItem(REASON_KEY);
  showLogin(reason, enter);
}
