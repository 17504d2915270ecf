"""Audits of shortcuts."""

from mmtt.audit import Audit

AUDITS: tuple[Audit, ...] = ()
