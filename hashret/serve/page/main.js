// The page: one query, its answers, and everything that changes the one into the other.

import * as address from "./address.js";
import * as api from "./api.js";
import { card, moveBetween, skeleton } from "./cards.js";
import { closeOutside, openDetails } from "./details.js";
import { element, find, number, plural } from "./dom.js";
import { drawFilters, foldFilters } from "./filters.js";
import { takePictures } from "./picture.js";
import * as states from "./states.js";

const PAUSE = 250; // ms without a key before a search begins
const SLOW = 150; // ms after which a search shows that it runs
const VERY_SLOW = 3000;
const NAMES = { image: "image", text: "text" };

let about = null;
let query = null;
let answer = null;
let running = null;
let typing = 0;

const sides = () => about.galleries.map((gallery) => gallery.side);
const gallery = () => about.galleries.find((each) => each.side === query.side);
const asks = () => Boolean(query.text.trim() || query.item || query.upload);
const can = () => ({ change: about.composes, compare: asks() });

const on = {
  details: (hit) => openDetails(hit, asks() ? answer : null, can(), on),
  more: (hit) => change({ item: hit.id, upload: null, text: "" }, true),
  change: (hit) => {
    change({ item: hit.id, upload: null, text: "" }, true);
    find("text").focus();
  },
};

// A change of the query: written into the address, shown, and searched for.
function change(part, isNew) {
  query = { ...query, ...part };
  if (!about.composes && query.text && (query.item || query.upload)) {
    if (part.text) Object.assign(query, { item: "", upload: null });
    else query.text = "";
  }
  if (!gallery().second_look) query.look = false;
  if (part.side) query.where = [];
  address.write(query, sides(), isNew);
  show();
  run();
}

function show() {
  const field = find("text");
  if (field.value !== query.text) field.value = query.text;
  const image = query.item || query.upload;
  field.placeholder = image && about.composes ? "What should be different? For example: make it red" : "Describe what you are looking for";
  find("hint").textContent = query.upload
    ? "A picture you bring is sent to this server only, and is not part of a shared link."
    : image && about.composes
      ? "A picture and a sentence together ask for the picture, changed as the sentence says."
      : about.composes
        ? "A sentence, a picture, or both: a picture and what should be different about it. Drop or paste one anywhere."
        : "A sentence or a picture. Drop or paste one anywhere.";
  showChip();
  for (const button of find("sides").querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.value === query.side));
  find("k").value = String(query.k);
  find("look").checked = query.look;
  find("look-option").hidden = !gallery().second_look;
  drawFilters(gallery(), query.where, (where) => change({ where }, true));
  find("copy").classList.toggle("gone", !(navigator.clipboard && asks() && !query.upload));
  find("copy").textContent = "Copy link";
  document.title = query.text ? `${query.text} · hashret` : "hashret";
}

let chipShows = null;

async function showChip() {
  const chip = find("chip");
  const wanted = query.upload ?? query.item;
  chip.hidden = !wanted;
  if (!wanted || wanted === chipShows) return;
  chipShows = wanted;
  const remove = element("button", { type: "button", "aria-label": "Search without this", onclick: () => change({ item: "", upload: null }, true) }, "×");
  const told = element("span", {}, query.upload ? query.upload.name || "pasted picture" : "…");
  const image = element("img", { alt: "", width: 40, height: 40 });
  chip.replaceChildren(image, told, remove);
  if (query.upload) {
    image.onload = () => URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(query.upload);
    return;
  }
  const found = await api.item(query.item).catch(() => null);
  if (chipShows !== wanted) return;
  told.textContent = found ? found.text || found.key : query.item;
  if (found?.picture) image.src = await api.picture(found.picture, "small").catch(() => "");
  else image.remove();
}

async function run() {
  clearTimeout(typing);
  running?.abort();
  if (!asks()) return start();
  const mine = (running = new AbortController());
  const late = setTimeout(() => waiting(mine), SLOW);
  const later = setTimeout(() => mine === running && (find("status").textContent = "Still searching: the server has much to do"), VERY_SLOW);
  try {
    const found = await api.search(query, mine.signal);
    if (mine === running) draw(found);
  } catch (error) {
    if (mine === running && error.name !== "AbortError") refuse(error);
  } finally {
    clearTimeout(late);
    clearTimeout(later);
    if (mine === running) {
      running = null;
      find("progress").hidden = true;
      find("results").removeAttribute("aria-busy");
    }
  }
}

function waiting(mine) {
  if (mine !== running) return;
  find("progress").hidden = false;
  find("results").setAttribute("aria-busy", "true");
  if (!answer) {
    states.nothing();
    find("status").textContent = "Searching";
    find("grid").className = `grid of-${query.side}`;
    find("grid").replaceChildren(...skeleton(Math.min(query.k, 12)));
  }
}

function draw(found) {
  answer = found;
  states.nothing();
  const cards = found.hits.map((hit) => card(hit, found.side, can(), on));
  api.forgetPictures();
  find("grid").className = `grid of-${found.side}`;
  find("grid").replaceChildren(...cards);
  const all = plural(found.searched, NAMES[found.side]);
  find("status").textContent = `Nearest ${number(found.hits.length)} of ${all}`;
  const names = { encoding: "encoding", search: "search", second_look: "second look" };
  find("times").textContent = Object.entries(found.milliseconds).map(([part, took]) => `${names[part]} ${took < 10 ? took.toFixed(1) : number(Math.round(took))} ms`).join(" · ");
  if (found.hits.length) return;
  find("times").textContent = "";
  find("status").textContent = `No ${NAMES[found.side]} found`;
  states.empty(`No ${NAMES[found.side]} passes these filters`, "Each filter narrows what can be found.", "Remove the filters", () => change({ where: [] }, true));
}

// Before anything is asked.
function start() {
  answer = null;
  running = null;
  api.forgetPictures();
  find("progress").hidden = true;
  find("times").textContent = "";
  const here = gallery();
  find("status").textContent = plural(here.items, NAMES[here.side]);
  const samples = about.galleries.flatMap((each) => each.samples).map((sample) => sample.text).filter(Boolean);
  states.examples([...new Set(samples)].slice(1, 5), (text) => change({ text }, true));
  find("grid").className = `grid of-${here.side}`;
  find("grid").replaceChildren(...here.samples.map((sample) => card(sample, here.side, can(), on)));
}

function refuse(error) {
  if (error.status === 401) return begin();
  answer = null;
  find("grid").replaceChildren();
  find("times").textContent = "";
  find("status").textContent = "No answers";
  if (error.status === 0 || error.status >= 500) return states.failed(error.message, error.remedy, "Try again", run);
  const over = () => change({ text: "", item: "", upload: null, where: [] }, true);
  states.failed(`This search cannot be answered: ${error.message}`, error.remedy, "Start over", over);
}

function drawOptions() {
  const segments = about.galleries.map((each) => element("button", { type: "button", value: each.side, onclick: () => each.side !== query.side && change({ side: each.side }, true) }, each.side === "image" ? "Images" : "Texts"));
  find("sides").replaceChildren(find("sides").querySelector("legend"), ...segments);
  find("sides").hidden = segments.length < 2;
  const counts = [...new Set([...address.ANSWERS, query.k])].sort((one, other) => one - other);
  find("k").replaceChildren(...counts.map((count) => element("option", { value: String(count) }, String(count))));
  const sizes = about.galleries.map((each) => plural(each.items, NAMES[each.side])).join(" · ");
  find("facts").textContent = `${sizes} · ${about.bits} bits · ${about.method}`;
}

function listen() {
  find("search").addEventListener("submit", (event) => {
    event.preventDefault();
    change({ text: find("text").value }, true);
  });
  find("text").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => change({ text: find("text").value }, false), PAUSE);
  });
  find("k").addEventListener("change", () => change({ k: Number(find("k").value) }, true));
  find("look").addEventListener("change", () => change({ look: find("look").checked }, true));
  find("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText(location.href);
    find("copy").textContent = "Copied";
  });
  find("home").addEventListener("click", (event) => {
    event.preventDefault();
    change({ text: "", item: "", upload: null, where: [] }, true);
    find("text").focus();
  });
  window.addEventListener("popstate", () => {
    query = address.read(sides());
    show();
    run();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.closest("input, textarea, select, dialog")) {
      event.preventDefault();
      find("text").select();
    }
    if (event.key === "Escape" && event.target === find("text")) change({ text: "" }, true);
    if (event.key === "ArrowDown" && event.target === find("text")) {
      event.preventDefault();
      find("grid").querySelector(".open")?.focus();
    }
  });
  moveBetween(find("grid"), () => find("results").focus());
  takePictures(about.limits, (upload) => change({ upload, item: "" }, true), (title, remedy) => states.failed(title, remedy));
  foldFilters();
  closeOutside();
}

// Until the server is ready and lets us in.
async function begin() {
  for (;;) {
    const state = await api.health();
    if (state === "ready") break;
    if (state === "unreachable") states.failed("The server cannot be reached.", "This page asks again every second.");
    else if (state === "failed") states.failed("The server could not load its model.", "The terminal it was started in says why.");
    else states.loading();
    await new Promise((resolve) => setTimeout(resolve, state === "loading" ? 300 : 1000));
  }
  const first = about === null;
  try {
    about = await api.about();
  } catch (error) {
    if (error.status !== 401) return states.failed(error.message, error.remedy, "Try again", begin);
    return states.askToken(api.hasToken(), begin);
  }
  query ??= address.read(sides());
  drawOptions();
  if (first) listen();
  show();
  run();
}

begin();
