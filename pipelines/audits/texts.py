"""Audits of texts."""

from mmtt.audit import Audit

AUDITS: tuple[Audit, ...] = ()
