// app/dom.js - building and keeping elements. Text only ever enters as text nodes; nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

// h("li", { class: "row", "data-testid": "row", onclick: f }, "text", element, null)
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

// Makes the children of `parent` be `items` = [{ key, signature, build }]: an element is built anew only when its signature
// changed and moved only when its place did, so focus and selection survive.
export function reconcile(parent, items) {
  const known = parent.reconciled ?? new Map();
  const kept = new Map();
  let next = parent.firstChild;
  for (const { key, signature, build } of items) {
    let entry = known.get(key);
    if (entry?.signature !== signature) {
      const element = build();
      if (entry) {
        if (next === entry.element) next = element;
        entry.element.replaceWith(element);
      }
      entry = { element, signature };
    }
    kept.set(key, entry);
    if (entry.element === next) next = next.nextSibling;
    else parent.insertBefore(entry.element, next);
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
  parent.reconciled = kept;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function showError(element, error) {
  element.hidden = !error;
  element.textContent = error ? (error.text ?? error.message ?? String(error)) : "";
}

export function toast(text) {
  const element = h("p", { class: "toast" }, text);
  $("toasts").append(element);
  while ($("toasts").childElementCount > 3) $("toasts").firstChild.remove();
  setTimeout(() => element.remove(), 6000);
}

export const toastError = (error) => toast(error.text ?? error.message);

// Runs `action` once at a time for a form; its error appears in `errorElement`, its button is disabled meanwhile.
export function onSubmit(form, errorElement, action) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button[type=submit]");
    if (button.disabled) return;
    button.disabled = true;
    showError(errorElement, null);
    try {
      await action();
    } catch (error) {
      showError(errorElement, error);
    } finally {
      button.disabled = false;
    }
  });
}

// Asks before something that cannot be taken back.
export function confirmed(text, accept) {
  const dialog = $("confirm-dialog");
  setText($("confirm-text"), text);
  setText($("confirm-accept"), accept);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

// A click on the dimmed page around a dialog, or on one of its [data-close] buttons, closes it.
export function closable(dialog) {
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("[data-close]")) dialog.close();
  });
}
