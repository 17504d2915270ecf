"""Texts that say each something else, as people's do: the sentences on which the lexicon is scored."""

import json
from pathlib import Path

_FOLDER = Path(__file__).parents[2] / "mmtt" / "sentences"


def invented(language: str = "en") -> list[str]:
    """Return some hundred sentences of one language; all are `model` texts."""
    files = [_FOLDER / f"{language}_{part}.jsonl" for part in ("open", "more")]
    return [json.loads(line)["text"] for file in files for line in file.read_text(encoding="utf-8").splitlines()]
