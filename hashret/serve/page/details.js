// The dialog of one item: its picture, what its source says of it, and which of its bits differ from the query's.

import { picture } from "./api.js";
import { element, find } from "./dom.js";

export function bitsOf(code, bits) {
  const digits = [...code].map((digit) => Number.parseInt(digit, 16).toString(2).padStart(4, "0")).join("");
  return [...digits.slice(0, bits)].map(Number);
}

export function differing(one, other, bits) {
  const ours = bitsOf(one, bits);
  const theirs = bitsOf(other, bits);
  return ours.map((bit, place) => place).filter((place) => ours[place] !== theirs[place]);
}

function comparison(hit, answer) {
  const places = differing(answer.code, hit.code, answer.bits);
  const ours = bitsOf(answer.code, answer.bits);
  const cells = bitsOf(hit.code, answer.bits).map((bit, place) => {
    const differs = places.includes(place);
    const told = differs ? `bit ${place + 1}: ${bit} here, ${ours[place]} in the query` : `bit ${place + 1}: ${bit} in both`;
    return element("span", { className: differs ? "bit differs" : "bit", title: told }, String(bit));
  });
  const listed = places.map((place) => place + 1).join(", ");
  const verb = places.length === 1 ? "differs" : "differ";
  const summary = places.length ? `${places.length} of ${answer.bits} bits ${verb} from the query` : "All bits are the query's";
  return element(
    "section",
    { className: "comparison" },
    element("h3", {}, summary),
    element("div", { className: "code", role: "img", "aria-label": listed ? `Bits that differ: ${listed}` : "All bits agree" }, ...cells),
    listed ? element("p", { className: "places" }, `Marked: ${places.length === 1 ? "bit" : "bits"} ${listed}`) : null,
  );
}

function facts(hit) {
  const rows = [["Name", hit.key]];
  if (hit.labels.length) rows.push(["Labels", hit.labels.join(", ")]);
  for (const [name, value] of Object.entries(hit.columns)) {
    rows.push([name, typeof value === "object" ? JSON.stringify(value) : String(value)]);
  }
  return element("dl", { className: "facts-of" }, ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

export function openDetails(hit, answer, can, on) {
  const dialog = find("details");
  const close = element("button", { type: "button", className: "close", "aria-label": "Close", onclick: () => dialog.close() }, "×");
  const then = (what) => () => {
    dialog.close();
    what(hit);
  };
  const shown = hit.picture ? element("img", { className: "large", alt: hit.text || hit.key, width: 480, height: 480 }) : null;
  if (shown) picture(hit.picture, "large").then((address) => (shown.src = address), () => shown.remove());
  const title = element("h2", { id: "details-title" }, hit.text || hit.key);
  const actions = element(
    "div",
    { className: "actions" },
    element("button", { type: "button", className: "primary", onclick: then(on.more) }, "More like this"),
    can.change && hit.picture ? element("button", { type: "button", onclick: then(on.change) }, "Like this, but …") : null,
  );
  dialog.replaceChildren(
    close,
    element("div", { className: shown ? "inside" : "inside narrow" }, shown, element("div", { className: "about" }, title, answer ? comparison(hit, answer) : null, facts(hit), actions)),
  );
  dialog.showModal();
}

export function closeOutside() {
  const dialog = find("details");
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}
