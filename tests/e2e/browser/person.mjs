// tests/e2e/browser/person.mjs - a person with a browser page of their own, and the few things people do in the web chat.
// Every wait is for a condition; a person's page collects what went wrong in it, and the tests ask for it at the end.
import { setTimeout } from "node:timers/promises";
import { chromium } from "playwright-core";

export const SERVER_URL = process.env.RINGPOST_URL ?? "http://127.0.0.1:7800";
export const PASSWORD = "correct horse battery";
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const TIMEOUT_MS = 20000;
const SWITCHES = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];

export const launch = () => chromium.launch({ executablePath: CHROMIUM, args: SWITCHES });

// A name nobody had before, so the tests can run again and again on one server.
const run = Date.now().toString(36);
export const unique = (name) => `${name}-${run}`;

// The HTTP door; gives the answer or throws an Error with its reason. Where the server asks to wait, it is asked again after that.
export async function post(method, body, token) {
  const headers = { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  for (;;) {
    const response = await fetch(`${SERVER_URL}/v1/${method}`, { method: "POST", headers, body: JSON.stringify(body) });
    const answer = await response.json();
    if (response.ok) return answer;
    const { reason, retryable, retry_after_ms } = answer.error ?? {};
    if (!retryable || !retry_after_ms) throw Object.assign(new Error(`${method}: ${reason}`), { status: response.status, reason });
    await setTimeout(retry_after_ms);
  }
}

export class Person {
  constructor(page, name, displayName) {
    this.page = page;
    this.name = name;
    this.displayName = displayName;
    this.problems = [];
    this.unplugged = false; // failed connections are expected
    page.on("pageerror", (error) => this.problems.push(String(error.stack ?? error)));
    page.on("console", (message) => {
      if (message.type() !== "error") return;
      if (!/Failed to load resource|WebSocket connection to/.test(message.text())) this.problems.push(message.text());
      else if (!this.unplugged && !/status of 4\d\d/.test(message.text())) this.problems.push(message.text());
    });
  }

  static async arrive(browser, name, displayName, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1200, height: 760 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(TIMEOUT_MS);
    const person = new Person(page, name, displayName);
    await page.goto(SERVER_URL);
    return person;
  }

  get(testid) { return this.page.getByTestId(testid); }
  leave() { return this.page.context().close(); }

  async register() {
    await this.get("login-switch").click();
    await this.get("login-name").fill(this.name);
    await this.get("login-display-name").fill(this.displayName);
    await this.get("login-password").fill(PASSWORD);
    await this.get("login-submit").click();
    await this.online();
  }

  async login(password = PASSWORD) {
    await this.get("login-name").fill(this.name);
    await this.get("login-password").fill(password);
    await this.get("login-submit").click();
  }

  online() { return this.page.locator("body[data-view=chat][data-connection=online]").waitFor(); }
  offline() { return this.get("offline-banner").waitFor(); }

  conversation(title) { return this.page.locator(`[data-testid=conversation][data-title="${title}"]`); }

  async open(title) {
    await this.conversation(title).click();
    await this.titled(title);
  }

  titled(title) { return this.get("chat-title").filter({ hasText: title }).waitFor(); }

  async openList() {
    await this.page.evaluate(() => { location.hash = ""; });
    await this.get("chat-empty").or(this.get("conversation-list")).first().waitFor();
  }

  async write(text) {
    await this.get("composer-input").fill(text);
    await this.get("composer-input").press("Enter");
  }

  message(text) {
    return this.get("message").filter({ has: this.page.getByTestId("message-body").getByText(text, { exact: true }) });
  }

  reads(text) { return this.message(text).waitFor(); }
  sent(text) { return this.page.locator('[data-testid=message][data-state=sent]').filter({ hasText: text }).first().waitFor(); }

  // Waits until `testid` within `root` shows exactly this text.
  shows(testid, text, root = this.page) { return root.getByTestId(testid).getByText(text, { exact: true }).first().waitFor(); }

  async confirm() {
    await this.get("confirm-accept").click();
  }
}
