"""Configuration: everything that decides a run and nothing else. Frozen, saved with every checkpoint.

Where to compute, how many workers and how often to log are no part of it: they change no result.
"""

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from mmtt.errors import RecipeError, UserError, did_you_mean
from mmtt.record import MASTER
from mmtt.settings import Section, Share, parse

Positive = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# What a stage may train; everything else is frozen in it.
Part = Literal["vision", "vision_norm", "qformer", "queries", "language", "mask_decoder", "prompter", "heads"]
STAGES = ("prompter", "stage1", "stage2")


class DataConfig(Section):
    """Which rows, and what is done to them on the way to a batch.

    size_px: side of the square that the model sees. crop: range of the side of a random square crop, as shares of the
        frame; [1, 1] takes the frame. flip: `sides` mirrors half of the pictures and swaps left and right in their
        texts; `off` mirrors none.
    region_labels: where the 21-vector comes from: what the annotator chose, what the text claims, or the true mask.
    order: `shuffled` visits rows at random; `grouped` shuffles row groups and then rows among `window` of them, which
        reads each row group once.
    cache_px: side to which pictures are reduced once, ahead of training; the native side must be a multiple of it.
        null decodes every time.
    report_tokens: tokens of the language model that a report may have; a longer one is refused, or cut with
        `cut_reports`.
    """

    size_px: Positive = 224
    crop: tuple[Share, Share] = (0.5, 1.0)
    flip: Literal["sides", "off"] = "sides"
    variants: Annotated[tuple[str, ...], Field(min_length=1)] = (MASTER,)
    pristine: bool = False
    inexact: bool = False
    language: str = "en"
    region_labels: Literal["report", "text", "mask"] = "report"
    order: Literal["shuffled", "grouped"] = "grouped"
    window: Positive = 8
    cache_px: Positive | None = None
    report_tokens: Positive = 256
    cut_reports: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not 0 < self.crop[0] <= self.crop[1]:
            raise ValueError("'crop' is a range of shares above 0, the smaller first")
        return self


class PrompterConfig(Section):
    """The forgery prompter network: a ViT of its own over the same picture.

    conv_branches: convolutional features added to the patch tokens before the first blocks, one branch a block.
    """

    patch_px: Positive = 14
    hidden: Positive = 1280
    layers: Positive = 32
    heads: Positive = 16
    mlp: Positive = 5120
    dropout: Share = 0.1
    conv_branches: Annotated[int, Field(ge=0, le=4)] = 2
    conv_channels: Positive = 256
    threshold: Share = 0.5


class MaskDecoderConfig(Section):
    """The mask decoder on the patch grid: two-way transformer, then `up` times finer by transposed convolutions."""

    hidden: Positive = 256
    layers: Positive = 2
    heads: Positive = 8
    mlp: Positive = 2048
    up: Literal[1, 2, 4, 8] = 4


class Mends(Section):
    """Defects of the released code that are mended here. False brings one back, for an ablation."""

    single_sigmoid: bool = True
    grid_fusion: bool = True
    steady_prompter: bool = True
    hide_report: bool = True
    contrast_with_text: bool = True
    dice_in_masks: bool = True


class Options(Section):
    """What goes beyond the paper; all off in it.

    mask_to_report: the report decoder also sees the features under the predicted mask. report_to_mask: the mask
        decoder also sees the Q-Former's queries. verdict: a head that says whether the face was forged at all.
    region_prompt: how the suspected regions reach Q-Former and language model: as words, as a heat map on the patch
        grid, or not at all.
    """

    mask_to_report: bool = False
    report_to_mask: bool = False
    verdict: bool = False
    region_prompt: Literal["words", "heat_map", "none"] = "words"


class ModelConfig(Section):
    """The network.

    pretrained: an InstructBLIP folder, or `hub:OWNER/NAME@COMMIT` out of the local cache; its own sizes then hold, and
        `vision`, `qformer`, `language` must be empty. Without it these three are the fields of the classes
        `InstructBlipVisionConfig`, `InstructBlipQFormerConfig` and `T5Config`, and the tokenizers are trained on the
        reports of the train split.
    """

    pretrained: str | None = None
    vision: dict[str, Any] = Field(default_factory=dict)
    qformer: dict[str, Any] = Field(default_factory=dict)
    language: dict[str, Any] = Field(default_factory=dict)
    query_tokens: Positive = 32
    vocabulary: Positive = 2000
    prompter: PrompterConfig = PrompterConfig()
    mask_decoder: MaskDecoderConfig = MaskDecoderConfig()
    mends: Mends = Mends()
    options: Options = Options()

    @model_validator(mode="after")
    def _one_source_of_sizes(self) -> Self:
        if self.pretrained and (self.vision or self.qformer or self.language):
            raise ValueError("'pretrained' brings its own sizes; leave 'vision', 'qformer' and 'language' out")
        return self


class StageConfig(Section):
    """One stage of training: a cosine schedule over `epochs`, after a linear warm-up.

    batch: samples of one step on all ranks together; `accumulate` parts of it are computed one after another.
    train: the parts that learn; everything else is frozen. ema: decay of an averaged copy of the weights, which is
        then the one that validates and predicts; null keeps none.
    regions: what the mask decoder and the prompt are told: the true labels, or what the prompter predicts.
    """

    epochs: Positive
    batch: Positive
    accumulate: Positive = 1
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    min_lr: Weight = 0.0
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    weight_decay: Weight = 0.05
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    train: Annotated[tuple[Part, ...], Field(min_length=1)]
    regions: Literal["truth", "predicted"] = "predicted"
    loss: dict[str, Weight]

    @model_validator(mode="after")
    def _learns_something(self) -> Self:
        if not any(self.loss.values()):
            raise ValueError("no loss has a weight above 0, so nothing would be learnt")
        if self.min_lr > self.lr:
            raise ValueError("'min_lr' is above 'lr'")
        return self


class TrainingConfig(Section):
    """The three stages in their order, and how numbers are kept. A stage that is null is left out."""

    precision: Literal["fp32", "bf16"] = "bf16"
    gradient_checkpointing: bool = True
    prompter: StageConfig | None
    stage1: StageConfig | None
    stage2: StageConfig | None

    @model_validator(mode="after")
    def _stages_that_can_learn(self) -> Self:
        stages = {name: stage for name in STAGES if (stage := getattr(self, name))}
        if not stages:
            raise ValueError("every stage is left out, so nothing would be learnt")
        for name, stage in stages.items():
            for loss in stage.loss:
                if loss not in LOSSES[name]:
                    raise ValueError(
                        f"'{name}.loss.{loss}' is no loss of this stage.{did_you_mean(loss, LOSSES[name])}"
                    )
            # The later stages ask the prompter without a gradient, and its own touches nothing else.
            if name == "prompter" and set(stage.train) != {"prompter"}:
                raise ValueError("'prompter.train' is ['prompter']: no other part takes part in that stage")
            if name != "prompter" and "prompter" in stage.train:
                raise ValueError(f"'{name}.train' has 'prompter', which learns in its own stage alone")
        return self


# The losses that each stage knows; a weight of 0, or none, leaves one out. The paper has no `patches`: the mask on the
# prompter's patch grid, so that a prompter that starts from nothing is shown where to look.
LOSSES: dict[str, tuple[str, ...]] = {
    "prompter": ("regions", "patches"),
    "stage1": ("masked_words", "report", "mask", "contrast", "verdict"),
    "stage2": ("report", "mask", "verdict"),
}


class GenerationConfig(Section):
    """How a report is written: beam search without sampling."""

    beams: Positive = 5
    max_tokens: Positive = 100
    min_tokens: Annotated[int, Field(ge=0)] = 5
    repetition_penalty: Annotated[float, Field(gt=0)] = 1.5
    length_penalty: float = 1.0


class Config(Section):
    """A whole run."""

    name: str
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 42
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig
    generation: GenerationConfig = GenerationConfig()

    def to_yaml(self) -> str:
        """Return the whole config as YAML, defaults spelled out; equal configs give equal text."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def shipped() -> list[str]:
    """Return the names of the configs that come with this package."""
    folder = resources.files(__package__) / "configs"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load(name: str) -> Config:
    """Return a config by the name of one that is shipped, or by the path of a YAML file.

    Raises:
        UserError: neither; RecipeError: a fault in it.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return _read(path.read_bytes() if path.is_file() else None, str(path))
    if name not in shipped():
        raise UserError(f"No config is called '{name}', and no file.{did_you_mean(name, shipped())}")
    return _read((resources.files(__package__) / "configs" / f"{name}.yaml").read_bytes(), name)


def _read(data: bytes | None, where: str) -> Config:
    if data is None:
        raise UserError(f"{where} does not exist.")
    try:
        return parse(Config, yaml.safe_load(data.decode("utf-8")), where)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"{where} is not YAML: {error}") from error
