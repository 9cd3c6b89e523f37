// What the page asks the server. A refusal is a Refused, with what can be done about it.

export class Refused extends Error {
  constructor(status, detail, remedy) {
    super(detail);
    this.status = status;
    this.remedy = remedy;
  }
}

const TOKEN = "hashret.token";
let token = sessionStorage.getItem(TOKEN) ?? "";

export function useToken(given) {
  token = given.trim();
  sessionStorage.setItem(TOKEN, token);
}

export const hasToken = () => token !== "";

async function asked(path, options = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server cannot be reached.", "Is hashret serve still running?");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, told.detail ?? `The server answered ${answer.status}.`, told.remedy ?? "");
}

export async function health() {
  const answer = await fetch("/healthz").catch(() => null);
  return answer === null ? "unreachable" : (await answer.json().catch(() => ({}))).state ?? "unreachable";
}

export const about = async () => (await asked("/about")).json();

export const item = async (id) => (await asked(`/items/${id}`)).json();

export async function search(query, signal) {
  const fields = new URLSearchParams({ k: query.k, side: query.side });
  if (query.text) fields.set("text", query.text);
  if (query.item) fields.set("item", query.item);
  if (query.look) fields.set("shortlist", Math.max(100, query.k));
  for (const clause of query.where) fields.append("where", clause);
  if (!query.upload) return (await asked(`/search?${fields}`, { signal })).json();
  const form = new FormData();
  for (const [name, value] of fields) form.append(name, value);
  form.append("image", query.upload);
  return (await asked("/search", { method: "POST", body: form, signal })).json();
}

// The address of a picture for an <img>. With a token it has to be fetched: an <img> sends none.
let kept = [];

export async function picture(path, size) {
  const address = `${path}?size=${size}`;
  if (!token) return address;
  const made = URL.createObjectURL(await (await asked(address)).blob());
  kept.push(made);
  return made;
}

export function forgetPictures() {
  kept.forEach((address) => URL.revokeObjectURL(address));
  kept = [];
}
