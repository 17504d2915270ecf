/* One record: fetched, told in words, and handed to the panes. */

import { $, ask, count, list, make, say } from "./base.js";
import { show } from "./panes.js";

const KEPT = 3; // records whose pictures stay decoded
const WRITTEN_BY = {
  human: "written by a person", human_translated: "written by a person, translated",
  human_edited: "written by a person, edited", model: "written by a model, not by a person",
  template: "made from a template, written by no person",
};

const cache = new Map();
let asked = 0, columnsShown = {};

export const shownColumns = () => columnsShown;

export async function openRecord({ record_id: id, variant }) {
  const turn = ++asked;
  try {
    const record = await fetched(id, variant);
    if (turn !== asked) return;
    say("");
    draw(record);
    const next = list.records[list.at + 1];
    if (next) fetched(next.record_id, next.variant).catch(() => {}); // told when one comes to it
  } catch (error) {
    if (turn === asked) say(error.message);
  }
}

function fetched(id, variant) {
  const key = `${id}:${variant}`;
  const found = cache.get(key) || fetchRecord(id, variant);
  cache.delete(key);
  cache.set(key, found);
  found.catch(() => cache.delete(key));
  for (const old of [...cache.keys()].slice(0, -KEPT)) cache.delete(old);
  return found;
}

async function fetchRecord(id, variant) {
  const which = `?${new URLSearchParams({ variant })}`;
  const data = await ask(`/api/record/${encodeURIComponent(id)}${which}`);
  const pictures = {}, faults = [];
  await Promise.all(data.pictures.map(async (column) => {
    try {
      const answer = await fetch(`/picture/${encodeURIComponent(id)}/${column}${which}`);
      // As stored: no colour profile may change a value that is read off.
      const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
      pictures[column] = picture(await createImageBitmap(await answer.blob(), options));
    } catch {
      faults.push(column);
    }
  }));
  const size = pictures.image || Object.values(pictures)[0] || { width: 1, height: 1 };
  return { data, pictures, faults, width: size.width, height: size.height };
}

/* A decoded picture; its values are read when somebody asks for one. */
function picture(bitmap) {
  let values = null;
  const read = () => {
    if (!values) {
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(bitmap, 0, 0);
      values = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
    }
    return values;
  };
  return { bitmap, width: bitmap.width, height: bitmap.height, read };
}

function draw(record) {
  const { data } = record, columns = data.columns;
  columnsShown = columns;
  $("record").hidden = false;
  $("title").textContent = titleOf(columns);
  $("id").textContent = columns.record_id;
  const place = list.at < 0 ? "not among those found" : `${count(list.offset + list.at + 1)} of ${count(list.total)}`;
  $("place").textContent = place;
  $("before").disabled = list.at < 0 || list.offset + list.at === 0;
  $("after").disabled = list.at < 0 || list.offset + list.at + 1 >= list.total;
  drawBadges(columns);
  drawHits(data.hits);
  drawTexts(data);
  drawFacts(columns);
  if (record.faults.length) say(`These pictures cannot be decoded: ${record.faults.join(", ")}.`);
  show(record);
  document.dispatchEvent(new Event("recordshown"));
}

function titleOf({ manipulation, manipulator }) {
  if (!manipulation) return "Pristine";
  return !manipulator || manipulator === manipulation ? manipulation : `${manipulator}, a case of ${manipulation}`;
}

function drawBadges(columns) {
  const badges = [[columns.split || "no split"], ...(columns.variant === "master" ? [] : [[columns.variant]])];
  if (columns.refused) badges.push([`refused by the gate: ${columns.refused}`, "warn"]);
  if (!columns.exact_mask) badges.push(["mask not exact", "warn"]);
  $("badges").replaceChildren(...badges.flatMap(([text, kind]) => [make("span", text, { class: `badge ${kind || ""}` }), " "]));
}

function drawHits(hits) {
  $("hits").hidden = !hits.length;
  $("hits").querySelector("ul").replaceChildren(...hits.map((hit) => {
    const item = make("li");
    item.append(make("b", hit.title), " ", make("bdi", hit.why), " ");
    if (hit.other_id) item.append(jump("compare with", hit.other_id));
    return item;
  }));
}

function jump(words, id) {
  const button = make("button", words ? `${words} ${id}` : id, { type: "button" });
  button.addEventListener("click", () => {
    list.at = list.records.findIndex((record) => record.record_id === id && record.variant === "master");
    openRecord({ record_id: id, variant: "master" });
  });
  return button;
}

function drawTexts({ texts, columns }) {
  const box = $("texts").querySelector("div");
  $("texts").hidden = !columns.manipulation && !texts.length;
  if (!texts.length) return box.replaceChildren(make("p", "Nobody has written one.", { class: "soft" }));
  box.replaceChildren(...texts.map((text) => {
    const block = make("div", null, { class: "report" });
    block.append(make("p", text.text, { lang: text.language || "und", dir: "auto" }));
    const told = [WRITTEN_BY[text.text_origin] || `of unknown origin (${text.text_origin})`, text.protocol, text.verdict, text.settled];
    block.append(make("p", told.filter(Boolean).join(" · "), { class: "small soft" }));
    return block;
  }));
}

const GROUPS = [
  ["Edit", ["mask_rule", "mask_tau", "mask_share", "change_mean", "manipulator_version", "seed", "code_sha256", "weights_sha256", "code_licence", "weights_licence"]],
  ["Provenance", ["origin", "origin_id", "licence", "consent", "group_id", "target_id", "source_id", "source_origin", "source_origin_id", "source_licence", "source_consent", "source_group_id", "obligations", "degradations"]],
  ["Face", ["landmark_scheme", "landmarks", "landmark_finder", "face_score", "parser", "parsed_regions", "template", "image_sha256"]],
];

function drawFacts(columns) {
  $("facts").replaceChildren(...(columns.manipulation ? [regions(columns), parameters(columns)] : []),
    ...GROUPS.map(([title, names]) => facts(title, names.map((name) => [name, columns[name]]))));
}

function regions(columns) {
  const box = make("div"), chips = make("ul", null, { class: "chips" });
  box.append(make("h3", "Regions, with the share inside the mask"), chips);
  columns.regions.forEach((word, place) => chips.append(make("li", `${word} ${percent(columns.region_shares[place])}`)));
  if (!columns.regions.length) chips.append(make("li", "none known"));
  return box;
}

const percent = (share) => `${(100 * share).toFixed(share < .1 ? 1 : 0)}\u00a0%`;

function parameters(columns) {
  let told;
  try {
    told = JSON.parse(columns.parameters);
  } catch {
    told = columns.parameters;
  }
  const plain = told && typeof told === "object" ? Object.entries(told) : [["parameters", told]];
  return facts("Parameters", plain.map(([key, value]) => [key, isPlain(value) ? value : shorten(JSON.stringify(value))]));
}

const isPlain = (value) => !value || typeof value !== "object" || (Array.isArray(value) && value.every((item) => typeof item === "string"));

const shorten = (text) => text && text.length > 400 ? `${text.slice(0, 400)}…` : text;

function facts(title, pairs) {
  const box = make("div"), told = make("dl");
  box.append(make("h3", title), told);
  for (const [name, value] of pairs) {
    if (value === null || value === undefined || value === "" || (Array.isArray(value) && !value.length)) continue;
    const row = make("div"), cell = make("dd");
    const text = typeof value === "number" ? String(Number(value.toPrecision(5))) : Array.isArray(value) ? value.join(", ") : shorten(String(value));
    cell.append(["target_id", "source_id"].includes(name) ? jump("", value) : make("bdi", text));
    row.append(make("dt", name.replaceAll("_", " ")), cell);
    told.append(row);
  }
  return box;
}
