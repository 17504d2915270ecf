"""Audits of masks: whether they are whole, lie where pixels changed, and mean what their columns say."""

from mmtt.audit import Audit

from .alignment import M5
from .binarisation import M6
from .pairing import M1
from .rederivation import M4
from .region_table import M7
from .shapes import M3
from .support import M2

AUDITS: tuple[Audit, ...] = (M1, M2, M3, M4, M5, M6, M7)
