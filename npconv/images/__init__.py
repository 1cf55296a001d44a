"""From a picture to the array that a model takes.

Read in this order: ``decode`` (files to 8-bit RGB; ``header``: what a file says before that; ``pillow``: its settings
and failures; ``folder``: the pictures in one; ``remote``: those behind a URL; ``asking``: its server), ``transforms``
(resize, crop, rescale, normalise: the arithmetic), ``passes`` (which axis is resized first, in which Pillow's versions
differ), ``settings`` (what can be set, its defaults, and what is then done, as data), ``inputs`` (what a caller may
hand over), ``batch`` (what comes back), ``single_steps`` (each step as a method), ``saved`` (its files), ``processor``
(all of it behind the face of transformers). ``versions`` says which libraries made the numbers.
"""

from npconv.images.batch import BatchFeature
from npconv.images.decode import FORMATS, MAX_PIXELS, convert_to_rgb, open_image
from npconv.images.folder import pictures_in
from npconv.images.processor import ConvNextFeatureExtractor, ConvNextImageProcessor
from npconv.images.transforms import (
    center_crop,
    normalize,
    resample_filter,
    rescale,
    resize,
    resize_and_crop,
    scale_shortest_edge,
)

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "BatchFeature",
    "ConvNextFeatureExtractor",
    "ConvNextImageProcessor",
    "center_crop",
    "convert_to_rgb",
    "normalize",
    "open_image",
    "pictures_in",
    "resample_filter",
    "rescale",
    "resize",
    "resize_and_crop",
    "scale_shortest_edge",
]
