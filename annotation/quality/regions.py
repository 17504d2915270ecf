"""Regions: a text against the regions that were chosen beside it, against its verdict, and against the mask."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache

from mmtt.grounding import SUPPORT, Grounding, ground, supported
from mmtt.lexicon import claimed, denied
from mmtt.regions import REGIONS, TEXT_ONLY
from mmtt.words import words

from ..answers import Answer
from ..protocols import SEES_NOTHING, VISIBLE
from .finding import Case, Found, is_production, spoken

# Says of the whole that nothing is wrong with it.
_ALL_FINE = re.compile(
    r"""
    \bno\ (?:visible\ |obvious\ |clear\ )?(?:art[ei]facts?|traces?|faults?|flaws?|signs?|anomal(?:y|ies))\b
    | \bnothing\ (?:\w+\ ){0,2}(?:wrong|odd|unusual|suspicious|strange|visible|off)\b
    | (?<!not\ )(?<!n['’]t\ )\b(?:looks?|seems?|appears?|is|are)\ (?:(?!not|hardly|less|too)\w+\ ){0,2}
      (?:natural|real|genuine|authentic|unaltered|untouched|normal)\b
    | (?:没有(?:发现|看到)?|未见|未发现|看不出|看不到|无)(?:任何|明显|可见)?的?(?:伪影|痕迹|异常|问题|破绽|瑕疵)
    | (?:看起来|看上去|显得|整体|都)(?:都|很|十分|非常|比较)?(?:自然|真实|正常)(?!度)
    """,
    re.IGNORECASE | re.VERBOSE,
)


@lru_cache(maxsize=100_000)
def _claimed(text: str, language: str) -> frozenset[str]:
    return frozenset(claimed(text, language))


def words_of(answer: Answer) -> list[str]:
    """Return the words of an answer's text."""
    return words(answer.text, spoken(answer.language))


def claimed_of(answer: Answer) -> frozenset[str]:
    """Return the regions that an answer's text finds fault with."""
    return _claimed(answer.text, spoken(answer.language))


def judged(told: Iterable[str], shares: Mapping[str, float], min_share: float = 0.05) -> Grounding:
    """Return how region words fit an edit.

    `shares`: how much of each region was edited, 0–1; less than `min_share` does not count. What landmarks do not
    outline, and this record does not measure, is left undecided: nobody knows where its hair ends, say.
    """
    outlined = [word for word in REGIONS if word not in TEXT_ONLY]
    known = [word for word in REGIONS if word in set(told)]
    return ground(known, shares, min_share=min_share, sayable=[*outlined, *shares])


def borne_out(told: Collection[str], shares: Mapping[str, float], min_share: float = 0.05) -> float | None:
    """Return the share of region words that an edit supports, 0–1, neighbours not counted; None if none is judged."""
    grounding = judged(told, shares, min_share)
    decided = len(set(told)) - len(grounding.undecided)
    right = set(told) & set(REGIONS) - {*grounding.undecided, *grounding.unsupported}
    return len(right) / decided if decided else None


def choices(case: Case) -> Iterator[Found]:
    """Say where a text names other regions than those that were chosen beside it."""
    for answer in case.reports:
        named, chosen = claimed_of(answer), frozenset(answer.regions)
        overlap = agreement(named, chosen)
        if overlap < case.quality.choices_overlap:
            detail = f"the text names {_listed(named)}; chosen are {_listed(chosen)}"
            yield Found(answer, detail, overlap)


def agreement(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the share of the regions of two sets that both have, or that the other one supports; 1 of two empty ones.

    It is Jaccard's index, but that *lip* and *mouth*, say, do not contradict each other.
    """
    whole = one | other
    if not whole:
        return 1.0
    kin = [word for word in whole - (one & other) if word in SUPPORT and supported(word, other if word in one else one)]
    return (len(one & other) + len(kin)) / len(whole)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words)) or "none"


def contradiction(case: Case) -> Iterator[Found]:
    """Say where verdict and text exclude each other: a visible fault that the text denies, or the reverse."""
    for answer in case.written:
        faulty = claimed_of(answer)
        if answer.verdict in SEES_NOTHING and faulty:
            yield Found(answer, f"{answer.verdict}, but the text finds fault with {_listed(faulty)}", variant="claims")
        elif answer.verdict == VISIBLE and not faulty:
            fine = denied(answer.text, spoken(answer.language))
            if fine or _ALL_FINE.search(answer.text):
                yield Found(answer, f"visible, but the text only says what is fine: {_listed(fine)}", variant="denies")


def grounding(case: Case) -> Iterator[Found]:
    """Say which reports speak of regions that were not edited. People may see more than a mask knows: a person decides.

    Sending such a report back would tell its author where not to look.
    """
    for answer in case.reports:
        precision = precision_of(answer) if is_production(answer) else None
        if precision is not None and precision < case.quality.grounding_precision:
            told = _listed(claimed_of(answer) | frozenset(answer.regions))
            yield Found(answer, f"of {told}, {precision:.0%} lie where it was edited", precision)


def precision_of(answer: Answer) -> float | None:
    """Return how far the regions an answer names or chooses were edited, 0–1, as `mmtt.grounding` has it.

    None where nobody knows.
    """
    told = claimed_of(answer) | frozenset(answer.regions)
    return judged(told, answer.region_shares).precision if answer.region_shares else None
