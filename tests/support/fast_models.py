"""Random small models for the tests of the fast engine, and the distance of its results from the truth.

The truth is the explicit engine in float64. Weights and pictures are float16 numbers, exact in every dtype, so all that
separates a float32 result from it is rounding. How much rounding a model amplifies depends on the model: LayerNorm
divides by a spread that may be small. The explicit engine in float32 shows it, but one run of it may be exact by luck;
so it runs :data:`YARDSTICKS` times, first with the weights as they are, then with each weight off by up to a rounding.
The fast engine may be :data:`SLACK` times as far from the truth as the farthest of these runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any
from unittest import mock

import hypothesis.strategies as st
import numpy as np

import npconv
from npconv.fast import bottleneck, depthwise, engine, products
from npconv.layers import ACTIVATIONS
from npconv.models.convnext.configuration import STEM_TYPES
from npconv.models.cvt import fast_attention as attention
from npconv.models.parameters import map_tree
from support.families import CONFIGS, TASKS, classes_of
from weights_tools.goldens import draw

#: Runs of the explicit engine in float32 that say how much rounding a model amplifies.
YARDSTICKS = 3

#: Times that the fast engine may be as far from the truth as these; see above. 8000 random models came to 2.9 at most.
SLACK = 6.0

#: Eight units in the last place: where the explicit engine happens to be exact, the fast one need not be.
LEAST_BOUND = 2.0**-20


def softplus(x: Any) -> Any:
    """Return an activation that no name stands for."""
    return np.logaddexp(x, 0, dtype=x.dtype)


HIDDEN_ACTS = [*sorted(ACTIVATIONS), *["gelu"] * 5, softplus]


@st.composite
def staged_configs(choose: Any, family: str) -> Any:
    """Draw a configuration of ConvNeXt or V2."""
    stages = choose(st.integers(1, 5))

    def each(values: Any) -> Any:
        return choose(st.lists(values, min_size=stages, max_size=stages))

    names = ["stem", *(f"stage{number}" for number in range(1, stages + 1))]
    chosen = choose(st.sets(st.sampled_from(names), min_size=1))
    fields = {
        "num_stages": stages,
        "num_channels": choose(st.sampled_from([1, 2, 3, 5])),
        "hidden_sizes": each(st.integers(3, 24)),
        "depths": each(st.integers(0, 2)),
        "patch_size": choose(st.sampled_from([1, 2, 3, 4, [2, 3], [4, 1]])),
        "hidden_act": choose(st.sampled_from(HIDDEN_ACTS)),
        "layer_norm_eps": choose(st.sampled_from([1e-12, 1e-6, 0.1])),
        "num_labels": choose(st.sampled_from([0, 1, 2, 7])),
        "out_features": [name for name in names if name in chosen],
    }
    if choose(st.booleans()):
        fields |= _timm_fields(choose, each)
        if min(fields["hidden_sizes"]) > 1:
            fields["norm_type"] = choose(st.sampled_from(["layer_norm", "rms_norm", "simple_norm"]))
    if sum(fields["depths"]) == 0:
        fields["depths"][-1] = 1
    if family == "convnext":
        fields["layer_scale_init_value"] = choose(st.sampled_from([1e-6, 0.0, -1.0]))
    return CONFIGS[family](**fields)


def _timm_fields(choose: Any, each: Any) -> dict[str, Any]:
    """Draw the fields that transformers lacks."""
    stem_type, is_first = choose(st.sampled_from(STEM_TYPES)), choose(st.booleans())
    return {
        "stem_type": stem_type,
        **({} if stem_type == "patch" else {"patch_size": choose(st.sampled_from([4, [4, 4]]))}),
        "kernel_sizes": choose(st.sampled_from([7, 3, each(st.sampled_from([1, 3, 5, 7, 9]))])),
        "norm_eps": choose(st.sampled_from([1e-6, 1e-5, 0.1])),
        "head_norm_first": is_first,
        "pooling": choose(st.sampled_from(["avg", "max", "avgmax", *["catavgmax"] * is_first])),
        "output_stride": choose(st.sampled_from([None, 8, 16, 32])),
        "head_hidden_size": choose(st.sampled_from([None, 1, 9])),
    }


@st.composite
def cvt_configs(choose: Any) -> Any:
    """Draw a configuration of CvT."""
    stages = choose(st.integers(1, 3))

    def each(*values: Any) -> Any:
        return [choose(st.sampled_from(values)) for _ in range(stages)]

    last = 2 * choose(st.integers(2, 12))
    widths = [choose(st.sampled_from([last, 6, 10])) for _ in range(stages - 1)] + [last]
    kernels = each(1, 3, 3, 5)
    return npconv.CvtConfig(
        num_channels=choose(st.sampled_from([1, 2, 3, 5])),
        embed_dim=widths,
        num_heads=[choose(st.sampled_from([h for h in (1, 2, 3, 4) if width % h == 0])) for width in widths],
        depth=each(0, 1, 1, 2),
        mlp_ratio=each(4.0, 2.0, 1.7, 0.5),
        qkv_bias=each(True, False),
        cls_token=[width == last and choose(st.booleans()) for width in widths],
        qkv_projection_method=each("dw_bn", "dw_bn", "avg", "linear"),
        patch_sizes=each(1, 2, 3, 5, [2, 3]),
        patch_stride=each(1, 2, 2, 3),
        patch_padding=each(0, 1, 2),
        kernel_qkv=kernels,
        padding_q=[kernel // 2 for kernel in kernels],
        padding_kv=[choose(st.integers(0, kernel // 2)) for kernel in kernels],
        stride_kv=each(1, 2, 2, 3),
        hidden_act=choose(st.sampled_from(HIDDEN_ACTS)),
        num_labels=choose(st.sampled_from([0, 1, 2, 7])),
    )


def configs(family: str) -> Any:
    """Return the strategy for configurations of a family."""
    return cvt_configs() if family == "cvt" else staged_configs(family)


def least_size(config: Any) -> tuple[int, int]:
    """Return height and width of the smallest picture that a model takes."""
    if config.model_type != "cvt":
        return config.least_picture
    sizes = []
    for axis in (0, 1):
        side = 1
        for i in reversed(range(len(config.depth))):
            kernel = config.patch_sizes[i]
            kernel = kernel[axis] if isinstance(kernel, list) else kernel
            inner = max(side, config.kernel_qkv[i] - 2 * config.padding_kv[i])
            side = max((inner - 1) * config.patch_stride[i] + kernel - 2 * config.patch_padding[i], 1)
        sizes.append(side)
    return sizes[0], sizes[1]


def weights(model_class: Any, config: Any, seed: int = 0) -> dict[str, np.ndarray]:
    """Return random parameters in float16, none without effect."""
    rng = draw.generator(seed, model_class.__name__)
    return draw.weights(rng, model_class.parameter_shapes(config).items())


def pictures(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return random pixel values (N, C, H, W): float16 numbers in float32."""
    return draw.pixel_values(draw.generator(seed, "pictures"), shape).astype(np.float32)


def outputs_of(model: Any, pixel_values: np.ndarray) -> dict[str, np.ndarray]:
    """Return every output of a model by name; hidden states and feature maps are numbered."""
    arrays: dict[str, np.ndarray] = {}
    for name, value in model(pixel_values, output_hidden_states=True).items():
        parts = {f"{name}.{i}": part for i, part in enumerate(value)} if isinstance(value, tuple) else {name: value}
        arrays |= parts
    return arrays


def distance(actual: np.ndarray, truth: np.ndarray) -> float:
    """Return the largest difference by the largest number of the truth."""
    assert actual.shape == truth.shape
    assert np.isfinite(truth).all()
    if truth.size == 0:
        return 0.0
    return float(np.abs(actual.astype(np.float64) - truth).max() / max(np.abs(truth).max(), 1e-300))


def farthest(actual: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> float:
    """Return the largest distance of any output."""
    assert set(actual) == set(truth)
    return max(distance(actual[name], expected) for name, expected in truth.items())


def rounding_of(model_class: Any, config: Any, tensors: dict[str, np.ndarray], pixel_values: np.ndarray) -> float:
    """Return how far the explicit engine in float32 may be from the truth, by the rounding that the model amplifies."""
    truth = outputs_of(model_class(config, tensors, dtype="float64"), pixel_values)
    found = [farthest(outputs_of(model_class(config, tensors), pixel_values), truth)]
    for seed in range(1, YARDSTICKS):
        rounded = {name: _rounded_otherwise(array, seed) for name, array in tensors.items()}
        found.append(farthest(outputs_of(model_class(config, rounded), pixel_values), truth))
    return max(found)


def bound_of(explicit: Callable[[Any, type], Sequence[np.ndarray]], params: Any) -> float:
    """Return how far the fast engine may be from the truth, of functions in place of a whole model.

    `explicit` takes a tree of parameters and a dtype, and returns what the explicit layers make of them.
    """
    truth = explicit(params, np.float64)
    runs = [params, *(map_tree(partial(_rounded_otherwise, seed=seed), params) for seed in range(1, YARDSTICKS))]
    farthest_run = max(max(map(distance, explicit(tree, np.float32), truth)) for tree in runs)
    return max(SLACK * farthest_run, LEAST_BOUND)


def assert_equal_engines(
    model_class: Any, config: Any, pixel_values: np.ndarray, seed: int = 0, threads: int | None = None
) -> None:
    """Assert that the fast engine is about as near to the truth as the explicit one in float32; see the module."""
    tensors = weights(model_class, config, seed)
    truth = outputs_of(model_class(config, tensors, dtype="float64"), pixel_values)
    fast = outputs_of(model_class(config, tensors, engine="fast", threads=threads), pixel_values)
    assert {array.dtype for array in fast.values()} == {np.dtype("float32")}
    assert set(fast) == set(truth)
    bound = max(SLACK * rounding_of(model_class, config, tensors, pixel_values), LEAST_BOUND)
    for name, expected in truth.items():
        assert distance(fast[name], expected) <= bound, name


def _rounded_otherwise(array: np.ndarray, seed: int) -> np.ndarray:
    """Return floating-point weights in float32, each off by up to a unit in the last place."""
    if array.dtype.kind != "f":
        return array
    noise = np.random.default_rng(seed).uniform(-1, 1, array.shape)
    return (array * (1 + noise * 2.0**-23)).astype(np.float32)


@contextmanager
def tiny_blocks() -> Any:
    """Make every block that work is cut into tiny, so that small models are cut as large ones are."""
    changes = {
        attention: {"SCORES": 30},
        bottleneck: {"CHUNK": 50, "TILE_VALUES": 100, "LEAST_TILE": 3},
        depthwise: {"SINGLE_TILE": 3, "TILE": (1, 2), "LARGE_KERNEL_TILE": (2, 3), "GATHERED_BYTES": 1000},
        products: {"GROUP_VALUES": 500},
    }
    with ExitStack() as stack:
        for module, values in changes.items():
            stack.enter_context(mock.patch.multiple(module, **values))
        yield


@contextmanager
def own_threads() -> Any:
    """Let the engine use threads of its own whatever holds the BLAS to one: both at once is slow, and right."""
    with (
        mock.patch.object(engine, "blas_limit", return_value=nullcontext),
    ):
        yield


STAGED = {"hidden_sizes": [8, 12, 10], "depths": [1, 2, 1], "num_stages": 3, "patch_size": 4, "num_labels": 5}
SMALL: dict[str, Any] = {
    "convnext": {**STAGED, "layer_scale_init_value": 0.5},
    "convnextv2": STAGED,
    "cvt": {"embed_dim": [6, 10, 12], "num_heads": [1, 2, 3], "depth": [1, 1, 2], "num_labels": 5},
}

#: Every class of model, as (classes by family, family).
CLASSIFIERS, BARE_MODELS, BACKBONES = (classes_of(task, SMALL) for task in TASKS)
KINDS = [(kind, family) for kind in (CLASSIFIERS, BARE_MODELS, BACKBONES) for family in kind]


def small(family: str, kind: Any = CLASSIFIERS, engine: str = "fast", seed: int = 0, **options: Any) -> Any:
    """Return a small model with random weights."""
    config = CONFIGS[family](**SMALL[family])
    return kind[family](config, weights(kind[family], config, seed), engine=engine, **options)


def assert_same(outputs: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Assert that all outputs are the same numbers; NaN is as good as NaN."""
    assert set(outputs) == set(expected)
    for name in expected:
        np.testing.assert_array_equal(outputs[name], expected[name], err_msg=name)


def in_dtype(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Return floating-point weights in a dtype, others as they are."""
    return array.astype(dtype) if array.dtype.kind == "f" else array
