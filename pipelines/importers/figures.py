"""What an import tells of a dataset: how its masks read in the three ways in use, how its labels fit its texts."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from mmtt.layout import Layout
from mmtt.manifest import shard_paths
from mmtt.regions import REGIONS
from mmtt.shards import read_rows

from .rows import READINGS


def figures(layout: Layout) -> dict[str, Any]:
    """Return counts by family and split, the masks' mean share of the frame under each reading, and how labels differ.

    For each region word: how many texts the origin labels with it that our lexicon does not find in them
    (`label_only`), and the reverse (`text_only`).
    """
    families: Counter[str] = Counter()
    shares: Counter[str] = Counter()
    rows = unlike = 0
    for path in shard_paths(layout.forged):
        for row in read_rows(path, ["manipulation", "parameters"]):
            told = json.loads(row["parameters"])
            read = [told[name] for name in READINGS]
            families[row["manipulation"]] += 1
            shares.update(dict(zip(READINGS, read, strict=True)))
            unlike += len(set(read)) > 1
            rows += 1
    splits = Counter(row["split"] for row in read_rows(layout.splits, ["split"])) if rows else Counter()
    return {
        "families": dict(sorted(families.items())),
        "splits": dict(sorted(splits.items())),
        "mask_shares": {name: shares[name] / rows for name in READINGS} if rows else {},
        "masks_that_differ": unlike,
        **_labels(layout),
    }


def _labels(layout: Layout) -> dict[str, Any]:
    texts = differing = 0
    label_only: Counter[str] = Counter()
    text_only: Counter[str] = Counter()
    for stored, read in _regions(layout):
        texts += 1
        differing += stored != read
        label_only.update(stored - read)
        text_only.update(read - stored)
    return {
        "texts": texts,
        "labels_that_differ": differing,
        "label_only": {word: label_only[word] for word in REGIONS if label_only[word]},
        "text_only": {word: text_only[word] for word in REGIONS if text_only[word]},
    }


def _regions(layout: Layout) -> Iterator[tuple[set[str], set[str]]]:
    for row in read_rows(layout.root / "reports" / "reports.parquet", ["regions", "text_regions"]):
        yield set(row["regions"]), set(row["text_regions"])


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield the figures as lines for a person."""
    for name in ("families", "splits"):
        yield f"{name}: " + (", ".join(f"{word} {count}" for word, count in told[name].items()) or "none")
    if told["mask_shares"]:
        above_0, above_127, at_255 = (told["mask_shares"][name] for name in READINGS)
        yield (
            f"masks cover on average {above_127:.2%} of the frame at > 127, which counts here; "
            f"{above_0:.2%} at > 0, {at_255:.2%} at == 255; {told['masks_that_differ']} differ between the three"
        )
    if told["texts"]:
        yield f"labels: {told['labels_that_differ']} of {told['texts']} texts are labelled otherwise than they read"
    for name, meaning in (("label_only", "labelled, but not in the text"), ("text_only", "in the text, not labelled")):
        if told[name]:
            most = sorted(told[name].items(), key=lambda item: -item[1])
            yield f"  {meaning}: " + ", ".join(f"{word} {count}" for word, count in most)
    if told["files_not_listed"]:
        yield f"files that no list names, and that were left where they are: {told['files_not_listed']}"
