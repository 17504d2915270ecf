"""Data: from shards to batches.

    open_data(root, config, split) → Data ── data[i] ──→ Example      one sample, its whole frame
                                      └─ batches(data, …) → Batch …   an epoch, a rank's share

Shapes and dtypes, everywhere in this package:

    pixels as stored    H×W×4    uint8    RGB and the mask's coverage 0–255, which no step ever parts
    Example.image       S×S×3    uint8    RGB, S = `data.size_px`
    Example.mask        S×S      uint8    {0, 1}
    Batch.pixels_BCHW   B×3×S×S  float32  CLIP's mean and deviation
    Batch.mask_BHW      B×S×S    float32  {0, 1}
    Batch.regions_BR    B×21     float32  {0, 1}, in the order of `mmtt.regions.REGIONS`
    a cache             N×s×s×4  uint8    s = `data.cache_px`; as pixels, reduced by means over blocks
"""

from .decode import Example, stack
from .geometry import Draw, Geometry, normalise
from .loader import batches
from .opening import Data, open_data

__all__ = ["Data", "Draw", "Example", "Geometry", "batches", "normalise", "open_data", "stack"]
