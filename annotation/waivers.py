"""Waivers: a person decides that a finding does not count. The decision is an event, so it can be told and undone."""

from mmtt.errors import UserError, did_you_mean

from .desk import Desk
from .log import New


def waive(desk: Desk, uid: str, rule: str, why: str) -> None:
    """Note that a rule's finding about an answer does not count, and why.

    Raises:
        UserError: there is no such finding, or no reason.
    """
    found = {finding.rule for finding in desk.findings if finding.uid == uid}
    if not found:
        raise UserError(
            f"No rule has found anything about an answer '{uid}'; `mmtt annotate check DIR` lists all findings."
        )
    if rule not in found:
        raise UserError(f"'{rule}' has found nothing about {uid}.{did_you_mean(rule, found)}")
    if not why.strip():
        raise UserError("Say with --why what made you decide so; it is kept in the log.")
    desk.log.append([New("waived", uid, {"rule": rule}, {"why": why})])
