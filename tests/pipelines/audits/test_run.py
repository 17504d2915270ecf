"""The runner: verdicts follow from gates, gates from the recipe, and what it writes is the same for anybody."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from mmtt.audit import Audit, Example, Finding, NotApplicable, Verdict, gather
from mmtt.cli import app, mount
from mmtt.errors import RecipeError, UserError
from mmtt.executors import executor, serial
from mmtt.progress import silent
from pipelines.audits.page import page
from pipelines.audits.run import as_text, run
from tests.factories import make_forged_record, make_record, make_report, stored_dataset

mount("pipelines")
HOSTILE = "\"'><script>alert(1)</script>{{ 7 * 7 }}\u202e"


def quiet(_: str):
    return silent


def found(statistic: float, low: float | None = None, high: float | None = None, **more) -> Finding:
    return Finding(statistic=statistic, low=low, high=high, n=10, of="rows", sentence="So it is.", **more)


def audit(name: str = "M9", finding: Finding | None = None, **more) -> Audit:
    def judge(_):
        if finding is None:
            raise NotApplicable("There are no reports.")
        return finding

    return Audit(id=name, title="a title", question="Is it so?", unit="share", judge=judge, **more)


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    pristine, forged = [make_record(seed) for seed in range(6)], [make_forged_record(seed) for seed in range(6)]
    return stored_dataset(tmp_path_factory.mktemp("run"), pristine, forged, reports=[make_report(r) for r in forged])


@pytest.mark.parametrize(
    ("better", "gate", "finding", "verdict"),
    [
        ("low", None, found(9), Verdict.TOLD),
        ("low", 0, found(0), Verdict.PASSES),
        ("low", 0, found(1), Verdict.FAILS),
        ("low", 0.55, found(0.6, 0.5, 0.7), Verdict.DOUBTFUL),
        ("low", 0.55, found(0.6, 0.58, 0.7), Verdict.FAILS),
        ("low", 0.55, found(0.5, 0.4, 0.7), Verdict.PASSES),
        ("high", 0.98, found(0.99, 0.9, 1.0), Verdict.PASSES),
        ("high", 0.98, found(0.97, 0.9, 0.99), Verdict.DOUBTFUL),
        ("high", 0.98, found(0.9, 0.8, 0.95), Verdict.FAILS),
        ("high", 0.98, found(0.9), Verdict.FAILS),
    ],
)
def test_only_what_lies_beyond_the_gate_with_its_whole_interval_fails(better, gate, finding, verdict):
    assert audit(finding=finding, better=better).verdict(finding, gate) is verdict


def test_the_recipe_moves_a_gate_and_takes_it_away(tmp_path):
    audits = {"M8": audit("M8", found(0.3), gate=0.1), "M9": audit("M9", found(0.3), gate=0.1)}
    gates = {"M8": 0.5, "M9": None}
    layout = stored_dataset(tmp_path, [make_record(0)], [make_forged_record(0)], audit={"gates": gates})
    audited, _ = run(layout.root, audits, serial, quiet)
    assert [outcome.verdict for outcome in audited.outcomes] == [Verdict.PASSES, Verdict.TOLD]


def test_a_gate_or_a_choice_that_names_no_audit_is_refused(tmp_path, layout):
    planted = stored_dataset(tmp_path, [make_record(0)], [make_forged_record(0)], audit={"gates": {"M99": 1}})
    with pytest.raises(RecipeError, match=r"recipe.yaml: 'audit.gates' names the audit 'M99'.* Did you mean 'M9'\?"):
        run(planted.root, {"M9": audit()}, serial, quiet)
    with pytest.raises(UserError, match="--only names the audit 'Q1'"):
        run(layout.root, {"M9": audit()}, serial, quiet, only=["Q1"])


def test_what_an_audit_lacks_is_told_and_fails_nothing(layout):
    audited, _ = run(layout.root, {"M9": audit(gate=0)}, serial, quiet)
    assert audited.counts()["absent"] == 1
    assert "There are no reports." in as_text(audited)
    assert json.loads(audited.to_json())["audits"][0]["reason"] == "There are no reports."


def test_every_audit_has_its_own_id_and_asks_a_question():
    audits = gather()
    assert {"L1", "L2", "L3", "L5", "S1", "S2", "S7", "M1", "M6", "X1", "X3", "X7", "F1", "R1", "R4"} <= audits.keys()
    for name, one in audits.items():
        assert name == one.id
        assert one.question.endswith("?")
        assert one.title[0].isupper() or one.title[0].isdigit(), one.title


def test_all_audits_say_the_same_on_any_number_of_workers(layout):
    audits = gather()
    texts = [run(layout.root, audits, count, quiet)[0].to_json() for count in (serial, executor(2))]
    assert texts[0] == texts[1]


def test_an_audit_says_the_same_alone_as_among_all(tmp_path):
    """One picture of one row is damaged: some audits lose the row, others do not."""
    pristine, forged = [make_record(seed) for seed in range(4)], [make_forged_record(seed) for seed in range(4)]
    pristine[0], forged[1] = replace(pristine[0], image=b"torn"), replace(forged[1], change=b"torn")
    root = stored_dataset(tmp_path, pristine, forged, reports=[make_report(record) for record in forged]).root
    audits = gather()
    together = {outcome.audit.id: outcome.to_dict() for outcome in run(root, audits, serial, quiet)[0].outcomes}
    for name in audits:
        alone = run(root, audits, serial, quiet, only=[name])[0].outcomes[0]
        assert alone.to_dict() == together[name]


def test_what_has_no_value_is_null(layout):
    figures = {"nan": float("nan"), "by family": {"face_swap": np.float64("inf"), "recolour": np.float32(0.5)}}
    audited, _ = run(layout.root, {"M9": audit(finding=found(1, details=figures))}, serial, quiet)
    told = json.loads(audited.to_json())["audits"][0]["details"]
    assert told == {"nan": None, "by family": {"face_swap": None, "recolour": 0.5}}


def test_a_gate_that_the_recipe_moved_is_shown_everywhere(tmp_path):
    moved = {"gates": {"M9": 0.99, "R9": 0.5}}
    root = stored_dataset(tmp_path, [make_record(0)], [make_forged_record(0)], audit=moved).root
    audits = {
        "M9": audit(finding=found(0.5), gate=0.3),
        "R9": audit("R9", found(0.2)),
        "S9": audit("S9", found(1), gate=2),
    }
    audited, evidence = run(root, audits, serial, quiet)
    assert [row["default_gate"] for row in json.loads(audited.to_json())["audits"]] == [0.3, None, 2]
    for text in (as_text(audited), re.sub(r"\s+", " ", page(audited, evidence))):
        assert "gate ≤ 0.99, moved from 0.3 by the recipe" in text
        assert "gate ≤ 0.5, set by the recipe" in text
        assert "gate ≤ 2, " not in text


def test_a_pass_whose_interval_reaches_beyond_the_gate_says_how_far(layout):
    audits = {
        "S8": audit("S8", found(0.1, 0.0, 0.92), gate=0.15),
        "S9": audit("S9", found(0.1, 0.0, 0.14), gate=0.15),
        "M9": audit("M9", found(0.995, 0.5, 1.0), gate=0.99, better="high"),
        "R9": audit("R9", found(0.2, 0.1, 0.3), gate=0.15),
    }
    audited, evidence = run(layout.root, audits, serial, quiet)
    cautions = [outcome.caution for outcome in audited.outcomes]
    assert cautions[0] == "Up to 0.92 cannot be ruled out; more rows would tell."
    assert cautions[2] == "Down to 0.5 cannot be ruled out; more rows would tell."
    assert cautions[1] is cautions[3] is None
    assert as_text(audited).count("cannot be ruled out") == page(audited, evidence).count("cannot be ruled out") == 2


def test_terminal_page_and_json_round_a_figure_once_and_alike(layout):
    audited, evidence = run(layout.root, {"M9": audit(finding=found(0.89074999, 0.5, 0.5))}, serial, quiet)
    assert "0.8908" in page(audited, evidence) and "0.8908." in as_text(audited)
    assert json.loads(audited.to_json())["audits"][0]["interval"] is None  # it leaves nothing open


def test_no_control_character_reaches_page_or_json(layout):
    worst = (Example(make_forged_record(1).record_id, "a\0b\x1b[31mc\x9b"),)
    details = {"k\x1b": "v\0", "t": {"a\x07": 1}}
    finding = replace(found(1, details=details, worst=worst), sentence="So\x1b[2J it `is\0`.")
    audited, evidence = run(layout.root, {"M9": audit(finding=finding)}, serial, quiet)
    html = page(replace(audited, name="n\0"), evidence)
    for text in (html, audited.to_json(), as_text(audited)):
        assert not set(text.replace("\n", "")) & {chr(code) for code in (*range(32), *range(127, 160))}
    assert r"<code>is\x00</code>" in html


def test_only_without_an_id_is_a_sentence(layout):
    done = CliRunner().invoke(app, ["audit", str(layout.root), "--only", " , "])
    assert isinstance(done.exception, UserError) and "--only names no audit" in str(done.exception)


def test_the_page_shows_every_audit_and_lets_no_text_act(layout):
    forged = make_forged_record(1)
    worst = (Example(forged.record_id, HOSTILE, forged.target_id), Example("gone", HOSTILE))
    details = {
        HOSTILE: 1,
        "by family": {HOSTILE: 0.5},
        "matrix": {"a": {HOSTILE: 1, "b": None}},
        "many": {str(n): n for n in range(99)},
    }
    audits = {"M9": audit(finding=found(3, details=details, worst=worst), gate=0), "R9": audit("R9")}
    audited, evidence = run(layout.root, audits, serial, quiet)
    html = page(replace(audited, name=HOSTILE), evidence)
    assert "<script>alert" not in html
    assert "{{ 7" in html  # as it stands: nothing was rendered twice
    assert html.count('<article class="audit"') == 2
    assert html.count("data:image/jpeg") == 2
    assert "59 more in audits.json" in html


def test_the_command_writes_both_files_and_ends_with_3_only_where_a_gate_is_asked(layout, tmp_path):
    plain = CliRunner().invoke(app, ["audit", str(layout.root), "--json"])
    assert plain.exit_code == 0, plain.output
    assert layout.audits.is_file()
    assert layout.audits_page.is_file()
    failing = [row for row in json.loads(layout.audits.read_text())["audits"] if row["verdict"] == "fails"]
    gated = CliRunner().invoke(app, ["audit", str(layout.root), "--gate", "--out", str(tmp_path / "o")])
    assert gated.exit_code == (3 if failing else 0)
    assert (tmp_path / "o" / "audits.html").is_file()


def test_a_part_of_the_audits_is_printed_and_not_written(layout):
    layout.audits.unlink(missing_ok=True)
    done = CliRunner().invoke(app, ["audit", str(layout.root), "--only", "m1,R4"])
    assert done.exit_code == 0, done.output
    assert "2 audits over 12 rows" in done.output
    assert not layout.audits.exists()


def test_a_folder_that_is_no_dataset_is_a_sentence(tmp_path):
    done = CliRunner().invoke(app, ["audit", str(tmp_path)])
    assert isinstance(done.exception, UserError)
