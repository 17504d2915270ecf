"""The audits that rows, pixels and tables answer. Each module holds those of one kind; `run` runs them all."""

from . import balance, blind, leakage, masks, rights, shortcuts, texts

AUDITS = (
    *leakage.AUDITS,
    *shortcuts.AUDITS,
    *blind.AUDITS,
    *masks.AUDITS,
    *texts.AUDITS,
    *balance.AUDITS,
    *rights.AUDITS,
)
