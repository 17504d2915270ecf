"""The audits' README lists every audit with its question and its gate.

`python -m tests.pipelines.audits.test_readme` writes that list anew.
"""

from pathlib import Path

from mmtt.audit import gather

README = Path(__file__).parents[3] / "pipelines" / "audits" / "README.md"
BEGIN, END = "<!-- audits -->\n", "<!-- /audits -->\n"


def table() -> str:
    lines = ["| id | question | figure | gate |", "|---|---|---|---|"]
    for audit in gather().values():
        sign = "≤" if audit.better == "low" else "≥"
        gate = "told" if audit.gate is None else f"{sign} {audit.gate:g}"
        lines.append(f"| {audit.id} | {audit.question} | {audit.unit} | {gate} |")
    return "\n".join(lines) + "\n"


def test_the_readme_lists_every_audit_with_its_question_and_gate():
    text = README.read_text(encoding="utf-8")
    assert text[text.index(BEGIN) + len(BEGIN) : text.index(END)] == table()


if __name__ == "__main__":
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    README.write_text(before + BEGIN + table() + END + rest.partition(END)[2], encoding="utf-8")
