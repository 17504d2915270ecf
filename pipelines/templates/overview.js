// Tiles of a contact sheet: the layers of one picture in turn. Pointing and focus show the second, selecting the next.
function wire(tile) {
  const layers = [...tile.querySelectorAll("img")], told = tile.querySelector("span");
  let at = 0;
  const go = (index) => {
    at = (index + layers.length) % layers.length;
    layers.forEach((layer, number) => layer.classList.toggle("on", number === at));
    told.textContent = layers[at].dataset.told;
  };
  tile.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") go(1); });
  tile.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") go(0); });
  tile.addEventListener("focus", () => { if (tile.matches(":focus-visible")) go(1); });
  tile.addEventListener("blur", () => go(0));
  tile.addEventListener("click", () => go(at + 1));
  tile.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) { event.preventDefault(); go(at + step); }
  });
}
document.querySelectorAll("button.tile").forEach(wire);

// Where a record came from: one article at a time. Its forged picture is that of its tile, so that the page holds it once.
const chooser = document.querySelector("#record");
const articles = [...document.querySelectorAll("article.from")];
const pictures = new Map([...document.querySelectorAll(".sheet li")].map((item) => [
  item.querySelector("a.whence").dataset.record, item.querySelector("img").src,
]));
function choose(id) {
  chooser.value = id;
  for (const article of articles) {
    article.hidden = article.dataset.record !== id;
    if (!article.hidden) article.querySelector("img.copy").src = pictures.get(id);
  }
}
if (chooser) {
  choose(chooser.value);
  chooser.addEventListener("change", () => choose(chooser.value));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.whence");
    if (link) choose(link.dataset.record); // and the link is followed: the next Tab reaches the chooser
  });
}
