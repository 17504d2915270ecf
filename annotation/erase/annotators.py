"""Erase: take an annotator out. Who they are always goes; what they wrote, where that is asked for.

First the account, so that nothing more comes; then server, log and reports. Killed and run again, it completes.
"""

from collections.abc import Collection
from pathlib import Path

from .. import people
from ..desk import Desk, open_desk
from ..history import tasks
from ..people import enrolment
from ..private import folder
from ..reports import rewrite
from ..server.accounts import StudioAccounts
from ..server.connection import Connection
from ..sync.projects import known, marked
from ..sync.studio import Studio
from .server import purge


def erase_annotator(
    directory: Path, pseudonym: str, connection: Connection, *, texts: bool, any_version: bool = False
) -> int:
    """Erase who is behind a pseudonym, and with `texts` all that they wrote; return how many answers were erased.

    Raises:
        UserError: nobody is called so, or the server refuses. LockedError: another command writes.
    """
    user_id = people.load(directory).named(pseudonym).user_id
    with StudioAccounts(connection) as accounts:
        enrolment.erase(directory, pseudonym, accounts)
    erased = 0
    if texts:
        with open_desk(directory, write=True) as desk, Studio(connection, any_version=any_version) as studio:
            erased = erase_texts(desk, studio, pseudonym, user_id)
        with open_desk(directory, write=True) as desk:  # what follows from the log follows anew
            rewrite(desk)
        purge(folder(directory))
    return erased


def erase_texts(desk: Desk, studio: Studio, pseudonym: str, user_id: int | None) -> int:
    """Erase every answer of a person; return how many answers were erased from the log.

    On the server also those that no pull ever saw. Other people's answers about them go as well (verifications quote
    them), and the tasks that show them; projects that are gone are passed over. What a person began and never submitted
    goes with those tasks; of tasks that stay it lies in Label Studio's database.
    """
    uids = _written(desk, pseudonym)
    shown = {key for key, facts in tasks(desk.log).items() if uids & {facts["about"], *facts["quotes"]}}
    for number in marked(studio, desk.marker, known(desk.log)).values():
        _erase_in_project(studio, number, shown, uids, user_id)
    _erase_in_log(desk, uids)
    return len(uids)


def _written(desk: Desk, pseudonym: str) -> set[str]:
    """Answers of a person, those about them, and so on: a verification of a report, a rework of that, a ruling."""
    facts = tasks(desk.log)
    quotes = {answer.uid: {answer.about, *facts[answer.task_key]["quotes"]} for answer in desk.answers}
    uids = {answer.uid for answer in desk.answers if answer.annotator == pseudonym}
    while more := {uid for uid, quoted in quotes.items() if quoted & uids} - uids:
        uids |= more
    return uids


def _erase_in_project(
    studio: Studio, number: int, shown: Collection[str], uids: Collection[str], user_id: int | None
) -> None:
    remotes = studio.index(number)
    for remote in remotes:
        if remote.key in shown:
            studio.delete_task(remote.id)
    answered = [remote.id for remote in remotes if remote.annotations and remote.key not in shown]
    for exported in studio.export(number, answered):
        for annotation in (annotation for task in exported for annotation in task["annotations"]):
            if annotation["unique_id"] in uids or (user_id is not None and annotation["completed_by"] == user_id):
                studio.delete_annotation(annotation["id"])


def _erase_in_log(desk: Desk, uids: Collection[str]) -> None:
    """Erase what was said, what was decided about it, and digests of it: a digest can be guessed from.

    The facts of a task hold a digest of the text that it showed, so those go, too.
    """
    about = {key for key, facts in tasks(desk.log).items() if set(uids) & {facts["about"], *facts["quotes"]}}
    gone = {"answer": uids, "accepted": uids, "waived": uids, "rejected": uids, "task": about}
    seqs = [event.seq for kind, named in gone.items() for event in desk.log.events(kind) if event.subject in named]
    desk.log.erase(seqs, "an annotator was erased")
