// tests/e2e/browser/chat.spec.mjs - two people click through the web chat of a running server: RINGPOST_URL says where it is.
// With RINGPOST_RESTART (a shell command that stops the server in whatever way and starts it again on the same data) a restart in mid-talk is
// tried as well. The tests build on each other: one evening of Anna and Ben.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { launch, PASSWORD, Person, post, SERVER_URL, unique } from "./person.mjs";

const HISTORY_COUNT = 130;
const PHONE = { viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true };
const encode = (text) => Buffer.from(text).toString("base64");

let browser;
let anna;
let ben;
const people = [];

async function arrive(name, displayName, options) {
  const person = await Person.arrive(browser, unique(name), displayName, options);
  people.push(person);
  return person;
}

before(async () => {
  browser = await launch();
  anna = await arrive("anna", "Anna Berg");
  ben = await arrive("ben", "Ben Okafor");
});

after(() => browser?.close());

test("the page is served with a policy that forbids foreign and inline code", async () => {
  const response = await fetch(`${SERVER_URL}/`);
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type"), /^text\/html/);
  assert.match(response.headers.get("content-security-policy"), /default-src 'self'/);
});

test("a file that did not change is not sent again", async (t) => {
  const first = await fetch(`${SERVER_URL}/app/main.js`);
  const etag = first.headers.get("etag");
  assert.ok(etag, "an ETag");
  const second = await fetch(`${SERVER_URL}/app/main.js`, { headers: { "If-None-Match": etag } });
  assert.equal(second.status, 304);
});

test("two people register", async () => {
  await anna.register();
  await ben.register();
  await anna.shows("me-name", "Anna Berg");
  await anna.get("list-empty").waitFor();
});

test("a taken name and a wrong password are refused in words", async () => {
  const stranger = await arrive("anna", "Not Anna");
  await stranger.login("not the password");
  await stranger.get("login-error").filter({ hasText: /wrong name or password/i }).waitFor();
  await stranger.get("login-switch").click();
  await stranger.get("login-submit").click();
  await stranger.get("login-error").filter({ hasText: /taken/i }).waitFor();
  await stranger.leave();
});

test("they find each other by name and talk both ways", async () => {
  await anna.get("new-button").click();
  await anna.get("new-person-name").fill(unique("nobody"));
  await anna.get("new-person-submit").click();
  await anna.get("new-person-error").waitFor();
  await anna.get("new-person-name").fill(ben.name);
  await anna.get("new-person-submit").click();
  await anna.titled("Ben Okafor");
  await anna.write("Hello Ben");
  await anna.sent("Hello Ben");

  await ben.conversation("Anna Berg").waitFor();
  await ben.shows("last-message", "Hello Ben");
  await ben.open("Anna Berg");
  await ben.reads("Hello Ben");
  await ben.write("Hello Anna");
  await anna.reads("Hello Anna");
  assert.equal(await anna.message("Hello Ben").getAttribute("data-own"), "true");
  assert.equal(await anna.message("Hello Anna").getAttribute("data-own"), "false");
});

test("markup in a message is text, an address is a link", async () => {
  const markup = '<img src=x onerror="document.title=1"><b>bold</b>';
  await anna.write(markup);
  await ben.reads(markup);
  assert.equal(await ben.get("timeline").locator("img, b").count(), 0);
  await anna.write("see https://example.org/a?b=c.");
  const link = ben.get("timeline").locator('a[href="https://example.org/a?b=c"]');
  await link.waitFor();
  assert.equal(await link.getAttribute("rel"), "noopener noreferrer");
});

test("an emoji alone is an emoji, other kinds are a label", async () => {
  await anna.write("🎉");
  await ben.page.locator("[data-testid=message][data-kind=EMOJI]").filter({ hasText: "🎉" }).waitFor();
  const { access_token } = await post("account/login", { name: anna.name, password: PASSWORD, device_id: "script", platform: "cli", device_name: "Script" });
  const { user } = await post("account/user", { name: ben.name }, access_token);
  await post("chat/send", { to_user_id: user.user_id, client_msg_id: "custom-1", kind: "CUSTOM", body: encode("<script>1</script>") }, access_token);
  await ben.page.locator("[data-testid=message][data-kind=CUSTOM]").filter({ hasText: "Custom message · 18 bytes" }).waitFor();
});

test("who writes is seen to be typing until the message is there", async () => {
  await ben.get("composer-input").pressSequentially("I am wri");
  await anna.shows("typing-line", "Ben Okafor is typing…");
  await ben.write("I am writing");
  await anna.reads("I am writing");
  await anna.page.waitForFunction(() => document.querySelector("[data-testid=typing-line]").textContent === "");
});

test("presence follows who comes and goes", async () => {
  const dot = (online) => anna.conversation("Ben Okafor").locator(`[data-testid=presence-dot][data-online=${online}]`).waitFor({ state: "attached" });
  await dot(true);
  await anna.shows("chat-subtitle", "online");
  ben.unplugged = true;
  await ben.page.goto("about:blank");
  await dot(false);
  await anna.get("chat-subtitle").filter({ hasText: "last seen" }).waitFor();
  await ben.page.goto(SERVER_URL);
  ben.unplugged = false;
  await ben.online();
  await dot(true);
});

test("unread messages are counted until they are read, also after a reload", async () => {
  await ben.openList();
  await anna.write("Unread one");
  await anna.write("Unread two");
  await ben.shows("unread-badge", "2", ben.conversation("Anna Berg"));
  await ben.page.waitForFunction(() => document.title === "(2) Ringpost");
  await ben.page.reload();
  await ben.shows("unread-badge", "2", ben.conversation("Anna Berg"));
  await ben.open("Anna Berg");
  await ben.get("unread-separator").waitFor();
  await ben.conversation("Anna Berg").getByTestId("unread-badge").waitFor({ state: "detached" });
  await anna.write("Read at once");
  await ben.reads("Read at once");
  const { access_token } = await post("account/login", { name: ben.name, password: PASSWORD, device_id: "script", platform: "cli", device_name: "Script" });
  for (;;) { // the mark is sent a moment after the message was seen
    const { conversations } = await post("chat/conversations", {}, access_token);
    if (conversations[0].unread === "0") break;
  }
});

test("a reload keeps the session and the conversation on screen", async () => {
  await anna.page.reload();
  await anna.online();
  await anna.titled("Ben Okafor");
  await anna.reads("Hello Ben");
  await anna.reads("Read at once");
});

test("a group: made, joined, renamed, roles, removed, left", async () => {
  const cleo = await arrive("cleo", "Cleo Martin");
  await cleo.register();
  await anna.get("new-button").click();
  await anna.get("new-tab-group").click();
  await anna.get("new-group-name").fill("Hikers");
  await anna.get("new-group-members").fill(ben.name);
  await anna.get("new-group-submit").click();
  await anna.titled("Hikers");
  await anna.shows("system-line", "You created this group");
  await ben.open("Hikers");
  await ben.shows("system-line", "Anna Berg added you");
  await anna.write("Hello hikers");
  await ben.reads("Hello hikers");
  await ben.write("Hello from Ben");
  await anna.reads("Hello from Ben");

  await anna.get("members-button").click();
  const member = (person, name) => person.page.locator(`[data-testid=member][data-name="${name}"]`);
  await member(anna, "Ben Okafor").locator("[data-testid=presence-dot][data-online=true]").waitFor();
  await anna.get("invite-input").fill(cleo.name);
  await anna.get("invite-submit").click();
  await member(anna, "Cleo Martin").waitFor();
  await ben.shows("system-line", "Anna Berg added Cleo Martin");
  await anna.shows("chat-subtitle", "3 members");
  await cleo.open("Hikers");
  await cleo.write("Hello from Cleo");
  await ben.reads("Hello from Cleo");

  await member(anna, "Ben Okafor").getByRole("button").first().click();
  await anna.get("member-promote").click();
  await ben.shows("system-line", "Anna Berg made you an admin");
  await anna.page.locator('[data-testid=member][data-name="Ben Okafor"][data-role=ADMIN]').waitFor();
  await anna.get("rename-input").fill("Sunday hikers");
  await anna.get("rename-submit").click();
  await ben.titled("Sunday hikers");

  await cleo.get("timeline-beginning").waitFor();
  await ben.get("members-button").click();
  await ben.get("rename-form").waitFor();
  await anna.get("history-input").uncheck();
  await anna.get("rename-submit").click();
  await cleo.shows("timeline-hidden", "You joined here. Earlier messages are hidden.");
  await cleo.reads("Hello from Cleo");
  assert.equal(await cleo.get("message-body").filter({ hasText: "Hello hikers" }).count(), 0);
  await ben.reads("Hello hikers"); // who was there from the beginning
  await ben.page.locator("#group-number").filter({ hasText: "new members see no earlier messages" }).waitFor();
  await ben.get("rename-input").fill("Hikers on Sunday"); // saving a name changes nothing that another admin has changed meanwhile
  await ben.get("rename-submit").click();
  await anna.titled("Hikers on Sunday");
  await cleo.get("timeline-hidden").waitFor();
  assert.equal(await anna.get("history-input").isChecked(), false);
  await ben.get("members-close").click();
  await anna.get("rename-input").fill("Sunday hikers");
  await anna.get("history-input").check();
  await anna.get("rename-submit").click();
  await cleo.reads("Hello hikers");

  await member(anna, "Cleo Martin").getByRole("button").first().click();
  await anna.get("member-remove").click();
  await anna.confirm();
  await cleo.get("composer-closed").filter({ hasText: "no longer a member" }).waitFor();
  await ben.shows("system-line", "Anna Berg removed Cleo Martin");
  await ben.get("members-button").click();
  await ben.get("leave-button").click();
  await ben.confirm();
  await anna.shows("system-line", "Ben Okafor left");
  await anna.shows("chat-subtitle", "1 member");
  await cleo.leave();
});

test("a group that hides what was said before from those who come later", async () => {
  await anna.get("new-button").click();
  await anna.get("new-tab-group").click();
  await anna.get("new-group-name").fill("Surprise");
  await anna.get("new-group-history").uncheck();
  await anna.get("new-group-submit").click();
  await anna.titled("Surprise");
  await anna.write("Not for Ben");
  await anna.get("members-button").click();
  await anna.page.locator("#group-number").filter({ hasText: "new members see no earlier messages" }).waitFor();
  await anna.get("invite-input").fill(ben.name);
  await anna.get("invite-submit").click();
  await ben.open("Surprise");
  await ben.shows("timeline-hidden", "You joined here. Earlier messages are hidden.");
  await anna.write("Hello Ben, welcome");
  await ben.reads("Hello Ben, welcome");
  await ben.page.reload();
  await ben.online();
  await ben.reads("Hello Ben, welcome");
  await ben.get("timeline-hidden").waitFor();
  assert.equal(await ben.get("message").count(), 1);
});

test("older messages come by scrolling up, and the place is kept", async () => {
  const { access_token } = await post("account/login", { name: ben.name, password: PASSWORD, device_id: "script", platform: "cli", device_name: "Script" });
  const { room } = await post("room/create", { name: "Archive", client_room_id: "archive" }, access_token);
  const { user } = await post("account/user", { name: anna.name }, access_token);
  await post("room/invite", { room_id: room.room_id, user_ids: [user.user_id] }, access_token);
  for (let i = 1; i <= HISTORY_COUNT; i++) {
    await post("chat/send", { room_id: room.room_id, client_msg_id: `line-${i}`, kind: "TEXT", body: encode(`line ${i}`) }, access_token);
  }
  await anna.shows("unread-badge", String(HISTORY_COUNT), anna.conversation("Archive"));
  await anna.open("Archive");
  await anna.message(`line ${HISTORY_COUNT}`).waitFor();
  await anna.page.reload(); // read now: the newest page is as large as any
  await anna.message(`line ${HISTORY_COUNT}`).waitFor();
  assert.equal(await anna.message("line 1").count(), 0);
  await keepsPlaceWhileLoading(anna.page);
  while (await anna.get("timeline-beginning").count() === 0) {
    const before = await anna.get("message").first().getAttribute("data-seq");
    await anna.get("timeline").evaluate((timeline) => { timeline.scrollTop = 0; });
    await anna.page.waitForFunction((seq) => document.querySelector("[data-testid=message]").dataset.seq !== seq
      || document.querySelector("[data-testid=timeline-beginning]"), before);
  }
  const seqs = await anna.get("message").evaluateAll((elements) => elements.map((element) => Number(element.dataset.seq)));
  assert.deepEqual(seqs, Array.from({ length: HISTORY_COUNT }, (_, i) => i + 1));
});

// Scrolls to the top and compares where the message that was first on screen stands before and after the older ones came.
async function keepsPlaceWhileLoading(page) {
  const moved = await page.getByTestId("timeline").evaluate((timeline) => new Promise((resolve) => {
    const first = timeline.querySelector("[data-testid=message]");
    timeline.scrollTop = 0;
    const before = first.getBoundingClientRect().top;
    const watch = () => {
      if (timeline.querySelector("[data-testid=message]") === first) return requestAnimationFrame(watch);
      const still = first.isConnected ? first : timeline.querySelector(`[data-seq="${first.dataset.seq}"]`);
      resolve(Math.abs(still.getBoundingClientRect().top - before));
    };
    watch();
  }));
  assert.ok(moved < 40, `the message moved by ${moved} px`);
}

test("offline is shown; what both wrote meanwhile arrives once", async () => {
  await anna.open("Ben Okafor");
  await ben.open("Anna Berg");
  anna.unplugged = true;
  await anna.page.context().setOffline(true);
  await anna.offline();
  await anna.write("Written offline 1");
  await anna.write("Written offline 2");
  await anna.page.locator("[data-testid=message][data-state=waiting]").filter({ hasText: "Written offline 2" }).waitFor();
  await ben.write("While you were away");
  await ben.sent("While you were away");
  assert.equal(await anna.message("While you were away").count(), 0);
  await anna.page.context().setOffline(false);
  await anna.online();
  anna.unplugged = false;
  await anna.get("offline-banner").waitFor({ state: "hidden" });
  await anna.reads("While you were away");
  await anna.sent("Written offline 2");
  await ben.reads("Written offline 2");
  for (const person of [anna, ben]) {
    for (const text of ["Written offline 1", "Written offline 2", "While you were away"]) assert.equal(await person.message(text).count(), 1, text);
  }
  const own = await ben.get("message").filter({ hasText: "Written offline" }).allInnerTexts();
  assert.match(own[0], /offline 1/);
});

test("what waits to be sent survives a reload", async () => {
  anna.unplugged = true;
  await anna.page.route("**/v1/**", (route) => route.abort());
  await anna.page.context().setOffline(true);
  await anna.offline();
  await anna.write("Kept over a reload");
  await anna.page.locator("[data-testid=message][data-state=waiting]").waitFor();
  await anna.page.context().setOffline(false);
  await anna.page.unroute("**/v1/**");
  await anna.page.reload();
  anna.unplugged = false;
  await anna.online();
  await ben.reads("Kept over a reload");
  await anna.sent("Kept over a reload");
  assert.equal(await ben.message("Kept over a reload").count(), 1);
});

test("the server restarts in mid-talk", { skip: process.env.RINGPOST_RESTART ? false : "RINGPOST_RESTART is not set" }, async () => {
  anna.unplugged = true;
  ben.unplugged = true;
  const lost = Promise.all([anna, ben].map((person) => person.page.locator("body:not([data-connection=online])").waitFor()));
  const restarted = promisify(execFile)("sh", ["-c", process.env.RINGPOST_RESTART]);
  await lost;
  await anna.write("Sent into the restart");
  await restarted;
  await anna.online();
  await ben.online();
  anna.unplugged = false;
  ben.unplugged = false;
  await ben.reads("Sent into the restart");
  await anna.sent("Sent into the restart");
  await ben.write("Here again");
  await anna.reads("Here again");
  assert.equal(await ben.message("Sent into the restart").count(), 1);
  await ben.reads("Kept over a reload");
});

test("on a phone: the list, a conversation, back, and the group's panel", async () => {
  const phone = await arrive("anna", "Anna Berg", PHONE);
  await phone.login();
  await phone.online();
  await phone.conversation("Ben Okafor").waitFor();
  assert.equal(await phone.get("chat-title").isVisible(), false);
  await phone.open("Ben Okafor");
  assert.equal(await phone.get("conversation-list").isVisible(), false);
  await phone.write("From the phone");
  await ben.reads("From the phone");
  await anna.reads("From the phone"); // her other device has it too
  await phone.get("chat-back").click();
  await phone.conversation("Sunday hikers").click();
  await phone.get("members-button").click();
  await phone.get("member").first().waitFor();
  assert.equal(await phone.get("composer-input").isVisible(), false);
  await phone.page.goBack();
  await phone.get("composer-input").waitFor();
  const wide = await phone.page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
  assert.equal(wide, false, "nothing is wider than the screen");
  await phone.leave();
});

test("another name is seen by everybody at once", async () => {
  await anna.get("settings-button").click();
  await anna.get("settings-display-name").fill("Anna of the Mill");
  await anna.get("display-name-save").click();
  await anna.page.locator("#me-name", { hasText: "Anna of the Mill" }).waitFor();
  await ben.page.locator("[data-testid=conversation]", { hasText: "Anna of the Mill" }).first().waitFor();
  await anna.get("settings-display-name").fill("Anna Berg");
  await anna.get("display-name-save").click();
  await ben.page.locator("[data-testid=conversation]", { hasText: "Anna Berg" }).first().waitFor();
  await anna.get("settings-close").click();
});

test("a revoked device is logged out at once, the others stay", async () => {
  const lost = await arrive("ben", "Ben Okafor");
  await lost.login();
  await lost.online();
  const lostDevice = await lost.page.evaluate(() => localStorage.getItem("ringpost.device"));
  await ben.get("settings-button").click();
  const row = ben.page.locator(`[data-testid=device][data-device-id="${lostDevice}"]`);
  await row.waitFor();
  await row.getByTestId("device-revoke").click();
  await ben.confirm();
  await row.waitFor({ state: "detached" });
  await lost.get("login-notice").filter({ hasText: "logged out" }).waitFor();
  assert.equal(await lost.get("conversation").count(), 0);
  await lost.page.reload();
  await lost.get("login-form").waitFor();
  await ben.get("settings-close").click();
  await ben.write("Still here");
  await anna.reads("Still here");
  await lost.leave();
});

test("logging out forgets everything; logging in finds it again", async () => {
  await anna.get("settings-button").click();
  await anna.get("logout-button").click();
  await anna.get("login-form").waitFor();
  const kept = await anna.page.evaluate(() => [...Object.keys(localStorage), ...Object.keys(sessionStorage)]);
  assert.deepEqual(kept, ["ringpost.device"]);
  await anna.get("login-remember").check();
  await anna.login();
  await anna.online();
  await anna.open("Ben Okafor");
  await anna.reads("Still here");
  const tab = await anna.page.context().newPage();
  await tab.goto(SERVER_URL);
  await tab.locator("body[data-view=chat][data-connection=online]").waitFor(); // remembered: another tab is the same person
});

test("nothing went wrong in any page", () => {
  for (const person of people) assert.deepEqual(person.problems, [], person.name);
});
