"""Audits of blind."""

from mmtt.audit import Audit

AUDITS: tuple[Audit, ...] = ()
