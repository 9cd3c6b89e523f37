// The query as the address bar holds it: what can be shared is there, and nothing else.

export const ANSWERS = [12, 24, 48, 96, 192];

export function read(sides) {
  const fields = new URLSearchParams(location.search);
  const k = Number(fields.get("k"));
  const item = fields.get("item") ?? "";
  return {
    text: fields.get("text") ?? "",
    item: /^[it][0-9]{1,18}$/.test(item) ? item : "",
    upload: null,
    side: sides.includes(fields.get("side")) ? fields.get("side") : sides[0],
    k: Number.isInteger(k) && k >= 1 && k <= 200 ? k : ANSWERS[1],
    look: fields.get("look") === "1",
    where: fields.getAll("where"),
  };
}

export function write(query, sides, isNew) {
  const fields = new URLSearchParams();
  if (query.text) fields.set("text", query.text);
  if (query.item) fields.set("item", query.item);
  if (query.side !== sides[0]) fields.set("side", query.side);
  if (query.k !== ANSWERS[1]) fields.set("k", query.k);
  if (query.look) fields.set("look", "1");
  for (const clause of query.where) fields.append("where", clause);
  const address = fields.size ? `/?${fields}` : "/";
  if (address === location.pathname + location.search) return;
  history[isNew ? "pushState" : "replaceState"](null, "", address);
}
