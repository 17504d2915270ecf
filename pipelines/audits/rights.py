"""Audits of rights."""

from mmtt.audit import Audit

AUDITS: tuple[Audit, ...] = ()
