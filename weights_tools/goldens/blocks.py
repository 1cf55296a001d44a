"""The table of golden cases of blocks and whole models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from npconv import ConvNextConfig, ConvNextV2Config, CvtConfig
from npconv.models import convnext, convnextv2, cvt
from weights_tools.goldens import draw
from weights_tools.goldens.operations import layers
from weights_tools.goldens.recipe import Draw, Recipe, uniform


def block_shapes(config: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Return the shapes of the first block's parameters, by their names in the block."""
    modules = {"convnext": convnext, "convnextv2": convnextv2, "cvt": cvt}
    shapes = modules[config.model_type].model_shapes(config)
    root = "encoder.stages.0.layers.0."
    return [(name.removeprefix(root), shape) for name, shape in shapes.items() if name.startswith(root)]


def parameters(
    rng: np.random.Generator, shapes: Sequence[tuple[str, Sequence[int]]], scale: float
) -> dict[str, np.ndarray]:
    """Return random parameters; counters of batches are left out."""
    named = [(f"x.{name}", shape) for name, shape in shapes if not name.endswith("num_batches_tracked")]
    return {name.removeprefix("x."): array for name, array in draw.weights(rng, named, scale=scale).items()}


def block(config: Any, *inputs: Sequence[int], std: float = 1.0) -> Draw:
    """Return what draws the arguments of a block."""

    def make(rng: np.random.Generator) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        drawn = [uniform(rng, *shape, std=std) for shape in inputs]
        return drawn, parameters(rng, block_shapes(config), std)

    return make


def model(config: Any, *shape: int, std: float = 1.0) -> Draw:
    """Return what draws pixel values and the weights of a classifier."""
    modules = {"convnext": convnext, "convnextv2": convnextv2, "cvt": cvt}

    def make(rng: np.random.Generator) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        x = uniform(rng, *shape)
        shapes = modules[config.model_type].image_classification_shapes(config)
        return [x], parameters(rng, list(shapes.items()), std)

    return make


TINY = 2.0**-10

STAGED = {"num_stages": 2, "hidden_sizes": [4, 6], "depths": [1, 2], "num_labels": 5}

#: Of one CvT stage, whose block is looked at.
CVT_BLOCK = {
    "patch_sizes": [7], "patch_stride": [4], "patch_padding": [2], "embed_dim": [6], "num_heads": [3], "depth": [1],
    "mlp_ratio": [2.0], "attention_drop_rate": [0.0], "drop_rate": [0.0], "drop_path_rate": [0.0], "qkv_bias": [True],
    "cls_token": [True], "qkv_projection_method": ["dw_bn"], "kernel_qkv": [3], "padding_kv": [1], "stride_kv": [2],
    "padding_q": [1], "stride_q": [1],
}  # fmt: skip
TWO_STAGES = {
    **{name: values * 2 for name, values in CVT_BLOCK.items()},
    "patch_sizes": [7, 3], "patch_stride": [4, 2], "patch_padding": [2, 1], "embed_dim": [4, 6],
    "num_heads": [1, 3], "depth": [1, 2],  # transformers cannot make a stage of fewer blocks than its number
    "cls_token": [False, True], "num_labels": 5,
}  # fmt: skip


def blocks() -> Iterator[Recipe]:
    """Yield the cases of blocks."""
    for operation, kind in (("convnext_block", ConvNextConfig), ("convnextv2_block", ConvNextV2Config)):
        config = kind(num_stages=1, hidden_sizes=[5], depths=[1])
        shape, gelu = (2, 5, 6, 9), {"hidden_act": "gelu"}
        yield Recipe(operation, "block", "two samples", block(config, shape), gelu)
        yield Recipe(operation, "tiny_variance", "values of 1e-3: shows eps", block(config, shape, std=TINY), gelu)
        yield Recipe(operation, "small_map", "a map smaller than the kernel", block(config, (1, 5, 3, 2)), gelu)
    first, plain = {**CVT_BLOCK, "hidden_act": "gelu"}, {**CVT_BLOCK, "cls_token": [False], "hidden_act": "quick_gelu"}
    average = {**first, "qkv_projection_method": ["avg"]}
    sizes, without = ((2, 21, 6), (2, 6, 4, 5)), ((2, 20, 6), (2, 6, 4, 5))
    for name, fields, shapes, why in (
        ("class_token", first, sizes, "with a class token"),
        ("no_class_token", plain, without, "without one, quick GELU"),
        ("average", average, sizes, "averaged keys and values"),
    ):
        yield Recipe("cvt_block", name, why, block(CvtConfig(**fields), *shapes), {"config": fields})
    yield Recipe(
        "cvt_block",
        "tiny_variance",
        "values of 1e-3: shows eps",
        block(CvtConfig(**first), *sizes, std=TINY),
        {"config": first},
    )


def models() -> Iterator[Recipe]:
    """Yield the cases of whole classifiers."""
    for family, kind in (("convnext", ConvNextConfig), ("convnextv2", ConvNextV2Config)):
        config = {**STAGED, "hidden_act": "gelu", "layer_norm_eps": 1e-12}
        for name, std, why in (("two_stages", 1.0, "odd sizes"), ("tiny_variance", TINY, "weights of 1e-3: shows eps")):
            yield Recipe(
                f"{family}_classifier", name, why, model(kind(**config), 2, 3, 37, 42, std=std), {"config": config}
            )
    first, without = {**TWO_STAGES, "hidden_act": "gelu"}, {**TWO_STAGES, "cls_token": [False, False]}
    for name, fields, std, why in (
        ("class_token", first, 1.0, "the class token is classified"),
        ("no_class_token", {**without, "hidden_act": "quick_gelu"}, 1.0, "the mean of all tokens is classified"),
        ("tiny_variance", first, TINY, "weights of 1e-3: shows eps"),
    ):
        yield Recipe("cvt_classifier", name, why, model(CvtConfig(**fields), 2, 3, 33, 46, std=std), {"config": fields})


def recipes() -> Iterator[Recipe]:
    """Yield all cases."""
    for part in (layers, blocks, models):
        yield from part()
