/* Keys and buttons. */

import { $, say } from "./base.js";
import { clear, earlier, find, later, start, step } from "./find.js";
import { aid, panByShare, toggleNumber, zoomBy, zoomTo } from "./panes.js";

const actions = {
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  "+": () => zoomBy(1),
  "=": () => zoomBy(1),
  "-": () => zoomBy(-1),
  "0": () => zoomTo(null),
  o: () => aid("outline"),
  c: () => aid("stretch"),
  b: () => aid("swap", true),
  "/": () => { $("finder").open = true; document.forms.filters.search.focus(); },
  "?": () => $("help").showModal(),
};
const PAN = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function actionOf(event) {
  const move = event.shiftKey && PAN[event.key];
  if (move) return () => panByShare(move[0] / 8, move[1] / 8);
  return /^[1-9]$/.test(event.key) ? () => toggleNumber(Number(event.key)) : actions[event.key];
}

document.addEventListener("keydown", (event) => {
  const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
  if (typing && event.key === "Escape") event.target.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  const act = actionOf(event);
  if (!act) return;
  event.preventDefault();
  act();
});
document.addEventListener("keyup", (event) => { if (event.key === "b") aid("swap", false); });
window.addEventListener("blur", () => aid("swap", false));

for (const [id, act] of Object.entries({
  before: actions.ArrowLeft, after: actions.ArrowRight, in: actions["+"], out: actions["-"], fit: actions["0"],
  outline: actions.o, stretch: actions.c, keys: actions["?"], "page-before": earlier, "page-after": later, clear,
})) $(id).addEventListener("click", act);

let waiting = 0;
document.forms.filters.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => find(0, 0), 150);
});
document.forms.filters.addEventListener("submit", (event) => {
  event.preventDefault();
  document.activeElement.blur();
});

start().catch((error) => say(error.message));
