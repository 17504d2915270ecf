"""Pages: one HTML file each, that opens offline, asks the network for nothing and runs no foreign script.

Every page of the toolkit extends `page.html.j2`, which is defined here: its style, its picture viewer
and its content security policy. Templates lie in `templates/` of the application that renders them.
"""

import base64
import hashlib
import math
import re
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import jinja2
from markupsafe import Markup

# All controls but those that end lines and columns; and halves of characters, which no file can hold.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fcfbf9; --panel: #f3f1ec; --text: #1c1c1a; --soft: #5d5a54; --line: #dedad2;
  --accent: #1d5a86; --bar: #6d9dc0; --pale: #d3e2ed; --forged: #a51526;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #151514; --panel: #201f1d; --text: #ebe9e4; --soft: #aaa69d; --line: #37352f;
    --accent: #92c4ea; --bar: #4f86ad; --pale: #24384a; --forged: #ff9199;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; background: var(--ground); color: var(--text); font: 1rem/1.6 var(--sans); overflow-wrap: anywhere; }
main, body > header, body > footer { max-width: 82rem; margin-inline: auto; padding-inline: clamp(1rem, 4vw, 3rem); }
body > header { padding-top: clamp(2rem, 7vw, 5rem); }
body > footer { padding-block: 2rem 4rem; color: var(--soft); font-size: .875rem; }
h1, h2, h3 { line-height: 1.2; font-weight: 600; letter-spacing: -.012em; margin: 0; text-wrap: balance; }
h1 { font-size: clamp(1.8rem, 5vw, 2.75rem); }
h2 { font-size: 1.5rem; }
h3 { font-size: 1.0625rem; }
p, li { max-width: 46rem; text-wrap: pretty; }
section { margin-top: clamp(3rem, 7vw, 5rem); scroll-margin-top: 1rem; }
a { color: var(--accent); text-underline-offset: .18em; }
code, pre { font-family: var(--mono); font-size: .875em; }
pre { background: var(--panel); padding: 1rem 1.25rem; border-radius: .375rem; overflow-x: auto; line-height: 1.5; }
table { border-collapse: collapse; font-size: .9375rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { text-align: left; padding: .45rem 1.5rem .45rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; }
thead th { color: var(--soft); font-weight: 500; font-size: .8125rem; vertical-align: bottom; }
tfoot td, tfoot th { border-bottom: 0; font-weight: 600; }
.number { text-align: right; }
.scroll { overflow-x: auto; margin-top: 1.25rem; white-space: nowrap; }
.scroll [scope=row] { position: sticky; left: 0; background: var(--ground); }
@media (max-width: 46rem) { .scroll [scope=row] { max-width: 50vw; white-space: normal; } }
.soft { color: var(--soft); }
.small { font-size: .875rem; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; border-radius: 2px; }
button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
img { display: block; max-width: 100%; }
dialog.viewer {
  padding: 0; border: 0; margin: auto; max-width: 100vw; max-height: 100dvh;
  color: var(--text); background: var(--ground);
}
dialog.viewer::backdrop { background: rgb(0 0 0 / .78); }
dialog.viewer img { height: auto; max-height: calc(100dvh - 7rem); margin-inline: auto; object-fit: contain; }
dialog.viewer p { margin: 0; padding: .75rem 1rem 0; max-width: 36rem; min-height: 2.4rem; font-size: .875rem; }
dialog.viewer nav { display: flex; justify-content: space-between; gap: 1rem; padding: .25rem .5rem .5rem; }
dialog.viewer button { padding: .5rem; color: var(--accent); }
"""

# The viewer shows the pictures of one row in turn, at one scale: a forgery and its target are a flicker test.
SCRIPT = """
"use strict";
const viewer = document.querySelector("dialog.viewer");
const large = viewer.querySelector("img"), told = viewer.querySelector("p");
let row = [], at = 0;
function show(index) {
  at = (index + row.length) % row.length;
  const small = row[at].querySelector("img");
  large.src = small.src;
  large.alt = small.alt;
  const widest = Math.max(...row.map((one) => one.querySelector("img").naturalWidth));
  large.width = widest;
  large.style.padding = `${50 * (1 - small.naturalWidth / widest)}%`;
  told.textContent = small.alt;
}
document.addEventListener("click", (event) => {
  const picture = event.target.closest("button.picture");
  if (picture) {
    row = [...picture.closest("[data-row]").querySelectorAll("button.picture")];
    show(row.indexOf(picture));
    viewer.showModal();
  } else if (event.target === viewer) viewer.close();
});
viewer.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") show(at - 1);
  if (event.key === "ArrowRight") show(at + 1);
});
viewer.querySelector(".before").addEventListener("click", () => show(at - 1));
viewer.querySelector(".after").addEventListener("click", () => show(at + 1));
viewer.querySelector(".close").addEventListener("click", () => viewer.close());
viewer.addEventListener("close", () => row[at].focus());
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta name="referrer" content="no-referrer">
<title>{% block title required %}{% endblock %}</title>
<style>{{ style }}{% block style %}{% endblock %}</style>
</head>
<body>
{% block body required %}{% endblock %}
<dialog class="viewer" aria-label="Enlarged picture">
<img alt="">
<p aria-live="polite"></p>
<nav>
<button type="button" class="before">Previous</button>
<button type="button" class="close" autofocus>Close</button>
<button type="button" class="after">Next</button>
</nav>
</dialog>
<script>{{ script }}</script>
</body>
</html>
"""


def data_uri(data: bytes, mime: str) -> str:
    """Return bytes as a URI that holds them, for `src` attributes."""
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"


def percent(share: float) -> str:
    """Return a share, 0–1, as a percentage of two significant digits; from 10 % on, of whole ones."""
    hundredths = 100 * share
    digits = 0 if hundredths >= 10 or hundredths == 0 else 1 if hundredths >= 1 else 2
    # A no-break space: the sign stays with its number.
    return f"{hundredths:.{digits}f}\N{NO-BREAK SPACE}%"


def number(value: int) -> str:
    """Return a count with its thousands set apart."""
    return f"{value:,}"


def figure(value: float) -> str:
    """Return a figure of four significant digits; whole numbers, and those from 1,000 on, with thousands set apart."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:.4g}"


def render(package: str, template: str, *, own_script: str = "", **values: Any) -> str:
    """Render a template of an application's `templates/`.

    Every value is escaped, controls in it are replaced, and a missing one is an error.

    Args:
        package: the application's `__package__`.
        template: file name below its `templates/`.
        own_script: name of a script below its `templates/` that runs on this page after the viewer's.
        values: what the template may name.
    """
    script = SCRIPT + (_templates(package) / own_script).read_text(encoding="utf-8") if own_script else SCRIPT
    # Ours, not a user's: besides the style, the only value that goes into the page as it is.
    values |= {"script": Markup(script), "policy": _policy(script)}
    return _environment(package).get_template(template).render(values)


def _clean(value: Any) -> Any:
    """Put a visible mark in place of controls, which HTML may not hold and which may steer what reads it."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", value) if type(value) is str else value


def _templates(package: str) -> Traversable:
    return resources.files(package) / "templates"


@cache
def _environment(package: str) -> jinja2.Environment:
    folder = _templates(package)
    loaders = [
        jinja2.DictLoader({"page.html.j2": PAGE}),
        jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
    ]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(style=Markup(STYLE))
    environment.filters.update(percent=percent, number=number, figure=figure)
    return environment


def _policy(script: str) -> str:
    """Pictures and styles out of the page itself, our one script by its digest, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    )
