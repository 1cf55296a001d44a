"""More preprocessing: twenty-five ways to make a photo ready that are in no catalogue, told as kinds."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.ndimage import map_coordinates

from npconv.images.transforms import resize, resize_float
from tests.golden.specimens import PICTURE
from tests.golden.unlisted.entry import Entry, reason
from tests.golden.unlisted.port import computed, first_input, result, settings

entry = partial(Entry, "preprocessing")

BICUBIC, BILINEAR, HARD = "bicubic, cropped", "bilinear, cropped", "horizontal pass first"


def resized(change):
    """Resize to another height and width: `change` makes them of the right ones."""

    def call(right, image, *, height, width, **how):
        return right(image, height=change(height, width)[0], width=change(height, width)[1], **how)

    return computed(call)


def cropped_at(down: int, along: int):
    """Begin the crop so many rows and columns later than in the middle."""

    def call(right, image, *, height, width, **how):
        top, left = ((size - target) // 2 for size, target in zip(image.shape[1:], (height, width), strict=True))
        return image[:, top + down :, left + along :][:, :height, :width]

    return computed(call)


def sampled(degree: int):
    """Look up single places between the pixels, the first on the first and the last on the last."""

    def call(right, image, *, height, width, **how):
        places = [np.linspace(0, old - 1, new) for new, old in zip((height, width), image.shape[1:], strict=True)]
        grid = np.meshgrid(*places, indexing="ij")
        found = [map_coordinates(channel.astype(np.float64), grid, order=degree, mode="nearest") for channel in image]
        return np.rint(np.clip(found, 0, 255)).astype(np.uint8)

    return computed(call)


def of_floats(change):
    """Resize in floating point, and make whole numbers of it otherwise."""

    def call(right, image, *, height, width, resample, order):
        return change(resize_float(image, (height, width), resample, order))

    return computed(call)


def mixed(*weights: float):
    """Take one brightness of three colours for all."""

    def call(image):
        grey = np.tensordot(np.float32(weights), image.astype(np.float32), 1)
        return np.broadcast_to(np.rint(grey), image.shape).astype(np.uint8)

    return first_input(call)


def luma(image):
    """Return YCbCr, as JPEG has it."""
    r, g, b = image.astype(np.float64)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return np.rint(np.clip([y, 128 + (b - y) / 1.772, 128 + (r - y) / 1.402], 0, 255)).astype(np.uint8)


def twice_resized(right, image, *, height, width, resample, order):
    """Resize to a size between first."""
    return right(resize(image, (40, 40), resample, order), height=height, width=width, resample=resample, order=order)


GREY = r"gr[ae]y|luma|bright|colou?r"
CROP = r"crop|begin|row|column|shift|offset|corner"
TURNED = r"turn|rotat|flip|upside|mirror|180|revers"

ENTRIES = (
    entry(*("crop-aslant", PICTURE, "cropped"), cropped_at(1, -1), reason(CROP), "two halves rounded", model=BICUBIC),
    entry(
        *("crop-two-lower", PICTURE, "cropped"),
        cropped_at(2, 0),
        reason(CROP),
        "a border counted twice",
        model=BICUBIC,
    ),
    entry(
        *("crop-at-the-end", PICTURE, "cropped"),
        computed(lambda right, image, *, height, width, **how: image[:, -height:, -width:]),
        reason(CROP),
        "[-size:] for the middle",
        model=BILINEAR,
    ),
    entry(*("sinc", PICTURE, "resized"), settings(resample=1), reason("lanczos"), "ANTIALIAS", model=BILINEAR),
    entry(*("hamming-of-hard", PICTURE, "resized"), settings(resample=5), reason("hamming"), "by number", model=HARD),
    entry(*("cubic-corners", PICTURE, "resized"), sampled(3), reason("corner"), "zoom of SciPy", model=BICUBIC),
    entry(
        *("corners-of-hard", PICTURE, "resized"),
        sampled(1),
        reason("corner"),
        "align_corners=True",
        model=HARD,
    ),
    entry(
        *("not-rounded", PICTURE, "resized"),
        of_floats(lambda y: np.clip(y, 0, 255)),
        reason(r"float|not rounded"),
        "tf.image.resize",
        model=BILINEAR,
    ),
    entry(
        *("truncated", PICTURE, "resized"),
        of_floats(lambda y: np.clip(y, 0, 255).astype(np.uint8)),
        reason(r"trunc|cut|not rounded|floor|down"),
        "astype(uint8) of floats",
        model=BICUBIC,
    ),
    entry(
        *("squashed", PICTURE, "resized"),
        resized(lambda h, w: (28, 28)),
        reason(r"28|square|aspect"),
        "no aspect",
        model=BICUBIC,
    ),
    entry(
        *("no-margin", PICTURE, "resized"),
        resized(lambda h, w: (h * 25 // 28, w * 25 // 28)),
        reason(r"25|margin|crop|size"),
        "crop_pct 1",
        model=BICUBIC,
    ),
    entry(
        *("one-more-row", PICTURE, "resized"),
        resized(lambda h, w: (h + 1, w)),
        reason(r"resized to"),
        "ceil for floor",
        model=BILINEAR,
    ),
    entry(
        *("resized-twice", PICTURE, "resized"),
        computed(twice_resized),
        reason(r"twice|between|40"),
        "a thumbnail first",
        model=BILINEAR,
    ),
    entry(*("luma-601", PICTURE, "resized"), mixed(0.299, 0.587, 0.114), reason(GREY), "convert('L')", model=BICUBIC),
    entry(
        *("luma-709", PICTURE, "resized"),
        mixed(0.2126, 0.7152, 0.0722),
        reason(GREY),
        "skimage's rgb2gray",
        model=BICUBIC,
    ),
    entry(
        *("mean-of-channels", PICTURE, "resized"),
        mixed(1 / 3, 1 / 3, 1 / 3),
        reason(GREY),
        "mean(axis=-1)",
        model=BILINEAR,
    ),
    entry(
        *("ycbcr", PICTURE, "resized"),
        first_input(luma),
        reason(r"ycbcr|luma|colou?r"),
        "a decoder's own colours",
        model=HARD,
    ),
    entry(
        *("gbr", PICTURE, "resized"),
        first_input(lambda x: x[[1, 2, 0]]),
        reason(r"gbr|order|channel"),
        "planes of a video",
        model=BILINEAR,
    ),
    entry(
        *("upside-down", PICTURE, "resized"),
        first_input(lambda x: x[:, ::-1].copy()),
        reason(TURNED),
        "rows of a BMP",
        model=HARD,
    ),
    entry(
        *("turned", PICTURE, "cropped"),
        result(lambda y: np.rot90(y, axes=(1, 2)).copy()),
        reason(r"turn|rotat|90|exchanged"),
        "EXIF",
        model=BICUBIC,
    ),
    entry(
        *("half-turned", PICTURE, "cropped"),
        result(lambda y: y[:, ::-1, ::-1].copy()),
        reason(TURNED),
        "EXIF",
        model=BILINEAR,
    ),
    entry(
        *("normalized-twice", PICTURE, "normalized"),
        computed(lambda right, x, *, mean, std: right(right(x, mean=mean, std=std), mean=mean, std=std)),
        reason(r"twice|2 times|again"),
        "by the loader and by the model",
        model=BILINEAR,
    ),
    entry(
        *("half-then-imagenet", PICTURE, "normalized"),
        computed(lambda right, x, *, mean, std: right(x * 2 - 1, mean=mean, std=std)),
        reason(r"2|half|-1"),
        "[-1, 1], then the statistics",
        model=BICUBIC,
    ),
    entry(
        *("signed-bytes", PICTURE, "rescaled"),
        computed(lambda right, x, factor: right(x.astype(np.int8), factor)),
        reason(r"int8|sign|wrap|128"),
        "int8 of a runtime",
        model=HARD,
    ),
    entry(
        *("cut-at-one", PICTURE, "normalized"),
        result(lambda y: np.clip(y, -1, 1)),
        reason(r"cut|clip", numbers=(1.0,)),
        "clip(-1, 1)",
        model=BILINEAR,
    ),
)
