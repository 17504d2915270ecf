"""Tokenizers, prompts, and which tokens name a region."""

import json

import pytest
import torch

from baselines.forgerytalker.language import prompt, prompts, region_tokens, regions_of
from baselines.forgerytalker.tokens import Tokens, tokens_for
from mmtt.errors import UserError
from mmtt.regions import REGIONS
from tests.baselines.small_model import TEXTS, small_config, small_tokens

HARD = ("“Nose” — 50 % off-colour, naïve façade", "左眼模糊，瞳孔不见了", "👁 one\ttwo  three", "UPPER lower 3.14")


def test_equal_texts_give_equal_tokens():
    one, other = (Tokens.trained(TEXTS * 20, 500) for _ in range(2))
    assert one.language.backend_tokenizer.to_str() == other.language.backend_tokenizer.to_str()
    assert one.qformer.backend_tokenizer.to_str() == other.qformer.backend_tokenizer.to_str()


def test_a_vocabulary_is_no_larger_than_asked():
    found = Tokens.trained(TEXTS * 20, 320)
    assert len(found.language) <= 320
    assert len(found.qformer) <= 320


def test_tokens_come_back_from_a_folder_that_holds_only_json_or_text(tmp_path):
    tokens = small_tokens()
    tokens.save(tmp_path)
    again = Tokens.load(tmp_path)
    for text in (*TEXTS, *HARD):
        assert again.language(text).input_ids == tokens.language(text).input_ids
        assert again.qformer(text).input_ids == tokens.qformer(text).input_ids
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or path.suffix == ".json"
        assert path.is_dir() or json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("text", HARD)
def test_the_language_model_can_write_any_text(text):
    tokens = small_tokens()
    labels = tokens.reports([text], 1000, cut=False)
    assert tokens.texts(labels) == (text,)


def test_the_length_of_a_report_counts_its_end():
    tokens = small_tokens()
    labels = tokens.reports(TEXTS, 100, cut=False)
    assert [int((row != -100).sum()) for row in labels] == [tokens.report_length(text) for text in TEXTS]
    assert (labels == tokens.language.eos_token_id).sum(1).tolist() == [1] * len(TEXTS)


def test_a_report_that_is_too_long_is_refused_with_both_numbers():
    length = small_tokens().report_length(TEXTS[0])
    with pytest.raises(UserError, match=rf"has {length} tokens, more than the 5 .*data\.report_tokens"):
        small_tokens().reports(TEXTS[:1], 5, cut=False)


def test_a_report_that_is_cut_keeps_its_end():
    tokens = small_tokens()
    labels = tokens.reports(TEXTS[:1], 5, cut=True)
    assert labels.shape == (1, 5)
    assert labels[0, -1] == tokens.language.eos_token_id


def test_a_folder_without_tokenizers_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no tokenizer"):
        Tokens.load(tmp_path)


def test_a_damaged_tokenizer_is_refused(tmp_path):
    small_tokens().save(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="holds no tokenizer that can be read"):
        Tokens.load(tmp_path)


def test_a_run_from_scratch_learns_its_tokens_from_the_reports():
    found = tokens_for(small_config().model, ["An extraordinarily waxen philtrum."] * 50)
    assert found.report_length("philtrum") < small_tokens().report_length("philtrum")


def test_the_prompt_names_the_suspected_regions():
    used = regions_of([["nose", "eye"], []])
    assert prompts(used) == [prompt(["eye", "nose"]), prompt([])]
    assert "eye, nose" in prompts(used)[0]
    assert not any(word in prompt([]).split() for word in REGIONS)


def test_no_region_word_is_unknown_to_the_qformer():
    tokens = small_tokens()
    ids = tokens.qformer(prompt(REGIONS)).input_ids
    assert tokens.qformer.unk_token_id not in ids


def test_a_word_that_is_no_region_is_refused_with_the_nearest_one():
    with pytest.raises(UserError, match=r"'eyebrows' is no region .*Did you mean 'eyebrow'"):
        regions_of([["nose", "eyebrows"]])


def masked(text: str, language: str = "en") -> list[str]:
    tokens = small_tokens().qformer
    ids, _, named = region_tokens(tokens, [text, "nose " * 30], language, 512)
    return tokens.convert_ids_to_tokens(ids[0][named[0]].tolist())


def test_region_words_are_marked_whole_however_many_pieces_they_have():
    pieces = small_tokens().qformer.tokenize("eyebrows")
    assert len(pieces) > 1
    assert masked("His eyebrows differ.") == pieces


def test_regions_of_several_words_are_marked_whole():
    assert "".join(masked("The facial hair is cut off.")).replace("##", "") == "facialhair"


def test_words_that_only_look_like_regions_are_not_marked():
    assert masked("A line runs across the picture.") == []


def test_padding_is_never_marked():
    _, known, named = region_tokens(small_tokens().qformer, ["nose", "nose " * 30], "en", 512)
    assert not (named & (known == 0)).any()
    assert torch.equal(named.sum(1), known.sum(1) - 2)
