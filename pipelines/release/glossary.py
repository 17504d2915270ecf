"""Glossary: what the words of a row mean, in sentences for people who never saw the toolkit."""

from collections.abc import Mapping
from types import MappingProxyType

from mmtt.masks import MaskRule

MASK_RULES: Mapping[str, str] = MappingProxyType({
    MaskRule.BLEND: "Where the blend's weight is at least half its greatest, and the picture changed by more than "
                    "`mask_tau`.",
    MaskRule.SUPPORT: "Where the warp moved a pixel by more than half a pixel.",
    MaskRule.HOLE: "The hole that was filled; nothing outside it changed.",
    MaskRule.NULL_EDIT: "Where the picture changed by more than the model changes it when it is asked for nothing. "
                        "An estimate: `exact_mask` is false, and `intent` holds the area that was asked for.",
    MaskRule.IMPORTED: "As the dataset it comes from ships it, read above 127.",
    MaskRule.NONE: "Empty: the picture is pristine.",
})  # fmt: skip

TEXT_ORIGINS: Mapping[str, str] = MappingProxyType({
    "human": "A person wrote it.",
    "human_translated": "A person wrote it, another person translated it.",
    "human_edited": "A person wrote it, another person edited it; `original_text` keeps the author's words.",
    "model": "A language model wrote it.",
    "template": "A program put it together out of the mask and set phrases. It knows the answer; it says nothing about "
                "what people see or how they write.",
    "unknown": "The dataset it comes from does not say who wrote it.",
})  # fmt: skip

PROTOCOLS: Mapping[str, str] = MappingProxyType({
    "blind_then_verified": "The author saw the picture alone. Another person then held the text against the pristine "
                           "picture and the mask; disputes went to a third.",
    "paper": "The author saw the picture beside its pristine target, not the mask, as in the paper.",
    "informed": "The author saw the picture, its pristine target and the mask.",
    "unknown": "The dataset it comes from does not say what its authors saw.",
})  # fmt: skip

LEFT_OUT: Mapping[str, str] = MappingProxyType(
    {
        "not_asked": "nobody was asked, and no ground for a release is stated",
        "no_consent": "the consent does not cover it",
        "consent_expired": "the consent had ended",
    }
)

CONSENTS: Mapping[str, str] = MappingProxyType(
    {
        "manipulation": "agreed to being manipulated",
        "redistribution": "agreed to redistribution",
        "commercial": "agreed to commercial use",
        "none": "nobody was asked",
        "nobody": "no person is shown (a drawing)",
    }
)

AGES: Mapping[str, str] = MappingProxyType(
    {
        "adult": "show people who are known to be 18 or older",
        "minor": "show people under 18",
        "unknown": "show people whose age nobody stated",
    }
)
