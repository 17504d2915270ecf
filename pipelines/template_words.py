"""Words of template texts: what looks wrong with each kind of forgery, in sentences that take parts of the face.

`{s}`, `{is}`, `{has}`, `{its}` agree in number with the parts before them; `{at}` is where the parts themselves go.
No sentence names a part of its own.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Wording(NamedTuple):
    """What is said of one kind of forgery.

    faults: what the parts do, after their names. openings: whole clauses about the parts. tells: sentences that follow.
    """

    faults: tuple[str, ...]
    openings: tuple[str, ...]
    tells: tuple[str, ...]


SWAP = Wording(
    faults=(
        "look{s} pasted in from another picture",
        "{is} mismatched in tone with the surroundings",
        "{has} a different tone than the area next to the border",
        "seem{s} to belong to a different face",
        "{is} lit from a different direction than everything around",
        "{is} inconsistent in sharpness and grain with the surroundings",
        "look{s} inserted, with a border that fades too quickly",
        "do{es} not blend in: colour and light are inconsistent",
        "{has} unnatural proportions, as if taken from a different head",
        "look{s} replaced, and {its} colours are mismatched",
    ),
    openings=(
        "A faint seam is visible around {at}",
        "There is an abrupt change of colour around {at}",
        "A blended border encloses {at}",
        "A mismatched patch covers {at}",
        "Colour and sharpness jump in an unnatural way at {at}",
    ),
    tells=(
        "Colour and light change abruptly where the patch begins.",
        "The transition is too soft on one side and too abrupt on the other.",
        "The grain of the patch is different from the grain around it.",
        "A ring of blended colour gives the border away.",
        "What lies inside the border follows a different light than what lies outside.",
        "The border is visible as a step in brightness.",
    ),
)
BORDER = Wording(
    faults=(
        "{has} a soft halo along the border",
        "look{s} blended in, with a slight ghost of the outline",
        "{is} slightly shifted, so that the outline appears doubled",
        "{has} a slightly different tone, which ends at a blurred border",
        "{is} inconsistent with the surroundings in tone and sharpness",
        "look{s} like a patch that was laid over itself and blended",
        "{has} edges that are washed out and a tint that does not fit",
        "{is} displaced by a little, and the border is smeared",
        "change{s} tone abruptly, as if overlaid with a second copy",
        "show{s} doubled contours and an unnatural tint",
    ),
    openings=(
        "A blended border runs around {at}",
        "A slight ghost of the outline is visible at {at}",
        "There is a soft halo around {at}",
        "The tone shifts abruptly at {at}",
        "A second, displaced outline shows through at {at}",
    ),
    tells=(
        "Inside the border tone and sharpness are slightly different.",
        "The outline seems to exist twice, a little apart.",
        "The border fades out softly, but the tone does not match.",
        "The patch and its surroundings do not agree in contrast.",
        "A faint step in tone marks where the copy ends.",
        "Fine detail is washed out along the whole transition.",
    ),
)
SHAPE = Wording(
    faults=(
        "{is} distorted, as if pulled out of shape",
        "{has} unnatural proportions and a warped outline",
        "look{s} stretched compared with the rest of the face",
        "{is} misshapen, and lines close by are bent along",
        "{is} out of proportion with everything around",
        "look{s} swollen on one edge and squeezed on the other",
        "{has} a warped contour that bends the texture with it",
        "{is} displaced, so that the face looks asymmetric",
        "look{s} squeezed, with detail that is compressed at the border",
        "{is} bent in a way that no expression explains",
    ),
    openings=(
        "The geometry is distorted at {at}",
        "The outline is warped around {at}",
        "Lines bend in an unnatural way at {at}",
        "The proportions are wrong at {at}",
        "The texture is stretched around {at}",
    ),
    tells=(
        "The shape is wrong although colour and grain stay the same.",
        "Neighbouring lines are bent towards the same point.",
        "Texture is stretched on one edge and compressed on the other.",
        "No border is visible, but the proportions do not fit.",
        "The two halves of the face are clearly asymmetric there.",
        "Size and position do not agree with the rest.",
    ),
)
AGE = Wording(
    faults=(
        "{is} covered by a coarse, uneven texture",
        "{has} an exaggerated, rough relief",
        "look{s} unnaturally rough, with contrast that is too high",
        "{has} an artificial grain of dark and bright lines",
        "{is} oversharpened, and fine shadows look exaggerated",
        "look{s} blotchy and coarser than the surroundings",
        "show{s} a repeated pattern of rough texture",
        "{is} unnaturally uneven, as if a rough pattern was overlaid",
        "{has} exaggerated shadows in a coarse pattern",
        "look{s} rough and patchy in an artificial way",
    ),
    openings=(
        "A coarse, artificial texture covers {at}",
        "An exaggerated relief is visible at {at}",
        "The contrast is unnaturally high at {at}",
        "A rough, repeated pattern lies over {at}",
        "Fine shadows are exaggerated at {at}",
    ),
    tells=(
        "The pattern is the same everywhere and follows no anatomy.",
        "It stops abruptly where the smoother surroundings begin.",
        "The roughness is too regular to be real.",
        "Shadows were deepened although the light is the same.",
        "The texture looks overlaid and not grown.",
        "Contrast is too high in comparison with the rest of the picture.",
    ),
)
FILL = Wording(
    faults=(
        "{is} smeared, and fine detail is lost",
        "look{s} painted over with a blurred patch",
        "{is} missing parts, which a smooth smear replaces",
        "{has} lost all real detail and consist{s} of smudged colours",
        "look{s} erased and filled in from the border",
        "{is} interrupted by a blurry patch with an unnatural outline",
        "dissolve{s} into a smeared area without structure",
        "{is} partly missing, as if wiped away",
        "look{s} smudged, with streaks that run in from the edge",
        "{has} a hole that was filled with repeated, blurry texture",
    ),
    openings=(
        "A smeared patch covers {at}",
        "Detail is missing at {at}",
        "There is a blurry, filled area at {at}",
        "Streaks of smudged colour run across {at}",
        "A blotch without any structure lies over {at}",
    ),
    tells=(
        "Colours bleed into the patch from its edge.",
        "The patch has no grain, unlike everything around it.",
        "Outlines stop abruptly at the border of the blotch.",
        "Streaks meet in the middle of the patch and form an unnatural ridge.",
        "What should be there is missing.",
        "The filled area is blurry and of one tone.",
    ),
)
COLOUR = Wording(
    faults=(
        "{has} an unnatural colour that stops at the outline",
        "{is} tinted, while light and texture stay the same",
        "look{s} recoloured, with a hue that does not fit",
        "{is} discoloured in comparison with everything around",
        "{has} a colour cast that ends abruptly at the edge",
        "look{s} painted in an artificial hue",
        "{is} too saturated to be real",
        "{has} a strange tint which the surroundings lack",
        "stand{s} out by an implausible colour",
        "{has} the wrong hue for the light in the picture",
    ),
    openings=(
        "An unnatural tint covers {at}",
        "The colour is wrong at {at}",
        "A colour cast is limited to {at}",
        "There is an abrupt change of hue at {at}",
        "An artificial colour was laid over {at}",
    ),
    tells=(
        "Texture and shape are unchanged, only the hue is wrong.",
        "The tint ends exactly at the outline.",
        "The hue does not occur anywhere else in the picture.",
        "The colour is the same in light and in shadow, which is unnatural.",
        "A thin fringe of the former colour remains at the edge.",
        "The saturation jumps at the border.",
    ),
)
SMOOTH = Wording(
    faults=(
        "{is} too smooth, as if airbrushed",
        "look{s} waxy and without any grain",
        "{has} lost {its} fine texture and look{s} blurred",
        "{is} unnaturally even, with a plastic shine",
        "look{s} retouched, because fine detail is wiped away",
        "{has} a smoothed surface that looks like plastic",
        "{is} blurred, while outlines stay sharp",
        "show{s} no texture, which looks artificial",
        "{is} flattened and softened by a smoothing filter",
        "look{s} like wax in comparison with the rest",
    ),
    openings=(
        "An unnatural smoothness covers {at}",
        "Fine texture is missing at {at}",
        "A smoothing filter flattened {at}",
        "The surface looks airbrushed at {at}",
        "The grain is lost at {at}",
    ),
    tells=(
        "Outlines stay sharp while the surface between them is blurred.",
        "The grain of the picture is missing there.",
        "It looks airbrushed next to untouched surroundings.",
        "Small shadows were wiped away.",
        "The surface is as even as plastic.",
        "The change in sharpness is abrupt.",
    ),
)
# What is said where the mask meets no part that has a name.
NOTHING: tuple[str, ...] = (
    "At full size no part of the face shows a trace that could be pointed to in this picture.",
    "Nothing in the face can be pointed to; colour, borders and texture look consistent everywhere.",
)
OF_FAMILY: Mapping[str, Wording] = MappingProxyType({
    "face_swap": SWAP, "part_swap": SWAP, "self_blend": BORDER, "attribute_edit": SHAPE, "recolour": COLOUR,
    "retouch": SMOOTH, "transformer_inpainting": FILL, "diffusion_inpainting": FILL, "classical_inpainting": FILL,
})  # fmt: skip
# Programs that leave other traces than the rest of their family.
OF_MANIPULATOR: Mapping[str, Wording] = MappingProxyType({"ageing": AGE})
PAIRED = ("eye", "pupil", "ear", "cheek", "eyebrow")
PLURAL = {"tooth": "teeth", "wrinkle": "wrinkles", "freckle": "freckles", "lip": "lips"}
