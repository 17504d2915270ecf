"""Reports: what counts, as the table that strangers read, and beside it what was refused, and why.

The table is a pure function of log, people and recipe: however often it was pulled, the bytes are the same.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

from mmtt.errors import UserError
from mmtt.files import write_atomically
from mmtt.ids import derived_id
from mmtt.lexicon import claimed
from mmtt.record import Rejection
from mmtt.regions import REGIONS
from mmtt.reports import DWELL_EDGES_S, Report, require_same_bytes
from mmtt.shards import read_table, write_table

from .agreement import agreement, record_agreement
from .answers import Answer, in_order
from .desk import Desk
from .history import versions
from .log import New
from .protocols import VISIBLE, StageName
from .quality.time import spells
from .standing import REPORTED, Settled

REPORTS, REJECTIONS, DERIVED = "reports.parquet", "rejections.parquet", "derived.parquet"
AGREEMENT = "agreement.json"
_REFUSED = ("returned", "held", "doubted", "skipped", "abandoned")


def write(desk: Desk) -> tuple[list[Report], list[Rejection]]:
    """Write the tables of a dataset's reports, and note in the log which versions were accepted.

    Raises:
        UserError: texts that came with an import would be lost; nothing was written.
    """
    folder = desk.layout.root / "reports"
    if _holds_imported(desk):
        hint = "Move it away first, if they are to go."
        raise UserError(f"{folder / REPORTS} holds texts that were imported; these reports would replace them. {hint}")
    folder.mkdir(exist_ok=True)
    for torn in folder.glob(".*.tmp"):  # the desk's lock says that nobody is writing them
        torn.unlink(missing_ok=True)
    made, refused = reports(desk), rejections(desk)
    require_same_bytes(made, {subject.record_id: subject.image_sha256 for subject in desk.subjects})
    _note_accepted(desk)
    _forget_derived(made, folder / DERIVED)
    made = with_derived(made, folder / DERIVED)
    write_table(folder / REJECTIONS, refused, Rejection)
    write_atomically(folder / AGREEMENT, _agreement(desk))
    write_table(folder / REPORTS, made, Report)
    return made, refused


def _agreement(desk: Desk) -> bytes:
    """How far people agree: over all, as `Agreement`, and each record's part in it, where it has one."""
    overall = asdict(agreement(desk.counting, desk.rng("agreement")))
    each = {name: share for name, share in record_agreement(desk.counting).items() if share is not None}
    return (json.dumps({"overall": overall, "records": each}, indent=1, sort_keys=True) + "\n").encode()


def rewrite(desk: Desk) -> None:
    """Write the tables anew where there are any, and remove the curator's page: it quotes what was erased."""
    desk.layout.annotation_page.unlink(missing_ok=True)
    if (desk.layout.root / "reports" / REPORTS).exists() and not _holds_imported(desk):
        write(desk)


def _holds_imported(desk: Desk) -> bool:
    """Whether the table is an import's: no log tells what it says, and only the import could write it again."""
    path = desk.layout.root / "reports" / REPORTS
    if desk.recipe.imported is None or not path.exists():
        return False
    return any(report.annotator == "unknown" for report in read_table(path, Report))


def _forget_derived(made: Sequence[Report], path: Path) -> None:
    """Drop what was derived of words that are not there any more."""
    if path.exists():
        there = {(report.report_id, report.text) for report in made}
        derived = read_table(path, Report)
        kept = [row for row in derived if (row.report_id, row.text) in there]
        if kept != derived:
            write_table(path, kept, Report)


def reports(desk: Desk) -> list[Report]:
    """Return the reports that count, by record and rank."""
    writes = {person.pseudonym: person.writes for person in desk.people.persons}
    dwell = {uid: spell.dwell for uid, spell in spells(in_order(desk.answers)).items()}
    return [
        _report(settled, rank, dwell[settled.answer.uid], writes)
        for _, found in sorted(desk.standing.settled.items())
        for rank, settled in enumerate(found)
    ]


def _report(settled: Settled, rank: int, dwell: float | None, writes: Mapping[str, str]) -> Report:
    answer = settled.answer
    return Report(
        report_id=derived_id("report", answer.record_id, answer.uid),
        record_id=answer.record_id,
        image_sha256=answer.image_sha256,
        rank=rank,
        settled=settled.how,
        annotator=answer.annotator,
        protocol=answer.protocol,
        verdict=answer.verdict or "",
        regions=[word for word in REGIONS if word in answer.regions],
        text_regions=list(claimed(answer.text, answer.language)),
        difficulty=answer.difficulty,
        text=answer.text,
        language=answer.language,
        text_origin=_origin(settled, writes),
        original_text=settled.original,
        editor=settled.editor,
        submitted=answer.submitted.date().isoformat(),
        dwell_s=None if dwell is None else max((edge for edge in DWELL_EDGES_S if edge <= dwell), default=0),
    )


def _origin(settled: Settled, writes: Mapping[str, str]) -> str:
    """Who wrote the text: a machine's words stay a machine's, whoever looked at them."""
    hands = [writes.get(name, "human") for name in (settled.editor, settled.answer.annotator) if name is not None]
    machine = [hand for hand in hands if hand != "human"]
    return machine[0] if machine else "human_edited" if settled.original is not None else "human"


def rejections(desk: Desk) -> list[Rejection]:
    """Return a row for each description that does not count (yet): why, and what the rules found.

    A sound "I see nothing" is a row, too: its code is the verdict. `disputed` is what a verifier refused, what others
    contradict, and what an adjudicator decided otherwise; `record_gone` and `picture_changed` what was said of a record
    that is not there as it was seen.
    """
    told: dict[str, list[str]] = {}
    for finding in desk.findings:
        if finding.uid is not None and finding.effect != "tell":
            told.setdefault(finding.uid, []).append(finding.rule)
    counting = {settled.answer.uid for found in desk.standing.settled.values() for settled in found}
    refused = [answer for answer in desk.answers if answer.uid not in counting and _is_refused(answer, desk)]
    status = {uid: found for uid, found in desk.standing.status.items() if found in _REFUSED}
    rows = [_rejection(a, status.get(a.uid, _reason(a, desk)), told.get(a.uid, ())) for a in refused]
    return sorted(rows, key=lambda row: (row.record_id or "", row.code, row.detail))


def _is_refused(answer: Answer, desk: Desk) -> bool:
    status = desk.standing.status.get(answer.uid)
    if not desk.is_current(answer):
        return answer.stage == StageName.DESCRIBE
    return status in _REFUSED or (status == "accepted" and answer.kind in REPORTED)


def _reason(answer: Answer, desk: Desk) -> str:
    if desk.is_current(answer):
        return "disputed" if answer.verdict == VISIBLE else answer.verdict or "no_verdict"
    there = answer.record_id in {subject.record_id for subject in desk.subjects}
    return "picture_changed" if there else "record_gone"


def _rejection(answer: Answer, code: str, rules: Sequence[str]) -> Rejection:
    detail = f"{answer.annotator}: {', '.join(sorted(set(rules))) or code}"
    return Rejection(stage="annotate", code=code, detail=detail, record_id=answer.record_id)


def with_derived(made: Sequence[Report], path: Path) -> list[Report]:
    """Return reports with what was derived of the very same words before (see `translate`)."""
    if not path.exists():
        return list(made)
    derived = {(row.report_id, row.text): row for row in read_table(path, Report)}
    return [derived_of(report, derived.get((report.report_id, report.text))) for report in made]


def derived_of(report: Report, source: Report | None) -> Report:
    """Return a report with the derived columns of another; as it is without one."""
    if source is None:
        return report
    names = [field.name for field in fields(Report) if field.name.startswith("derived_")]
    return replace(report, **{name: getattr(source, name) for name in names})


def _note_accepted(desk: Desk) -> None:
    """Log which version of each answer counts, and of each that edited one, so that a later change of it shows."""
    settled = [item for found in desk.standing.settled.values() for item in found]
    uids = {item.answer.uid for item in settled} | {item.review for item in settled if item.review is not None}
    noted = {e.subject: e.payload["version"] for e in desk.log.events("accepted") if e.payload is not None}
    latest = versions(desk.log)
    news = [uid for uid in sorted(uids) if uid in latest and noted.get(uid) != latest[uid]]
    desk.log.append(New("accepted", uid, {}, {"version": latest[uid]}) for uid in news)
