// Filters over the columns of a gallery: few values to choose from, numbers between two ends.

import { element, find, number } from "./dom.js";

const clause = (column, value) => `${column.name}:${value}`;

function choices(column, where, change) {
  const boxes = column.values.map(({ value, items }) => {
    const box = element("input", {
      type: "checkbox",
      checked: where.includes(clause(column, value)),
      onchange: (event) => change(clause(column, value), event.target.checked),
    });
    return element("label", { className: "value" }, box, element("span", {}, value), element("span", { className: "items" }, number(items)));
  });
  return element("fieldset", { className: "column" }, element("legend", {}, column.name), element("div", { className: "values" }, ...boxes));
}

function range(column, where, change) {
  const old = where.find((each) => each.startsWith(`${column.name}:`));
  const [low, high] = old ? old.slice(column.name.length + 1).split("..") : ["", ""];
  const make = (end, value, shown) => element("input", { type: "number", step: "any", value: value ?? "", placeholder: String(shown), "aria-label": `${column.name}, ${end}` });
  const from = make("from", low, column.low);
  const to = make("to", high, column.high);
  const changed = () => change(from.value || to.value ? clause(column, `${from.value}..${to.value}`) : null, true, `${column.name}:`);
  for (const field of [from, to]) field.addEventListener("change", changed);
  return element("fieldset", { className: "column" }, element("legend", {}, column.name), element("div", { className: "ends" }, from, element("span", {}, "to"), to));
}

export function drawFilters(gallery, where, changed) {
  const change = (given, on, replaced = null) => {
    let left = where.filter((each) => each !== given && !(replaced && each.startsWith(replaced)));
    if (on && given) left = [...left, given];
    changed(left);
  };
  find("filters").replaceChildren(...gallery.columns.map((column) => (column.values ? choices : range)(column, where, change)));
  find("filters-toggle").hidden = gallery.columns.length === 0;
  if (!gallery.columns.length) find("filters").hidden = true;
  const count = find("filters-count");
  count.hidden = where.length === 0;
  count.textContent = String(where.length);
  const chips = where.map((each) =>
    element("button", { type: "button", "aria-label": `Remove the filter ${each}`, onclick: () => changed(where.filter((other) => other !== each)) }, `${each.replace(":", ": ")} ×`),
  );
  find("active").replaceChildren(...chips);
  find("active").hidden = chips.length === 0;
}

export function foldFilters() {
  const toggle = find("filters-toggle");
  toggle.addEventListener("click", () => {
    find("filters").hidden = !find("filters").hidden;
    toggle.setAttribute("aria-expanded", String(!find("filters").hidden));
  });
}
