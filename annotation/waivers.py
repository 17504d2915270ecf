"""Decisions of the curator about single answers. Each is an event, with its reason."""

from mmtt.errors import UserError, did_you_mean

from . import history
from .desk import Desk
from .log import New


def waive(desk: Desk, uid: str, rule: str, why: str) -> None:
    """Decide that a rule's finding about an answer does not count, as long as the answer stays what it is now.

    Raises:
        UserError: there is no such finding, or no reason.
    """
    found = {finding.rule for finding in desk.findings if finding.uid == uid}
    if not found:
        raise UserError(
            f"No rule found anything about an answer '{uid}'; `mmtt annotate check DIR` lists all findings."
        )
    if rule not in found:
        raise UserError(f"'{rule}' has found nothing about {uid}.{did_you_mean(rule, found)}")
    _decide(desk, "waived", uid, {"rule": rule}, why)


def reject(desk: Desk, uid: str, why: str) -> None:
    """Decide that an answer never counts, and that its task is for somebody else.

    Raises:
        UserError: there is no such answer, or no reason.
    """
    if uid not in {answer.uid for answer in desk.answers}:
        raise UserError(f"There is no answer '{uid}'; `mmtt annotate check DIR` names those with findings.")
    _decide(desk, "rejected", uid, {}, why)


def _decide(desk: Desk, kind: str, uid: str, header: dict[str, str], why: str) -> None:
    if not why.strip():
        raise UserError("Say with --why what made you decide so; it is kept in the log.")
    version = history.versions(desk.log).get(uid)
    desk.log.append([New(kind, uid, header, {"why": why, "version": version})])
