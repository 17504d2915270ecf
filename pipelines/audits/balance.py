"""Audits of balance."""

from mmtt.audit import Audit

AUDITS: tuple[Audit, ...] = ()
