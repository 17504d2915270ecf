/* Panes: the pictures of one record side by side, always the same region at the same scale. */

import { $, make } from "./base.js";

const STEPS = [1, 2, 3, 4, 6, 8];
// In the order of the keys 1–9: column, name, whether it shows a forgery, whether it is dark unless stretched.
const PANES = [
  { column: "pristine", name: "Target" },
  { column: "image", name: "Forged", forged: true },
  { column: "mask", name: "Mask" },
  { column: "alpha", name: "Alpha" },
  { column: "change", name: "Change", dark: true },
  { column: "intent", name: "Intent" },
  { column: "raw", name: "Raw result", forged: true },
  { column: "origin_mask", name: "Origin’s mask" },
  { column: "parsing", name: "Parsing", dark: true },
];

const view = { scale: null, x: 0, y: 0 }; // scale null: fit; x, y: the pixel in the middle
const hidden = new Set(["intent", "raw", "origin_mask", "parsing"]);
const aids = { outline: false, stretch: true, swap: false };
let shown = null; // {data, pictures, width, height, panes}
let pointed = null;

/* Show a record's pictures; scale and place stay as they are. */
export function show(record) {
  shown = record;
  makePanes();
}

const isForged = (pane) => Boolean(pane.forged && shown.data.columns.manipulation);
const nameOf = (pane) => pane.column === "image" && !shown.data.columns.manipulation ? "Pristine" : pane.name;

function makePanes() {
  const there = PANES.filter((pane) => shown.pictures[pane.column]);
  $("toggles").replaceChildren(...there.map((pane) => {
    const button = make("button", `${PANES.indexOf(pane) + 1} ${nameOf(pane)}`, { type: "button", "aria-pressed": !hidden.has(pane.column) });
    button.addEventListener("click", () => toggle(pane));
    return button;
  }));
  shown.panes = there.filter((pane) => !hidden.has(pane.column)).map(makePane);
  watcher.disconnect();
  $("panes").replaceChildren(...shown.panes.map((pane) => pane.figure));
  shown.panes.forEach((pane) => watcher.observe(pane.canvas));
  pointed = null;
  clampView();
  render();
}

function makePane(pane) {
  const figure = make("figure", null, { class: `pane small${isForged(pane) ? " forged" : ""}`, "data-column": pane.column });
  const canvas = make("canvas", null, { role: "img", "aria-label": nameOf(pane) });
  canvas.style.aspectRatio = `${shown.width} / ${shown.height}`;
  const glass = make("div", null, { class: "glass" }), caption = make("figcaption");
  const words = make("b", nameOf(pane)), value = make("output");
  caption.append(words, value);
  glass.append(canvas);
  figure.append(glass, caption);
  return { ...pane, figure, canvas, words, value, picture: shown.pictures[pane.column] };
}

function toggle(pane) {
  if (hidden.has(pane.column)) hidden.delete(pane.column);
  else hidden.add(pane.column);
  const focused = [...$("toggles").children].indexOf(document.activeElement);
  makePanes();
  if (focused >= 0) $("toggles").children[focused].focus();
}

/* Show or hide the picture of a number, 1–9. */
export function toggleNumber(number) {
  const pane = PANES[number - 1];
  if (shown && shown.pictures[pane.column]) toggle(pane);
}

/* Turn an aid on or off, or over: outline, stretch, swap. */
export function aid(name, state = !aids[name]) {
  if (aids[name] === state) return;
  aids[name] = state;
  const button = $(name);
  if (button) button.setAttribute("aria-pressed", String(state));
  render();
}

/* Move by shares of a pane's size. */
export function panByShare(across, down) {
  pointed = null;
  const { width, height } = pane0();
  view.x += across * width / scaleNow();
  view.y += down * height / scaleNow();
  clampView();
  render();
}

const watcher = new ResizeObserver(() => { clampView(); render(); });

function pane0() {
  const canvas = shown && shown.panes[0] && shown.panes[0].canvas;
  return canvas ? { width: canvas.clientWidth || 1, height: canvas.clientHeight || 1 } : { width: 1, height: 1 };
}

const fitting = () => Math.min(pane0().width / shown.width, pane0().height / shown.height);
const scaleNow = () => view.scale ?? fitting();

function clampView() {
  if (!shown) return;
  const box = pane0(), scale = scaleNow();
  const hold = (middle, length, space) => {
    const half = space / scale / 2;
    return length <= 2 * half ? length / 2 : Math.min(Math.max(middle, half), length - half);
  };
  view.x = hold(view.x, shown.width, box.width);
  view.y = hold(view.y, shown.height, box.height);
}

/* Zoom so that the picture's point under (x, y), measured from the middle of a pane, stays there. */
export function zoomTo(scale, x = 0, y = 0) {
  const before = scaleNow();
  view.scale = scale;
  const now = scaleNow();
  view.x += x / before - x / now;
  view.y += y / before - y / now;
  clampView();
  render();
}

export function zoomBy(direction, x, y) {
  const now = scaleNow();
  const steps = direction > 0 ? STEPS.filter((s) => s > now * 1.001) : STEPS.filter((s) => s < now * .999).reverse();
  if (steps.length) zoomTo(steps[0], x, y);
  else if (direction < 0) zoomTo(null);
}

function render() {
  if (!shown || !shown.panes) return;
  $("panes").classList.toggle("zoomed", view.scale !== null && view.scale > fitting());
  $("zoom").textContent = `${Math.round(100 * scaleNow())}\u00a0%`;
  shown.panes.forEach(renderPane);
  tellPixel();
}

function renderPane(pane) {
  const { canvas } = pane, ratio = devicePixelRatio || 1, scale = scaleNow();
  const width = Math.max(1, Math.round(canvas.clientWidth * ratio)), height = Math.max(1, Math.round(canvas.clientHeight * ratio));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d"), zoom = scale * ratio;
  // Whole device pixels: else the pixels of a picture would have edges of different sharpness.
  const left = Math.round(width / 2 - view.x * zoom), top = Math.round(height / 2 - view.y * zoom);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, width, height);
  const target = aids.swap && pane.column === "image" && shown.pictures.pristine;
  const { bitmap } = target || pane.picture;
  context.setTransform(zoom * shown.width / bitmap.width, 0, 0, zoom * shown.height / bitmap.height, left, top);
  context.imageSmoothingEnabled = zoom < 1;
  context.imageSmoothingQuality = "high";
  const factor = pane.dark && aids.stretch ? contrast(pane.picture) : 1;
  context.filter = factor > 1 ? `brightness(${factor})` : "none";
  context.drawImage(bitmap, 0, 0);
  context.filter = "none";
  pane.words.textContent = target ? "Target, while the key is held" : nameOf(pane) + (factor > 1 ? ` × ${factor}` : "");
  context.setTransform(zoom, 0, 0, zoom, left, top);
  if (aids.outline && shown.pictures.mask) stroke(context, outlineOf(shown), zoom, ratio);
  if (pointed && scale >= 2) box(context, zoom, ratio);
}

function contrast(one) {
  if (!one.factor) {
    const values = one.read();
    let most = 1;
    for (let at = 0; at < values.length; at += 4) if (values[at] > most) most = values[at];
    one.factor = Math.max(1, Math.floor(255 / most));
  }
  return one.factor;
}

function stroke(context, path, zoom, ratio) {
  context.lineCap = "square"; // the edge is many short lines: their corners must be closed
  for (const [colour, width] of [["#000", 3], ["#ffe14d", 1.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width * ratio / zoom;
    context.stroke(path);
  }
}

function box(context, zoom, ratio) {
  const edge = ratio / zoom;
  for (const [colour, grown] of [["#000", 1.5], ["#fff", .5]]) {
    context.strokeStyle = colour;
    context.lineWidth = edge;
    context.strokeRect(pointed.x - grown * edge, pointed.y - grown * edge, 1 + 2 * grown * edge, 1 + 2 * grown * edge);
  }
}

/* The mask's edge, along the borders of pixels, in the picture's coordinates. */
function outlineOf(record) {
  if (record.outline) return record.outline;
  const mask = record.pictures.mask, values = mask.read(), { width, height } = mask;
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && values[4 * (y * width + x)] > 127;
  const across = record.width / width, down = record.height / height, path = new Path2D();
  const edges = (lines, length, differs, line) => {
    for (let at = 0; at <= lines; at++) {
      for (let begin = 0; begin < length; begin++) {
        if (!differs(at, begin)) continue;
        let end = begin + 1;
        while (end < length && differs(at, end)) end++;
        line(at, begin, end);
        begin = end;
      }
    }
  };
  edges(height, width, (y, x) => inside(x, y) !== inside(x, y - 1), (y, from, to) => {
    path.moveTo(from * across, y * down);
    path.lineTo(to * across, y * down);
  });
  edges(width, height, (x, y) => inside(x, y) !== inside(x - 1, y), (x, from, to) => {
    path.moveTo(x * across, from * down);
    path.lineTo(x * across, to * down);
  });
  record.outline = path;
  return path;
}

/* The values below the pointer, or in the middle when only keys are used. */
function tellPixel() {
  const at = pointed || (view.scale !== null ? { x: Math.floor(view.x), y: Math.floor(view.y) } : null);
  const where = at ? `x ${at.x}, y ${at.y}${pointed ? "" : " (the middle)"}` : `${shown.width} × ${shown.height} pixels`;
  $("pixel").textContent = where;
  for (const pane of shown.panes) pane.value.textContent = at ? valueAt(pane, at) : "";
}

function valueAt(pane, { x, y }) {
  const { width, height, read } = pane.picture;
  const column = Math.floor(x * width / shown.width), row = Math.floor(y * height / shown.height);
  if (column < 0 || row < 0 || column >= width || row >= height) return "";
  const [red, green, blue] = read().subarray(4 * (row * width + column));
  return ["image", "pristine", "raw"].includes(pane.column) ? `${red} ${green} ${blue}` : String(red);
}

/* ---- hands ---- */

const pointers = new Map();
let spread = 0;

function fromMiddle(event) {
  const box = event.target.getBoundingClientRect();
  return { x: event.clientX - box.left - box.width / 2, y: event.clientY - box.top - box.height / 2 };
}

function pointAt(event) {
  const { x, y } = fromMiddle(event), scale = scaleNow();
  const at = { x: Math.floor(view.x + x / scale), y: Math.floor(view.y + y / scale) };
  pointed = at.x >= 0 && at.y >= 0 && at.x < shown.width && at.y < shown.height ? at : null;
}

$("panes").addEventListener("pointerdown", (event) => {
  if (event.target.tagName !== "CANVAS") return;
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  event.target.setPointerCapture(event.pointerId);
  spread = 0;
});

$("panes").addEventListener("pointermove", (event) => {
  if (event.target.tagName !== "CANVAS") return;
  const before = pointers.get(event.pointerId);
  if (before) {
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (pointers.size === 2) pinch();
    else { view.x -= (event.clientX - before.x) / scaleNow(); view.y -= (event.clientY - before.y) / scaleNow(); clampView(); }
  }
  pointAt(event);
  render();
});

function pinch() {
  const [one, other] = [...pointers.values()], now = Math.hypot(one.x - other.x, one.y - other.y);
  if (spread) {
    const scale = scaleNow() * now / spread;
    view.scale = scale <= fitting() ? null : Math.min(scale, STEPS.at(-1));
    clampView();
  }
  spread = now;
}

for (const kind of ["pointerup", "pointercancel"]) {
  $("panes").addEventListener(kind, (event) => { pointers.delete(event.pointerId); spread = 0; });
}
$("panes").addEventListener("pointerleave", () => { pointed = null; render(); });
$("panes").addEventListener("dblclick", (event) => {
  if (event.target.tagName !== "CANVAS") return;
  const { x, y } = fromMiddle(event);
  zoomBy(event.shiftKey ? -1 : 1, x, y);
});
$("panes").addEventListener("wheel", (event) => {
  if (event.target.tagName !== "CANVAS" || !(event.ctrlKey || event.metaKey)) return; // a plain wheel scrolls the page
  event.preventDefault();
  const { x, y } = fromMiddle(event);
  zoomBy(event.deltaY < 0 ? 1 : -1, x, y);
}, { passive: false });
