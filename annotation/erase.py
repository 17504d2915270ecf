"""Erase: take an annotator out. Who they are always goes; what they wrote, where that is asked for.

First the server, then the log and the reports, then the map of people: killed and run again, it completes.
"""

from collections.abc import Collection
from pathlib import Path

from .desk import Desk, open_desk
from .history import tasks
from .people import enrolment
from .reports import rewrite
from .server.accounts import StudioAccounts
from .server.connection import Connection
from .sync.projects import require_marked
from .sync.studio import Studio


def erase_annotator(
    directory: Path, pseudonym: str, connection: Connection, *, texts: bool, any_version: bool = False
) -> int:
    """Erase who is behind a pseudonym, and with `texts` all that they wrote; return how many answers were erased.

    Raises:
        UserError: nobody is called so, or the server refuses. LockedError: another command writes.
    """
    erased = 0
    if texts:
        with open_desk(directory, write=True) as desk, Studio(connection, any_version=any_version) as studio:
            erased = erase_texts(desk, studio, pseudonym)
        with open_desk(directory, write=True) as desk:  # what follows from the log follows anew
            rewrite(desk)
    with StudioAccounts(connection) as accounts:
        enrolment.erase(directory, pseudonym, accounts)
    return erased


def erase_texts(desk: Desk, studio: Studio, pseudonym: str) -> int:
    """Erase every answer of a person; return how many answers were erased.

    Other people's answers about them go as well (verifications quote them), and the tasks that show them. The reports
    have to be written anew afterwards.

    Raises:
        UserError: nobody is called so, or the server refuses.
    """
    desk.people.named(pseudonym)
    uids = _written(desk, pseudonym)
    _erase_on_server(desk, studio, uids)
    _erase_in_log(desk, uids)
    return len(uids)


def _written(desk: Desk, pseudonym: str) -> set[str]:
    """Answers of a person, those about them, and so on: a verification of a report, a rework of that."""
    uids = {answer.uid for answer in desk.answers if answer.annotator == pseudonym}
    while more := {answer.uid for answer in desk.answers if answer.about in uids} - uids:
        uids |= more
    return uids


def _erase_on_server(desk: Desk, studio: Studio, uids: Collection[str]) -> None:
    shown = {key for key, facts in tasks(desk.log).items() if facts["about"] in uids}
    for number in require_marked(studio, desk.log, desk.marker).values():
        remotes = studio.index(number)
        for remote in remotes:
            if remote.key in shown:
                studio.delete_task(remote.id)
        answered = [remote.id for remote in remotes if remote.annotations and remote.key not in shown]
        for exported in studio.export(number, answered):
            for annotation in (annotation for task in exported for annotation in task["annotations"]):
                if annotation["unique_id"] in uids:
                    studio.delete_annotation(annotation["id"])


def _erase_in_log(desk: Desk, uids: Collection[str]) -> None:
    kinds = ("answer", "accepted", "waived")  # what was accepted holds a digest of the text: it could be guessed from
    seqs = [event.seq for event in desk.log.events(*kinds) if event.subject in uids]
    desk.log.erase(seqs, "an annotator was erased")
