/* Finding records: filters, the list, and the address that names what is shown. */

import { $, ask, count, list, make, say } from "./base.js";
import { openRecord, shownColumns } from "./record.js";

const PAGE = 50;
const FILTERS = [
  ["family", "Family"], ["manipulator", "Manipulator"], ["region", "Region"], ["split", "Split"],
  ["variant", "Variant"], ["origin", "Origin"], ["report", "Report"], ["verdict", "Verdict"],
  ["gate", "Gate"], ["hit", "Worst of an audit, hit of a rule"],
];

let asked = 0;

export async function start() {
  const facets = await ask("/api/facets");
  $("name").textContent = facets.name;
  document.title = `${facets.name}: mmtt view`;
  const left = facets.unfinished.length ? `; left out, because unfinished: ${facets.unfinished.join(", ")}` : "";
  $("count").textContent = `${count(facets.rows)} rows${left}`;
  const query = new URLSearchParams(location.search);
  for (const [name, label] of FILTERS) addFilter(name, label, facets.filters[name] || [], query.get(name));
  document.forms.filters.search.value = query.get("search") || "";
  if (matchMedia("(min-width: 56.01rem)").matches) $("finder").open = true;
  const [id, variant] = decodeURIComponent(location.hash.slice(1)).split(":");
  await find(Number(query.get("offset")) || 0, 0, id ? { record_id: id, variant: variant || "master" } : null);
}

function addFilter(name, label, values, chosen) {
  if (name === "report") values = [["yes", "with a report"], ["no", "without"]];
  const one = ["variant", "origin", "verdict"].includes(name) ? 1 : 0;
  if (values.length <= one) return;
  const box = make("label", label, name === "hit" ? { class: "wide" } : {});
  const select = make("select", null, { name });
  select.append(make("option", name === "gate" ? "passed" : "any", { value: "" }));
  for (const [value, text, number] of values) {
    select.append(make("option", number === undefined ? text : `${text} (${count(number)})`, { value }));
  }
  select.value = values.some(([value]) => value === chosen) ? chosen : "";
  box.append(select);
  document.forms.filters.append(box);
}

function readFilters() {
  const query = {};
  for (const field of document.forms.filters.elements) {
    if (field.value) query[field.name] = field.value;
    field.classList.toggle("set", field.tagName === "SELECT" && Boolean(field.value));
  }
  return query;
}

/* Show a page of the list, and one of its records: by its place on the page (−1: the last), or by name. */
export async function find(offset, at, named = null) {
  const turn = ++asked;
  try {
    list.query = readFilters();
    const holding = named ? { holding: `${named.record_id}:${named.variant}` } : {};
    const told = await ask(`/api/records?${new URLSearchParams({ ...list.query, offset, count: PAGE, ...holding })}`);
    if (turn !== asked) return;
    Object.assign(list, { offset: told.offset, total: told.total, records: told.records });
    const wanted = named ? list.records.findIndex((r) => r.record_id === named.record_id && r.variant === named.variant) : at;
    list.at = wanted < 0 && !named ? list.records.length - 1 : wanted;
    drawList();
    if (named) await openRecord(named);
    else if (list.records.length) await openRecord(list.records[list.at]);
    else { $("record").hidden = true; remember(); }
  } catch (error) {
    say(error.message);
  }
}

function drawList() {
  const { offset, total, records } = list;
  $("total").textContent = total === 1 ? "1 record" : `${count(total)} records`;
  $("clear").hidden = !Object.keys(list.query).length;
  $("range").textContent = total ? `${count(offset + 1)}–${count(offset + records.length)}` : "";
  $("page-before").disabled = offset === 0;
  $("page-after").disabled = offset + records.length >= total;
  $("list").replaceChildren(...records.map(listed));
  markList();
}

function listed(record, place) {
  const item = make("li"), button = make("button", null, { type: "button" });
  button.append(make("span", record.manipulator || record.family), make("span", record.split || "", { class: "soft" }));
  const variant = record.variant === "master" ? "" : ` ${record.variant}`;
  button.append(make("code", record.record_id + variant + (record.refused ? " · refused" : "")));
  button.addEventListener("click", () => { list.at = place; openRecord(record); });
  item.append(button);
  return item;
}

function markList() {
  [...$("list").children].forEach((item, place) => {
    const here = place === list.at;
    if (here) item.firstChild.setAttribute("aria-current", "true");
    else item.firstChild.removeAttribute("aria-current");
    const box = $("finder").getBoundingClientRect(), own = item.getBoundingClientRect();
    if (here && (own.top < box.top || own.bottom > box.bottom)) item.scrollIntoView({ block: "nearest" });
  });
}

export function step(by) {
  const at = list.at + by;
  if (list.offset + at < 0 || list.offset + at >= list.total) return;
  if (at < 0) find(Math.max(0, list.offset - PAGE), -1);
  else if (at >= list.records.length) find(list.offset + PAGE, 0);
  else { list.at = at; openRecord(list.records[at]); }
}

function remember() {
  const query = new URLSearchParams(list.query);
  if (list.offset) query.set("offset", list.offset);
  const { record_id: id, variant } = shownColumns();
  const hash = id ? `#${encodeURIComponent(variant === "master" ? id : `${id}:${variant}`)}` : "";
  history.replaceState(null, "", `/${query.size ? `?${query}` : ""}${hash}`);
}

export const earlier = () => find(Math.max(0, list.offset - PAGE), 0);
export const later = () => find(list.offset + PAGE, 0);

export function clear() {
  for (const field of document.forms.filters.elements) field.value = "";
  find(0, 0);
}

document.addEventListener("recordshown", () => { markList(); remember(); });
