"""A run's configuration: closed, frozen, and every fault a sentence."""

import re

import pytest
import yaml

from baselines.forgerytalker.config import LOSSES, STAGES, Config, load, shipped
from mmtt.errors import RecipeError, UserError


def faulty(tmp_path, **changes) -> str:
    data = load("tiny").model_dump(mode="json")
    for place, value in changes.items():
        inner, *path = data, *place.split("__")
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = value
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", shipped())
def test_what_is_shipped_reads_back_as_itself(name, tmp_path):
    config = load(name)
    path = tmp_path / "again.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    assert load(str(path)) == config


def test_the_paper_and_a_quick_one_are_shipped():
    assert {"base", "tiny"} <= set(shipped())


def test_the_paper_has_none_of_our_options():
    options = load("base").model.options
    assert options.region_prompt == "words"
    assert not any([options.mask_to_report, options.report_to_mask, options.verdict])


def test_every_mend_is_on_unless_somebody_asks():
    assert all(
        load(name).model.mends.model_dump() == dict.fromkeys(load(name).model.mends.model_dump(), True)
        for name in shipped()
    )


@pytest.mark.parametrize("stage", STAGES)
def test_a_loss_that_a_stage_does_not_know_is_named(stage, tmp_path):
    path = faulty(tmp_path, **{f"training__{stage}__loss": {"perplexity": 1}})
    with pytest.raises(
        RecipeError, match=f"{stage}.loss.perplexity' is no loss of this stage. Known: {sorted(LOSSES[stage])[0]}"
    ):
        load(path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data__size": 100}, "'data.size' is not a key here. Did you mean 'size_px'"),
        ({"data__crop": [0.9, 0.5]}, "the smaller first"),
        ({"data__flip": "both"}, "'data.flip' is 'both'"),
        ({"model__mask_decoder__up": 3}, "'model.mask_decoder.up' is 3"),
        ({"model__pretrained": "somewhere"}, "brings its own sizes"),
        ({"training__stage1__lr": 0}, "'training.stage1.lr' is 0"),
        ({"training__stage1__train": ["everything"]}, "'training.stage1.train.0' is 'everything'"),
        ({"training__stage1__train": []}, "'training.stage1.train' is []"),
        ({"training__stage1__train": ["prompter"]}, "'stage1.train' has 'prompter', which learns in its own stage"),
        ({"training__prompter__train": ["prompter", "heads"]}, "'prompter.train' is ['prompter']"),
        ({"training__stage1__loss": {"mask": 0}}, "no loss has a weight above 0"),
        ({"training__stage2__loss": {}}, "no loss has a weight above 0"),
        ({"training__stage1__loss": {"mask": float("inf")}}, "'training.stage1.loss.mask' is inf"),
        ({"training__stage1__min_lr": 1}, "'min_lr' is above 'lr'"),
        ({f"training__{stage}": None for stage in STAGES}, "every stage is left out"),
        ({"data__variants": []}, "'data.variants' is []"),
        ({"seed": -1}, "'seed' is -1"),
    ],
)
def test_a_fault_is_told_by_its_key(changes, told, tmp_path):
    with pytest.raises(RecipeError, match=re.escape(told)):
        load(faulty(tmp_path, **changes))


def test_a_name_that_is_none_is_met_with_the_nearest():
    with pytest.raises(UserError, match=r"No config is called 'tinny', and no file\. Did you mean 'tiny'"):
        load("tinny")


def test_a_file_that_is_not_there_or_no_yaml_is_told(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load(str(tmp_path / "gone.yaml"))
    (tmp_path / "odd.yaml").write_text("a: [1", encoding="utf-8")
    with pytest.raises(RecipeError, match="is not YAML"):
        load(str(tmp_path / "odd.yaml"))
    (tmp_path / "odd.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match="is not YAML"):
        load(str(tmp_path / "odd.yaml"))


def test_a_stage_may_be_left_out(tmp_path):
    assert load(faulty(tmp_path, training__stage1=None)).training.stage1 is None
    assert isinstance(load("tiny"), Config)
