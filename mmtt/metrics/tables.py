"""Tables: scores as Markdown and as LaTeX (`booktabs`), predictors beside one another, each score with its interval."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from mmtt.metrics.bootstrap import Estimate

# Heading of each score; the order of columns. Tables by what is answered. ↓: less is better.
KINDS: Mapping[str, Mapping[str, str]] = {
    "Localization": {
        "iou": "IoU", "precision": "Precision", "recall": "Recall", "f1": "F1", "pooled_iou": "Pooled IoU",
        "pixel_auc": "Pixel AUC", "false_alarm": "False alarm ↓",
    },
    "Regions, detection, grounding": {
        "region_micro_f1": "Region F1 (micro)", "region_macro_f1": "Region F1 (macro)",
        "detection_auc": "Detection AUC",
        "grounding_precision": "Grounding precision", "grounding_recall": "Grounding recall",
        "hallucinated": "Hallucinated regions ↓", "omitted": "Omitted regions ↓",
    },
    "Report": {
        "bleu_1": "BLEU-1", "bleu_2": "BLEU-2", "bleu_3": "BLEU-3", "bleu_4": "BLEU-4", "rouge_l": "ROUGE-L",
        "cider": "CIDEr", "meteor": "METEOR",
    },
}  # fmt: skip
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~$&])")
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "−": "$-$", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}",
    "↓": r"$\downarrow$",
}  # fmt: skip


class Table(NamedTuple):
    """Rows of scores under a title. head: of every column, that of the names first. A cell is a text or a score."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str | Estimate | None, ...], ...]


def number(found: Estimate | None) -> str:
    """Return a score as text, with its 95 % interval where it has one; a dash where it has no value."""
    if found is None or found.value is None:
        return "–"
    interval = "" if found.low is None or found.high is None else f" [{found.low:.3f}, {found.high:.3f}]"
    return f"{found.value:.3f}{interval}"


def by_kind(scores: Mapping[str, Mapping[str, Estimate]], title: str = "") -> list[Table]:
    """Return a table for each kind of score that somebody has; a row for each name that has one of them.

    Args:
        scores: of each name, its scores.
        title: what they are of, put before each table's kind.
    """
    found = []
    for kind, labels in KINDS.items():
        having = {name: own for name, own in scores.items() if labels.keys() & own.keys()}
        present = [score for score in labels if any(score in own for own in having.values())]
        if present:
            rows = tuple((name, *(own.get(score) for score in present)) for name, own in having.items())
            found.append(Table(f"{title}{kind}", ("", *(labels[score] for score in present)), rows))
    return found


def markdown(tables: Sequence[Table]) -> str:
    """Return tables as Markdown; names are escaped."""
    return "\n".join(_markdown(table) for table in tables)


def _markdown(table: Table) -> str:
    escaped = _texts(table, escape_markdown)
    ruled = [escaped[0], ["---", *["---:"] * (len(table.head) - 1)], *escaped[1:]]
    return f"**{escape_markdown(table.title)}**\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in ruled)


def escape_markdown(text: str) -> str:
    """Return a text whose signs mean nothing in a Markdown table."""
    return _MARKDOWN.sub(r"\\\1", _plain(text))


def _texts(table: Table, escape: Callable[[str], str]) -> list[list[str]]:
    """Return head and rows as texts; what somebody named is escaped, numbers are ours."""
    lines = (table.head, *table.rows)
    return [[escape(cell) if isinstance(cell, str) else number(cell) for cell in line] for line in lines]


def latex(tables: Sequence[Table]) -> str:
    """Return tables as LaTeX for `booktabs`; names are escaped."""
    return "% \\usepackage{booktabs}\n" + "\n".join(_latex(table) for table in tables)


def _latex(table: Table) -> str:
    body = [" & ".join(line) + r" \\" for line in _texts(table, escape_latex)]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{escape_latex(table.title)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}",
            r"\toprule",
            body[0],
            r"\midrule",
            *body[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escape_latex(text: str) -> str:
    """Return a text whose signs mean nothing to LaTeX."""
    return "".join(_LATEX.get(sign, sign) for sign in _plain(text))


def _plain(text: str) -> str:
    """Return a text on one line without what steers a terminal."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in " ".join(text.split()))
