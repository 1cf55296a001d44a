"""The tiny models on which :mod:`npconv.golden.proof` makes every mistake.

Each shows other mistakes: a model of tiny variance shows each epsilon, one of large numbers what overflows or loses its
digits. Sizes are odd and all different, pictures are two and, but for one model of each family, not square, and no
parameter is 0, 1 or the same for all channels; so whatever is swapped, left out or mixed up changes the numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npconv.api import (
    ConvNextForImageClassification,
    ConvNextV2ForImageClassification,
    CvtForImageClassification,
)
from npconv.api.heads import BareModel
from npconv.models import ConvNextConfig, ConvNextV2Config, CvtConfig

FAMILIES = ("convnext", "convnextv2", "cvt")

CLASSES: dict[str, Any] = {
    "convnext": (ConvNextConfig, ConvNextForImageClassification),
    "convnextv2": (ConvNextV2Config, ConvNextV2ForImageClassification),
    "cvt": (CvtConfig, CvtForImageClassification),
}

STAGED: dict[str, Any] = {"num_stages": 2, "hidden_sizes": [6, 10], "depths": [2, 1], "patch_size": 3, "num_labels": 7}

CVT: dict[str, Any] = {
    **{"embed_dim": [6, 12], "num_heads": [2, 3], "depth": [2, 1], "mlp_ratio": [2.0, 1.5], "num_labels": 7},
    **{"patch_sizes": [5, 3], "patch_stride": [3, 2], "patch_padding": [2, 1], "cls_token": [False, True]},
    **{"kernel_qkv": [3, 3], "padding_kv": [1, 1], "stride_kv": [2, 2], "padding_q": [1, 1], "stride_q": [1, 1]},
    **{"qkv_bias": [True, True], "qkv_projection_method": ["dw_bn", "dw_bn"]},
    **{"drop_rate": [0.0, 0.0], "attention_drop_rate": [0.0, 0.0], "drop_path_rate": [0.0, 0.0]},
}
#: The second stage embeds with stride 1, and has no class token to classify.
POOLED: dict[str, Any] = {
    **CVT,
    **{"cls_token": [False, False], "qkv_projection_method": ["avg", "avg"], "patch_stride": [3, 1]},
}

#: A class token from the first stage on, which all stages must then be as wide as.
TOKENS: dict[str, Any] = {**CVT, "embed_dim": [12, 12], "cls_token": [True, True], "hidden_act": "quick_gelu"}


@dataclass(frozen=True)
class Recipe:
    """What a model is made of.

    Parameters
    ----------
    family : str
    says : str
        What it is for.
    fields : mapping
        Of the configuration.
    shape : tuple of int
        Of the pictures.
    scale : float
        Of pictures, biases, and the scales and shifts of normalizations.
    offset : float
        Added to the pictures' embedding, so that all its channels have a large mean.
    gain : float
        Of the projections of queries and keys.
    """

    family: str
    says: str
    fields: Mapping[str, Any]
    shape: tuple[int, ...]
    scale: float = 1.0
    offset: float = 0.0
    gain: float = 1.0


STAGED_SHAPE, CVT_SHAPE = (2, 3, 25, 29), (2, 3, 29, 34)

#: What all published models take; their maps have other numbers of channels than of rows.
STAGED_SQUARE, CVT_SQUARE = (2, 3, 25, 25), (2, 3, 29, 29)

#: In the order in which a mistake is looked for.
RECIPES = (
    Recipe("convnext", "usual", STAGED, STAGED_SHAPE),
    Recipe("convnext", "square", STAGED, STAGED_SQUARE),
    Recipe("convnext", "tanh GELU", {**STAGED, "hidden_act": "gelu_new"}, STAGED_SHAPE),
    Recipe("convnext", "tiny variance", STAGED, STAGED_SHAPE, scale=1e-3),
    Recipe("convnext", "large mean", STAGED, STAGED_SHAPE, offset=300.0),
    Recipe("convnextv2", "usual", STAGED, STAGED_SHAPE),
    Recipe("convnextv2", "square", STAGED, STAGED_SQUARE),
    Recipe("convnextv2", "tanh GELU", {**STAGED, "hidden_act": "gelu_new"}, STAGED_SHAPE),
    Recipe("convnextv2", "tiny variance", STAGED, STAGED_SHAPE, scale=1e-3),
    Recipe("convnextv2", "hardly any variance", STAGED, STAGED_SHAPE, scale=1e-6),
    Recipe("convnextv2", "large mean", STAGED, STAGED_SHAPE, offset=300.0),
    Recipe("cvt", "usual", CVT, CVT_SHAPE),
    Recipe("cvt", "square", CVT, CVT_SQUARE),
    Recipe("cvt", "no class token, average pooling", POOLED, CVT_SHAPE),
    Recipe("cvt", "class tokens, quick GELU", TOKENS, CVT_SHAPE),
    Recipe("cvt", "tiny variance", CVT, CVT_SHAPE, scale=1e-3),
    Recipe("cvt", "large mean", CVT, CVT_SHAPE, offset=300.0),
    Recipe("cvt", "large scores", CVT, CVT_SHAPE, gain=12.0),
)


def make_model(recipe: Recipe) -> tuple[BareModel, np.ndarray]:
    """Return a model and its pictures, float32; the same recipe gives the same numbers everywhere."""
    config_class, model_class = CLASSES[recipe.family]
    config = config_class(**recipe.fields)
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(f"{recipe.family} {recipe.says}".encode())))
    params = {
        name: _parameter(rng, name, shape, recipe)
        for name, shape in sorted(model_class.parameter_shapes(config).items())
    }
    pixel_values = _uniform(rng, recipe.shape, -1.7, 1.7) * recipe.scale
    return model_class(config, params), pixel_values.astype(np.float32)


def _parameter(rng: np.random.Generator, name: str, shape: Sequence[int], recipe: Recipe) -> np.ndarray:
    """Return one parameter of a model."""
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return np.asarray(7)
    if kind == "running_var":
        return (_uniform(rng, shape, 0.5, 2.0) * recipe.scale**2).astype(np.float32)
    if kind == "layer_scale_parameter":
        return _uniform(rng, shape, 0.25, 1.0).astype(np.float32)
    if name.endswith(".grn.weight"):
        return _uniform(rng, shape, -1.0, 1.0).astype(np.float32)
    if kind == "weight" and len(shape) == 1:
        return (_uniform(rng, shape, 0.5, 1.5) * recipe.scale).astype(np.float32)
    if kind in ("cls_token", "bias", "running_mean"):  # GRN has a bias of four axes
        offset = recipe.offset if name.endswith(("patch_embeddings.bias", "projection.bias")) else 0.0
        return (_uniform(rng, shape, -0.5, 0.5) * recipe.scale + offset).astype(np.float32)
    gain = recipe.gain if ".projection_query." in name or ".projection_key." in name else 1.0
    return (_uniform(rng, shape, -1.0, 1.0) * gain * (3 / np.prod(shape[1:])) ** 0.5).astype(np.float32)


def _uniform(rng: np.random.Generator, shape: Sequence[int], low: float, high: float) -> np.ndarray:
    """Return uniform random numbers in float64."""
    return low + (high - low) * rng.random(tuple(shape))


@dataclass(frozen=True)
class PictureRecipe:
    """A picture, and how it is made ready for a model.

    Parameters
    ----------
    says : str
        What it is for.
    shape : tuple of int
        Height and width of the picture.
    settings : mapping
        Of the image processor.
    """

    says: str
    shape: tuple[int, int]
    settings: Mapping[str, Any]


#: Means and standard deviations that are those of no other data set, and differ from one another.
STATISTICS = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}

PICTURES = (
    PictureRecipe(
        "bicubic, cropped", (61, 47), {**STATISTICS, "size": {"shortest_edge": 25}, "crop_pct": 0.88, "resample": 3}
    ),
    PictureRecipe(
        "bilinear, cropped", (45, 58), {**STATISTICS, "size": {"shortest_edge": 25}, "crop_pct": 0.88, "resample": 2}
    ),
)


def make_picture(recipe: PictureRecipe) -> np.ndarray:
    """Return a picture, uint8 (H, W, C), with smooth parts and edges; its colours differ."""
    height, width = recipe.shape
    rows, columns = np.mgrid[:height, :width]
    edges = [rows + 2 * columns > 60 + 9 * c for c in range(3)]
    waves = [np.sin(rows / (3.0 + c)) + np.cos(columns / (2.0 + c)) + edges[c] for c in range(3)]
    picture = np.stack(waves, axis=-1) * (50.0, 40.0, 30.0) + (110.0, 120.0, 90.0)
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)
