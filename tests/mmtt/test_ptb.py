"""The tokeniser against Stanford's. `python tests/mmtt/test_ptb.py` makes `tests/golden/ptb.json` again, with Java."""

import json
import random
import shutil
import sys
import time
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden" / "ptb.json"
_BETWEEN = "zqz"  # keeps one text from deciding about its neighbour


def java_tokens(texts: list[str]) -> list[str]:
    """Return what pycocoevalcap makes of each text, read alone."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    captions = {k: [{"caption": text}, {"caption": _BETWEEN}] for k, text in enumerate(texts)}
    found = PTBTokenizer().tokenize(captions)
    assert all(between == _BETWEEN for _, between in found.values()), "the lines have shifted"
    return [found[k][0] for k in range(len(texts))]


def recombined(count: int, seed: int) -> list[str]:
    """Return texts of pieces of the hard ones, with and without spaces between them."""
    rng = random.Random(seed)
    pieces = sorted({piece for text in json.loads(GOLDEN.read_text()) for piece in text.split(" ") if len(piece) < 30})
    pieces = [piece for piece in pieces if not set(piece) & set("\n\r\v\f\u2028\u2029Σ")]
    separators = ("", " ", " ", ", ", "-", ". ")
    return [
        "".join(rng.choice(pieces) + rng.choice(separators) for _ in range(rng.randint(2, 12))) for _ in range(count)
    ]


def differences(texts: list[str], expected: list[str]) -> list[tuple[str, str, str]]:
    from mmtt.metrics.ptb import tokenize

    found = [" ".join(tokenize(text)) for text in texts]
    return [case for case in zip(texts, expected, found, strict=True) if case[1] != case[2]]


def test_hard_texts_have_the_tokens_that_java_gave_them():
    golden = json.loads(GOLDEN.read_text())
    assert len(golden) > 60
    assert differences(list(golden), list(golden.values())) == []


@pytest.mark.skipif(not shutil.which("java"), reason="needs Java")
def test_recombined_texts_have_the_tokens_that_java_gives_them():
    texts = [*json.loads(GOLDEN.read_text()), *recombined(6000, seed=0)]
    assert differences(texts, java_tokens(texts)) == []


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\v", "\f", "\u2028", "\u2029"])
def test_a_line_separator_is_a_space(separator):
    from mmtt.metrics.ptb import tokenize

    assert tokenize(f"left eye{separator}right eye") == ["left", "eye", "right", "eye"]


@pytest.mark.parametrize(
    "text",
    ["a-" * 5000, "<a " + "b " * 5000, "@" * 5000, "a." * 5000, "'" * 5000, "1 " * 5000, "a@" * 3000, "&" * 5000],
)
def test_a_hostile_text_is_read_in_seconds(text):
    from mmtt.metrics.ptb import tokenize

    start = time.monotonic()
    tokenize(text)
    assert time.monotonic() - start < 10


if __name__ == "__main__":
    sys.path.insert(0, str(GOLDEN.parents[2]))
    texts = list(json.loads(GOLDEN.read_text()))
    GOLDEN.write_text(json.dumps(dict(zip(texts, java_tokens(texts), strict=True)), indent=0) + "\n")
