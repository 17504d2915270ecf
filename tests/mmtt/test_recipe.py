import math

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from mmtt.errors import RecipeError, did_you_mean
from mmtt.recipe import Recipe
from mmtt.settings import parse
from pipelines import manipulators
from pipelines.start import recipe_text
from tests.factories import tiny_recipe


def at(keys, value):
    """The tiny recipe with one value set, deep inside."""
    data = tiny_recipe()
    inner = data
    for key in keys[:-1]:
        inner = inner[key] if isinstance(inner, list) else inner.setdefault(key, {})
    inner[keys[-1]] = value
    return data


def complaint(data):
    with pytest.raises(RecipeError) as caught:
        parse(Recipe, data, "recipe.yaml")
    return str(caught.value)


def entries(*made):
    return at(["forge"], {"manipulators": list(made)})


@pytest.mark.parametrize("name", ["demo", "start"])
def test_the_recipes_that_ship_are_valid(name):
    recipe = parse(Recipe, yaml.safe_load(recipe_text(name)), name)
    assert manipulators.from_recipe(recipe.forge.manipulators)


def test_a_recipe_is_frozen():
    with pytest.raises(ValidationError):
        parse(Recipe, tiny_recipe(), "x").seed = 3


@pytest.mark.parametrize(
    ("keys", "nearest"),
    [
        (["sead"], "seed"),
        (["Seed"], "seed"),
        (["ingest", "size"], "size_px"),
        (["ingest", "finder"], "finders"),
        (["plan", "donors", "nearrest"], "nearest"),
        (["plan", "split"], "splits"),
        (["forge", "gate", "min_mask_shares"], "min_mask_share"),
        (["forge", "manipulators", 0, "pertarget"], "per_target"),
        (["tolerate", "inges"], "ingest"),
        (["consent", "minor"], "minors"),
    ],
)
def test_a_wrong_key_is_named_with_its_place_and_the_nearest_right_one(keys, nearest):
    place = ".".join(map(str, keys))
    assert complaint(at(keys, 1)) == f"recipe.yaml: '{place}' is not a key here. Did you mean '{nearest}'?"


def test_a_key_near_to_none_is_answered_with_all_that_fit_there():
    assert complaint(at(["tolerate", "zzz"], 1)).endswith("Known: degrade, forge, imported, ingest, plan.")


@pytest.mark.parametrize(
    ("keys", "value", "nearest"),
    [
        (["ingest", "faces"], "larges", "largest"),
        (["ingest", "template"], "ffhq512", "ffhq_512"),
        (["ingest", "finders"], ["sidecars"], "sidecar"),
        (["plan", "splits"], {"trian": 1.0}, "train"),
        (["consent", "unasked"], "forged", "forge"),
    ],
)
def test_a_typo_in_a_word_is_answered_with_the_nearest_one(keys, value, nearest):
    told = complaint(at(keys, value))
    assert told.startswith(f"recipe.yaml: '{'.'.join(keys)}")
    assert told.endswith(f"Did you mean '{nearest}'?")
    assert "\n" not in told


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (["ingest", "size_px"], 300, ["'ingest.size_px' is 300", "256", "512", "1024"]),
        (["ingest", "finders"], [], ["'ingest.finders' is []", "at least 1"]),
        (["audit"], {"gates": {"S1": True}}, ["'audit.gates.S1' is True", "number"]),
        (["audit"], {"gates": {"all": 1}}, ["'audit.gates.all'", "pattern"]),
        (["buckets"], 0, ["'buckets' is 0", "greater than or equal to 1"]),
        (["seed"], -1, ["'seed' is -1"]),
        (["seed"], "seven", ["'seed' is 'seven'", "integer"]),
        (["name"], "My Dataset", ["'name' is 'My Dataset'", "pattern"]),
        (["plan", "splits"], {"train": 0.8, "test": 0.1}, ["'plan'", "add up to 0.9", "must add up to 1"]),
        (["plan", "splits"], {"train": math.nan}, ["'plan.splits.train' is nan"]),
        (["plan", "splits"], {}, ["add up to 0"]),
        (["tolerate", "forge"], 1.5, ["'tolerate.forge' is 1.5", "less than or equal to 1"]),
        (["forge", "mask_tau"], 255, ["'forge.mask_tau' is 255"]),
        (["forge", "manipulators"], [], ["'forge.manipulators'", "empty"]),
        (["forge"], None, ["'forge' is None"]),
        (["ingest"], [1], ["'ingest' is [1]"]),
        (["ingest", "max_side_px"], 40_000, ["'ingest.max_side_px' is 40000", "less than or equal to 32"]),
    ],
)
def test_an_impossible_value_is_named_with_what_it_must_be(keys, value, words):
    told = complaint(at(keys, value))
    assert all(word in told for word in words), told
    assert "\n" not in told
    assert "pydantic" not in told


def test_two_entries_of_one_name_are_refused():
    told = complaint(entries({"use": "recolour"}, {"use": "ageing", "name": "recolour"}))
    assert "two entries are named 'recolour'; give each its own `name`" in told
    assert parse(Recipe, entries({"use": "recolour"}, {"use": "recolour", "name": "again"}), "x")


def test_an_entrys_name_must_fit_a_file_name():
    assert "'forge.manipulators.0.name' is '../x'" in complaint(entries({"use": "recolour", "name": "../x"}))


def test_a_missing_key_is_named():
    data = tiny_recipe()
    del data["forge"]
    assert "'forge.manipulators' is missing" in complaint(data)
    assert "'forge.manipulators.0.use' is missing." in complaint(entries({"share": 0.5}))


def test_every_fault_is_told_at_once_a_line_each():
    data = tiny_recipe() | {"sead": 1, "buckets": 0, "tolerate": {"plan": 2}}
    assert sorted(line.split("'")[1] for line in complaint(data).splitlines()) == ["buckets", "sead", "tolerate.plan"]


def test_the_whole_may_be_wrong():
    assert "'the whole' is 3" in complaint(3)


def test_a_long_value_is_shortened():
    assert len(complaint(tiny_recipe() | {"seed": "x" * 10_000})) < 200


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a: [1,\nb: }", ["is not YAML", "line 2"]),
        (b"a: \x00", ["is not YAML"]),
        (b"\xff\xfe\xfa", ["is not YAML"]),
        (b"- a\n- b", ["must hold keys and values"]),
        (b"", ["must hold keys and values"]),
        (b"just words", ["must hold keys and values"]),
        (b"!!python/object/apply:os.system [true]", ["is not YAML"]),
        (b"name: a\nseed: 1\nseed: 2\n", ["is not YAML", "'seed' twice", "line 3"]),
    ],
)
def test_what_is_no_recipe_is_one_sentence_that_names_the_file(tmp_path, data, words):
    (tmp_path / "recipe.yaml").write_bytes(data)
    with pytest.raises(RecipeError) as caught:
        Recipe.load(tmp_path / "recipe.yaml")
    told = str(caught.value)
    assert str(tmp_path / "recipe.yaml") in told
    assert all(word in told for word in words), told
    assert "\n" not in told


def test_a_yaml_anchor_may_be_merged_and_overridden(tmp_path):
    text = yaml.safe_dump(tiny_recipe()) + "extra: &e {a: 1, b: 2}\n[list, as, key]: {<<: *e, a: 3}\n"
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        Recipe.load(tmp_path / "recipe.yaml")
    assert "twice" not in str(caught.value)


def test_a_recipe_that_is_not_there_says_how_to_get_one(tmp_path):
    with pytest.raises(RecipeError, match=r"recipe.yaml does not exist. `mmtt init DIR`"):
        Recipe.load(tmp_path / "recipe.yaml")
    with pytest.raises(RecipeError, match="is not YAML"):
        Recipe.load(tmp_path)


def test_an_unknown_manipulator_or_option_is_named_with_the_nearest():
    recipe = parse(Recipe, entries({"use": "recolor"}, {"use": "recolour", "options": {"strenght": 1}}), "x")
    with pytest.raises(RecipeError) as caught:
        manipulators.from_recipe(recipe.forge.manipulators)
    first, second = str(caught.value).splitlines()
    assert first == "forge.manipulators.0.use: There is no manipulator 'recolor'. Did you mean 'recolour'?"
    assert second.startswith("forge.manipulators.1.options: 'strenght' is not a key here.")


def test_parse_serves_any_model():
    class Options(BaseModel, extra="forbid"):
        power: int = 1

    assert parse(Options, {"power": 2}, "x").power == 2
    with pytest.raises(RecipeError, match=r"^here: 'powr' is not a key here. Did you mean 'power'\?$"):
        parse(Options, {"powr": 2}, "here")


def test_the_nearest_word_is_found_whatever_its_case():
    assert did_you_mean("CC-by-4", ["CC-BY-4.0", "MIT"]) == " Did you mean 'CC-BY-4.0'?"
    assert did_you_mean("xyz", ["b", "a"]) == " Known: a, b."
