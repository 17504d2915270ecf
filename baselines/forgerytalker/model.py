"""ForgeryTalker: a prompter says which regions are suspected; mask and report come out of one picture and that prompt.

It is the model of the paper (arXiv 2412.19685). What the authors' release got wrong is mended, by name:

- `single_sigmoid`: masks were squashed by a sigmoid and again inside the loss, whose floor then is above 0.6.
- `grid_fusion`: the prompter's convolutions were squeezed row after row into tokens; 15 of 16 pixels of a token came
  from outside its patch. Here every branch ends on the patch grid.
- `steady_prompter`: the frozen prompter kept its dropout in the later stages. Here it is in evaluation mode.
  That its batch statistics drifted there cannot come back: no layer here has any.
- `hide_report`: the encoder of stage 1 was told the very report that the decoder had to write.
- `contrast_with_text`: pictures were contrasted with their own queries, in one direction. Here it is reports, in both.
- `dice_in_masks`: masks were learnt by cross-entropy alone.

Each of these is a switch in `model.mends`; False brings the defect back. Others have no switch, for they would measure
nothing: masks not cropped and flipped with their pictures (the loader moves both by one geometry), reports cut at 60
tokens (`data.report_tokens`, `data.cut_reports`), region words of several pieces that were never masked, coordinates
given to the convolutions twice, the tag gate whose result nobody used, the prompter's second head whose loss had no
gradient, a mask decoder without a patch grid (22 tokens, each spread over the frame by 75 million weights), checkpoints
loaded in part and in silence, every rank on the first GPU, and a first stage that never saved.

Legend: B samples, C = 3 colours, H = W = `data.size_px`, R = 21 regions, S = 1 + patches, h = w = side of the patch
grid, V width of the vision encoder, Q queries, D width of the Q-Former, T tokens, L width of the language model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmtt.errors import UserError

from .backbone import ask, backbone
from .batch import Batch
from .config import LOSSES, STAGES, Config, GenerationConfig, ModelConfig, Part
from .language import prompts, regions_of
from .losses import mask_loss, patch_loss, region_loss, verdict_loss
from .mask_decoder import MaskDecoder, ShownMask
from .prompter import ForgeryPrompter, HeatMap, Suspicion
from .stage1 import Pretraining
from .tokens import Tokens, padded
from .writer import reading, report_loss, word_embeddings, write

# As InstructBLIP's processor; our prompts are shorter.
_PROMPT_TOKENS = 128


@dataclass(frozen=True)
class Predicted:
    """What the model says of B pictures.

    mask_BHW: float32 0–1, probability that a pixel was altered. regions_BR: float32 0–1, from the prompter.
    verdict_B: float32 0–1, probability that the face was forged; None without `options.verdict`.
    used_BR: bool, the regions that mask and report were prompted with. reports: one text each.
    """

    mask_BHW: Tensor
    regions_BR: Tensor
    verdict_B: Tensor | None
    used_BR: Tensor
    reports: tuple[str, ...]


class _Seen(NamedTuple):
    """A picture with the regions that are suspected in it, and what the Q-Former's queries say of both."""

    image_BSV: Tensor
    used_BR: Tensor
    questions: list[str]
    queries_BQD: Tensor


def build(config: Config, tokens: Tokens) -> ForgeryTalker:
    """Return the model of a config; equal configs and tokens give equal weights, and no generator is moved.

    Raises:
        UserError: sizes that do not fit one another, a loss without its option, or faulty pretrained weights.
    """
    for name in STAGES:
        stage = getattr(config.training, name)
        if stage and stage.loss.get("verdict") and not config.model.options.verdict:
            raise UserError(f"'training.{name}.loss.verdict' needs 'model.options.verdict'.")
    data = config.data
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        return ForgeryTalker(
            config.model, tokens, data.size_px, data.report_tokens, language=data.language, cut_reports=data.cut_reports
        )


def select_parts(model: ForgeryTalker, train: Collection[Part]) -> None:
    """Let some parts learn, freeze all others, and put the model into training mode."""
    for part, parameters in model.parts().items():
        for parameter in parameters:
            parameter.requires_grad_(part in train)
    model.train()


class ForgeryTalker(nn.Module):
    """The network.

    Args:
        config: sizes, mends and options.
        tokens: its tokenizers.
        size_px: side of the pictures.
        report_tokens: tokens that a report may have; a longer one is refused, or with `cut_reports` cut.
        language: language of the reports, by whose lexicon region words are found (BCP 47).

    Raises:
        UserError: sizes that do not fit one another, or faulty pretrained weights.
    """

    def __init__(
        self,
        config: ModelConfig,
        tokens: Tokens,
        size_px: int,
        report_tokens: int,
        *,
        language: str = "en",
        cut_reports: bool = False,
    ) -> None:
        super().__init__()
        self.config, self.tokens, self.size_px, self.language = config, tokens, size_px, language
        self.report_tokens, self.cut_reports = report_tokens, cut_reports
        options, mends = config.options, config.mends
        self.blip = backbone(config, tokens, size_px)
        sizes = self.blip.config
        self.side = size_px // sizes.vision_config.patch_size
        vision, qformer = sizes.vision_config.hidden_size, sizes.qformer_config.hidden_size
        writer = sizes.text_config.hidden_size
        self.prompter = ForgeryPrompter(
            config.prompter, size_px, on_grid=mends.grid_fusion, maps=options.region_prompt == "heat_map"
        )
        self.mask_decoder = MaskDecoder(
            config.mask_decoder, vision, writer, qformer if options.report_to_mask else None
        )
        self.pretraining = Pretraining(
            vision, qformer, sizes.qformer_config.vocab_size, with_text=mends.contrast_with_text
        )
        self.heat = HeatMap(vision) if options.region_prompt == "heat_map" else None
        self.shown_mask = ShownMask(vision, writer) if options.mask_to_report else None
        self.verdict = nn.Linear(vision + qformer, 1) if options.verdict else None

    def parts(self) -> dict[Part, list[nn.Parameter]]:
        """Return every parameter in exactly one part.

        The projection to the language model counts as `qformer`, as in the paper's first stage, which trains it while
        `queries`, the query tokens alone, are frozen. `heads` is what only losses or options need.
        """
        vision, norm = self.blip.vision_model, self.blip.vision_model.post_layernorm
        normal = {id(parameter) for parameter in norm.parameters()}
        heads = (self.pretraining, self.heat, self.shown_mask, self.verdict)
        return {
            "vision": [parameter for parameter in vision.parameters() if id(parameter) not in normal],
            "vision_norm": list(norm.parameters()),
            "qformer": [*self.blip.qformer.parameters(), *self.blip.language_projection.parameters()],
            "queries": [self.blip.query_tokens],
            "language": list(self.blip.language_model.parameters()),
            "mask_decoder": list(self.mask_decoder.parameters()),
            "prompter": list(self.prompter.parameters()),
            "heads": [parameter for head in heads if head is not None for parameter in head.parameters()],
        }

    def train(self, mode: bool = True) -> ForgeryTalker:
        """Set the mode; a frozen prompter stays in evaluation mode unless `mends.steady_prompter` is off."""
        super().train(mode)
        learns = any(parameter.requires_grad for parameter in self.prompter.parameters())
        if self.config.mends.steady_prompter and not learns:
            self.prompter.eval()
        return self

    def gradient_checkpointing_enable(self) -> None:
        """Keep only the inputs of transformer blocks for the way back, and compute the rest again."""
        # What newer releases of the library call it; there the older name warns.
        enable = getattr(self.blip, "activation_checkpointing_enable", None) or self.blip.gradient_checkpointing_enable
        enable({"use_reentrant": False})
        self.prompter.gradient_checkpointing = True

    def forward(
        self, batch: Batch, stage: str, regions: str, losses: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """Return the losses of a stage by name (`config.LOSSES`), float32 B each, neither weighted nor averaged.

        A sample without a report, or of weight 0, costs 0 where texts are learnt, and is nobody's negative.

        Args:
            batch: samples.
            stage: `prompter`, `stage1` or `stage2`.
            regions: `truth` tells mask decoder and prompt the true labels, `predicted` what the prompter says.
            losses: compute these only; all that the model has by default.

        Raises:
            UserError: a report that is too long, or in a language without a lexicon.
        """
        wanted = LOSSES[stage] if losses is None else losses
        known = self._prompter_losses(batch) if stage == "prompter" else self._losses(batch, stage, regions)
        return {name: loss() for name, loss in known.items() if name in LOSSES[stage] and name in wanted}

    def _prompter_losses(self, batch: Batch) -> dict[str, Callable[[], Tensor]]:
        said = self.prompter(batch.pixels_BCHW)
        return {
            "regions": lambda: region_loss(said.logits_BR, batch.regions_BR),
            "patches": lambda: patch_loss(said.altered_Bhw, batch.mask_BHW),
        }

    def _losses(self, batch: Batch, stage: str, regions: str) -> dict[str, Callable[[], Tensor]]:
        told_BR = batch.regions_BR > 0 if regions == "truth" else None
        seen = self._see(batch.pixels_BCHW, told_BR, self._suspect(batch.pixels_BCHW, told_BR))
        mask_BHW = self._mask(seen)
        mends, image_BSV = self.config.mends, seen.image_BSV
        counts_B = torch.tensor([bool(text.strip()) for text in batch.reports], device=image_BSV.device)
        counts_B &= batch.weight_B > 0
        leaked = batch.reports if stage == "stage1" and not mends.hide_report else None
        said = partial(self._report_loss, seen, mask_BHW, batch.reports, leaked)
        words = partial(self.pretraining.masked_words, self.blip, self.tokens, image_BSV, batch.reports, self.language)
        losses: dict[str, Callable[[], Tensor]] = {
            "masked_words": lambda: words() * counts_B,
            "report": lambda: said() * counts_B,
            "mask": lambda: mask_loss(
                mask_BHW, batch.mask_BHW, single_sigmoid=mends.single_sigmoid, with_dice=mends.dice_in_masks
            ),
            "contrast": lambda: self.pretraining.contrast(
                self.blip, self.tokens, image_BSV, seen.queries_BQD, batch.reports, counts_B
            ),
        }
        if self.verdict is not None:
            losses["verdict"] = lambda: verdict_loss(self._verdict(seen), batch.manipulated_B)
        return losses

    @torch.no_grad()
    def predict(
        self, pixels_BCHW: Tensor, generation: GenerationConfig, regions: Sequence[Sequence[str]] | None = None
    ) -> Predicted:
        """Return what the model says of pictures, float32 as CLIP's.

        Args:
            pixels_BCHW: pictures.
            generation: how the report is searched for.
            regions: a user's own region words for each picture, in place of the prompter's.

        Raises:
            UserError: a word that is none of the 21 regions.
        """
        mode = self.training
        self.eval()
        try:
            told_BR = None if regions is None else regions_of(regions).to(pixels_BCHW.device)
            suspicion = self.prompter(pixels_BCHW)
            seen = self._see(pixels_BCHW, told_BR, suspicion)
            mask_BHW = self._mask(seen)
            verdict_B = None if self.verdict is None else self._verdict(seen).float().sigmoid()
            read_BTL, known_BT = self._read(seen, mask_BHW, seen.questions)
            reports = write(self.blip, self.tokens, read_BTL, known_BT, generation)
            return Predicted(mask_BHW.sigmoid(), suspicion.logits_BR.sigmoid(), verdict_B, seen.used_BR, reports)
        finally:
            self.train(mode)

    def _suspect(self, pixels_BCHW: Tensor, told_BR: Tensor | None) -> Suspicion | None:
        """What the frozen prompter says, where anybody asks."""
        if told_BR is not None and self.heat is None:
            return None
        with torch.no_grad():
            return self.prompter(pixels_BCHW)

    def _see(self, pixels_BCHW: Tensor, told_BR: Tensor | None, suspicion: Suspicion | None) -> _Seen:
        image_BSV = self.blip.vision_model(pixel_values=pixels_BCHW).last_hidden_state
        used_BR = told_BR
        if suspicion is not None and used_BR is None:
            used_BR = suspicion.logits_BR.sigmoid() > self.config.prompter.threshold
        if suspicion is not None and suspicion.maps_BRhw is not None:
            image_BSV = self.heat(image_BSV, suspicion.maps_BRhw, used_BR, self.side)
        named_BR = used_BR if self.config.options.region_prompt == "words" else torch.zeros_like(used_BR)
        questions = prompts(named_BR)
        words = padded(self.tokens.qformer, questions, _PROMPT_TOKENS, image_BSV.device)
        return _Seen(image_BSV, used_BR, questions, ask(self.blip, image_BSV, words)[0])

    def _mask(self, seen: _Seen) -> Tensor:
        words_RL = word_embeddings(self.blip, self.tokens)
        patches_BVhw = seen.image_BSV[:, 1:].transpose(1, 2).unflatten(2, (self.side, self.side))
        queries = seen.queries_BQD if self.config.options.report_to_mask else None
        return self.mask_decoder(patches_BVhw, words_RL, seen.used_BR, self.size_px, queries)

    def _verdict(self, seen: _Seen) -> Tensor:
        return self.verdict(torch.cat([seen.image_BSV[:, 0], seen.queries_BQD.mean(1)], 1))[:, 0]

    def _read(self, seen: _Seen, mask_BHW: Tensor, questions: Sequence[str]) -> tuple[Tensor, Tensor]:
        soft_BTL = self.blip.language_projection(seen.queries_BQD)
        if self.shown_mask is not None:
            soft_BTL = torch.cat([soft_BTL, self.shown_mask(seen.image_BSV[:, 1:], mask_BHW, self.side)], 1)
        return reading(self.blip, self.tokens, soft_BTL, questions, _PROMPT_TOKENS + self.report_tokens)

    def _report_loss(self, seen: _Seen, mask_BHW: Tensor, reports: Sequence[str], leak: Sequence[str] | None) -> Tensor:
        labels_BT = self.tokens.reports(reports, self.report_tokens, cut=self.cut_reports).to(mask_BHW.device)
        questions = seen.questions if leak is None else [f"{q} {r}" for q, r in zip(seen.questions, leak, strict=True)]
        return report_loss(self.blip, *self._read(seen, mask_BHW, questions), labels_BT)
