"""Digests: equal values give equal ones in every process, and no other value is taken."""

from decimal import Decimal
from pathlib import PurePosixPath

import pytest

from mmtt.ids import digest
from mmtt.masks import MaskRule


def test_order_of_keys_and_kind_of_sequence_have_no_say():
    assert digest({"a": 1, "b": (2, 3)}) == digest({"b": [2, 3], "a": 1})


def test_paths_and_enums_count_as_their_text():
    assert digest([PurePosixPath("a/b"), MaskRule.HOLE]) == digest(["a/b", "hole"])


@pytest.mark.parametrize(
    "value", [{"a", "b"}, frozenset("ab"), b"bytes", object(), Decimal(1)], ids=lambda v: type(v).__name__
)
def test_what_json_does_not_know_is_refused_by_the_name_of_its_type(value):
    with pytest.raises(TypeError, match=f"A {type(value).__name__} has no digest"):
        digest({"options": [value]})
