"""ForgeryTalker as a whole: its losses, its mends and options one by one, what learns, and what it predicts."""

import dataclasses

import pytest
import torch

from baselines.forgerytalker.config import LOSSES, Config, MaskDecoderConfig, Mends, Options, PrompterConfig
from baselines.forgerytalker.model import ForgeryTalker, build, select_parts
from mmtt.errors import UserError
from mmtt.regions import REGIONS
from tests.baselines.small_model import (
    SAMPLES,
    SIZE_PX,
    TEXTS,
    TOLD,
    small_batch,
    small_config,
    small_model,
    small_tokens,
)

STAGE1 = ("vision", "vision_norm", "qformer", "queries", "language", "mask_decoder", "heads")
GENERATION = small_config().generation


def losses_of(model, stage="stage1", regions="truth", seed=0, **changes):
    torch.manual_seed(seed)
    with torch.no_grad():
        return model(small_batch(**changes), stage, regions)


def changed(one, other):
    """Names of the losses that differ; both must have them."""
    return {name for name in one.keys() & other.keys() if not torch.equal(one[name], other[name])}


@torch.no_grad()
def nudge(parameter, seed=9):
    parameter += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("stage", LOSSES)
def test_each_stage_gives_its_losses_for_each_sample(stage):
    found = losses_of(small_model(options={"verdict": True}), stage)
    assert tuple(found) == LOSSES[stage]
    for loss in found.values():
        assert loss.shape == (SAMPLES,)
        assert loss.dtype == torch.float32
        assert loss.isfinite().all()
        assert (loss > 0).all()


@pytest.mark.parametrize(
    ("stage", "asked"), [("prompter", {"regions"}), ("prompter", {"patches"}), ("stage1", {"mask", "report"})]
)
def test_only_the_losses_that_are_asked_for_are_computed(stage, asked):
    assert set(small_model()(small_batch(), stage, "truth", asked)) == asked


def test_a_verdict_is_learnt_only_where_there_is_a_head_for_it():
    assert "verdict" not in losses_of(small_model())
    training = small_config().training.model_dump() | {"prompter": None}
    training["stage2"]["loss"]["verdict"] = 1
    config = Config.model_validate(small_config().model_dump() | {"training": training})
    with pytest.raises(UserError, match=r"stage2\.loss\.verdict' needs 'model\.options\.verdict'"):
        build(config, small_tokens())


def test_equal_configs_give_equal_weights_and_leave_the_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = small_model().state_dict()
    assert torch.equal(torch.rand(3), expected)
    other = small_model().state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_another_seed_gives_other_weights():
    config = small_config()
    other = build(config.model_copy(update={"seed": 99}), small_tokens())
    assert not torch.equal(other.prompter.patches.weight, small_model().prompter.patches.weight)


def test_every_parameter_is_in_exactly_one_part():
    model = small_model(options={"verdict": True, "mask_to_report": True, "region_prompt": "heat_map"})
    listed = [id(parameter) for parameters in model.parts().values() for parameter in parameters]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(parameter) for parameter in model.parameters()}


# ---- mends


@pytest.mark.parametrize(
    ("mend", "expected"),
    [
        ("single_sigmoid", {"mask"}),
        ("dice_in_masks", {"mask"}),
        ("hide_report", {"report"}),
        ("contrast_with_text", {"contrast"}),
    ],
)
def test_a_mend_that_is_switched_off_changes_its_own_loss_and_no_other(mend, expected):
    mended, released = (losses_of(small_model(mends={mend: on}).eval()) for on in (True, False))
    assert changed(mended, released) == expected


def test_without_grid_fusion_the_prompter_says_something_else():
    mended, released = small_model(), small_model(mends={"grid_fusion": False})
    weights = mended.prompter.state_dict()
    branches = {name for name in weights if ".reductions." in name}
    # All else alike, and each reduction spread over the raster instead of its patch.
    released.prompter.load_state_dict({n: w for n, w in weights.items() if n not in branches}, strict=False)
    for name in branches:
        spread = weights[name].mean((2, 3), keepdim=True) if weights[name].ndim == 4 else weights[name]
        released.prompter.state_dict()[name].copy_(spread)
    told = [model.eval().prompter(small_batch().pixels_BCHW).logits_BR for model in (mended, released)]
    assert not torch.allclose(*told, atol=1e-4)


@pytest.mark.parametrize("steady", [True, False])
def test_a_frozen_prompter_is_steady_unless_that_mend_is_off(steady):
    model = small_model(still=True, mends={"steady_prompter": steady})
    model.prompter.dropout.p = 0.5
    select_parts(model, STAGE1)
    assert model.prompter.training is not steady
    one, other = (losses_of(model, "stage2", "predicted", seed) for seed in (1, 2))
    assert bool(changed(one, other)) is not steady
    # Whoever validates in between and goes on does not undo it.
    model.eval()
    assert not model.prompter.training
    model.train()
    assert model.prompter.training is not steady


def test_a_prompter_that_learns_has_its_dropout():
    model = small_model()
    select_parts(model, ("prompter",))
    assert model.prompter.training


def test_every_mend_and_every_option_is_tried_here():
    tried = {"single_sigmoid", "dice_in_masks", "hide_report", "contrast_with_text", "grid_fusion", "steady_prompter"}
    assert set(Mends.model_fields) == tried
    assert set(Options.model_fields) == {"mask_to_report", "report_to_mask", "verdict", "region_prompt"}


def read_by_the_encoder(model, stage):
    read = []
    hook = model.blip.language_model.register_forward_pre_hook(
        lambda _, __, known: read.append(known["inputs_embeds"].detach()), with_kwargs=True
    )
    losses_of(model, stage)
    hook.remove()
    return read[0]


@pytest.mark.parametrize(
    ("stage", "hide", "leaks"), [("stage1", True, False), ("stage1", False, True), ("stage2", False, False)]
)
def test_the_encoder_reads_the_report_only_in_stage_1_as_released(stage, hide, leaks):
    model, tokens = small_model(mends={"hide_report": hide}), small_tokens()
    read = read_by_the_encoder(model, stage)
    for sample, text in enumerate(TEXTS):
        ids = torch.tensor(tokens.language(text).input_ids[:-1])
        words = model.blip.language_model.get_input_embeddings()(ids)
        windows = read[sample].unfold(0, len(ids), 1).transpose(1, 2)
        found = any(torch.allclose(window, words) for window in windows)
        assert found is leaks


# ---- options: each one carries something from one place to another, and nothing does without it


@pytest.mark.parametrize("on", [True, False])
def test_the_mask_reaches_the_report_only_by_its_option(on):
    model = small_model(options={"mask_to_report": on}).eval()
    before = losses_of(model, "stage2")
    nudge(model.mask_decoder.mask_token)
    assert changed(before, losses_of(model, "stage2")) == ({"mask", "report"} if on else {"mask"})


def test_a_report_cannot_be_made_easier_by_spoiling_the_mask():
    model = small_model(options={"mask_to_report": True})
    model(small_batch(), "stage2", "truth")["report"].sum().backward()
    assert all(parameter.grad is None for parameter in model.mask_decoder.transformer.parameters())


@pytest.mark.parametrize("on", [True, False])
def test_the_queries_reach_the_mask_only_by_its_option(on):
    model = small_model(options={"report_to_mask": on}).eval()
    before = losses_of(model, "stage2")
    nudge(model.blip.query_tokens)
    assert changed(before, losses_of(model, "stage2")) == ({"mask", "report"} if on else {"report"})


@pytest.mark.parametrize("on", [True, False])
def test_there_is_a_verdict_only_by_its_option(on):
    verdict = small_model(options={"verdict": on}).predict(small_batch().pixels_BCHW, GENERATION).verdict_B
    assert (verdict is not None) is on
    if on:
        assert verdict.shape == (SAMPLES,)
        assert ((verdict > 0) & (verdict < 1)).all()


@pytest.mark.parametrize(
    ("way", "expected"), [("words", {"report", "mask"}), ("heat_map", {"report", "mask"}), ("none", {"mask"})]
)
def test_suspected_regions_reach_the_report_as_the_option_says(way, expected):
    model = small_model(options={"region_prompt": way}).eval()
    other = small_batch().regions_BR.roll(1, 0)
    assert changed(losses_of(model, "stage2"), losses_of(model, "stage2", regions_BR=other)) == expected


@pytest.mark.parametrize(("way", "listens"), [("words", False), ("heat_map", True), ("none", False)])
def test_only_a_heat_map_says_where_a_region_is_suspected(way, listens):
    model = small_model(options={"region_prompt": way}).eval()
    before = losses_of(model, "stage2")
    nudge(model.prompter.head.weight)
    assert ("report" in changed(before, losses_of(model, "stage2"))) is listens


# ---- texts


def test_a_sample_without_a_report_costs_nothing_and_is_nobodys_negative():
    model = small_model().eval()
    whole = losses_of(model)
    reports = (*TEXTS[:3], "")
    found = losses_of(model, reports=reports)
    for name in ("masked_words", "report", "contrast"):
        assert found[name][3] == 0
        assert (found[name][:3] > 0).all()
    torch.testing.assert_close(found["mask"], whole["mask"])
    assert (found["contrast"][:3] < whole["contrast"][:3]).all()


def test_a_sample_that_only_fills_up_changes_nothing_for_the_others():
    model = small_model().eval()
    weight = torch.tensor([1.0, 1, 1, 0])
    found = losses_of(model, weight_B=weight)
    other = losses_of(model, weight_B=weight, reports=(*TEXTS[:3], "Another text about the chin."))
    for name in ("masked_words", "report", "contrast"):
        assert found[name][3] == 0
        torch.testing.assert_close(found[name], other[name])


def test_a_batch_without_any_report_has_a_gradient_of_0():
    model = small_model()
    found = model(small_batch(reports=("",) * SAMPLES), "stage1", "truth", ("masked_words", "report", "contrast"))
    sum(loss.sum() for loss in found.values()).backward()
    for parameter in model.parameters():
        assert parameter.grad is None or not parameter.grad.any()


def test_padding_does_not_change_a_samples_loss():
    model = small_model().eval()
    long = (*TEXTS[:3], "The chin, " * 8)
    for name in ("masked_words", "report"):
        torch.testing.assert_close(
            losses_of(model, reports=long)[name][:3], losses_of(model)[name][:3], atol=1e-5, rtol=1e-4
        )


def test_a_report_that_is_too_long_is_refused_unless_it_may_be_cut():
    reports = ("The nose is blurred. " * 30,) * SAMPLES
    model = small_model()
    with pytest.raises(UserError, match=r"more than the 48 of 'data\.report_tokens'"):
        losses_of(model, "stage2", reports=reports)
    model.cut_reports = True
    assert losses_of(model, "stage2", reports=reports)["report"].isfinite().all()


# ---- learning


@pytest.mark.parametrize("stage", LOSSES)
def test_a_few_steps_make_each_loss_fall(stage):
    model = small_model(still=True, options={"verdict": True, "mask_to_report": True, "report_to_mask": True})
    select_parts(model, ("prompter",) if stage == "prompter" else STAGE1)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, 5e-3)
    before = losses_of(model, stage)
    for _ in range(20):
        loss = sum(loss.mean() for loss in model(small_batch(), stage, "truth").values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = losses_of(model, stage)
    for name, loss in after.items():
        assert loss.mean() < 0.9 * before[name].mean(), name


@pytest.mark.parametrize(
    "train", [("prompter",), STAGE1, ("vision_norm", "qformer", "queries"), ("mask_decoder", "heads")]
)
def test_only_the_selected_parts_have_a_gradient(train):
    model = small_model(options={"verdict": True})
    select_parts(model, train)
    stage = "prompter" if train == ("prompter",) else "stage1"
    sum(loss.sum() for loss in model(small_batch(), stage, "truth").values()).backward()
    for part, parameters in model.parts().items():
        moved = any(parameter.grad is not None and parameter.grad.any() for parameter in parameters)
        assert moved is (part in train), part


@pytest.mark.parametrize("options", [{}, {"mask_to_report": True, "report_to_mask": True, "region_prompt": "heat_map"}])
def test_computing_blocks_again_gives_the_same_losses_and_gradients(options):
    told = []
    for again in (False, True):
        model = small_model(still=True, options=options)
        select_parts(model, STAGE1)
        if again:
            model.gradient_checkpointing_enable()
        losses = model(small_batch(), "stage1", "truth")
        sum(loss.sum() for loss in losses.values()).backward()
        told.append((losses, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    torch.testing.assert_close(*told)


def test_losses_are_float32_under_bfloat16():
    model = small_model(still=True, options={"verdict": True, "mask_to_report": True, "report_to_mask": True})
    exact = losses_of(model)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(small_batch(), "stage1", "truth")
        said = model.predict(small_batch().pixels_BCHW, GENERATION)
    for name, loss in found.items():
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, exact[name], rtol=0.1, atol=0.1)
    assert said.mask_BHW.dtype == torch.float32
    sum(loss.sum() for loss in found.values()).backward()


# ---- predicting


def test_a_prediction_has_mask_regions_and_report_of_each_picture():
    model = small_model().train()
    said = model.predict(small_batch().pixels_BCHW, GENERATION)
    assert said.mask_BHW.shape == (SAMPLES, SIZE_PX, SIZE_PX)
    assert ((said.mask_BHW >= 0) & (said.mask_BHW <= 1)).all()
    assert said.regions_BR.shape == (SAMPLES, len(REGIONS))
    assert torch.equal(said.used_BR, said.regions_BR > 0.5)
    assert len(said.reports) == SAMPLES
    assert model.training


def test_a_prediction_is_the_same_twice_and_whoever_else_is_in_the_batch():
    model, pixels = small_model().train(), small_batch().pixels_BCHW
    said, alone = model.predict(pixels, GENERATION), model.predict(pixels[1:2], GENERATION)
    torch.testing.assert_close(said.mask_BHW[1:2], alone.mask_BHW)
    assert said.reports[1:2] == alone.reports
    for name, value in dataclasses.asdict(model.predict(pixels, GENERATION)).items():
        again = getattr(said, name)
        assert torch.equal(value, again) if isinstance(value, torch.Tensor) else value == again


def test_a_users_own_words_replace_what_the_prompter_says():
    model, pixels = small_model().eval(), small_batch().pixels_BCHW
    said = model.predict(pixels, GENERATION, TOLD)
    assert torch.equal(said.used_BR, small_batch().regions_BR > 0)
    other = model.predict(pixels, GENERATION, [[word] for word in ("jaw", "chin", "ear", "skin")])
    assert not torch.allclose(said.mask_BHW, other.mask_BHW)
    torch.testing.assert_close(said.regions_BR, other.regions_BR)


def test_a_report_follows_the_words_that_it_was_prompted_with():
    model = taught()
    pixels = small_batch().pixels_BCHW
    said = model.predict(pixels, small_config().generation.model_copy(update={"max_tokens": 30}), TOLD)
    assert said.reports == TEXTS
    swapped = model.predict(pixels, small_config().generation.model_copy(update={"max_tokens": 30}), TOLD[::-1])
    assert swapped.reports != said.reports


def taught():
    """A model that learnt four reports by heart, each by its regions: the picture is the same noise everywhere."""
    model = small_model(still=True)
    select_parts(model, ("qformer", "queries", "language"))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2)
    pixels = small_batch().pixels_BCHW
    for _ in range(70):
        loss = model(small_batch(pixels_BCHW=pixels), "stage2", "truth", ("report",))["report"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def test_a_word_that_is_no_region_is_refused():
    with pytest.raises(UserError, match=r"'nos' is no region of the face\. Did you mean 'nose'"):
        small_model().predict(small_batch().pixels_BCHW, GENERATION, [["nos"], [], [], []])


# ---- sizes


def test_the_size_of_the_pictures_must_be_the_encoders():
    config = small_config()
    data = config.data.model_copy(update={"size_px": 64})
    with pytest.raises(UserError, match=r"made for 32 px, but 'data\.size_px' is 64"):
        build(config.model_copy(update={"data": data}), small_tokens())


@pytest.mark.parametrize(
    ("section", "values", "told"),
    [
        ("vision", {"hiden_size": 8}, r"'model\.vision\.hiden_size' is no field .*Did you mean 'hidden_size'"),
        ("vision", {"hidden_size": "many"}, r"'model\.vision' is no InstructBlipVisionConfig"),
        ("qformer", {"num_attention_heads": 5}, "do not fit"),
        ("language", {"d_model": -1}, "do not fit"),
        ("language", {"num_heads": -2}, "do not fit"),
        ("vision", {"hidden_size": -16}, "do not fit"),
        ("qformer", {"num_attention_heads": 0}, "do not fit"),
        ("qformer", {"vocab_size": -3}, "do not fit"),
        ("language", {"feed_forward_proj": "round"}, r"model\.language|do not fit"),
    ],
)
def test_a_faulty_size_is_told(section, values, told):
    whole = small_config().model.model_dump()[section]
    with pytest.raises(UserError, match=told):
        small_model(**{section: whole | values})


def test_the_papers_model_has_as_many_weights_as_the_paper_says():
    language = {
        "d_model": 2048, "d_ff": 5120, "d_kv": 64, "num_layers": 24, "num_heads": 32,
        "feed_forward_proj": "gated-gelu", "vocab_size": 32128,
    }  # fmt: skip
    config = small_config().model.model_copy(
        update={
            "vision": {}, "qformer": {"vocab_size": 30523}, "language": language, "query_tokens": 32,
            "prompter": PrompterConfig(), "mask_decoder": MaskDecoderConfig(),
        }
    )  # fmt: skip
    with torch.device("meta"):
        model = ForgeryTalker(config, small_tokens(), 224, 256)
    count = {part: sum(p.numel() for p in parameters) for part, parameters in model.parts().items()}
    assert count["vision"] == pytest.approx(985e6, rel=0.01)  # ViT-g/14 without its last block
    assert count["qformer"] == pytest.approx(187e6, rel=0.01)
    assert count["language"] == pytest.approx(2850e6, rel=0.03)
    assert count["prompter"] == pytest.approx(632e6, rel=0.1)  # ViT-H/14 and its branches
