// The grid of answers: one card an item, and how the keyboard moves between them.

import { picture } from "./api.js";
import { element } from "./dom.js";

const LABELS = 3;

function labels(hit) {
  const shown = hit.labels.slice(0, LABELS).map((label) => element("li", {}, label));
  const more = hit.labels.length - shown.length;
  if (more > 0) shown.push(element("li", { title: hit.labels.slice(LABELS).join(", ") }, `+${more}`));
  return shown.length ? element("ul", { className: "labels", "aria-label": "Labels" }, ...shown) : null;
}

function image(hit, side) {
  if (side === "text") return element("p", { className: "said" }, hit.text || hit.key);
  if (!hit.picture) return element("span", { className: "missing" }, hit.key);
  const shown = element("img", { alt: hit.text || hit.key, loading: "lazy", decoding: "async" });
  const missing = () => shown.replaceWith(element("span", { className: "missing" }, hit.key));
  shown.addEventListener("error", missing);
  picture(hit.picture, "small").then((address) => (shown.src = address), missing);
  return shown;
}

function distance(hit) {
  if (hit.distance === undefined) return null;
  const score = hit.score === null ? null : element("span", { className: "score" }, `cosine ${hit.score.toFixed(3)}`);
  return element("p", { className: "distance" }, score, element("span", {}, `distance ${hit.distance}`));
}

export function card(hit, side, can, on) {
  const name = hit.text || hit.key;
  const opener = element(
    "button",
    { type: "button", className: "open", "aria-label": `Details of ${name}`, onclick: () => on.details(hit) },
    image(hit, side),
  );
  const caption = side === "text" || !hit.text ? null : element("p", { className: "caption", title: hit.text }, hit.text);
  const actions = element(
    "div",
    { className: "actions" },
    element("button", { type: "button", className: "more", "aria-label": `More like ${name}`, onclick: () => on.more(hit) }, "More like this"),
    can.change && hit.picture
      ? element("button", { type: "button", className: "but", "aria-label": `Like ${name}, but ...`, onclick: () => on.change(hit) }, "Like this, but …")
      : null,
    can.compare
      ? element("button", { type: "button", className: "bits", "aria-label": `Which bits of ${name} differ`, onclick: () => on.details(hit) }, "Bits")
      : null,
  );
  return element("li", { className: "card" }, opener, element("div", { className: "body" }, distance(hit), caption, labels(hit), actions));
}

// Placeholders of the size of what is to come.
export function skeleton(count) {
  return Array.from({ length: count }, () =>
    element("li", { className: "card waiting", "aria-hidden": "true" }, element("div", { className: "open" }), element("div", { className: "body" })),
  );
}

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function moveBetween(grid, onMore) {
  grid.addEventListener("keydown", (event) => {
    const current = event.target.closest(".card");
    if (!current || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "m" || event.key === "M") {
      current.querySelector(".more")?.click();
      onMore();
      return;
    }
    if (!(event.key in KEYS)) return;
    const cards = [...grid.children];
    const columns = cards.filter((each) => each.offsetTop === cards[0].offsetTop).length;
    const [across, down] = KEYS[event.key];
    const next = cards[cards.indexOf(current) + across + down * columns];
    if (next) {
      event.preventDefault();
      next.querySelector(".open").focus();
    }
  });
}
