// What is said where there are no answers: not yet, none, or not possible.

import { useToken } from "./api.js";
import { element, find } from "./dom.js";

function show(kind, title, text, ...more) {
  const state = find("state");
  state.className = `state ${kind}`;
  state.setAttribute("role", kind === "error" ? "alert" : "note");
  state.replaceChildren(element("h3", {}, title), text ? element("p", {}, text) : "", ...more);
  state.hidden = false;
}

export function nothing() {
  find("state").hidden = true;
}

export function failed(title, remedy, label, action) {
  show("error", title, remedy, label ? element("button", { type: "button", className: "primary", onclick: action }, label) : "");
}

export function empty(title, text, label, action) {
  show("empty", title, text, label ? element("button", { type: "button", className: "primary", onclick: action }, label) : "");
}

export function loading() {
  show("loading", "The model is being loaded", "Searching begins by itself as soon as it is ready.", element("div", { className: "bar", "aria-hidden": "true" }));
}

export function askToken(wrong, then) {
  const field = element("input", { type: "password", id: "token", autocomplete: "current-password", required: true });
  const form = element(
    "form",
    { className: "token", onsubmit: (event) => {
      event.preventDefault();
      useToken(field.value);
      then();
    } },
    element("label", { htmlFor: "token" }, "Token"),
    field,
    element("button", { type: "submit", className: "primary" }, "Continue"),
  );
  show(wrong ? "error" : "empty", wrong ? "This is not the token of this server" : "This server asks for a token", "Whoever started it chose one; it is kept in this tab only.", form);
  field.focus();
}

export function examples(texts, take) {
  if (!texts.length) return;
  const buttons = texts.map((text) => element("button", { type: "button", onclick: () => take(text) }, text));
  show("start", "Type a sentence, drop a picture, or start from one of these", "", element("div", { className: "examples" }, ...buttons));
}
