import json
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from mmtt.errors import UserError
from mmtt.metrics.captions import bleu, caption_scores, meteor, meteor_missing
from mmtt.metrics.ptb import tokenize

GOLDEN = Path(__file__).parents[1] / "golden" / "ptb.json"
TEXT = (
    "the left right eye is blurry and edges of mouth nose don't match, skin-tone; 3.5 U.S. 1/2 (unclear) a hairline's"
)
needs_java = pytest.mark.skipif(not shutil.which("java"), reason="needs Java")


def drawn_pairs(count: int) -> tuple[list[str], list[list[str]]]:
    """Return candidates and references: words at random, hard texts, copies with words left out, empty ones."""
    rng = random.Random(0)
    hard = [text for text in json.loads(GOLDEN.read_text()) if not set(text) & set("\r\v\f\u2028\u2029")]

    def text() -> str:
        if rng.random() < 0.4:
            return rng.choice(hard)
        return " ".join(rng.choice(TEXT.split()) for _ in range(rng.choice((0, 1, 2, 5, 9, 20, 60))))

    references = [[text() for _ in range(rng.randint(1, 3))] for _ in range(count)]
    candidates = [
        " ".join(word for word in of[0].split(" ") if rng.random() < 0.8) if rng.random() < 0.6 else text()
        for of in references
    ]
    return candidates, references


def java_read(texts: list[list[str]]) -> dict[int, list[str]]:
    """Return pycocoevalcap's tokens of each sample's texts; a word between texts keeps them from one another."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    captions = {k: [{"caption": part} for text in of for part in (text, "zqz")] for k, of in enumerate(texts)}
    return {k: parts[::2] for k, parts in PTBTokenizer().tokenize(captions).items()}


def own_read(texts: list[list[str]]) -> dict[int, list[str]]:
    """Return our tokens of each sample's texts, which are Java's (`test_ptb`)."""
    return {k: [" ".join(tokenize(text)) for text in of] for k, of in enumerate(texts)}


@pytest.mark.parametrize("read", [pytest.param(java_read, marks=needs_java), own_read])
def test_scores_equal_those_of_pycocoevalcap_on_1200_samples(read):
    pytest.importorskip("pycocoevalcap")
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    candidates, references = drawn_pairs(1200)
    truth, found = read(references), read([[candidate] for candidate in candidates])
    scores = caption_scores(candidates, references)
    assert bleu(scores.counts.sum(axis=0)) == pytest.approx(Bleu(4).compute_score(truth, found, verbose=0)[0], abs=1e-6)
    rouge_l, each_rouge_l = Rouge().compute_score(truth, found)
    assert scores.rouge_l == pytest.approx(each_rouge_l, abs=1e-9)
    assert scores.rouge_l.mean() == pytest.approx(rouge_l, abs=1e-6)
    cider, each_cider = Cider().compute_score(truth, found)
    assert scores.cider == pytest.approx(each_cider, abs=1e-9)
    assert scores.cider.mean() == pytest.approx(cider, abs=1e-6)
    assert min(*bleu(scores.counts.sum(axis=0)), rouge_l, cider) > 0.2


def test_by_hand():
    scores = caption_scores(["the left eye", "a nose"], [["The left, left eye."], ["a mouth"]])
    assert scores.counts.tolist() == [[3, 2, 0, 0, 3, 2, 1, 0, 4], [1, 0, 0, 0, 2, 1, 0, 0, 2]]
    assert scores.rouge_l == pytest.approx([2.44 * 0.75 / (0.75 + 1.44), 0.5])
    assert bleu(scores.counts.sum(axis=0))[0] == pytest.approx(4 / 5 * np.exp(1 - 6 / 5))


def test_an_empty_or_missing_candidate_scores_zero_and_counts():
    references = [["the left eye"], ["a mouth"], ["a nose"], ["..."]]
    scores = caption_scores(["the left eye", "", None, None], references)
    assert scores.rouge_l.tolist() == [1, 0, 0, 0]
    assert scores.cider[1:].tolist() == [0, 0, 0]
    assert scores.counts[1:, :8].sum() == 0
    assert scores.counts[:, 8].tolist() == [3, 2, 2, 0]
    assert bleu(caption_scores([None], [["a nose"]]).counts.sum(axis=0)) == pytest.approx([0] * 4, abs=1e-9)


def test_an_empty_candidate_for_an_empty_reference_is_what_pycocoevalcap_calls_it():
    assert caption_scores(["?"], [["..."]]).rouge_l.tolist() == [1]


def test_chinese_is_scored_by_characters():
    scores = caption_scores(["左眼模糊。", "嘴巴Blur"], [["左眼 很模糊"], ["嘴 blur"]], "zh-Hans")
    assert scores.counts[:, 0].tolist() == [4, 2]
    assert scores.counts[:, 4].tolist() == [4, 3]


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match="one reference"):
        caption_scores(["x"], [[]])
    with pytest.raises(ValueError):
        caption_scores(["x", "y"], [["x"]])
    with pytest.raises(UserError, match="'fr'"):
        caption_scores(["x"], [["x"]], "fr")


def test_no_samples_are_no_rows():
    scores = caption_scores([], [])
    assert (scores.counts.shape, scores.rouge_l.shape, scores.cider.shape) == ((0, 9), (0,), (0,))


def test_a_thousand_draws_over_20000_samples_take_seconds():
    rng = np.random.default_rng(0)
    counts = np.repeat(caption_scores(["the left eye is blurry"], [["the eye is very blurry"]]).counts, 20_000, axis=0)
    start = time.monotonic()
    draws = np.concatenate([rng.multinomial(20_000, np.full(20_000, 1 / 20_000), size=100) @ counts for _ in range(10)])
    assert bleu(draws).shape == (1000, 4)
    assert np.ptp(bleu(draws)) < 1
    assert time.monotonic() - start < 10


def test_meteor_says_why_it_is_absent(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert "Java" in str(meteor_missing())
    assert meteor(["x"], [["x"]]) is None


def test_a_meteor_that_stops_is_a_sentence(tmp_path, monkeypatch):
    program = tmp_path / "java"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(UserError, match="2 GB"):
        meteor(["a nose"] * 50, [["a mouth"]] * 50)


@needs_java
def test_meteor_is_the_number_that_pycocoevalcap_gives():
    assert meteor_missing() is None
    candidates = ["the left eye is blurry", "a nose ||| a\nmouth", "", None]
    references = [["the left eye looks blurred", "blurry eye"], ["a <!a|||b> mouth"], ["an ear"], ["teeth"]]
    # Its Meteor().compute_score on the same tokens; it takes ten seconds to start.
    assert meteor(candidates, references) == pytest.approx(0.2281822405531674, abs=1e-9)
