"""The table of golden cases of operations and layers.

Every known mistake must change the numbers of a case by ten tolerances or more: tiny variance shows an eps, two samples
show what is mixed over the batch, odd sizes show padding, a large mean shows how a variance is summed. All sizes of a
case differ where they can.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from weights_tools.goldens.cases import Draw, Drawn, arrays, later, picture, uniform

#: Name, purpose, what draws the arrays, attributes.
Row = tuple[str, str, Draw, dict[str, Any]]
Shape = tuple[int, ...]

ACTIVATIONS = ("gelu", "gelu_new", "quick_gelu", "relu", "silu", "selu", "mish", "hardswish")


def conv(name: str, why: str, shape: Shape, weight: Shape, stride: Any, padding: Any) -> Row:
    """Return a case of a convolution."""
    return name, why, arrays(shape, weight=weight, bias=weight[:1]), {"stride": stride, "padding": padding}


def dilated(name: str, why: str, shape: Shape, weight: Shape, padding: Any, dilation: int) -> Row:
    """Return a case of a convolution whose kernel's places are some positions apart."""
    name, why, draw, attributes = conv(name, why, shape, weight, 1, padding)
    return name, why, draw, {**attributes, "dilation": dilation}


def scaling(name: str, why: str, shape: Shape, axis: int, eps: float, std: float = 1.0, mean: float = 0.0) -> Row:
    """Return a case of a norm without bias."""
    return name, why, arrays(shape, std=std, mean=mean, weight=(shape[axis],)), {"eps": eps, "axis": axis}


#: Cases of RMS norm and of simple norm.
SCALINGS = [
    scaling("map", "over channels, axis 1, around 0.5", (2, 6, 4, 5), 1, 1e-6, mean=0.5),
    scaling("square_map", "as many channels as rows and columns: every axis fits", (2, 5, 5, 5), 1, 1e-6, mean=0.5),
    scaling("pooled", "over the last axis of two", (3, 8), -1, 1e-6, mean=0.5),
    scaling("tiny", "values of 1e-3: shows eps", (2, 6, 3, 4), 1, 1e-6, std=2.0**-10),
]


def bare(name: str, why: str, shape: Shape, weight: Shape, stride: Any, padding: Any) -> Row:
    """Return a case of a convolution without bias, as CvT has them."""
    return name, why, arrays(shape, weight=weight), {"stride": stride, "padding": padding}


def norm(name: str, why: str, shape: Shape, axis: int, eps: float, std: float, mean: float) -> Row:
    """Return a case of LayerNorm, with the standard deviation and the mean of its input."""
    channels = (shape[axis],)
    return name, why, arrays(shape, std=std, mean=mean, weight=channels, bias=channels), {"eps": eps, "axis": axis}


def activations() -> Iterator[Row]:
    """Yield the cases of activations."""
    for name in ACTIVATIONS:
        yield name, "from -9 to 9", arrays((3, 41), std=9 / 3**0.5), {"hidden_act": name}
        yield f"{name}_near_zero", "from -1 to 1", arrays((2, 4, 3, 2), std=3**-0.5), {"hidden_act": name}


@later
def constant(rng: np.random.Generator) -> Drawn:
    """Draw a map whose channels are all equal."""
    x = np.repeat(uniform(rng, 1, 1, 2, 3), 4, axis=1)
    return [x], {"weight": uniform(rng, 4), "bias": uniform(rng, 4)}


@later
def tiny_statistics(rng: np.random.Generator) -> Drawn:
    """Draw the arguments of a batch norm whose variances are near its eps."""
    params = {"weight": uniform(rng, 4), "bias": uniform(rng, 4), "running_mean": uniform(rng, 4, std=0.01)}
    variance = (np.abs(uniform(rng, 4, std=1e-5)) + np.float16(2e-6)).astype(np.float16)
    return [uniform(rng, 2, 4, 3, 5, std=0.01)], {**params, "running_var": variance}


@later
def strengths(rng: np.random.Generator, size: float, *, second: float = 0.25) -> Drawn:
    """Draw strengths of channels in two samples, those of the second multiplied by a factor."""
    strength = np.abs(uniform(rng, 2, 7, 1, 1, std=size, mean=2 * size))
    strength[1] *= np.float16(second)
    return [strength], {}


@later
def response(rng: np.random.Generator, *shape: int, std: float = 1.0) -> Drawn:
    """Draw the arguments of GRN; channels and samples differ in strength."""
    x = uniform(rng, *shape, std=std).astype(np.float64)
    x *= 0.25 + rng.random((shape[0], shape[1], 1, 1))
    size = (1, 1, 1, shape[1])
    bias = uniform(rng, *size, std=std or 1.0)  # small beside small values, or it would hide them
    return [x.astype(np.float16)], {"weight": uniform(rng, *size), "bias": bias}


@later
def probabilities(rng: np.random.Generator, *shape: int, depth: int) -> Drawn:
    """Draw probabilities (N, h, T, S), rounded, and values (N, S, h * depth)."""
    scores = rng.random(shape) ** 2
    value = uniform(rng, shape[0], shape[3], shape[1] * depth)
    return [(scores / scores.sum(axis=-1, keepdims=True)).astype(np.float16), value], {}


@later
def dead_channel(rng: np.random.Generator, *shape: int) -> Drawn:
    """Draw a map with a channel of zeros."""
    x = uniform(rng, *shape)
    x[:, 1] = 0
    return [x], {}


@later
def masked(rng: np.random.Generator, *shape: int, axes: int) -> Drawn:
    """Draw an array and a mask over its first axes that drops a fifth or so, and one number at least."""
    kept = rng.random(shape[:axes]) >= 0.2
    kept.flat[0], kept.flat[-1] = False, True
    return [uniform(rng, *shape), (kept / 0.8).astype(np.float16)], {}


@later
def labelled(rng: np.random.Generator, samples: int, classes: int, ignored: int = 0) -> Drawn:
    """Draw logits and labels, the first of which do not count."""
    labels = (rng.random(samples) * classes).astype(np.int64)
    labels[:ignored] = IGNORED["ignore_index"]
    return [uniform(rng, samples, classes, std=2), labels], {}


@later
def targeted(rng: np.random.Generator, *shape: int) -> Drawn:
    """Draw predictions or logits, and targets from 0 to 1."""
    return [uniform(rng, *shape, std=2), rng.random(shape).astype(np.float16)], {}


SCALE_AND_SHIFT: dict[str, Any] = {"weight": (5,), "bias": (5,)}
STATISTICS: dict[str, Any] = {**SCALE_AND_SHIFT, "running_mean": (5,), "running_var": (5,)}
GRN_WEIGHTS: dict[str, Any] = {"weight": (1, 1, 1, 5), "bias": (1, 1, 1, 5)}
THREE_HEADS, ONE_HEAD = {"num_heads": 3, "scale": 12**-0.5}, {"num_heads": 1, "scale": 8**-0.5}
WINDOW = {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}
BATCH_EPS, GRN_EPS, LAST = {"eps": 1e-5}, {"eps": 1e-6}, {"axis": -1}
MOMENTUM, IGNORED = {"momentum": 0.1}, {"ignore_index": -100}
OVERFLOW = "scores beyond 88.7: their exponentials overflow in float32"
NO_CROP = "from 384 pixels on no crop: a square at once; here 24"
SQUARE = "as many outputs as inputs: a transposed weight fits"

#: Of the published checkpoints.
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
TALL = {"height": 30, "width": 14, "resample": 3}
ODD = {"height": 8, "width": 9}
BORDER = {"rounding": "half_even", "fill": [124.0, 116.0, 104.0]}
CROP = {"resample": 3, "crop_height": 24, "crop_width": 24, "factor": 1 / 255, **IMAGENET}

#: The cases of each operation.
TABLE: dict[str, list[Row]] = {
    "conv2d": [
        conv("stem", "4 x 4 patches of odd sizes: the rest is left out", (2, 3, 13, 18), (5, 3, 4, 4), 4, 0),
        conv("downsampling", "2 x 2 on odd sizes: 5 x 7 becomes 2 x 3", (1, 4, 5, 7), (6, 4, 2, 2), 2, 0),
        conv("patches_7x7", "CvT's first embedding: overlapping patches", (2, 3, 16, 24), (4, 3, 7, 7), 4, 2),
        conv("patches_7x7_odd", "the same on odd sizes", (1, 3, 17, 22), (4, 3, 7, 7), 4, 2),
        conv("patches_3x3", "CvT's others on even sizes: SAME padding differs", (1, 4, 6, 8), (5, 4, 3, 3), 2, 1),
        conv("same_size", "stride 1: shows a shift by one", (2, 4, 5, 6), (3, 4, 3, 3), 1, 1),
        conv("not_square", "height and width differ in everything", (1, 3, 11, 9), (4, 3, 5, 3), [3, 2], [2, 1]),
        dilated(
            "dilated", "2 x 2, the places two apart: timm's second dilated stage", (2, 3, 6, 7), (4, 3, 2, 2), 1, 2
        ),
    ],
    "depthwise_conv2d": [
        conv("block_7x7", "ConvNeXt's block", (2, 5, 9, 12), (5, 1, 7, 7), 1, 3),
        conv("larger_than_map", "a 7 x 7 kernel over 3 x 2 positions", (1, 4, 3, 2), (4, 1, 7, 7), 1, 3),
        conv("not_square", "height and width differ in everything", (1, 3, 8, 7), (3, 1, 5, 3), 1, [2, 1]),
        bare("queries", "CvT's queries: 3 x 3, stride 1, no bias", (2, 6, 5, 7), (6, 1, 3, 3), 1, 1),
        bare(
            "keys_even", "CvT's keys and values on even sizes: SAME padding differs", (1, 4, 6, 8), (4, 1, 3, 3), 2, 1
        ),
        bare("keys_odd", "CvT's keys and values on odd sizes", (2, 4, 7, 9), (4, 1, 3, 3), 2, 1),
        dilated("dilated", "7 x 7, the places two apart: timm's output_stride", (2, 4, 9, 11), (4, 1, 7, 7), 6, 2),
    ],
    "pointwise_conv2d": [
        ("expand", "the first of a block", arrays((2, 5, 4, 3), weight=(20, 5), bias=(20,)), {}),
        ("contract", "the second of a block", arrays((1, 16, 3, 5), weight=(4, 16), bias=(4,)), {}),
        ("square", SQUARE, arrays((2, 6, 3, 4), weight=(6, 6), bias=(6,)), {}),
        ("kernel_1x1", "a weight with four axes, no bias", arrays((1, 4, 2, 5), weight=(7, 4, 1, 1)), {}),
    ],
    "layer_norm": [
        norm("map", "over channels, axis 1", (2, 6, 4, 5), 1, 1e-6, 1, 0),
        norm("square_map", "as many channels as rows and columns: every axis fits", (2, 5, 5, 5), 1, 1e-6, 1, 0),
        norm("tokens", "over the last axis", (2, 7, 6), -1, 1e-5, 1, 0),
        norm("pooled", "over the last axis of two", (3, 8), -1, 1e-12, 1, 0),
        norm("tiny_variance_map", "standard deviation 1e-3: shows eps", (2, 6, 3, 4), 1, 1e-6, 2.0**-10, 0),
        norm("tiny_variance_tokens", "standard deviation 1e-3: shows eps", (1, 5, 8), -1, 1e-5, 2.0**-10, 0),
        norm("tiny_variance_pooled", "standard deviation 1e-6: shows eps 1e-12", (2, 9), -1, 1e-12, 2.0**-20, 0),
        norm("large_mean_map", "mean 300: shows how the variance is summed", (1, 32, 2, 3), 1, 1e-6, 1, 300),
        norm("large_mean_tokens", "mean -500: shows how the variance is summed", (1, 3, 24), -1, 1e-5, 1, -500),
        norm("large_values", "deviations beyond 255.9: squares overflow in float16", (2, 7, 2, 3), 1, 1e-6, 400, 0),
        ("constant", "all channels equal: no deviation at all", constant(), {"eps": 1e-6, "axis": 1}),
    ],
    "rms_norm": SCALINGS,
    "simple_norm": SCALINGS,
    "batch_norm": [
        ("map", "two samples and stored statistics", arrays((2, 5, 4, 3), **STATISTICS), BATCH_EPS),
        ("one_sample", "one sample", arrays((1, 5, 3, 6), **STATISTICS), BATCH_EPS),
        ("tiny_variance", "running_var near 1e-5: shows eps", tiny_statistics(), BATCH_EPS),
    ],
    "batch_norm_training": [
        ("map", "the statistics of two samples", arrays((2, 5, 4, 3), mean=1, **SCALE_AND_SHIFT), BATCH_EPS),
        ("tiny_variance", "variances near its eps", arrays((2, 5, 3, 4), std=0.004, **SCALE_AND_SHIFT), BATCH_EPS),
    ],
    "running_mean": [("map", "a tenth of the batch's mean", arrays((2, 5, 4, 3), mean=1, running_mean=(5,)), MOMENTUM)],
    "running_var": [("map", "divided by n - 1, not n", arrays((2, 5, 4, 3), std=2, running_var=(5,)), MOMENTUM)],
    "drop_path": [("tokens", "a factor for each sample", masked(4, 5, 3, axes=1), {})],
    "dropout": [("probabilities", "a factor for each number", masked(2, 3, 4, 5, axes=4), {})],
    "activation": [*activations()],
    "grn_strength": [
        ("map", "two samples", arrays((2, 5, 4, 3)), {}),
        ("dead_channel", "a channel of zeros, whose gradient is 0 and not 0 / 0", dead_channel(2, 4, 3, 2), {}),
        ("large_values", "squares that overflow in float16", arrays((1, 4, 3, 5), std=120), {}),
    ],
    "grn_relative": [
        ("two_samples", "shows a mean over the batch", strengths(1.0), GRN_EPS),
        ("tiny", "strengths of 1e-5: shows eps", strengths(1e-5), GRN_EPS),
        ("zeros", "a sample of zeros: 0 without eps is no number", strengths(1.0, second=0.0), GRN_EPS),
    ],
    "grn_apply": [
        ("map", "two samples", arrays((2, 5, 4, 3), (2, 5, 1, 1), **GRN_WEIGHTS), {}),
        ("one_axis", "weights of one axis", arrays((1, 4, 2, 3), (1, 4, 1, 1), weight=(4,), bias=(4,)), {}),
    ],
    "global_response_norm": [
        ("two_samples", "of different strength: shows a mean over the batch", response(2, 5, 4, 3), GRN_EPS),
        ("one_sample", "one sample", response(1, 6, 3, 5), GRN_EPS),
        ("tiny", "values of 1e-6: shows eps", response(2, 5, 3, 4, std=2.0**-20), GRN_EPS),
        ("large_values", "squares that overflow in float16", response(1, 4, 5, 3, std=120), GRN_EPS),
        ("zeros", "a map of zeros: no strength at all", response(1, 4, 2, 3, std=0), GRN_EPS),
    ],
    "layer_scale": [("map", "one factor a channel", arrays((2, 5, 3, 4), layer_scale_parameter=(5,)), {})],
    "residual": [
        ("map", "a sum", arrays((2, 4, 3, 5), (2, 4, 3, 5)), {}),
        ("tokens", "a sum", arrays((2, 5, 4), (2, 5, 4)), {}),
    ],
    "global_average_pool": [
        ("odd", "odd sizes", arrays((2, 5, 7, 3)), {}),
        ("large_mean", "a mean of 100: shows a sum in float16", arrays((1, 4, 6, 8), mean=100), {}),
    ],
    "global_max_pool": [("odd", "odd sizes", arrays((2, 5, 7, 3)), {})],
    "halfway": [("pooled", "average and maximum", arrays((2, 7), (2, 7)), {})],
    "join_features": [("pooled", "average and maximum", arrays((2, 7), (2, 7)), {})],
    "pad_end": [("map", "a row below, a column on the right", arrays((2, 3, 5, 4)), {})],
    "average_pool2d": [
        ("odd", "CvT's averaged keys and values", arrays((2, 4, 7, 5)), WINDOW),
        ("even", "the size is rounded up", arrays((1, 3, 6, 8)), WINDOW),
    ],
    "token_mean": [("tokens", "a mean over tokens", arrays((2, 7, 5)), {})],
    "map_tokens": [("map", "row by row", arrays((2, 5, 3, 4)), {})],
    "tokens": [
        ("without_class_token", "row by row", arrays((2, 5, 3, 4)), {}),
        ("class_token", "the class token first", arrays((2, 6, 4, 3), cls_token=(1, 1, 6)), {}),
    ],
    "positions_map": [
        ("without_class_token", "row by row", arrays((2, 12, 5), (2, 5, 3, 4)), {}),
        ("class_token", "the class token is left out", arrays((2, 13, 5), (2, 5, 4, 3)), {}),
    ],
    "class_token": [("class_token", "what stands before the positions", arrays((2, 13, 5), (2, 5, 4, 3)), {})],
    "join_class_token": [
        ("keys", "the class token first", arrays((2, 1, 5), (2, 6, 5)), {}),
        ("one_for_all", "one class token for all samples", arrays((1, 1, 5), (2, 6, 5)), {}),
    ],
    "linear": [
        ("tokens", "more outputs than inputs", arrays((2, 5, 6), weight=(9, 6), bias=(9,)), {}),
        ("square", SQUARE, arrays((2, 4, 7), weight=(7, 7), bias=(7,)), {}),
        ("classifier", "pooled features", arrays((3, 8), weight=(5, 8), bias=(5,)), {}),
        ("no_bias", "no bias", arrays((1, 3, 5), weight=(4, 5)), {}),
    ],
    "attention_scores": [
        ("three_heads", "the scale of the whole embedding", arrays((2, 5, 12), (2, 4, 12)), THREE_HEADS),
        ("one_head", "one head", arrays((1, 6, 8), (1, 3, 8)), ONE_HEAD),
    ],
    "softmax": [
        ("scores", "over the last axis", arrays((2, 3, 5, 4), std=2), LAST),
        ("large_scores", OVERFLOW, arrays((1, 2, 4, 6), std=70), LAST),
    ],
    "attention_context": [
        ("three_heads", "heads side by side", probabilities(2, 3, 5, 4, depth=4), {}),
        ("one_head", "one head", probabilities(1, 1, 3, 6, depth=5), {}),
    ],
    "attention": [
        ("three_heads", "fewer keys than queries", arrays((2, 7, 12), *[(2, 5, 12)] * 2, std=1.5), THREE_HEADS),
        ("as_many_keys", "as many keys as queries", arrays(*[(2, 6, 12)] * 3, std=1.5), THREE_HEADS),
        ("one_head", "one head", arrays((1, 4, 8), (1, 6, 8), (1, 6, 8)), ONE_HEAD),
        ("large_scores", OVERFLOW, arrays((1, 4, 12), *[(1, 5, 12)] * 2, std=12), THREE_HEADS),
    ],
    "cross_entropy": [
        ("labels", "a mean over samples", labelled(4, 5), IGNORED),
        ("ignored", "two of five samples do not count", labelled(5, 4, ignored=2), IGNORED),
    ],
    "mean_squared_error": [("targets", "a mean over all elements", targeted(3, 4), {})],
    "binary_cross_entropy_with_logits": [("targets", "a mean over all elements", targeted(3, 4), {})],
    "half_square": [("map", "half the sum of squares", arrays((2, 4, 3)), {})],
    "sum_gradients": [
        ("block", "the residual's and the branch's", arrays((2, 4, 3, 5), (2, 4, 3, 5)), {}),
        ("three", "of queries, keys and values", arrays(*[(2, 5, 4)] * 3), {}),
    ],
    "resize": [
        ("bicubic_down", "fewer pixels, antialiased", picture(37, 53), {"height": 21, "width": 30, "resample": 3}),
        ("bicubic_up", "more pixels", picture(13, 9), {"height": 20, "width": 14, "resample": 3}),
        ("bilinear_down", "fewer pixels, antialiased", picture(29, 41), {"height": 12, "width": 17, "resample": 2}),
        (
            "horizontal_first",
            "tall, as by Pillow 12",
            picture(67, 31),
            {**TALL, "order": "horizontal"},
        ),
        ("vertical_first", "tall, as by Pillow 13", picture(67, 31), {**TALL, "order": "vertical"}),
    ],
    "center_crop": [
        ("odd", "an odd difference: the offset is rounded down", picture(15, 18), {"height": 8, "width": 9}),
        ("larger", "larger than the picture: a border of zeros", picture(7, 12), {"height": 10, "width": 9}),
        ("half_even", "half a difference rounded to even", picture(15, 18), {**ODD, "rounding": "half_even"}),
        ("filled", "a border of another colour, as timm makes it", picture(7, 12), {**ODD, "height": 10, **BORDER}),
    ],
    "rescale": [("picture", "to 0..1", picture(6, 9), {"factor": 1 / 255})],
    "normalize": [
        ("imagenet", "one mean and deviation a channel", arrays((3, 5, 7), std=0.25, mean=0.5), IMAGENET),
        ("half", "-1 to 1", arrays((3, 4, 6), std=0.25, mean=0.5), HALF),
    ],
    "preprocess": [
        ("wide", "shorter edge to 27, crop 24, as 256 and 224", picture(40, 57), {"height": 27, "width": 38, **CROP}),
        ("tall", "the same upright, bilinear", picture(51, 34), {**CROP, "height": 40, "width": 27, "resample": 2}),
        ("warped", NO_CROP, picture(31, 46), {**CROP, "height": 24, "width": 24}),
    ],
}
