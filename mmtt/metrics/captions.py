"""Captions: BLEU, ROUGE-L and CIDEr against references, and METEOR where Java is.

Values agree with `pycocoevalcap` on its own tokens (`mmtt.metrics.ptb`), quirks included:

- BLEU-1 to 4 (Papineni et al., ACL 2002) of a corpus: the closest reference length counts, the shorter of two equals.
- ROUGE-L (Lin, 2004), β = 1.2: the best precision and the best recall of all references, which may be different ones.
- CIDEr-D (Vedantam et al., CVPR 2015), n = 4, σ = 6, no stemming. In how many samples an n-gram is found is counted
  in the references at hand: CIDEr depends on the set, and is 0 for a set of one sample. The length penalty compares
  numbers of bigrams. Those counts stay as they are under a bootstrap and in parts of the set.

A missing candidate (None) scores 0 and counts; so does an empty one, except that it has a ROUGE-L of 1 for an empty
reference, as `pycocoevalcap` has it. An empty reference (one of marks alone is empty, too) has no words: it matches
nothing else, and BLEU may find its length of 0 the closest.

`pycocoevalcap` knows no Chinese. For `zh`, tokens are those of `mmtt.words`: each Chinese character is one, other words
are in lower case, marks are left out. Such scores compare with no published English ones.
"""

import math
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from mmtt.errors import UserError
from mmtt.metrics.ptb import tokenize
from mmtt.words import base, words

ORDERS = 4
_BETA = 1.2
_SIGMA = 6.0
_TINY, _SMALL = 1e-15, 1e-9  # pycocoevalcap's smoothing

Floats = npt.NDArray[np.float64]
_Grams = tuple[Counter[tuple[str, ...]], ...]  # how often each n-gram is there, for n from 1 to 4


@dataclass(frozen=True, slots=True)
class CaptionScores:
    """What each of N samples contributes; scores of any part or draw of them follow by sums and means.

    Attributes:
        counts: float64 N×9, whole numbers: matched n-grams, clipped, for n from 1 to 4; n-grams of the candidate; words
            of the closest reference. Sum over samples, then see `bleu`.
        rouge_l: float64 N, 0–1. The score of a corpus is the mean.
        cider: float64 N, 0–10, with the document frequencies of all N samples. The score of a corpus is the mean.
    """

    counts: Floats
    rouge_l: Floats
    cider: Floats


def caption_scores(
    candidates: Sequence[str | None], references: Sequence[Sequence[str]], language: str = "en"
) -> CaptionScores:
    """Score N candidates, each against one reference or more.

    Raises:
        UserError: a language that is none of `mmtt.words.LANGUAGES`.
        ValueError: a sample without references, or another number of samples on the two sides.
    """
    if not all(references):
        raise ValueError("each sample needs one reference or more")
    read = {text: _tokens(text, language) for text in {*filter(None, candidates), *_flat(references), ""}}
    grams = {text: _grams(" ".join(tokens).split()) for text, tokens in read.items()}
    pairs = [(c or "", r) for c, r in zip(candidates, references, strict=True)]
    counts = [_counts(grams[candidate], [grams[r] for r in of]) for candidate, of in pairs]
    rouge = [_rouge_l(read[candidate], [read[r] for r in of]) for candidate, of in pairs]
    missing = np.array([candidate is None for candidate in candidates], dtype=bool)
    return CaptionScores(
        counts=np.array(counts, dtype=np.float64).reshape(-1, 2 * ORDERS + 1),
        rouge_l=np.where(missing, 0.0, np.array(rouge, dtype=np.float64)),
        cider=_ciders([(grams[candidate], [grams[r] for r in of]) for candidate, of in pairs]),
    )


def bleu(counts: Floats) -> Floats:
    """Return BLEU-1 to 4, float64 …×4 of 0–1, for sums of `CaptionScores.counts`, float64 …×9, one a corpus."""
    matched, found, closest = np.split(counts, [ORDERS, 2 * ORDERS], axis=-1)
    precision = np.cumprod((matched + _TINY) / (found + _SMALL), axis=-1) ** (1 / np.arange(1, ORDERS + 1))
    ratio = (found[..., :1] + _TINY) / (closest + _SMALL)
    penalty = np.exp(np.minimum(1 - 1 / ratio, 0))
    return np.asarray(precision * penalty)


def meteor_missing() -> str | None:
    """Return why METEOR cannot be computed here; None if it can."""
    if not shutil.which("java"):
        return "METEOR needs Java (`apt-get install default-jre-headless`)"
    if not _meteor_jar():
        return "METEOR needs pycocoevalcap (`pip install 'mmtt[meteor]'`)"
    return None


def meteor(candidates: Sequence[str | None], references: Sequence[Sequence[str]]) -> float | None:
    """Return METEOR 1.5 (Denkowski & Lavie, 2014) of an English corpus, 0–1; None where `meteor_missing` says why.

    The program of `pycocoevalcap` computes it from its own sums over samples: the value is no mean, and has no parts.

    Raises:
        UserError: the program stopped.
    """
    jar = _meteor_jar()
    if meteor_missing() or not jar or not candidates:
        return None
    lines = [
        " ||| ".join(["SCORE", *map(_meteor_text, of), _meteor_text(candidate or "")])
        for candidate, of in zip(candidates, references, strict=True)
    ]
    command = ["java", "-Dfile.encoding=UTF-8", "-Xmx2G", "-jar", jar.name, "-", "-", "-stdio", "-l", "en", "-norm"]
    with subprocess.Popen(
        command, cwd=jar.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin and process.stdout
        try:
            sums = [_asked(process.stdin, process.stdout, line) for line in lines]
            first = _asked(process.stdin, process.stdout, " ||| ".join(["EVAL", *sums]))
            return float([first, *(process.stdout.readline().decode() for _ in sums)][-1])
        finally:
            process.kill()
            with suppress(BrokenPipeError):
                process.stdin.close()


def _meteor_jar() -> Path | None:
    found = find_spec("pycocoevalcap")
    places = found.submodule_search_locations if found else None
    jars = [Path(place) / "meteor" / "meteor-1.5.jar" for place in places or ()]
    return next((jar for jar in jars if jar.is_file()), None)


def _meteor_text(text: str) -> str:
    """Return the tokens as one line that cannot be taken for two fields."""
    return " ".join(" ".join(tokenize(text)).replace("|||", " ").split())


def _asked(stdin: IO[bytes], stdout: IO[bytes], line: str) -> str:
    with suppress(BrokenPipeError):  # it gives no answer then, either
        stdin.write(f"{line}\n".encode())
        stdin.flush()
    if not (answer := stdout.readline().decode().strip()):
        raise UserError("METEOR's Java program stopped; it needs 2 GB of memory")
    return answer


def _flat(lists: Iterable[Iterable[str]]) -> Iterable[str]:
    return (text for texts in lists for text in texts)


def _tokens(text: str, language: str) -> list[str]:
    return tokenize(text) if base(language) == "en" else [word.lower() for word in words(text, language)]


def _grams(tokens: Sequence[str]) -> _Grams:
    return tuple(Counter(zip(*(tokens[start:] for start in range(n)), strict=False)) for n in range(1, ORDERS + 1))


def _counts(candidate: _Grams, references: Sequence[_Grams]) -> list[int]:
    matched = [
        sum(min(count, max(r[n][gram] for r in references)) for gram, count in candidate[n].items())
        for n in range(ORDERS)
    ]
    found = [grams.total() for grams in candidate]
    closest = min((abs(r[0].total() - found[0]), r[0].total()) for r in references)[1]
    return [*matched, *found, closest]


def _rouge_l(candidate: list[str], references: Sequence[list[str]]) -> float:
    pairs = [(_longest_common(candidate or [""], r or [""]), len(r) or 1) for r in references]
    precision = max(common for common, _ in pairs) / (len(candidate) or 1)
    recall = max(common / length for common, length in pairs)
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision) if precision else 0.0


def _longest_common(a: list[str], b: list[str]) -> int:
    """Return the length of the longest common subsequence, with a bit for each word of `a` (Hyyrö, 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(a)) - 1
    unmatched = every
    for word in b:
        hit = unmatched & places.get(word, 0)
        unmatched = ((unmatched + hit) | (unmatched - hit)) & every
    return len(a) - unmatched.bit_count()


def _ciders(samples: Sequence[tuple[_Grams, Sequence[_Grams]]]) -> Floats:
    found_in: Counter[tuple[str, ...]] = Counter()
    for _, references in samples:
        found_in.update({gram for reference in references for grams in reference for gram in grams})
    rarity = {gram: math.log(len(samples)) - math.log(count) for gram, count in found_in.items()}
    unseen = math.log(max(1, len(samples)))
    scores = []
    for candidate, references in samples:
        vectors = _weighted(candidate, rarity, unseen)
        alike = [_alike(vectors, _weighted(reference, rarity, unseen)) for reference in references]
        scores.append(10 * sum(alike) / len(alike))
    return np.array(scores, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Weighted:
    grams: tuple[dict[tuple[str, ...], float], ...]
    norms: tuple[float, ...]
    length: int


def _weighted(grams: _Grams, rarity: dict[tuple[str, ...], float], unseen: float) -> _Weighted:
    weights = tuple({gram: count * rarity.get(gram, unseen) for gram, count in of.items()} for of in grams)
    norms = tuple(math.sqrt(sum(weight * weight for weight in of.values())) for of in weights)
    return _Weighted(weights, norms, grams[1].total())


def _alike(a: _Weighted, b: _Weighted) -> float:
    """Return the mean over n of the clipped cosines, 0–1, less for unlike lengths."""
    cosines = 0.0
    for of_a, of_b, scale in zip(a.grams, b.grams, (x * y for x, y in zip(a.norms, b.norms, strict=True)), strict=True):
        if scale:
            cosines += sum(min(of_a[gram], of_b[gram]) * of_b[gram] for gram in of_a.keys() & of_b.keys()) / scale
    return cosines / ORDERS * math.exp(-((a.length - b.length) ** 2) / (2 * _SIGMA**2))
