"""A pretrained InstructBLIP out of a folder: the true layout with made-up weights, and every way to be at fault."""

import json
import shutil
import time
from pathlib import Path

import pytest
import torch
from transformers import (
    BertTokenizer,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    T5Config,
    T5Tokenizer,
)

from baselines.forgerytalker import export
from baselines.forgerytalker.config import STAGES, Config, load
from baselines.forgerytalker.language import prompt, region_tokens
from baselines.forgerytalker.model import build
from baselines.forgerytalker.tokens import Tokens, tokens_for
from mmtt.errors import UserError
from mmtt.regions import REGIONS
from tests.baselines.small_model import (
    LANGUAGE,
    QFORMER,
    SAMPLES,
    TEXTS,
    TOLD,
    VISION,
    small_batch,
    small_config,
)
from tests.baselines.small_runs import (
    changed,
    command,
    dataset,
    forked,
    lines,
    require_same_weights,
    train_here,
    trained,
    weights,
)

__all__ = ["dataset"]
NAME = "makers/instructblip"


def published() -> Tokens:
    """Tokenizers of the very classes that InstructBLIP has, of few words: T5's with `<image>`, BERT's with `[DEC]`."""
    words = sorted({word for text in (*TEXTS, prompt(REGIONS)) for word in text.split()})
    letters = sorted({letter for word in words for letter in word})
    pieces = ["▁", *(f"▁{word}" for word in words), *letters]
    language = T5Tokenizer(
        vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((piece, -float(len(pieces))) for piece in pieces)]
    )
    language.add_tokens(["<image>"], special_tokens=True)
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters), *REGIONS]
    qformer = BertTokenizer(vocab={piece: number for number, piece in enumerate(dict.fromkeys(known))})
    qformer.add_tokens(["[DEC]"], special_tokens=True)
    return Tokens(qformer, language)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """The folder as its makers publish it; every test works on a copy."""
    folder = tmp_path_factory.mktemp("saved")
    tokens = published()
    language = LANGUAGE | {"vocab_size": len(tokens.language), "decoder_start_token_id": 0}
    torch.manual_seed(3)
    model = InstructBlipForConditionalGeneration(
        InstructBlipConfig(
            vision_config=VISION | {"initializer_range": 0.02},
            qformer_config=QFORMER | {"vocab_size": len(tokens.qformer)},
            text_config=T5Config(**language).to_dict(),
            num_query_tokens=3,
        )
    )
    torch.nn.init.normal_(model.query_tokens)
    # As in Flan-T5: what writes words is not what reads them.
    writer = model.language_model
    writer.lm_head.weight = torch.nn.Parameter(torch.randn_like(writer.lm_head.weight))
    model.save_pretrained(folder)
    tokens.save(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MMTT_MODELS", str(tmp_path))
    shutil.copytree(saved, tmp_path / NAME)
    return tmp_path / NAME


def config(name: str = NAME) -> Config:
    return small_config(pretrained=name, vision={}, qformer={}, language={})


def loaded(name: str = NAME):
    return build(config(name), tokens_for(config(name).model, TEXTS))


def test_its_weights_and_tokens_are_those_of_the_folder(folder):
    model = loaded()
    original = InstructBlipForConditionalGeneration.from_pretrained(folder, local_files_only=True).state_dict()
    for name, tensor in model.blip.state_dict().items():
        assert torch.equal(tensor, original[name]), name
    for text in TEXTS:
        assert model.tokens.language(text).input_ids == published().language(text).input_ids
        assert model.tokens.qformer(text).input_ids == published().qformer(text).input_ids
    assert model.blip.query_tokens.shape[1] == 3


@pytest.mark.usefixtures("folder")
def test_a_head_of_its_own_stays_one():
    writer = loaded().blip.language_model
    assert not torch.equal(writer.lm_head.weight, writer.shared.weight)
    assert torch.equal(writer.encoder.embed_tokens.weight, writer.shared.weight)


@pytest.mark.usefixtures("folder")
def test_it_learns_and_predicts():
    model = loaded()
    losses = model(small_batch(), "stage1", "truth")
    sum(loss.sum() for loss in losses.values()).backward()
    assert len(model.predict(small_batch().pixels_BCHW, config().generation).reports) == SAMPLES


# ---- a run from it: what nothing trains is in no checkpoint, and comes out of the folder again


def staged(name: str = NAME) -> Config:
    """What `base` trains in each stage, for a few steps."""
    plan = {"epochs": 1, "batch": 2, "warmup_steps": 1}
    parts = {stage: {"train": list(getattr(load("base").training, stage).train)} for stage in STAGES}
    return changed(config(name), **{stage: plan | parts[stage] for stage in STAGES})


@pytest.fixture(scope="module")
def trained_run(saved, dataset, tmp_path_factory) -> Path:
    """A run that was killed in stage 2, and ended by a second process."""
    models, run = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("run") / "run"
    shutil.copytree(saved, models / NAME)
    arguments = ["--models", str(models), *command(dataset, run, staged(), "--checkpoint-every", "1")]
    process = forked(train_here, arguments)
    deadline = time.monotonic() + 60
    while not list((run / "stage2").glob("step-*")) and process.is_alive():
        assert time.monotonic() < deadline
    process.kill()
    process.join()
    assert process.exitcode == -9
    process = forked(train_here, arguments)
    process.join(60)
    assert process.exitcode == 0
    return run


@pytest.fixture
def models(saved, tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MMTT_MODELS", str(tmp_path / "models"))
    shutil.copytree(saved, tmp_path / "models" / NAME)
    return tmp_path / "models"


@pytest.mark.usefixtures("models")
def test_a_run_from_it_that_was_killed_ends_like_an_unbroken_one(trained_run, dataset, tmp_path):
    trained(dataset, tmp_path / "run", staged(), "--checkpoint-every", "1")
    assert lines(trained_run) == lines(tmp_path / "run")
    for stage in STAGES:
        require_same_weights(trained_run, tmp_path / "run", stage)


def test_checkpoints_hold_no_pretrained_weights_but_those_that_were_trained(trained_run):
    kept = {stage: {n.split(":")[1] for n in weights(trained_run, stage) if n.startswith("model.")} for stage in STAGES}
    assert not [name for name in kept["prompter"] if name.startswith("blip.")]
    assert {".".join(name.split(".")[:2]) for name in kept["stage1"] if name.startswith("blip.")} == {
        "blip.qformer", "blip.language_projection",
    }  # fmt: skip
    assert kept["stage2"] - kept["stage1"] == {
        "blip.query_tokens", "blip.vision_model.post_layernorm.weight", "blip.vision_model.post_layernorm.bias",
    }  # fmt: skip


@pytest.mark.usefixtures("models")
def test_what_it_exports_loads_beside_the_folder_and_predicts_the_same(trained_run, dataset, tmp_path):
    run = export.load(trained_run)
    back = export.load(export.export(run, dataset, tmp_path / "model"))
    said, again = (one.model.predict(small_batch().pixels_BCHW, run.config.generation) for one in (run, back))
    assert torch.equal(said.mask_BHW, again.mask_BHW)
    assert said.reports == again.reports
    assert f"| base weights | {NAME}: needed besides" in (tmp_path / "model" / "README.md").read_text()


def test_other_weights_in_the_folder_are_not_taken_for_those_that_it_began_with(trained_run, models, dataset):
    (models / NAME / "config.json").write_text((models / NAME / "config.json").read_text() + "\n")
    for use in (lambda: export.load(trained_run), lambda: trained(dataset, trained_run, staged())):
        with pytest.raises(UserError, match="holds other weights than those that"):
            use()


@pytest.mark.usefixtures("folder")
def test_a_report_costs_what_the_librarys_own_model_says_it_costs():
    """Picture, question and report put together by hand, as the library's processor does: `<image>` once a query."""
    model, batch = loaded().eval(), small_batch()
    questions = [prompt(words) for words in TOLD]
    asked = model.tokens.qformer(questions, padding=True, return_tensors="pt")
    mark, count = model.tokens.language.convert_tokens_to_ids("<image>"), model.blip.query_tokens.shape[1]
    read = model.tokens.language(questions, padding=True, padding_side="right", return_tensors="pt")
    model.blip.config.image_token_index = mark
    with torch.no_grad():
        found = model(batch, "stage2", "truth", ("report",))["report"]
        for sample in range(SAMPLES):
            expected = model.blip(
                pixel_values=batch.pixels_BCHW[[sample]],
                qformer_input_ids=asked.input_ids[[sample]],
                qformer_attention_mask=asked.attention_mask[[sample]],
                input_ids=torch.cat([torch.full((1, count), mark), read.input_ids[[sample]]], 1),
                attention_mask=torch.cat([torch.ones(1, count, dtype=torch.long), read.attention_mask[[sample]]], 1),
                labels=model.tokens.reports([TEXTS[sample]], 48, cut=False),
            ).loss
            torch.testing.assert_close(found[sample], expected)


def test_weights_in_half_precision_are_computed_with_in_float32(folder):
    model = InstructBlipForConditionalGeneration.from_pretrained(folder, dtype=torch.float16, local_files_only=True)
    model.save_pretrained(folder)
    assert {parameter.dtype for parameter in loaded().parameters()} == {torch.float32}


def test_its_tokenizers_mask_region_words_and_end_reports(folder):
    tokens = Tokens.load(folder)
    ids, _, named = region_tokens(tokens.qformer, ["The nostrils and eyebrows."], "en", 128)
    pieces = tokens.qformer.convert_ids_to_tokens(ids[0][named[0]].tolist())
    assert "".join(pieces).replace("##", "") == "nostrilseyebrows"
    for text in TEXTS:
        assert tokens.texts(tokens.reports([text], 64, cut=False)) == (text,)
    assert tokens.report_length("") == 1


@pytest.mark.usefixtures("folder")
def test_what_is_not_in_the_folder_is_the_same_in_each_build():
    one, other = loaded().state_dict(), loaded().state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.usefixtures("folder")
def test_a_missing_folder_is_told_with_where_it_comes_from():
    with pytest.raises(UserError, match=r"'elsewhere' is missing. Get it from https://huggingface\.co/"):
        loaded("elsewhere")


@pytest.mark.usefixtures("folder")
def test_a_name_that_leads_out_of_the_folder_is_refused():
    with pytest.raises(UserError, match="path inside the folder"):
        loaded("../outside")


def test_a_pickle_is_never_opened(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(UserError, match="only as a pickle, which is never opened"):
        loaded()


def test_a_pickle_beside_safetensors_is_left_alone(folder):
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    loaded()


def test_a_folder_without_weights_is_refused(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no weights"):
        loaded()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_weights_are_refused(folder, share):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match=r"cannot be read; get them again"):
        loaded()


def test_weights_that_lack_a_part_are_refused(folder):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("language_projection")}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"lacks 2 of the model's weights \('language_projection"):
        loaded()


def test_weights_of_another_size_are_refused(folder):
    edit(folder / "config.json", ["vision_config", "intermediate_size"], 64)
    with pytest.raises(UserError, match="cannot be read"):
        loaded()


def edit(path: Path, keys: list[str], value) -> None:
    whole = json.loads(path.read_text())
    place = whole
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(whole))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"model_type": "t5"}', "holds a 't5', not an InstructBLIP"),
        ('{"model_type": "blip-2"}', "holds a 'blip-2', not an InstructBLIP"),
        ('{"model_type": "instructblip", "text_config": {"model_type": "llama"}}', "writes with 'llama'"),
        ('{"model_type": "no such thing"}', "holds no config.json of a model"),
        ("{}", "holds no config.json of a model"),
        ('{"model_type": ', "holds no config.json of a model"),
    ],
)
def test_another_architecture_is_refused(folder, content, told):
    tokens = tokens_for(config().model, TEXTS)
    (folder / "config.json").write_text(content)
    with pytest.raises(UserError, match=told):
        build(config(), tokens)


def test_code_in_the_folder_is_never_run(folder):
    edit(folder / "config.json", ["auto_map"], {"AutoConfig": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]})
    edit(folder / "tokenizer_config.json", ["auto_map"], {"AutoTokenizer": ["evil.Evil", None]})
    (folder / "evil.py").write_text("raise SystemExit('ran')\nclass Evil: pass\n")
    loaded()


@pytest.mark.parametrize("section", [[], ["vision_config"], ["text_config"], ["qformer_config"]])
def test_a_kernel_that_the_folder_names_is_never_fetched(folder, section):
    edit(folder / "config.json", [*section, "attn_implementation"], "kernels-community/evil")
    loaded()


def test_missing_tokenizers_are_told(folder):
    shutil.rmtree(folder / "qformer_tokenizer")
    with pytest.raises(UserError, match=r"qformer_tokenizer holds no tokenizer"):
        loaded()


def test_a_hub_name_needs_its_commit():
    with pytest.raises(UserError, match="names no revision"):
        loaded("hub:makers/instructblip")
