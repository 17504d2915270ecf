"""Audits of leakage."""

from mmtt.audit import Audit

AUDITS: tuple[Audit, ...] = ()
