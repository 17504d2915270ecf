"""Odd datasets: whatever lacks, every audit answers with a figure or says in a sentence what is missing."""

from dataclasses import replace

import pytest

from mmtt.audit import Verdict, gather
from mmtt.executors import serial
from mmtt.progress import silent
from pipelines.audits.page import page
from pipelines.audits.run import as_text, run
from tests.factories import make_forged_record, make_record, make_report, stored_dataset

COUNT = 8
TORN = b"\x89PNG\r\n\x1a\n and then nothing"


def pristine(count=COUNT):
    return [make_record(seed) for seed in range(count)]


def forged(count=COUNT):
    return [make_forged_record(seed) for seed in range(count)]


def torn(records):
    names = ("image", "mask", "pristine", "alpha", "change")
    return [replace(r, **{name: TORN for name in names if getattr(r, name) is not None}) for r in records]


def imported(count=COUNT):
    gone = {"target_id": None, "pristine": None, "alpha": None, "change": None}
    return [replace(record, mask_rule="imported", **gone) for record in forged(count)]


ODD = {
    "no forged rows": lambda: (pristine(), []),
    "no pristine rows": lambda: ([], imported()),
    "one pristine row": lambda: (pristine(1), []),
    "one forged row": lambda: ([], imported(1)),
    "one of each": lambda: (pristine(1), forged(1)),
    "all pictures damaged": lambda: (torn(pristine()), torn(forged())),
    "forged pictures damaged": lambda: (pristine(), torn(forged())),
}


@pytest.mark.parametrize("name", ODD)
def test_every_audit_answers_or_says_what_is_missing(name, tmp_path):
    originals, forgeries = ODD[name]()
    layout = stored_dataset(tmp_path, originals, forgeries, reports=[make_report(record) for record in forgeries])
    audits = gather()
    audited, evidence = run(layout.root, audits, serial, lambda _: silent)
    assert [outcome.audit.id for outcome in audited.outcomes] == list(audits)
    for outcome in audited.outcomes:
        told = outcome.to_dict()
        sentence = told["reason"] if outcome.verdict is Verdict.ABSENT else told["sentence"]
        assert sentence.endswith(".") and len(sentence) > 20, outcome
    assert page(audited, evidence).count('<article class="audit"') == len(audits)
    assert as_text(audited).count("\n") >= len(audits)
    assert audited.to_json()
