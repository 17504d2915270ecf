"""Erase: take an annotator out, or records and all that people wrote about them; `mmtt forget` calls the latter."""

from .annotators import erase_annotator as erase_annotator
from .records import apply as apply
from .records import plan as plan
from .records import traces as traces
from .told import texts as texts
