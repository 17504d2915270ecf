"""Diffusion on miniature pipelines in diffusers' own folder format: the real library loads and runs them."""

import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmtt import images, masks, regions
from mmtt.check import verify
from mmtt.contract import Case, job, plan_case, violations
from mmtt.devices import DEVICE
from mmtt.errors import MissingDependency, RecipeError, Rejected, UserError
from mmtt.executors import processes
from mmtt.faces import Face
from mmtt.layout import Layout
from mmtt.manifest import read, shard_paths
from mmtt.manipulator import finish
from mmtt.progress import silent
from mmtt.recipe import Recipe
from mmtt.weights import FOLDER, sha256
from pipelines import manipulators
from pipelines.forge import forge
from pipelines.manipulators import diffusion_device, diffusion_pipes, prompts
from pipelines.manipulators.region_holes import WORDS
from pipelines.replay import replay
from tests.factories import build, tiny_dataset
from tests.pipelines.shapes import random_face, random_photo
from tests.support import tiny_diffusion

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")
ROOT = Path(__file__).parents[2]
LICENCE = "CreativeML-OpenRAIL-M"
INPAINT = {"model": tiny_diffusion.INPAINT, "weights_licence": LICENCE, "steps": 2}
EDIT = {"model": tiny_diffusion.EDIT, "weights_licence": LICENCE, "steps": 2}
# One entry for each way to composite.
ENTRIES = (
    {"use": "diffusion_inpaint", "options": {**INPAINT, "size_px": 64, "keep_raw": True}},
    {"use": "diffusion_edit", "name": "full", "options": {**EDIT, "size_px": 64}},
    {"use": "diffusion_edit", "name": "parts", "options": {**EDIT, "size_px": 64, "frame": "regions"}},
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_diffusion.write_inpaint(folder)
    tiny_diffusion.write_edit(folder)
    return folder


@pytest.fixture(autouse=True)
def models(written, tmp_path_factory, monkeypatch):
    """A folder of pipelines of one's own; and no way out of this machine."""
    folder = tmp_path_factory.mktemp("mine") / "models"
    shutil.copytree(written, folder)
    monkeypatch.setenv(FOLDER, str(folder))
    monkeypatch.delenv(DEVICE, raising=False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return folder


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("something tries to reach the network")


def made(name, options, **more):
    return manipulators.make(name, {**options, **more}, name)


def inpaint(**more):
    return made("diffusion_inpaint", INPAINT, **more)


def edit(**more):
    return made("diffusion_edit", EDIT, **more)


def case(seed=0, size_px=96, scheme="openpose_70"):
    rng = np.random.default_rng(seed)
    faces = [random_face(rng, size_px, scheme) for _ in range(2)]
    return Case(random_photo(rng, size_px), faces[0], random_photo(rng, size_px), faces[1], seed)


def the_job(manipulator, seed=0, **parameters):
    """A job for a random face, with some of its plan's parameters replaced."""
    chosen = case(seed)
    return job(manipulator, chosen, plan_case(manipulator, chosen) | parameters)


def rendered(manipulator, seed=0, **parameters):
    (made,) = manipulator.render([the_job(manipulator, seed, **parameters)])
    return made


def told(error: type[Exception], function, *arguments, **named) -> str:
    with pytest.raises(error) as caught:
        function(*arguments, **named)
    return str(caught.value)


# --- the contract ---


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("diffusion_inpaint", {**INPAINT, "keep_raw": True}),
        ("diffusion_inpaint", {**INPAINT, "size_px": 64, "strength": 0.6, "scheduler": "ddim"}),
        ("diffusion_edit", {**EDIT, "scheduler": "euler_ancestral"}),
        ("diffusion_edit", {**EDIT, "frame": "regions", "size_px": 64}),
    ],
)
def test_keeps_its_contract_alone_and_in_batches(name, options):
    cases = [case(seed, scheme=scheme) for seed, scheme in enumerate(("openpose_70", "ibug_68", "openpose_70"))]
    assert violations(made(name, options), cases) == []


def test_the_same_job_rendered_again_draws_the_same_noise():
    task = the_job(inpaint())
    first, second = (inpaint().render([task])[0] for _ in range(2))
    assert np.array_equal(first.image, second.image)


def test_another_seed_gives_another_picture():
    made = inpaint()
    task = the_job(made)
    other = task._replace(rng=np.random.default_rng(99))
    first, second = made.render([task, other])
    assert not np.array_equal(first.image[first.support], second.image[second.support])


def test_torch_is_left_as_it_was_and_nothing_is_printed(capfd):
    import torch
    from diffusers.utils import logging as ours
    from transformers.utils import logging as theirs

    def state():
        levels = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in (ours, theirs)]
        return torch.get_rng_state().tolist(), torch.get_num_threads(), levels

    torch.set_num_threads(2)
    before = state()
    diffusion_pipes._loaded.cache_clear()
    rendered(inpaint()), rendered(edit(scheduler="euler_ancestral"))
    assert state() == before
    assert capfd.readouterr() == ("", "")


# --- what a call is told ---


def mean_level(one, other):
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_outside_the_hole_the_target_stays_though_the_model_changed_every_pixel():
    made = inpaint(keep_raw=True)
    task = the_job(made)
    (edit,) = made.render([task])
    forged = finish(task.target, edit, made.declare().mask_rule, 0)
    hole = made.hole_of(task)
    assert np.array_equal(forged.mask > 0, hole) and hole.any() and not hole.all()
    assert np.array_equal(forged.image[~hole], task.target[~hole])
    assert (edit.raw != task.target).any(axis=2)[~hole].mean() > 0.9
    assert np.array_equal(forged.image[hole], edit.raw[hole])


def test_white_is_the_hole(monkeypatch):
    """A miniature cannot show which side it repaints, so look at what the pipeline gets."""
    from diffusers import StableDiffusionInpaintPipeline

    seen, call = [], StableDiffusionInpaintPipeline.__call__
    monkeypatch.setattr(
        StableDiffusionInpaintPipeline, "__call__", lambda self, **told: (seen.append(told), call(self, **told))[1]
    )
    made = inpaint(size_px=64)
    task = the_job(made)
    made.render([task])
    ((mask,),) = (told["mask_image"] for told in seen)
    hole = made.hole_of(task)
    y, x = np.argwhere(hole).mean(axis=0) * 64 / 96
    assert mask.size == (64, 64) and set(np.unique(mask)) == {0, 255}
    assert np.abs(np.argwhere(np.asarray(mask)).mean(axis=0) - (y, x)).max() < 1
    assert (np.asarray(mask) > 0).mean() >= hole.mean()
    assert np.array_equal(np.asarray(seen[0]["image"][0]), diffusion_image(task.target, 64))


def diffusion_image(target, side):
    import cv2

    return cv2.resize(target, (side, side), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize(
    ("option", "value"),
    [("prompt", "a bottle"), ("negative_prompt", "x"), ("steps", 3), ("guidance", 2.0), ("strength", 0.5)],
)
def test_each_planned_setting_reaches_the_model(option, value):
    plain, changed = rendered(inpaint(keep_raw=True)), rendered(inpaint(keep_raw=True), **{option: value})
    assert mean_level(plain.raw, changed.raw) > 0.01


@pytest.mark.parametrize("scheduler", ["ddim", "dpm_multistep", "euler", "euler_ancestral", "unipc"])
def test_each_scheduler_runs_and_gives_a_picture_of_its_own(scheduler):
    own, other = rendered(inpaint(keep_raw=True)), rendered(inpaint(keep_raw=True, scheduler=scheduler))
    assert mean_level(own.raw, other.raw) > 0.01
    # The pipeline's own scheduler is there again after another was used.
    assert np.array_equal(own.raw, rendered(inpaint(keep_raw=True)).raw)


def test_precision_is_that_of_the_weights():
    full, half = rendered(inpaint(keep_raw=True)), rendered(inpaint(keep_raw=True, precision="bfloat16"))
    assert 0 < mean_level(full.raw, half.raw) < 64


def test_a_filled_up_batch_gives_each_job_its_own_picture():
    options = {"batch_size": 2, "deterministic": False, "keep_raw": True}
    tasks = [the_job(inpaint(**options), seed) for seed in range(3)]
    together, alone = inpaint(**options).render(tasks), [rendered(inpaint(keep_raw=True), seed) for seed in range(3)]
    for one, other in zip(together, alone, strict=True):
        assert mean_level(one.raw, other.raw) < 0.01
    assert mean_level(alone[0].raw, alone[1].raw) > 1


def test_jobs_that_are_told_different_things_do_not_share_a_call():
    made = edit(batch_size=2, deterministic=False, keep_raw=True)
    tasks = [the_job(made), the_job(made, steps=4)]
    together, alone = made.render(tasks), [made.render([task])[0] for task in tasks]
    for one, other in zip(together, alone, strict=True):
        assert mean_level(one.raw, other.raw) < 0.01 and mean_level(one.null, other.null) < 0.01
    assert mean_level(alone[0].raw, alone[1].raw) > 0.1


def test_the_same_bytes_are_not_promised_for_batches():
    assert "deterministic" in told(RecipeError, inpaint, batch_size=2)
    assert not inpaint(batch_size=2, deterministic=False).declare().deterministic


def test_a_model_is_loaded_once_a_process():
    diffusion_pipes._loaded.cache_clear()
    for seed in range(2):
        rendered(inpaint(), seed), rendered(inpaint(scheduler="ddim"), seed), rendered(edit(), seed)
    assert diffusion_pipes._loaded.cache_info().misses == 2


def test_a_prompt_that_the_model_would_cut_is_refused():
    long = "a very particular description of a face " * 4
    message = told(UserError, rendered, inpaint(prompts=[long]))
    assert "77 tokens" in message and long in message


def test_a_picture_without_numbers_costs_its_own_row(models):
    from safetensors.numpy import load_file, save_file

    path = models / tiny_diffusion.INPAINT / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["decoder.conv_out.bias"][:] = np.nan
    save_file(weights, path, {"format": "pt"})
    made = inpaint()
    assert "not_finite" in told(Rejected, rendered, made)
    both = made.render([the_job(made, 0), the_job(made, 1)])
    assert [each.code for each in both] == ["not_finite"] * 2


def test_a_machine_that_fails_ends_the_run_and_refuses_no_row(monkeypatch):
    """Out of memory, the next picture fares no better; thousands of rows would be refused for good."""
    import torch
    from diffusers import StableDiffusionInpaintPipeline

    monkeypatch.setattr(StableDiffusionInpaintPipeline, "__call__", lambda *_, **__: torch.empty(2**60))
    made = inpaint()
    message = told(UserError, made.render, [the_job(made)])
    assert "can't allocate memory" in message and "batch_size" in message
    for kind, words in ((torch.OutOfMemoryError, "CUDA out of memory"), (torch.AcceleratorError, "CUDA error: lost")):
        with pytest.raises(UserError, match=words), diffusion_device.concerning_all("cuda"):
            raise kind(words)
    with pytest.raises(RuntimeError, match="shapes"), diffusion_device.concerning_all("cuda"):
        raise RuntimeError("shapes do not fit")


# --- full frames ---


def test_the_null_edit_is_the_same_call_without_an_instruction():
    made = edit(keep_raw=True)
    asked, nothing = rendered(made), rendered(made, prompt="", negative_prompt="")
    assert np.array_equal(asked.null, nothing.image) and np.array_equal(nothing.null, nothing.image)
    assert mean_level(asked.null, asked.image) > 0.1
    assert (asked.alpha == 1).all() and np.array_equal(asked.raw, asked.image)


def test_the_intent_is_where_the_attribute_is():
    made = edit(attributes=["smiling"], dilation=0.0)
    task = the_job(made)
    (result,) = made.render([task])
    area = regions.union_mask(task.target_face, ["eye", "lip", "mouth", "cheek"], (96, 96))
    assert np.array_equal(result.intent, area) and area.any()


def test_under_regions_only_what_the_attribute_concerns_is_taken_softly():
    made = edit(attributes=["smiling"], frame="regions", dilation=0.05, feather=0.2)
    task = the_job(made)
    (result,) = made.render([task])
    far = ~grown(result.intent, 0.2 * task.target_face.interocular + 2)
    assert result.null is None and made.declare().mask_rule == "blend"
    assert (result.alpha[result.intent] == 1).all() and (result.alpha[far] == 0).all() and far.any()
    assert len(np.unique(result.alpha)) > 5
    assert not (finish(task.target, result, masks.MaskRule.BLEND, 0).image != task.target).any(axis=2)[far].any()


def grown(area, radius_px):
    import cv2

    return cv2.distanceTransform((~area).astype(np.uint8), cv2.DIST_L2, 5) <= radius_px


def test_hair_is_only_edited_where_a_parsing_outlines_it():
    made = edit(attributes=["red_hair"])
    assert "region_unavailable" in told(Rejected, plan_case, made, case())
    labels = np.zeros((96, 96), np.uint8)
    labels[4:30, 20:80] = 13  # CelebAMask-HQ's number for hair
    bare = case()
    parsed = replace(bare.target_face, parsing_png=images.encode_png(labels), parsed=("hair",))
    found = bare._replace(target_face=parsed)
    parameters = plan_case(made, found) | {"dilation": 0.0}
    (result,) = made.render([job(made, found, parameters)])
    assert np.array_equal(result.intent, labels == 13)


def test_the_recipes_own_instructions_are_drawn_from_too():
    own = {"attribute": "piercing", "text": "add a ring to the nose", "regions": ["nose"]}
    made = edit(attributes=[], instructions=[own])
    planned = plan_case(made, case())
    assert (planned["attribute"], planned["prompt"], planned["regions"]) == ("piercing", own["text"], ["nose"])
    pool = {plan_case(edit(attributes=["angry"], instructions=[own]), case(seed))["attribute"] for seed in range(12)}
    assert pool == {"angry", "piercing"}
    assert "elbow" in told(RecipeError, edit, instructions=[own | {"regions": ["elbow"]}])


# --- the reviewed lists ---


def test_every_region_that_can_be_a_hole_and_every_attribute_has_words():
    assert set(prompts.INPAINT) == set(WORDS) and all(prompts.INPAINT.values())
    assert {"surprised", "angry", "smiling", "older", "younger", "beard", "mustache", "glasses"} <= set(prompts.EDITS)
    for attribute in prompts.EDITS.values():
        assert attribute.instructions and set(attribute.regions) <= set(regions.REGIONS)
        assert set(attribute.regions) & set(WORDS), "its area cannot be outlined at all"


def test_no_reviewed_words_turn_a_person_into_a_member_of_another_group():
    groups = r"\b(man|men|woman|women|male|female|boy|girl|he|she|his|her|him|race|ethnic|asian|african|european|" \
        r"indian|arab|latin\w*|caucasian|(black|white|brown|dark|pale|light) (skin|person|face)|skin colou?r|" \
        r"tan(ned)?|religio\w*|muslim|christian|jew\w*|hijab|turban|cross|disab\w*|gender|nation\w*)\b"  # fmt: skip
    texts = [text for words in prompts.INPAINT.values() for text in words]
    texts += [text for attribute in prompts.EDITS.values() for text in attribute.instructions]
    assert len(texts) > 60 and not [text for text in texts if re.search(groups, text)]


def test_a_planned_prompt_names_the_regions_of_its_hole():
    for seed in range(20):
        planned = plan_case(inpaint(), case(seed))
        named = planned["regions"][: prompts.NAMED]
        assert all(any(text in planned["prompt"] for text in prompts.INPAINT[word]) for word in named)
    planned = plan_case(inpaint(prompts=["my own words"]), case())
    assert planned["prompt"] == "my own words"


def test_planning_and_declaring_need_no_torch(models):
    code = f"""
import sys
for name in ("torch", "diffusers", "transformers"):
    sys.modules[name] = None
import numpy as np
from pipelines import manipulators
from pipelines.forge import forge
from mmtt.layout import Layout
from tests.factories import make_face
for name, options in (("diffusion_inpaint", {INPAINT!r}), ("diffusion_edit", {EDIT!r})):
    made = manipulators.make(name, options, name)
    print(made.declare().weights_sha256, sorted(made.plan(make_face(), None, np.random.default_rng(0))))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(sha256(models / tiny_diffusion.INPAINT)) and done.stdout.count("guidance") >= 2


# --- what a user gets wrong ---


def test_a_missing_model_is_named_with_where_it_goes(models):
    message = told(UserError, inpaint(model="sd/absent").declare)
    assert "'sd/absent' is missing" in message and "diffusers' format" in message and str(models) in message


def test_a_model_of_the_hub_is_taken_from_its_cache_and_never_fetched(models, monkeypatch, tmp_path):
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    commit = "a" * 40
    made = inpaint(model=f"hub:someone/inpainting@{commit}")
    message = told(UserError, made.declare)
    assert f"hf download someone/inpainting --revision {commit}" in message
    snapshot = tmp_path / "models--someone--inpainting" / "snapshots" / commit
    shutil.copytree(models / tiny_diffusion.INPAINT, snapshot)
    again = inpaint(model=f"hub:someone/inpainting@{commit}", keep_raw=True)
    assert again.declare().weights_sha256 == sha256(models / tiny_diffusion.INPAINT)
    assert np.array_equal(rendered(again).raw, rendered(inpaint(keep_raw=True)).raw)


def test_other_bytes_than_pinned_are_refused(models):
    right = sha256(models / tiny_diffusion.INPAINT)
    assert inpaint(sha256=right).declare().weights_sha256 == right
    assert inpaint(sha256=right).model_dump() == inpaint().model_dump()
    message = told(UserError, inpaint(sha256="0" * 64).declare)
    assert right in message and "0" * 64 in message


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"weights_licence": "OpenRail"}, "OpenRAIL-M"),
        ({"scheduler": "eular"}, "Did you mean 'euler'"),
        ({"attributes": ["suprised"]}, "Did you mean 'surprised'"),
        ({"size_px": 100}, "multiple of 8"),
        ({"frame": "face"}, "regions"),
        ({"attributes": []}, "name some attributes"),
        ({"variant": "../fp16"}, "variant"),
    ],
)
def test_a_wrong_option_is_told_with_the_nearest_right_one(options, sentence):
    assert sentence in told(RecipeError, edit, **options)


def test_the_licence_must_be_named():
    message = told(RecipeError, manipulators.make, "diffusion_edit", {"model": "x"}, "here")
    assert "'weights_licence' is missing" in message


def test_a_strength_that_leaves_no_step_is_refused():
    assert "no step" in told(RecipeError, inpaint, steps=2, strength=0.4)


class Trap:
    """What a malicious checkpoint does when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("component", ["unet", "vae", "text_encoder"])
def test_pickled_weights_are_refused_and_never_opened(models, component, tmp_path):
    folder, trap = models / tiny_diffusion.INPAINT / component, tmp_path / "sprung"
    (weights,) = folder.glob("*.safetensors")
    weights.with_name({"model": "pytorch_model"}.get(weights.stem, weights.stem) + ".bin").write_bytes(
        pickle.dumps(Trap(trap))
    )
    rendered(inpaint())  # beside safetensors a pickle lies idle
    weights.unlink()
    message = told(UserError, rendered, inpaint())
    assert f"{folder} has no weights as safetensors" in message and ".bin" in message
    assert not trap.exists()


@pytest.mark.parametrize("component", ["unet", "text_encoder"])
def test_a_variant_that_is_only_pickled_is_refused(models, component, tmp_path):
    trap = tmp_path / "sprung"
    for weights in models.glob(f"{tiny_diffusion.INPAINT}/*/*.safetensors"):
        shutil.copy(weights, weights.with_suffix(".fp16.safetensors"))
    (weights,) = (models / tiny_diffusion.INPAINT / component).glob("*.fp16.safetensors")
    rendered(inpaint(variant="fp16"))
    name = "pytorch_model.fp16.bin" if component == "text_encoder" else "diffusion_pytorch_model.fp16.bin"
    weights.rename(weights.with_name(name)).write_bytes(pickle.dumps(Trap(trap)))
    message = told(UserError, rendered, inpaint(variant="fp16"))
    assert "cannot be loaded" in message and "fp16.safetensors found" in message and component in message
    assert not trap.exists()


def test_code_in_the_folder_is_never_run(models, tmp_path):
    trap = tmp_path / "sprung"
    code = models / tiny_diffusion.INPAINT / "unet" / "diffusers.py"
    code.write_text(f"open({str(trap)!r}, 'w')\nclass UNet2DConditionModel: pass\n")
    assert "holds code" in told(UserError, rendered, inpaint())
    assert not trap.exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"_class_name": "FluxPipeline"}, "holds a pipeline 'FluxPipeline'"),
        ({"_class_name": ["mine", "Mine"]}, "holds a pipeline ['mine', 'Mine']"),
        ({"tokenizer": ["transformers", "AutoTokenizer"]}, "says tokenizer"),
        ({"unet": ["os", "UNet2DConditionModel"]}, "says unet"),
        ({"vae": None}, "says vae"),
    ],
)
def test_a_folder_of_other_components_is_refused(models, change, sentence):
    path = models / tiny_diffusion.INPAINT / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert sentence in told(UserError, inpaint().declare)


def test_a_pipeline_of_another_kind_is_refused(models):
    assert "StableDiffusionInstructPix2PixPipeline" in told(UserError, inpaint(model=tiny_diffusion.EDIT).declare)
    path = models / tiny_diffusion.EDIT / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"in_channels": 4}))
    assert "takes 4 channels" in told(UserError, edit().declare)


def test_a_single_file_is_no_folder(models):
    (models / "v1-5.safetensors").write_bytes(b"weights")
    message = told(UserError, inpaint(model="v1-5.safetensors").declare)
    assert "no pipeline in diffusers' folder format" in message and "from_single_file" in message


def test_torn_weights_are_told_with_their_folder(models):
    path = models / tiny_diffusion.INPAINT / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    message = told(UserError, rendered, inpaint())
    assert "cannot be loaded as StableDiffusionInpaintPipeline" in message and str(models) in message


@pytest.mark.parametrize("package", ["torch", "diffusers", "transformers"])
def test_a_missing_package_is_told_with_the_command(package, monkeypatch):
    diffusion_pipes._loaded.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    assert "pip install 'mmtt[diffusion]'" in told(MissingDependency, rendered, inpaint())


def test_where_to_compute_is_named_by_the_environment(monkeypatch):
    import torch

    monkeypatch.setenv(DEVICE, "cpu")
    assert diffusion_device.device() == "cpu"
    monkeypatch.setenv(DEVICE, "gpu")
    assert "Did you mean 'cpu'" in told(UserError, rendered, inpaint())
    monkeypatch.setenv(DEVICE, "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "sees no GPU" in told(UserError, rendered, inpaint())


# --- a dataset ---


@pytest.fixture(scope="module")
def forged(written, tmp_path_factory):
    layout = tiny_dataset(tmp_path_factory.mktemp("dataset"), 2, ENTRIES, plan={"splits": {"train": 1.0}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(written))
        build(layout)
    return layout


@pytest.fixture
def built(forged, tmp_path):
    shutil.copytree(forged.root, tmp_path / "copy")
    return Layout(tmp_path / "copy")


def test_a_dataset_holds_what_its_rows_say(built, models):
    assert [*verify(built.forged)] == []
    records = list(read(built.forged))
    by_rule = {rule: [r for r in records if r.mask_rule == rule] for rule in ("hole", "null_edit", "blend")}
    assert {rule: len(found) for rule, found in by_rule.items()} == {"hole": 2, "null_edit": 2, "blend": 2}
    for record in records:
        inpainted = record.mask_rule == "hole"
        folder = models / (tiny_diffusion.INPAINT if inpainted else tiny_diffusion.EDIT)
        assert (record.weights_sha256, record.weights_licence) == (sha256(folder), LICENCE)
        assert record.obligations == ["BY", f"use-restricted:{LICENCE}"]
        assert record.exact_mask == (record.mask_rule != "null_edit")
        assert (record.raw is not None) == inpainted
        assert (record.intent is not None) == (not inpainted)
    for record in by_rule["null_edit"]:
        change = images.decode_gray(record.change)
        assert np.array_equal(images.decode_gray(record.mask) > 0, change > record.mask_tau)
        assert record.mask_tau > 0 and images.decode_gray(record.intent).any()
    for record in by_rule["hole"]:
        assert images.decode_rgb(record.raw).shape == (64, 64, 3)
        outside = images.decode_gray(record.alpha) == 0
        image, pristine = images.decode_rgb(record.image), images.decode_rgb(record.pristine)
        assert np.array_equal(image[outside], pristine[outside]) and outside.any()
    outcomes = list(replay(built, Recipe.load(built.recipe)))
    assert [outcome.verdict for outcome in outcomes] == ["same"] * 6


def test_two_processes_forge_the_same_bytes(built):
    alone = {path.name: path.read_bytes() for path in shard_paths(built.forged)}
    shutil.rmtree(built.forged)
    forge(built, Recipe.load(built.recipe), processes(2), silent)
    assert {path.name: path.read_bytes() for path in shard_paths(built.forged)} == alone and len(alone) > 2


def test_a_miniature_is_written_with_the_same_bytes_each_time(written, tmp_path):
    assert sha256(tiny_diffusion.write_inpaint(tmp_path)) == sha256(written / tiny_diffusion.INPAINT)


def test_a_face_that_is_too_small_is_rejected():
    tiny = Face(random_face(np.random.default_rng(0), 6).landmarks, "openpose_70")
    for made in (inpaint(), edit()):
        assert "face_too_small" in told(Rejected, made.plan, tiny, None, np.random.default_rng(0))
