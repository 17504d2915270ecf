"""Audits of masks."""

from mmtt.audit import Audit

AUDITS: tuple[Audit, ...] = ()
